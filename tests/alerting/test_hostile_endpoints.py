"""Hostile webhook endpoints, on real sockets: only their own messages are late; inner addresses stay unreached."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from alerting import store
from core.runtime.postgres import Pool
from tests.alerting.sending import KEYS, emptied, held, send, until, working
from tests.proved import create_proved_endpoint

ONCE: tuple[float, ...] = ()
SHORT_S = 0.3
MIB = 1 << 20
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Hostile:
    """A server with a script; how many connections came, and how many octets it got rid of."""

    port: int = 0
    connections: int = 0
    written: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@asynccontextmanager
async def hostile(script: Script, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Hostile]:
    found = Hostile()
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        tasks.add(asyncio.current_task())
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, port)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    for task in tasks:
        if task is not None:
            task.cancel()


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Always a little more of a header, so that no read takes long."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.05)


def answering(head: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(head)
        await writer.drain()

    return script


async def endpoint_at(pool: Pool, place: Any, url: str) -> int:
    endpoint, _ = await create_proved_endpoint(pool, KEYS, place.tenant_id, url)
    return endpoint.id


async def only_attempt(pool: Pool, endpoint_id: int) -> store.Attempt:
    [attempt] = await store.list_attempts(pool, endpoint_id)
    return attempt


@pytest.mark.parametrize("script", [hang, drip])
async def test_an_endpoint_that_hangs_or_drips_is_left_after_the_time_for_one_attempt(
    pool: Pool, database_url: str, place: Any, script: Script
) -> None:
    async with hostile(script) as server, working(pool, database_url, ONCE, timeout_s=SHORT_S):
        endpoint_id = await endpoint_at(pool, place, server.url)
        await send(pool, endpoint_id)
        await until(lambda: held(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert (attempt.outcome, attempt.status) == ("failed", None)
    assert attempt.answer == "pas de réponse en 0.3 s"
    assert SHORT_S * 1000 <= attempt.duration_ms < 5000


async def test_of_an_answer_of_a_gigabyte_a_little_is_read_and_a_kilobyte_kept(
    pool: Pool, database_url: str, place: Any
) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes([65]) * MIB)
            await writer.drain()
            server.written += MIB

    async with hostile(flood) as server, working(pool, database_url, ONCE):
        endpoint_id = await endpoint_at(pool, place, server.url)
        await send(pool, endpoint_id)
        await until(lambda: emptied(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert (attempt.outcome, attempt.answer) == ("delivered", "A" * 1024)
    assert server.written <= 16 * MIB  # What the sockets of both sides hold.


async def test_an_endpoint_that_answers_200_and_hangs_has_the_message(
    pool: Pool, database_url: str, place: Any
) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nmerci")
        await asyncio.Event().wait()

    async with hostile(stall) as server, working(pool, database_url, ONCE, timeout_s=SHORT_S):
        endpoint_id = await endpoint_at(pool, place, server.url)
        await send(pool, endpoint_id)
        await until(lambda: emptied(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert (attempt.outcome, attempt.status, attempt.answer) == ("delivered", 200, "merci")


async def test_headers_without_end_are_a_failure(pool: Pool, database_url: str, place: Any) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 4 * MIB
    async with hostile(answering(endless)) as server, working(pool, database_url, ONCE):
        endpoint_id = await endpoint_at(pool, place, server.url)
        await send(pool, endpoint_id)
        await until(lambda: held(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert (attempt.outcome, attempt.status) == ("failed", None)


@pytest.mark.parametrize("answer", [b"", b"\0\xff" * 100, b"HTTP/1.1 99999 no\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
async def test_what_is_no_answer_is_a_failure(pool: Pool, database_url: str, place: Any, answer: bytes) -> None:
    async with hostile(answering(answer)) as server, working(pool, database_url, ONCE):
        endpoint_id = await endpoint_at(pool, place, server.url)
        await send(pool, endpoint_id)
        await until(lambda: held(pool))

    assert (await only_attempt(pool, endpoint_id)).outcome == "failed"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_an_internal_address_is_not_followed(
    pool: Pool, database_url: str, place: Any, status: int
) -> None:
    async with hostile(hang) as inside:
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {inside.url}latest/meta-data/\r\nContent-Length: 0\r\n\r\n"
        async with hostile(answering(head.encode())) as server, working(pool, database_url, ONCE):
            endpoint_id = await endpoint_at(pool, place, server.url)
            await send(pool, endpoint_id)
            await until(lambda: held(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert (attempt.outcome, attempt.status) == ("failed", status)
    assert inside.connections == 0


async def test_a_rebound_name_never_reaches_an_internal_address(
    pool: Pool, database_url: str, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 stands for an address that may be reached, 127.0.0.2 for one inside that may not."""
    answers, asked = ["127.0.0.1", "127.0.0.2"], 0
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        if host != "rebind.example":
            return real(host, port, *arguments, **options)
        asked += 1
        address = answers[min(asked, len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    error = answering(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")
    async with hostile(error) as server, hostile(hang, "127.0.0.2", server.port) as inside:
        async with working(pool, database_url, (0.05,)):
            endpoint_id = await endpoint_at(pool, place, f"http://rebind.example:{server.port}/")
            await send(pool, endpoint_id)
            await until(lambda: held(pool))
        second, first = await store.list_attempts(pool, endpoint_id)

    assert (first.status, second.outcome) == (500, "refused")
    assert (server.connections, inside.connections, asked) == (1, 0, 2)


@pytest.mark.parametrize(
    "host", ["[64:ff9b::a9fe:a9fe]", "[64:ff9b::a00:1]", "[::ffff:10.0.0.1]", "169.254.169.254", "0x0a000001"]
)
async def test_an_address_inside_is_rejected_however_it_is_written_and_the_reason_kept(
    pool: Pool, database_url: str, place: Any, host: str
) -> None:
    async with working(pool, database_url, ONCE):
        endpoint_id = await endpoint_at(pool, place, f"http://{host}/")
        await send(pool, endpoint_id)
        await until(lambda: held(pool))
    attempt = await only_attempt(pool, endpoint_id)

    assert attempt.outcome == "refused"
    assert "n'est pas une adresse publique" in attempt.answer


async def test_twenty_endpoints_that_hang_delay_nobody_else(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    quick = await place.endpoint(receiver)
    async with hostile(hang) as server:
        slow = [await endpoint_at(pool, place, f"{server.url}{number}") for number in range(20)]
        async with working(pool, database_url, timeout_s=3):
            for _ in range(3):
                await send(pool, *slow)
            await until(lambda: all_hang(server))
            await send(pool, quick.id)
            await receiver.until(1, within_s=2)
            done = await pool.fetchval("SELECT count(*) FROM webhook_attempt WHERE endpoint_id <> $1", quick.id)
            await pool.execute("DELETE FROM jobs.pgqueuer WHERE status = 'queued'")

    assert done == 0


async def test_a_tenant_whose_every_endpoint_hangs_leaves_places_to_the_others(
    pool: Pool, database_url: str, place: Any, make_place: Any, receiver: Any
) -> None:
    """It has more of them than there are places."""
    other = await make_place("autre")
    quick = await other.endpoint(receiver)
    async with hostile(hang) as server:
        slow = [await endpoint_at(pool, place, f"{server.url}{number}") for number in range(70)]
        async with working(pool, database_url, timeout_s=4):
            await send(pool, *slow)
            await until(lambda: server_met(server, 32))
            await send(pool, quick.id)
            await receiver.until(1, within_s=2.5)
            met = server.connections
            await pool.execute("DELETE FROM jobs.pgqueuer WHERE status = 'queued'")

    assert met == 32


async def test_after_no_answer_an_endpoints_other_messages_wait_and_the_first_keeps_its_schedule(
    pool: Pool, database_url: str, place: Any
) -> None:
    async with hostile(hang) as server:
        endpoint_id = await endpoint_at(pool, place, server.url)
        async with working(pool, database_url, (0.05,), timeout_s=SHORT_S):
            first = await send(pool, endpoint_id)
            await until(lambda: server_met(server, 1))
            await send(pool, endpoint_id)
            await until(lambda: held_one(pool))
    attempts = await store.list_attempts(pool, endpoint_id)
    waits = await pool.fetchval("SELECT execute_after - now() FROM jobs.pgqueuer WHERE status = 'queued'")

    assert [attempt.message_id for attempt in attempts] == [first, first]
    assert timedelta(seconds=20) < waits <= timedelta(seconds=30)


async def test_after_the_pause_the_other_messages_are_tried(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.gate.clear()
    async with working(pool, database_url, ONCE, timeout_s=SHORT_S, pause_s=0.5):
        await send(pool, endpoint.id)
        second = await send(pool, endpoint.id)
        await until(lambda: held_one(pool))
        receiver.gate.set()
        await receiver.until(2)

    assert receiver.requests[1]["id"] == second


async def server_met(server: Hostile, connections: int) -> bool:
    return server.connections >= connections


async def held_one(pool: Pool) -> bool:
    return await pool.fetchval("SELECT count(*) = 1 FROM jobs.pgqueuer WHERE status = 'failed'")


async def all_hang(server: Hostile) -> bool:
    return server.connections == 20
