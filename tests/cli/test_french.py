"""What the command line says by itself, of typer's words none is left in English."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer import rich_utils

from cli.__main__ import run
from cli.french import CONSTANTS
from core import VERSION
from lab.app import app

# Of typer and pydantic, as they stand in their source.
ENGLISH = re.compile(
    r"Usage|Commands|Error\b|Aborted|\bTry\b|\bMissing\b|No such|Did you|Possible|Invalid|Input should|unexpected|"
    r"requires|Show this|COMMAND\b|ARGS|default|required|env var|does not|is not one of|range>|"
    r"<(?:int|str|path)>|<list|[\[{ ]file[\]}]"
)


@dataclass
class Terminal:
    """The command line of a checkout in this process, two hundred columns wide."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def types(self, *arguments: str) -> tuple[int, str]:
        """Exit status, and all that was shown."""
        self.monkeypatch.setattr("sys.argv", ["territoire", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        shown = self.capsys.readouterr()
        return int(ended.value.code or 0), shown.out + shown.err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    for name in (*CONSTANTS, "highlighter", "types_highlighter"):
        monkeypatch.setattr(rich_utils, name, getattr(rich_utils, name))  # English again after the test.
    monkeypatch.setenv("COLUMNS", "200")
    return Terminal(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["doctro"], "Il n'y a pas de commande 'doctro'. Vouliez-vous dire 'doctor' ?"),
        (["bench", "xyzzy"], "Il n'y a pas de commande 'xyzzy'."),
        (["status", "--hmoe", "x"], "Il n'y a pas d'option --hmoe (possibles : --help, --home)"),
        (["up", "--home"], "L'option '--home' attend une valeur."),
        (["status", "--json=3"], "L'option '--json' ne prend pas de valeur."),
        (["status", "extra"], "Argument en trop : extra"),
        (["codec", "try"], "Il manque l'argument 'source'."),
        (["simulate", "--gateways", "x"], "Valeur refusée pour '--gateways' : un nombre entier est attendu"),
        (["simulate", "--gateways", "1.5"], "Valeur refusée pour '--gateways' : un nombre entier est attendu"),
        (["simulate", "--rate", "x"], "Valeur refusée pour '--rate' : un nombre est attendu"),
        (["simulate", "--gateways", "0"], "Valeur refusée pour '--gateways' : au moins 1"),
        (["simulate", "--workers", "17"], "Valeur refusée pour '--workers' : au plus 16"),
        (["completion", "csh"], "Valeur refusée pour 'shell' : 'csh' n'est pas parmi 'bash', 'zsh', 'fish'"),
    ],
)
def test_a_wrong_argument_is_rejected_in_french(terminal: Terminal, arguments: list[str], said: str) -> None:
    status, shown = terminal.types(*arguments)

    assert status == 2
    assert said in shown
    assert "Erreur" in shown
    assert ENGLISH.search(shown) is None, shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["simulate", "--help"],
        ["codec"],
        ["codec", "try", "--help"],
        ["doctor", "--help"],
        ["person", "ledger", "--help"],
        ["import", "assets", "--help"],
        ["import", "lns", "--help"],
    ],
)
def test_help_is_in_french(terminal: Terminal, arguments: list[str]) -> None:
    _, shown = terminal.types(*arguments)

    assert "Utilisation : ./territoire" in shown
    assert "Affiche cette aide." in shown
    assert ENGLISH.search(shown) is None, shown


def test_a_variable_that_is_refused_is_named_in_french(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERRITOIRE_BACKUP_PLAIN", "peut-être")
    status, shown = terminal.types("backup", "x")

    assert status == 2
    assert "'--plain' (variable 'TERRITOIRE_BACKUP_PLAIN')" in shown
    assert ENGLISH.search(shown) is None, shown


def test_each_paragraph_of_a_help_is_as_wide_as_the_terminal(terminal: Terminal) -> None:
    _, shown = terminal.types("doctor", "--help")

    assert "TERRITOIRE_NATS_URL, TERRITOIRE_MQTT_URL et TERRITOIRE_KEK : dans un conteneur" in shown


def test_the_version_is_the_project_s(terminal: Terminal) -> None:
    assert terminal.types("--version") == (0, f"territoire {VERSION}\n")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    """A colour is SGR 30 to 37, 90 to 97 or 38."""
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    for arguments in (["--help"], ["status", "--hmoe"]):
        _, shown = terminal.types(*arguments)

        assert bool(re.search(r"\x1b\[(?:\d+;)*(?:3\d|9\d)[;m]", shown)) == coloured


COMPLETED = {
    "./territoire stat": {"status", "stations"},
    "./territoire codec re": {"release", "redecode", "redecodes"},
    "./territoire status --ho": {"--home"},
    "./territoire completion ": {"bash", "zsh", "fish"},
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with ./territoire in it, without the bootstrap, whose environment may not be there."""
    program = tmp_path / "territoire"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cli "$@"\n')
    program.chmod(0o755)
    return tmp_path


def completions(checkout: Path, shell: str, program: Iterable[str]) -> dict[str, set[str]]:
    """By line: what a shell says, to which its program is one command a line and a word that ends its answer."""
    ran = subprocess.run(
        [shell, "-c", "\n".join(program)], cwd=checkout, capture_output=True, text=True, check=False
    )
    answers = ran.stdout.split("=\n")[:-1]
    return {
        line: {completion.partition("\t")[0] for completion in answer.splitlines()}
        for line, answer in zip(COMPLETED, answers, strict=True)
    }


@pytest.mark.starts_processes
def test_bash_completes_commands_and_options(checkout: Path) -> None:
    """By the function that is registered for the command's name, as when Tab is pressed."""
    program = ["source <(./territoire completion bash)"]
    for line in COMPLETED:
        words = line.split(" ")
        program += [
            f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}'); COMP_CWORD={len(words) - 1}; COMPREPLY=()",
            "$(complete -p territoire | sed 's/.*-F \\([^ ]*\\).*/\\1/') ./territoire",
            'printf "%s\\n" "${COMPREPLY[@]}" =',
        ]

    assert completions(checkout, "bash", program) == COMPLETED


@pytest.mark.starts_processes
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is in Debian's package fish")
def test_fish_completes_commands_and_options(checkout: Path) -> None:
    program = ["./territoire completion fish | source"]
    program += [f"complete -C '{line}'; echo =" for line in COMPLETED]

    assert completions(checkout, "fish", program) == COMPLETED
