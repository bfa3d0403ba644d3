"""The PROXY protocol before our servers: who is believed, who is refused, and that it is counted."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from core.runtime.health import serve_http
from core.runtime.http.proxy_header import V2_START, MalformedHeader, ProxiedSocket, parse_v1, parse_v2

HERE, ELSEWHERE = ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8")
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
V1 = b"PROXY TCP4 198.51.100.4 192.0.2.1 51234 443\r\n"
V1_OF_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n"


def v2(command: int = 0x21, family: int = 0x11, rest: bytes | None = None) -> bytes:
    addresses = bytes([198, 51, 100, 4, 192, 0, 2, 1]) + (51234).to_bytes(2) + (443).to_bytes(2)
    rest = addresses if rest is None else rest
    return V2_START + bytes([command, family]) + len(rest).to_bytes(2) + rest


V2_OF_6 = v2(family=0x21, rest=bytes.fromhex("20010db8" + "00" * 11 + "07" + "00" * 16 + "c82201bb"))
WITH_MORE = V2_START + b"\x21\x11\x00\x11" + v2()[16:] + b"\x04\x00\x02ab"


async def show_client(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    headers = [(b"x-client", scope["client"][0].encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def client_seen(sent: bytes, proxies: Sequence[Any]) -> str:
    """The address that a server of ours sees as its client's; empty where it was not asked at all."""
    async with serve_http(show_client, "127.0.0.1", 0, proxies=proxies) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent + GET)
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
    return answer.partition(b"x-client: ")[2].partition(b"\r")[0].decode()


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("territoire_http_proxy_headers_total", {"result": result}) or 0.0


@pytest.mark.parametrize(
    ("sent", "proxies", "client", "result"),
    [
        (V1, [HERE], "198.51.100.4", "ok"),
        (V1_OF_6, [HERE], "2001:db8::7", "ok"),
        (v2(), [HERE], "198.51.100.4", "ok"),
        (V2_OF_6, [HERE], "2001:db8::7", "ok"),
        (WITH_MORE, [HERE], "198.51.100.4", "ok"),
        (v2(command=0x20, family=0, rest=b""), [HERE], "127.0.0.1", "ok"),  # The proxy itself asks how we are.
        (b"PROXY UNKNOWN\r\n", [HERE], "127.0.0.1", "ok"),
        (b"", [HERE], "", "missing"),
        (b"PROXY TCP4 198.51.100.4\r\n", [HERE], "", "malformed"),
        (v2(family=0x12), [HERE], "", "malformed"),
        (V1, [ELSEWHERE], "", "not_listed"),
        (v2(), [ELSEWHERE], "", "not_listed"),
        (V1, [], "", None),
        (b"", [ELSEWHERE], "127.0.0.1", None),
        (b"", [], "127.0.0.1", None),
    ],
)
async def test_only_a_listed_proxy_says_who_is_behind_it_and_must(
    sent: bytes, proxies: Sequence[Any], client: str, result: str | None
) -> None:
    before = 0.0 if result is None else counted(result)

    assert await client_seen(sent, proxies) == client

    assert result is None or counted(result) == before + 1


async def test_a_header_in_pieces_is_read_whole_and_a_silent_connection_keeps_nobody_waiting() -> None:
    async with serve_http(show_client, "127.0.0.1", 0, proxies=[HERE]) as port, asyncio.timeout(20):
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for octet in v2() + GET:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)
        answer = await reader.read()
        for open_one in (silent, writer):
            open_one.close()

    assert b"x-client: 198.51.100.4" in answer


@given(octets=st.binary(max_size=120) | st.binary(max_size=100).map(lambda rest: b"PROXY TCP4 " + rest + b"\r\n"))
def test_whatever_is_sent_raises_only_malformed_header(octets: bytes) -> None:
    for parse in (lambda: parse_v1(octets), lambda: parse_v2(octets[0] if octets else 0, 0x11, octets[1:])):
        try:
            parse()
        except MalformedHeader:
            continue


async def test_four_hundred_connections_at_once_are_handed_out_each_as_itself_and_so_are_later_ones() -> None:
    """Of 280 that nobody had taken yet the socket had no room, and all later ones were taken for another."""
    proxied = ProxiedSocket(socket.create_server(("127.0.0.1", 0), backlog=512), [HERE])
    port = proxied.getsockname()[1]

    def sources() -> list[int]:
        found: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, (_, source) = proxied.accept()
                assert connection.fileno() >= 0
                found.append(source)
                connection.close()
        return found

    async def come(numbers: range) -> list[asyncio.StreamWriter]:
        writers: list[asyncio.StreamWriter] = []
        for number in numbers:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(V1.replace(b"51234", str(number).encode()))
            writers.append(writer)
        return writers

    before, writers = counted("ok"), await come(range(1, 401))
    async with asyncio.timeout(20):
        while counted("ok") < before + 400:  # noqa: ASYNC110 - A counter has no event.
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    taken = sources()
    writers += await come(range(401, 403))
    async with asyncio.timeout(20):
        while counted("ok") < before + 402:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    later = sources()
    for writer in writers:
        writer.close()
    proxied.close()

    assert (sorted(taken), later) == (list(range(1, 401)), [401, 402])
