"""./territoire on a machine that has nothing yet: standard library only, says what it would do."""

import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout without an environment, in a folder whose name has a space."""
    folder = tmp_path / "un dépôt"
    folder.mkdir()
    for name in ("territoire", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture
def bootstrap(bare: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("territoire_bootstrap", str(bare / "territoire"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_help_lists_the_commands_before_anything_is_installed(bare: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-S", str(bare / "territoire"), "--help"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert all(command in ran.stdout for command in ("demo", "up", "simulate", "status", "test"))
    assert not (bare / ".venv").exists()
    assert not (bare / ".tools").exists()


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
