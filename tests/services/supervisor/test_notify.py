import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from cli.report import print_ready
from cli.session import notify_slow_start
from services.supervisor.notify import notify
from services.supervisor.run_info import RunInfo


@pytest.mark.parametrize("address", ["{folder}/notify", "@territoire-{name}"])
def test_notify_sends_the_state_to_the_socket_of_systemd(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = address.format(folder=tmp_path, name=tmp_path.name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)

        notify("READY=1")

        assert systemd.recv(100) == b"READY=1"


def test_a_start_that_takes_long_asks_systemd_for_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        notify_slow_start("postgres", 30.2)

        assert systemd.recv(100) == b"EXTEND_TIMEOUT_USEC=60000000"
    assert capfd.readouterr().err == "postgres : pas encore prêt après 30 s\n"


def test_notify_without_a_notify_socket_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    notify("READY=1")


@pytest.mark.parametrize("under_systemd", [True, False])
def test_the_journal_of_systemd_has_no_key(
    run: RunInfo, monkeypatch: pytest.MonkeyPatch, *, under_systemd: bool
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if under_systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    said = io.StringIO()

    print_ready(Console(file=said, width=200), run, "terr_abc_secret")

    assert ("terr_abc_secret" in said.getvalue()) is not under_systemd
    assert run.kek not in said.getvalue()
