"""Proxies on the loopback in front of one server: late, silent, reset, or gone in the middle of a message.

One for connections (PostgreSQL, the bus, WebSocket, MQTT, webhooks), one for datagrams (Semtech UDP).
"""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

Client = tuple[Any, ...]
"""The address of one, as the socket has it."""
LOOPBACK = "127.0.0.1"
# What a connection carries during one delay is what a window of this size lets through.
CHUNK = 1 << 16
# Nothing lingers: what is closed so is reset.
NO_LINGER = struct.pack("ii", 1, 0)


class Proxy(Protocol):
    """What may be done to the way to a server, whatever it speaks."""

    port: int
    delay_s: float

    def cut(self) -> None:
        """From now on nothing goes through, and nobody is told so."""
        ...

    def mend(self) -> None:
        """What is sent from now on goes through."""
        ...

    def reset(self) -> None:
        """Whoever is connected now is thrown out."""
        ...

    def pass_half(self) -> None:
        """Of the next message of whoever is connected now, half goes through."""
        ...


@dataclass(eq=False, slots=True)
class _Pair:
    """A client's connection, and the one to the server for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    opened_at: float
    is_halved: bool = False

    def reset(self) -> None:
        for writer in (self.client, self.server):
            opened: socket.socket | None = writer.get_extra_info("socket")
            if opened is not None and opened.fileno() >= 0:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()


class TcpProxy:
    """To `host:port`; `url_of` gives a server's address by this way."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._whole = asyncio.Event()
        self._whole.set()
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay_s = 0.0
        self.accepted = 0
        """Connections so far."""

    def cut(self) -> None:
        """From now on no octet goes through, and no connection is closed."""
        self._whole.clear()

    def mend(self) -> None:
        """What waited goes through, as TCP sends it again."""
        self._whole.set()

    def reset(self) -> None:
        """Every connection ends by an RST, on both sides."""
        for pair in list(self._pairs):
            pair.reset()

    def pass_half(self) -> None:
        """Of every connection, half of the next message goes through, and then it ends."""
        for pair in self._pairs:
            pair.is_halved = True

    def held(self, for_s: float) -> frozenset[object]:
        """The connections that have stood for so long."""
        now = time.monotonic()
        return frozenset(pair for pair in self._pairs if now - pair.opened_at >= for_s)

    def url_of(self, url: str) -> str:
        """The same address, by this way."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        return url.replace(host, f"{LOOPBACK}:{self.port}")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        self.accepted += 1
        await self._whole.wait()
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        pair = _Pair(writer, there[1], time.monotonic())
        self._pairs.add(pair)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._carry(pair, source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while octets := await source.read(CHUNK):
                    if self.delay_s:
                        await asyncio.sleep(self.delay_s)
                    await self._whole.wait()
                    if pair.is_halved:
                        sink.write(octets[: len(octets) // 2])
                        await sink.drain()
                        break
                    sink.write(octets)
                    await sink.drain()
            await self._whole.wait()
        finally:
            self._pairs.discard(pair)
            for writer in (pair.client, pair.server) if pair.is_halved else (sink,):
                writer.close()

    async def close(self) -> None:
        """Carry nothing any more."""
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def open_proxy(url: str) -> AsyncGenerator[TcpProxy]:
    """A proxy in front of the server of this address."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"no host and port in {parts.scheme}://")
    proxy = TcpProxy(parts.hostname, parts.port)
    async with await asyncio.start_server(proxy.accept, LOOPBACK, 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            await proxy.close()


class _Upstream(asyncio.DatagramProtocol):
    """The socket by which one client's datagrams leave; what comes back is the client's."""

    def __init__(self, proxy: "UdpProxy", client: Client) -> None:
        self._proxy = proxy
        self._client = client

    def datagram_received(self, data: bytes, addr: Client) -> None:  # noqa: ARG002
        self._proxy.carry(self._proxy.answer, data, self._client)


class UdpProxy(asyncio.DatagramProtocol):
    """To `host:port`, with a socket of its own for each client, as a router that translates addresses has."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._upstream: dict[Client, asyncio.DatagramTransport] = {}
        self._opening: dict[Client, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._halved: set[Client] = set()
        self.port = 0
        self.delay_s = 0.0
        self.dropped = 0

    def cut(self) -> None:
        """From now on every datagram is lost."""
        self._is_cut = True

    def mend(self) -> None:
        """What is sent from now on arrives."""
        self._is_cut = False

    def reset(self) -> None:
        """The router forgets who was who: each client comes from another port from now on."""
        for transport in self._upstream.values():
            transport.close()
        self._upstream.clear()

    def pass_half(self) -> None:
        """Of each client's next datagram the second half is missing."""
        self._halved.update(self._upstream)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - The base class's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Client) -> None:  # noqa: D102 - The base class's.
        if addr in self._halved:
            self._halved.discard(addr)
            data = data[: len(data) // 2]
        self.carry(self._send, data, addr)

    def carry(self, send: Callable[[bytes, Client], None], datagram: bytes, client: Client) -> None:
        """At once, later, or never."""
        if self._is_cut:
            self.dropped += 1
        elif self.delay_s:
            self._loop.call_later(self.delay_s, send, datagram, client)
        else:
            send(datagram, client)

    def answer(self, datagram: bytes, client: Client) -> None:
        """What the server said, to whom it was for."""
        if self._transport is not None:
            self._transport.sendto(datagram, client)

    def _send(self, datagram: bytes, client: Client) -> None:
        transport = self._upstream.get(client)
        if transport is not None:
            transport.sendto(datagram)
        elif client in self._opening:
            self._opening[client].append(datagram)
        else:
            self._opening[client] = [datagram]
            task = asyncio.create_task(self._open(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, client: Client) -> None:
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Upstream(self, client), remote_addr=self._target
        )
        self._upstream[client] = transport
        for datagram in self._opening.pop(client):
            transport.sendto(datagram)

    def close(self) -> None:
        """Carry nothing any more."""
        self._is_cut = True
        for task in self._tasks:
            task.cancel()
        self.reset()
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def open_udp_proxy(host: str, port: int) -> AsyncGenerator[UdpProxy]:
    """A proxy in front of the server of datagrams there."""
    loop = asyncio.get_running_loop()
    transport, proxy = await loop.create_datagram_endpoint(lambda: UdpProxy(host, port), local_addr=(LOOPBACK, 0))
    proxy.port = transport.get_extra_info("sockname")[1]
    try:
        yield proxy
    finally:
        proxy.close()
