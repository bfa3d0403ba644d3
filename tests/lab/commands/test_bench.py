import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.app import app
from lab.commands.bench import arguments, own_process, temporary_home


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("ingest", ["--seconds", "--rate", "--devices", "--gateways", "--copies", "--runs", "--paced", "--json"]),
        ("network", ["--seconds", "--rate", "--gateways", "--copies", "--runs", "--only", "--json"]),
        ("queries", ["--home", "--measurements", "--runs", "--explain", "--check", "--json"]),
        ("alerting", ["--seconds", "--rate", "--check", "--json"]),
    ],
)
def test_every_benchmark_has_its_help(command: str, options: list[str]) -> None:
    answer = CliRunner().invoke(app, ["bench", command, "--help"])

    assert answer.exit_code == 0
    for option in options:
        assert option in answer.output


@pytest.mark.parametrize(
    "command",
    [
        "ingest-load",
        "network-part",
        "queries-ask",
        "redecode-ask",
        "alerting-load",
        "scaling-load",
        "storage-load",
    ],
)
def test_the_command_that_a_benchmark_starts_on_its_stack_exists(command: str) -> None:
    *program, bench, name, option = own_process(command, ["--help"])
    answer = CliRunner().invoke(app, [bench, name, option])

    assert program == [sys.executable, "-P", "-m", "lab"]
    assert answer.exit_code == 0, answer.output


def test_a_measure_is_given_the_options_that_its_benchmark_was_given() -> None:
    made = arguments(runs=5, by_outlines=True, seed="", rate=None, check=False, only=["rounds", "costs"])

    assert made == ["--runs", "5", "--by-outlines", "--seed", "", "--only", "rounds", "--only", "costs"]


def use_a_home_and_fail(failure: type[BaseException], seen: list[Path]) -> None:
    with temporary_home("test") as folder:
        (folder / "postgres").mkdir()
        seen.append(folder)
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_benchmark_leaves_no_home_behind(failure: type[BaseException]) -> None:
    seen: list[Path] = []

    with pytest.raises(failure):
        use_a_home_and_fail(failure, seen)

    assert seen[0].name.startswith("territoire-test-")
    assert not seen[0].exists()


def test_the_servers_account_may_enter_the_home() -> None:
    with temporary_home("test") as folder:
        mode = folder.stat().st_mode

    assert mode & 0o011 == 0o011


def test_a_part_of_the_network_benchmark_that_does_not_exist_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "lab", "bench", "network", "--only", "air"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode != 0
    assert "throughput, answers, storm" in ran.stderr
