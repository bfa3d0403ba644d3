"""./territoire on a machine that has nothing yet: standard library only, says what it would do."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from core import VERSION
from lab.app import app

# The one outside of .venv, which has pip.
MACHINE_PYTHON = f"{sys.base_prefix}/bin/python3"
CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout without an environment, in a folder whose name has a space."""
    folder = tmp_path / "un dépôt"
    folder.mkdir()
    for name in ("territoire", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, folder / name)
    (folder / "api/console/libraries").mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CHECKOUT / "api/console" / name, folder / "api/console" / name)
    return folder


@pytest.fixture
def bootstrap(bare: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("territoire_bootstrap", str(bare / "territoire"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def typed(bare: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """As a user of a fresh machine types it."""
    return subprocess.run(
        [MACHINE_PYTHON, str(bare / "territoire"), *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def nothing_installed(bare: Path) -> bool:
    return not (bare / ".venv").exists() and not (bare / ".tools").exists()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands_before_anything_is_installed(bare: Path, arguments: list[str]) -> None:
    ran = typed(bare, *arguments)

    assert ran.returncode == 0, ran.stderr
    assert all(command in ran.stdout for command in ("demo", "up", "simulate", "status", "test"))
    assert nothing_installed(bare)


def test_the_version_is_said_before_anything_is_installed(bare: Path) -> None:
    ran = typed(bare, "--version")

    assert (ran.returncode, ran.stdout) == (0, f"territoire {VERSION}\n")
    assert nothing_installed(bare)


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["dmeo"], "demo"),
        (["--no-apt", "statsu"], "status"),
        (["dmeo", "--help"], "demo"),
        (["bench", "ingset"], "ingest"),
        (["codec", "publsh", "--help"], "publish"),
        (["--versoin"], "--version"),
    ],
)
def test_a_misspelt_command_is_rejected_before_anything_is_installed(
    bare: Path, arguments: list[str], near: str
) -> None:
    ran = typed(bare, *arguments)

    assert ran.returncode == 2
    assert f"vouliez-vous dire {near} ?" in ran.stderr
    assert nothing_installed(bare)


def test_a_word_that_resembles_no_command_is_rejected_with_the_list_of_all(bare: Path) -> None:
    ran = typed(bare, "xyzzy")

    assert ran.returncode == 2
    assert "commande inconnue : xyzzy (possibles : demo, up, " in ran.stderr


def test_a_shell_that_completes_installs_nothing(bare: Path) -> None:
    ran = typed(bare, _TERRITOIRE_COMPLETE="complete_bash", COMP_WORDS="./territoire st", COMP_CWORD="1")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert nothing_installed(bare)


def test_the_bootstrap_knows_the_commands_of_the_command_line(bootstrap: ModuleType) -> None:
    def names(group: TyperGroup) -> set[str]:
        return {name for name, command in group.commands.items() if not command.hidden}

    whole = get_command(app)
    assert isinstance(whole, TyperGroup)

    assert names(whole) == set(bootstrap.COMMANDS)
    groups = {name: group for name, group in whole.commands.items() if isinstance(group, TyperGroup)}
    assert {name: names(group) for name, group in groups.items()} == bootstrap.SUBCOMMANDS


@pytest.mark.parametrize(
    ("arguments", "libraries", "servers", "console"),
    [
        (["demo", "--help"], ["runtime"], False, False),
        (["test", "-h"], ["runtime"], False, False),
        (["bench", "ingest", "--help"], ["runtime"], False, False),
        (["demo"], ["runtime"], True, True),
        (["status"], ["runtime"], False, False),
        (["check"], ["dev"], False, False),
        (["test", "--unit"], ["dev"], False, True),
        (["test"], ["dev"], True, True),
        (["test", "--browser"], ["dev"], True, True),
        (["screenshots", "/x"], ["dev"], True, True),
        (["bench", "console"], ["dev"], True, True),
        (["bench", "console", "--help"], ["runtime"], False, False),
        (["install", "--root", "/x"], ["runtime"], False, True),
    ],
)
def test_a_command_brings_what_it_needs_and_its_help_no_server(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    libraries: list[str],
    servers: bool,
    console: bool,
) -> None:
    installed, packages, started = list[str](), list[str](), list[list[str]]()
    fetched = list[Path]()
    monkeypatch.setattr(bootstrap, "install_environment", installed.append)
    monkeypatch.setattr(bootstrap, "missing_packages", lambda: ["nats-server"])
    monkeypatch.setattr(bootstrap, "install_packages", lambda missing, allowed: packages.extend(missing))
    monkeypatch.setattr(bootstrap, "fetch_console", fetched.append)
    monkeypatch.setattr(bootstrap.os, "execv", lambda _, argv: started.append(argv))
    monkeypatch.setattr(bootstrap.sys, "argv", ["territoire", *arguments])

    bootstrap.main()

    assert installed == libraries
    assert bool(packages) == servers
    assert bool(fetched) == console
    assert started[0][-len(arguments) :] == arguments


@pytest.mark.parametrize(
    ("arguments", "looks"),
    [
        (["test", "--browser"], True),
        (["test", "--browser", "-k", "carte"], True),
        (["screenshots", "/x"], True),
        (["bench", "console", "--json"], True),
        (["test"], False),
        (["test", "--unit"], False),
        (["bench", "ingest"], False),
        (["demo"], False),
    ],
)
def test_chromium_and_fonts_are_brought_for_what_looks_at_pages_and_nothing_else(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], looks: bool
) -> None:
    packages = list[str]()
    browser = [(str(tmp_path / package), package) for _, package in bootstrap.BROWSER]
    monkeypatch.setattr(bootstrap, "BROWSER", browser)
    monkeypatch.setattr(bootstrap, "missing_packages", list)
    monkeypatch.setattr(bootstrap, "missing_tools", lambda *_: [])
    monkeypatch.setattr(bootstrap, "install_packages", lambda missing, allowed: packages.extend(missing))

    bootstrap.install_servers(arguments[0], arguments)

    wanted = ["chromium", "fonts-dejavu-core", "fonts-noto-color-emoji"]
    assert packages == (wanted if looks else [])
    Path(browser[0][0]).touch()
    assert bootstrap.missing_browser() == wanted[1:]


@pytest.mark.parametrize(
    ("arguments", "tools"),
    [
        (["test"], ["faketime", "pgbackrest", "promtool"]),
        (["test", "--unit"], []),
        (["chaos", "clock-network"], ["faketime"]),
        (["restore", "x.backup", "--to=2026-11-28 10:30"], ["pgbackrest"]),
        (["restore", "x.backup"], []),
        (["demo"], []),
    ],
)
def test_tools_are_brought_for_the_commands_that_start_them(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], tools: list[str]
) -> None:
    packages = list[str]()
    monkeypatch.setattr(bootstrap, "missing_packages", list)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(bootstrap.Path, "glob", lambda *_: [])
    monkeypatch.setattr(bootstrap, "install_packages", lambda missing, allowed: packages.extend(missing))

    bootstrap.install_servers(arguments[0], arguments)

    assert packages == tools


def test_without_npm_everything_but_the_consoles_libraries_is_there(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "npm", lambda: ("sh", "-c", "echo npm error network >&2; exit 1"))

    bootstrap.install_console()
    bootstrap.install_console()  # It is tried again: nothing says that it was done.

    assert capsys.readouterr().err.count("npm error network") == 2
    assert not (bootstrap.CONSOLE_LIBRARIES / "stamp").exists()


# --- Without a network -------------------------------------------------------------------------------


# The first rejects, the second has no address.
INDEXES = pytest.mark.parametrize("index", ["http://127.0.0.1:9/simple", "https://paquets.invalid/simple"])


def offline(bare: Path, index: str) -> dict[str, str]:
    pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index, "PIP_RETRIES": "1"}
    uv = {"UV_DEFAULT_INDEX": index, "UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(bare / "cache")}
    return {**pip, **uv, "no_proxy": "*", "HOME": str(bare)}


@INDEXES
def test_without_a_network_it_says_so_in_place_of_pip_s_errors(bare: Path, index: str) -> None:
    ran = typed(bare, "status", **offline(bare, index))

    assert ran.returncode == 1
    assert "pas de réseau : uv et les bibliothèques Python" in ran.stderr
    assert "ERROR" not in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(not (CHECKOUT / ".tools" / "bin" / "uv").exists(), reason="uv is brought by ./territoire")
@INDEXES
def test_without_a_network_it_says_so_in_place_of_uv_s_errors(bare: Path, index: str) -> None:
    (bare / ".tools").mkdir()
    for name in ("bin", *(folder.name for folder in (CHECKOUT / ".tools").glob("uv-*.dist-info"))):
        (bare / ".tools" / name).symlink_to(CHECKOUT / ".tools" / name)

    ran = typed(bare, "status", **offline(bare, index))

    assert ran.returncode == 1
    assert "pas de réseau" in ran.stderr
    assert "error:" not in ran.stderr


@dataclass
class Machine:
    """Debian's commands in a folder of their own: what they answer, and what they were asked."""

    commands: Path
    log: Path

    def has(self, name: str, script: str = "") -> None:
        program = self.commands / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n', "utf-8")
        program.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines()


@pytest.fixture
def machine(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A Debian with systemd on which we are root, and nothing of what we need is installed."""
    commands, systemd = tmp_path / "commands", tmp_path / "run-systemd-system"
    commands.mkdir()
    systemd.mkdir()
    path = f"{commands}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(bootstrap, "SYSTEM_PATH", path)
    monkeypatch.setattr(bootstrap, "SYSTEMD", systemd)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    made = Machine(commands, tmp_path / "asked")
    made.has("apt-get")
    made.has("apt-cache", "printf 'postgresql-15-timescaledb\\npostgresql-17-timescaledb\\n'")
    made.has("systemctl")
    return made


NO_NAMES = "echo \"W: Failed to fetch http://x/InRelease  Temporary failure resolving 'x'\" >&2"


def test_without_a_network_it_says_so_in_place_of_apt_s_warnings(
    bootstrap: ModuleType, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.has("apt-get", NO_NAMES)  # apt-get update ends well all the same.
    machine.has("apt-cache")

    with pytest.raises(SystemExit) as ended:
        bootstrap.install_packages(["postgresql-timescaledb"], allowed=True)

    assert "pas de réseau : les paquets Debian (postgresql-timescaledb)" in str(ended.value)
    assert "W:" not in capfd.readouterr().err


@pytest.mark.parametrize("complaint", [NO_NAMES, 'echo "E: Unable to locate package mosquitto" >&2'])
def test_without_a_network_it_says_so_when_packages_are_known_but_not_brought(
    bootstrap: ModuleType, machine: Machine, capfd: pytest.CaptureFixture[str], complaint: str
) -> None:
    machine.has("dpkg-query")
    machine.has("apt-get", f'[ "$1" = update ] && {NO_NAMES} || {{ {complaint}; exit 100; }}')

    with pytest.raises(SystemExit) as ended:
        bootstrap.install_packages(["mosquitto"], allowed=True)

    assert "pas de réseau : les paquets Debian (mosquitto)" in str(ended.value)
    assert not {"W:", "E:"} & set(capfd.readouterr().err.split())


def test_another_error_of_apt_is_shown(
    bootstrap: ModuleType, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.has("dpkg-query")
    machine.has("apt-get", '[ "$1" = update ] || { echo "E: dpkg was interrupted" >&2; exit 100; }')

    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.install_packages(["mosquitto"], allowed=True)

    assert "E: dpkg was interrupted" in capfd.readouterr().err


# --- Services of packages ----------------------------------------------------------------------------


def test_services_of_packages_that_this_run_installed_are_stopped_and_disabled(
    bootstrap: ModuleType, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """dpkg-query lists everything once apt-get install has run."""
    machine.has(
        "dpkg-query",
        f"grep -q 'apt-get install' {machine.log} || exit 1\n"
        "printf '%s installed\\n' postgresql-17 postgresql-17-timescaledb postgresql-common nats-server mosquitto",
    )

    bootstrap.install_packages(["postgresql-timescaledb", "nats-server", "mosquitto"], allowed=True)

    stopped = [line for line in machine.asked if line.startswith("systemctl")]
    assert stopped == [
        "systemctl disable --now mosquitto.service",
        "systemctl disable --now nats-server.service",
        "systemctl disable --now postgresql@17-main.service",
        "systemctl disable --now postgresql.service",
    ]
    said = capfd.readouterr().err
    assert "services arrêtés et désactivés : mosquitto.service, nats-server.service, postgresql@17-main" in said


def test_a_service_that_was_there_before_is_left_running(
    bootstrap: ModuleType, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """A PostgreSQL 17 of the operator's own, to which only TimescaleDB is added."""
    machine.has(
        "dpkg-query",
        "printf '%s installed\\n' postgresql-17 postgresql-common\n"
        f"grep -q 'apt-get install' {machine.log} || exit 1\n"
        "printf '%s installed\\n' postgresql-17-timescaledb nats-server",
    )

    bootstrap.install_packages(["postgresql-timescaledb", "nats-server"], allowed=True)

    stopped = [line for line in machine.asked if line.startswith("systemctl")]
    assert stopped == ["systemctl disable --now nats-server.service"]
    assert "postgresql" not in capfd.readouterr().err.partition("services arrêtés")[2]


def test_no_apt_shows_the_lines_and_installs_nothing(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        bootstrap.install_packages(["postgresql-timescaledb", "nats-server"], allowed=False)

    lines = str(exit_info.value)
    assert "apt-get update" in lines
    assert "nats-server" in lines
    assert "-timescaledb" in lines
    assert capsys.readouterr().out == ""


def make_environment(bootstrap: ModuleType) -> None:
    bootstrap.PYTHON.parent.mkdir(parents=True)
    bootstrap.PYTHON.symlink_to(sys.executable)
    bootstrap.STAMP.write_text(f"runtime {bootstrap.fingerprint()}\n", "ascii")


def test_an_environment_is_left_alone_while_nothing_changed(bootstrap: ModuleType) -> None:
    make_environment(bootstrap)

    assert bootstrap.up_to_date("runtime")


def test_a_runtime_environment_does_not_serve_the_tests(bootstrap: ModuleType) -> None:
    make_environment(bootstrap)

    assert not bootstrap.up_to_date("dev")


def test_a_changed_lock_asks_for_another_sync(bootstrap: ModuleType) -> None:
    make_environment(bootstrap)

    with bootstrap.LOCKS["runtime"].open("a") as lock:
        lock.write("# another pin\n")

    assert not bootstrap.up_to_date("runtime")


def test_a_developer_s_environment_stays_one_when_a_lock_changes(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_environment(bootstrap)
    bootstrap.STAMP.write_text("dev 0\n", "ascii")
    installed: list[str] = []
    monkeypatch.setattr(bootstrap, "install_environment", installed.append)
    monkeypatch.setattr(bootstrap.os, "execv", lambda *_: None)
    monkeypatch.setattr(bootstrap.sys, "argv", ["territoire", "status"])

    bootstrap.main()

    assert installed == ["dev"]


def test_pip_s_own_configuration_is_handed_to_uv(bootstrap: ModuleType) -> None:
    listed = (
        "global.cert='/etc/ssl/mairie.pem'\n"
        "global.index-url='https://paquets.example/simple'\n"
        ":env:.index-url='https://miroir.example/simple'\n"
    )

    handed = bootstrap.handed_to_uv(listed)

    assert handed == {
        "UV_DEFAULT_INDEX": "https://miroir.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/mairie.pem",
    }


def test_uv_keeps_its_cache_in_the_checkout_when_there_is_no_home(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)

    assert bootstrap.uv_environment()["UV_CACHE_DIR"] == str(bootstrap.TOOLS / "cache")


def test_the_bootstrap_is_executable() -> None:
    assert os.access(CHECKOUT / "territoire", os.X_OK)
    assert os.access(CHECKOUT / ".ci" / "run", os.X_OK)
