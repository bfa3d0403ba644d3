import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from prometheus_client import REGISTRY
from starlette.exceptions import HTTPException

from core.runtime.health import serve_http
from core.runtime.http import head_deadline, middleware
from core.runtime.http.errors import render

HEAD_WITHIN_S = 0.3
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


async def answer_slowly(scope, receive, send) -> None:
    """Answers after twice the deadline where the path is /slow, else at once; reads no body."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * HEAD_WITHIN_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[int]:
    monkeypatch.setattr(head_deadline, "HEAD_WITHIN_S", HEAD_WITHIN_S)
    async with serve_http(answer_slowly, "127.0.0.1", 0) as bound:
        yield bound


async def until_closed(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, then an octet every 50 ms, until the server closes; what it sent, where no reset hid it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(reader.read())
    for piece in pieces:
        writer.write(piece)
    with suppress(ConnectionError):
        while not reading.done():
            await asyncio.sleep(0.05)
            writer.write(b"x")
    writer.close()
    with suppress(ConnectionError):
        return await reading
    return b""


async def test_hundred_connections_with_half_a_head_are_ended_however_slowly_it_goes_on(port: int) -> None:
    before = REGISTRY.get_sample_value("territoire_http_late_heads_total") or 0.0

    async with asyncio.timeout(60):
        late = asyncio.gather(*(until_closed(port, GET[:-2]) for _ in range(100)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        others = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        answers = await late

    assert others.startswith(b"HTTP/1.1 200 ")
    assert {answer[:13] for answer in answers} <= {b"HTTP/1.1 408 ", b""}
    assert REGISTRY.get_sample_value("territoire_http_late_heads_total") == before + 100


async def test_body_that_nobody_reads_keeps_no_connection_open_after_the_answer(port: int) -> None:
    async with asyncio.timeout(30):
        received = await until_closed(port, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")

    assert received[:13] in {b"HTTP/1.1 200 ", b""}


async def test_answer_that_takes_longer_than_a_head_may_is_given_and_the_connection_goes_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    for path in (b"/slow", b"/"):
        writer.write(GET.replace(b"/ ", path + b" ", 1))
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(2)
        assert (head.startswith(b"HTTP/1.1 200 "), body) == (True, b"ok")
    writer.close()

    assert time.monotonic() - started > HEAD_WITHIN_S


async def test_body_that_drips_is_ended_at_its_deadline_and_an_upgrade_escapes_no_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the API and the intake serve: each octet in time, the whole never."""
    monkeypatch.setattr(head_deadline, "HEAD_WITHIN_S", HEAD_WITHIN_S)
    monkeypatch.setattr(middleware, "BODY_WITHIN_S", HEAD_WITHIN_S)

    async def app(scope, receive, send) -> None:
        try:
            while (await receive())["more_body"]:
                pass
        except HTTPException as late:
            await render(late.status_code)(scope, receive, send)

    post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n"
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x\r\n"
    async with serve_http(middleware.OuterMiddleware(app), "127.0.0.1", 0) as bound, asyncio.timeout(30):
        received = await asyncio.gather(
            until_closed(bound, post + b"\r\n"), until_closed(bound, post + upgrade + b"\r\n")
        )

    assert {answer[:13] for answer in received} <= {b"HTTP/1.1 408 ", b""}
