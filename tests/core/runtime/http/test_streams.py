"""Answers that are streams, over a real socket: deadlines of their own, headers of their own."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest

from core.runtime.health import serve_http
from core.runtime.http import middleware

WHOLE_WITHIN_S, NEXT_WITHIN_S = 0.3, 0.6
ENDED: dict[str, asyncio.Event] = {}
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"etag", b'"1"'),
    (b"cache-control", b"public"),
]


async def streaming(scope, _receive, send) -> None:
    """A stream that is silent from the start, after an octet, or never; or that is more than anybody reads."""

    async def give(octets: bytes) -> None:
        await send({"type": "http.response.body", "body": octets, "more_body": True})

    ended = ENDED.setdefault(scope["path"], asyncio.Event())
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    try:
        match scope["path"]:
            case "/silent":
                await asyncio.Event().wait()
            case "/once":
                await give(b"x")
                await asyncio.Event().wait()
            case "/steady":
                for _ in range(20):
                    await give(b"x")
                    await asyncio.sleep(WHOLE_WITHIN_S / 5)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            case _:
                while True:
                    await give(bytes(1 << 20))
    finally:
        ended.set()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[int]:
    ENDED.clear()
    monkeypatch.setattr(middleware, "ANSWER_WITHIN_S", WHOLE_WITHIN_S)
    monkeypatch.setattr(middleware, "NEXT_OCTET_WITHIN_S", NEXT_WITHIN_S)
    async with serve_http(middleware.OuterMiddleware(streaming), "127.0.0.1", 0, shutdown_timeout_s=1) as bound:
        yield bound


async def test_stream_goes_on_while_it_speaks_and_is_ended_when_it_falls_silent(port: int) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        steady, once, silent = await asyncio.gather(*map(client.get, ("/steady", "/once", "/silent")))

    assert steady.content == b"x" * 20  # Four times as long as a whole answer may take.
    assert (once.content, silent.content) == (b"x", b"")
    assert {"/steady", "/once", "/silent"} == {path for path, ended in ENDED.items() if ended.is_set()}


async def test_stream_is_kept_by_nobody_and_held_back_by_no_proxy(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        headers = (await client.get("/silent")).headers

    assert headers.get_list("cache-control") == ["no-store"]
    assert headers["x-accel-buffering"] == "no"
    assert "etag" not in headers


async def test_reader_who_takes_nothing_more_is_cut_off_and_the_stream_behind_it_ends(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")

    async with asyncio.timeout(30):
        while "/flood" not in ENDED:  # noqa: ASYNC110 - It is made by the first request.
            await asyncio.sleep(0.01)
        await ENDED["/flood"].wait()
        received = await reader.read()  # What the sockets held; nothing waits for the reader any more.
    writer.close()

    assert not received.endswith(b"0\r\n\r\n")
