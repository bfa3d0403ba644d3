import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from cli import doctor
from cli.findings import Finding
from services.supervisor.ports import free_tcp_port
from tests.cli.on_call import Chat, Letters


@pytest.fixture
def folder(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """For homes: PostgreSQL's account walks through, and the names of its sockets are short enough."""
    made = server_folder / request.node.name[:40]
    made.mkdir(mode=0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Letters]:
    """The mail server of two who are on call."""
    taken, port = Letters(), free_tcp_port()
    controller = Controller(taken, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("TERRITOIRE_SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setenv("TERRITOIRE_ALARM_MAIL", "astreinte@mairie.fr, chef@mairie.fr")
    yield taken
    controller.stop()


@pytest.fixture
def chat() -> Iterator[Chat]:
    """Where a chat takes messages."""
    one = Chat()
    yield one
    one.close()


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """The port of a server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the next examination finds."""
    findings: list[Finding] = []

    async def examine(*_: object) -> list[Finding]:
        return list(findings)

    monkeypatch.setattr(doctor, "examine", examine)
    return findings
