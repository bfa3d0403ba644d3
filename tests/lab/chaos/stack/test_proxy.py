"""Each way in which a proxy spoils a connection or a datagram, before a server that says everything again."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from lab.chaos.stack.proxy import TcpProxy, UdpProxy, open_proxy, open_udp_proxy

MESSAGE = b"0123456789"


async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while octets := await reader.read(1 << 16):
            writer.write(octets)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncGenerator[TcpProxy]:
    async with await asyncio.start_server(repeat, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_proxy(f"nats://user:word@127.0.0.1:{port}") as opened:
            yield opened


@asynccontextmanager
async def connected(proxy: TcpProxy) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(MESSAGE)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        yield reader, writer
    finally:
        writer.close()


async def test_an_address_by_the_proxy_keeps_account_and_path(proxy: TcpProxy) -> None:
    assert (
        proxy.url_of("postgresql://a:b@db.example:5432/t?x=1") == f"postgresql://a:b@127.0.0.1:{proxy.port}/t?x=1"
    )


async def test_who_has_been_connected_for_so_long_is_known_until_thrown_out(proxy: TcpProxy) -> None:
    async with connected(proxy):
        [first] = proxy.held(0.0)
        await asyncio.sleep(0.2)
        async with connected(proxy):
            assert proxy.held(0.2) == {first}
            assert len(proxy.held(0.0)) == 2
        proxy.reset()
        async with asyncio.timeout(10):
            while proxy.held(0.0):  # noqa: ASYNC110 - The other side has no event.
                await asyncio.sleep(0.01)


async def test_what_is_delayed_comes_whole_and_late(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.delay_s = 0.1
        began = time.monotonic()
        writer.write(MESSAGE)

        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        assert time.monotonic() - began >= 0.2  # There, and back.


async def test_what_is_sent_while_the_way_is_cut_comes_once_it_is_mended(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.cut()
        writer.write(MESSAGE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        proxy.mend()

        assert await reader.readexactly(len(MESSAGE)) == MESSAGE


async def test_a_reset_is_an_error_and_no_end_and_the_next_connection_is_sound(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, _):
        proxy.reset()

        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    async with connected(proxy):
        assert proxy.accepted == 2


async def test_half_of_a_message_comes_and_then_the_end(proxy: TcpProxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.pass_half()
        writer.write(MESSAGE)

        # Half of it reached the server, and nothing of what that one said came back.
        assert await reader.read() in {b"", MESSAGE[:2]}

    async with connected(proxy):
        pass


class Echo(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[tuple[bytes, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append((data, addr[1]))
        self.transport.sendto(data, addr)


@pytest.fixture
async def echo() -> AsyncGenerator[Echo]:
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    yield echo
    transport.close()


@pytest.fixture
async def udp(echo: Echo) -> AsyncGenerator[UdpProxy]:
    async with open_udp_proxy("127.0.0.1", echo.transport.get_extra_info("sockname")[1]) as opened:
        yield opened


@pytest.fixture
async def client(udp: UdpProxy) -> AsyncGenerator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setblocking(False)
        opened.connect(("127.0.0.1", udp.port))
        yield opened


async def said(client: socket.socket, message: bytes = MESSAGE) -> bytes | None:
    """What comes back of a datagram within a moment."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, message)
    try:
        async with asyncio.timeout(0.3):
            return await loop.sock_recv(client, 100)
    except TimeoutError:
        return None


async def test_datagrams_come_late_or_not_at_all(udp: UdpProxy, client: socket.socket) -> None:
    assert await said(client) == MESSAGE
    udp.delay_s, began = 0.05, time.monotonic()
    assert await said(client) == MESSAGE
    assert time.monotonic() - began >= 0.1
    udp.delay_s = 0.0
    udp.cut()
    assert await said(client) is None
    udp.mend()
    assert await said(client, b"again") == b"again"
    assert udp.dropped == 1


async def test_after_a_reset_the_same_client_comes_from_another_port(
    udp: UdpProxy, client: socket.socket, echo: Echo
) -> None:
    await said(client)
    udp.reset()

    assert await said(client) == MESSAGE
    assert len({port for _, port in echo.received}) == 2


async def test_of_the_next_datagram_half_arrives(udp: UdpProxy, client: socket.socket, echo: Echo) -> None:
    await said(client)
    udp.pass_half()
    await said(client)

    assert await said(client) == MESSAGE
    assert [data for data, _ in echo.received] == [MESSAGE, MESSAGE[:5], MESSAGE]
