"""`territoire alarm` against a real mail server and a real address that takes a POST."""

import asyncio
import json
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from aiosmtpd.controller import Controller
from typer.testing import CliRunner

from cli import doctor
from cli.app import app
from cli.findings import Finding, critical
from services.supervisor.ports import free_tcp_port

BUS = critical("bus", "ne répond pas", "démarrez-le")


class Letters:
    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.unknown: set[str] = set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's.
        self, _server: object, _session: object, envelope, address: str, _options: object
    ) -> str:
        if address in self.unknown:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope) -> str:  # noqa: N802 - aiosmtpd's.
        letter = message_from_bytes(envelope.content, policy=policy.default)
        self.subjects.append(f"{envelope.rcpt_tos[0]}: {letter['Subject']}")
        return "250 OK"


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Letters]:
    taken, port = Letters(), free_tcp_port()
    controller = Controller(taken, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("TERRITOIRE_SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setenv("TERRITOIRE_ALARM_MAIL", "astreinte@mairie.fr, chef@mairie.fr")
    yield taken
    controller.stop()


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the next examination finds."""
    findings: list[Finding] = []

    async def examine(*_: object) -> list[Finding]:
        return list(findings)

    monkeypatch.setattr(doctor, "examine", examine)
    return findings


def alarm(home: Path, *options: str, **environment: str) -> int:
    return CliRunner().invoke(app, ["alarm", "--home", str(home), *options], env=environment).exit_code


def test_who_is_on_call_is_told_what_turned_bad_and_what_is_good_again(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    statuses = [alarm(tmp_path), alarm(tmp_path), alarm(tmp_path)]
    examined.clear()
    statuses.append(alarm(tmp_path))

    assert statuses == [0, 0, 0, 0]
    assert [one.partition("(")[0] + one.rpartition(")")[2] for one in letters.subjects] == [
        "astreinte@mairie.fr: Territoire  : en panne : bus",
        "chef@mairie.fr: Territoire  : en panne : bus",
        "astreinte@mairie.fr: Territoire  : rétabli",
        "chef@mairie.fr: Territoire  : rétabli",
    ]


def test_what_nobody_took_is_told_with_the_next_examination(
    tmp_path: Path, examined: list[Finding], letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined.append(BUS)
    server = f"smtp://127.0.0.1:{free_tcp_port()}"
    alarm(tmp_path)

    assert alarm(tmp_path, TERRITOIRE_SMTP_URL=server) == 1
    assert letters.subjects == []
    assert alarm(tmp_path) == 0
    assert len(letters.subjects) == 2


def test_a_unit_that_failed_and_a_service_that_stopped_are_told_at_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    alarm(tmp_path, "--failed", "territoire-backup.service")
    alarm(tmp_path, "--stopped", SERVICE_RESULT="success")
    alarm(tmp_path, "--stopped", SERVICE_RESULT="watchdog", EXIT_STATUS="6")
    alarm(tmp_path, "--stopped", SERVICE_RESULT="watchdog", EXIT_STATUS="6")
    alarm(tmp_path)  # Nothing says that the backup is good again.

    assert [one.rpartition(": ")[2] for one in letters.subjects[::2]] == [
        "territoire-backup.service",
        "territoire.service",
    ]


def test_a_backup_that_failed_while_no_mail_went_out_is_told_with_the_next_examination(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    nobody = f"smtp://127.0.0.1:{free_tcp_port()}"

    assert alarm(tmp_path, "--failed", "territoire-backup.service", TERRITOIRE_SMTP_URL=nobody) == 1
    assert letters.subjects == []
    assert [alarm(tmp_path), alarm(tmp_path)] == [0, 0]
    assert [one.rpartition(": ")[2] for one in letters.subjects] == ["territoire-backup.service"] * 2


def test_who_cannot_be_reached_has_nobody_else_told_again(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    letters.unknown.add("chef@mairie.fr")
    examined.append(BUS)

    assert [alarm(tmp_path), alarm(tmp_path), alarm(tmp_path), alarm(tmp_path)] == [0, 1, 0, 0]
    assert [one.partition(":")[0] for one in letters.subjects] == ["astreinte@mairie.fr"]


def test_a_unit_that_fails_during_an_examination_is_not_forgotten(
    tmp_path: Path, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(*_: object) -> list[Finding]:
        await asyncio.to_thread(alarm, tmp_path, "--failed", "territoire-backup.service")
        return []

    monkeypatch.setattr(doctor, "examine", examine)

    assert alarm(tmp_path) == 0
    alarm(tmp_path, "--failed", "territoire-backup.service")
    assert [one.rpartition(": ")[2] for one in letters.subjects] == ["territoire-backup.service"] * 2


def test_what_cannot_be_remembered_is_told_at_once_and_what_memory_keeps_is_told_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    nowhere = Path("/sys")  # In which nobody makes a file, root neither.

    forgetting = [alarm(nowhere), alarm(nowhere)]
    told = len(letters.subjects)
    remembering = [alarm(nowhere, RUNTIME_DIRECTORY=str(tmp_path)) for _ in range(3)]

    assert (forgetting, told) == ([1, 1], 4)  # Two people, each time.
    assert (remembering, len(letters.subjects) - told) == ([0, 0, 0], 2)


def test_a_chat_takes_the_text(tmp_path: Path, examined: list[Finding]) -> None:
    bodies: list[dict[str, object]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Chat)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/hooks/1"
        assert alarm(tmp_path, "--test", TERRITOIRE_ALARM_URL=address) == 0
    finally:
        server.shutdown()
    assert "ceci est un essai" in str(bodies[0]["text"])


def test_whom_to_tell_must_be_said_before_it_is_tried(tmp_path: Path, examined: list[Finding]) -> None:
    assert alarm(tmp_path, "--test", TERRITOIRE_ALARM_MAIL="astreinte@mairie.fr") == 2
    assert alarm(tmp_path) == 0
