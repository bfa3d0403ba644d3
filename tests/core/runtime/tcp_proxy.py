"""A way to one server that can be cut: octets are swallowed in silence, as by a network that lost its route."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


class Way:
    """To `host:port`; `url_of` gives a server's address by this way."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    def cut(self) -> None:
        """From now on no octet goes through, and no connection is closed."""
        self._whole.clear()

    def mend(self) -> None:
        """What waited goes through, as TCP sends it again."""
        self._whole.set()

    def url_of(self, url: str) -> str:
        """The same address, by this way."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        return url.replace(host, f"{LOOPBACK}:{self.port}")

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while octets := await source.read(CHUNK):
                    await self._whole.wait()
                    sink.write(octets)
                    await sink.drain()
            await self._whole.wait()
        finally:
            sink.close()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def way_to(url: str) -> AsyncGenerator[Way]:
    """A way to the server of this address."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    way = Way(parts.hostname, parts.port)
    async with await asyncio.start_server(way.accept, LOOPBACK, 0) as server:
        way.port = server.sockets[0].getsockname()[1]
        try:
            yield way
        finally:
            await way.close()
