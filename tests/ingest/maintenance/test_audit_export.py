"""The audit goes out line by line, at least once, to receivers with real sockets."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.runtime.postgres import Pool
from core.runtime.syslog import SyslogServer, syslog_message
from ingest.maintenance import audit_export
from ingest.maintenance.audit_export import Destination, ExportFailed, export_audit
from lab.certificates import Authority
from registry.audit import write_audit
from registry.audit_chain import erase_details, seal
from registry.tenants import create_tenant


class Receiver:
    """A syslog receiver over TCP, RFC 6587, octets counted."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.messages: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                with accepted, accepted.makefile("rb") as reading:
                    self._read(reading.read())

    def _read(self, octets: bytes) -> None:
        while octets:
            length, _, rest = octets.partition(b" ")
            self.messages.append(rest[: int(length)].decode())
            octets = rest[int(length) :]

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)


@pytest.fixture
def receiver() -> Generator[Receiver]:
    made = Receiver()
    yield made
    with contextlib.suppress(OSError):
        made.close()


async def test_every_sealed_line_reaches_a_syslog_receiver_and_those_of_its_absence_follow(
    pool: Pool, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_export, "LINES_AT_ONCE", 2)
    tenant = await create_tenant(pool, "sdef", "SDEF")
    destination = Destination(f"syslog+tcp://127.0.0.1:{receiver.port}")
    async with pool.acquire() as connection:
        for number in range(5):
            action = "reject" if number == 4 else "create"
            await write_audit(connection, tenant.id, "clé", action, "asset", number, {"address": "192.0.2.1"})
        lines = [row["id"] for row in await connection.fetch("SELECT id FROM audit ORDER BY id")]
    before = await export_audit(pool, destination)  # Nothing is sealed: nothing goes.
    await erase_details(pool, lines[:1])
    await seal(pool)
    sent = await export_audit(pool, destination)
    receiver.close()
    async with pool.acquire() as connection:
        await write_audit(connection, tenant.id, "clé", "delete", "asset", 9, {})
    await seal(pool)
    with pytest.raises(ExportFailed):
        await export_audit(pool, destination)
    file = tmp_path / "audit.jsonl"
    to_file = [await export_audit(pool, Destination(f"file://{file}")) for _ in range(2)]

    position = await pool.fetchval("SELECT sequence FROM audit_export WHERE destination ~ '^syslog'")
    assert (before, sent, position, to_file) == (0, 5, 5, [6, 0])
    heads = [message.split(" ", 7) for message in receiver.messages]
    assert [(head[0], head[3], head[5]) for head in heads] == [("<110>1", "territoire-audit", "create")] * 4 + [
        ("<108>1", "territoire-audit", "reject")
    ]
    contents = [json.loads(head[7]) for head in heads]
    assert [one["sequence"] for one in contents] == [1, 2, 3, 4, 5]
    assert (contents[0]["details"], contents[1]["details"]) == (None, {"address": "192.0.2.1"})
    assert (contents[1]["tenant"], contents[1]["entity_id"]) == ("sdef", "1")
    written = [json.loads(text) for text in file.read_text("utf-8").splitlines()]
    assert written[:5] == contents
    assert (written[5]["action"], file.stat().st_mode & 0o077) == ("delete", 0)


def test_a_datagram_is_one_message_of_rfc_5424() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0))
        receiving.settimeout(10)
        port = receiving.getsockname()[1]
        at = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
        message = syslog_message(at, "territoire audit", "été", '{"actor":"clé"}')
        SyslogServer.parse(f"syslog+udp://127.0.0.1:{port}").send([message])
        received = receiving.recv(65_535).decode()

    head = received.split(" ", 7)
    assert (head[:2], head[3], head[5:]) == (
        ["<110>1", "2026-11-27T09:30:00+00:00"],
        "territoireaudit",
        ["t", "-", '{"actor":"clé"}'],
    )


@pytest.mark.parametrize("wrong", ["syslog://x", "file://relatif", "syslog+tcp://", "https://x", "audit.jsonl"])
def test_a_destination_that_is_none_is_rejected(wrong: str) -> None:
    with pytest.raises(ValueError, match="syslog"):
        Destination(wrong)


def test_tls_asks_for_a_certificate_of_the_authority_that_is_named(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "Une autre")
    certificate, key = authority.sign("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            accepted, _ = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(accepted, server_side=True) as secured:
                while octets := secured.recv(4096):
                    received.append(octets)
                secured.unwrap().close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        address = f"syslog+tls://127.0.0.1:{listening.getsockname()[1]}?ca="
        with pytest.raises(OSError, match="certificate"):
            SyslogServer.parse(f"{address}{stranger.certificate}").send([b"secret"])
        SyslogServer.parse(f"{address}{authority.certificate}").send([b"un", b"deux"])
        thread.join(10)

    assert b"".join(received) == b"2 un4 deux"
