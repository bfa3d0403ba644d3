"""The PROXY protocol, versions 1 and 2: what a proxy of TCP says, before all else, of the client behind it.

Where networks are listed, each connection from there begins with such a header or is refused, and one from
elsewhere that has one is refused. Servers see the client's address as their peer's; neither uvicorn nor websockets
has to know, and TLS begins after the header.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import structlog
from prometheus_client import Counter

from core.runtime.http.origin import Network, is_listed

HEADER_WITHIN_S = 10.0
MAX_WAITING = 1024
RETRY_S = 1.0
# Longer than a signature of either version; the shortest header is longer.
START = 12
V1_START: Final = b"PROXY "
V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1 = 107
# Addresses, and whatever else a proxy may add.
MAX_V2 = 4096
# Octets of addresses and ports: of IPv4 and IPv6 over TCP.
_V2_FAMILIES = {0x11: (4, 12), 0x21: (16, 36)}
_V2_UNKNOWN = {0x00, 0x31}
_LOCAL, _PROXIED = 0x20, 0x21
_MAX_PORT = 65535

HEADERS = Counter(
    "territoire_http_proxy_headers_total",
    "Connections where proxies are listed that send a PROXY header, by what became of them",
    ["result"],
)

log = structlog.get_logger()


class MalformedHeader(ValueError):
    """It is no PROXY header."""


def parse_v1(line: bytes) -> tuple[str, int] | None:
    """The client of a line that begins with PROXY and ends with CR LF; None where the proxy does not know.

    Raises:
        MalformedHeader: it is no such line.
    """
    words = line[:-2].split(b" ") if line.endswith(b"\r\n") else []
    match words:
        case [b"PROXY", b"UNKNOWN", *_]:
            return None
        case [b"PROXY", b"TCP4" | b"TCP6" as family, source, destination, port, other]:
            kind = IPv4Address if family == b"TCP4" else IPv6Address
            try:
                client = kind(source.decode("ascii"))
                kind(destination.decode("ascii"))
                ports = [int(text) for text in (port, other) if text.isdigit() and int(text) <= _MAX_PORT]
            except ValueError:
                raise MalformedHeader(line) from None
            if len(ports) == 2:  # noqa: PLR2004 - Both.
                return str(client), ports[0]
        case _:
            pass
    raise MalformedHeader(line)


def parse_v2(command: int, family: int, rest: bytes) -> tuple[str, int] | None:
    """The client of a binary header, of which `rest` follows the first 16 octets; None where there is none.

    Raises:
        MalformedHeader: it is another version, or no connection of TCP.
    """
    if command not in {_LOCAL, _PROXIED}:
        raise MalformedHeader(f"version and command {command:#04x}")
    if command == _LOCAL or family in _V2_UNKNOWN:
        return None
    if family not in _V2_FAMILIES:
        raise MalformedHeader(f"family {family:#04x}")
    octets, length = _V2_FAMILIES[family]
    if len(rest) < length:
        raise MalformedHeader(f"{len(rest)} octets of addresses")
    address = IPv4Address(rest[:4]) if octets == 4 else IPv6Address(rest[:16])  # noqa: PLR2004 - Of IPv4.
    return str(address), int.from_bytes(rest[2 * octets : 2 * octets + 2])


class _Rejected(Exception):
    """The connection is refused, for this reason."""


class ProxiedSocket(socket.socket):
    """A listening socket that hands out a connection when its header was read: (connection, the client's address).

    To the event loop it is readable whenever one is ready: what it waits on is one end of a pair, not the port.
    """

    def __init__(self, listening: socket.socket, proxies: Sequence[Network]) -> None:
        """`listening` listens already, and is closed with this one."""
        ours, self._waker = socket.socketpair()
        super().__init__(ours.family, ours.type, ours.proto, ours.detach())
        self._waker.setblocking(False)
        listening.setblocking(False)
        self._listening = listening
        self._proxies = proxies
        self._ready: deque[tuple[socket.socket, Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept_all(), name="read PROXY headers")
        # Not before: the loop still watches its file descriptor, which another connection may get.
        self._accepting.add_done_callback(lambda _: listening.close())

    def listen(self, _backlog: int = 0, /) -> None:
        """Nothing: the port is listened on already."""

    def getsockname(self) -> Any:
        """Where clients connect."""
        return self._listening.getsockname()

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection whose header was read; BlockingIOError when there is none."""
        if not self._ready:
            raise BlockingIOError
        taken = self._ready.popleft()
        if not self._ready:
            self.recv(1)
        return taken

    def close(self) -> None:
        """Listen no more; those who wait are refused."""
        self._accepting.cancel()
        for task in self._waiting:
            task.cancel()
        self._waker.close()
        while self._ready:
            self._ready.popleft()[0].close()
        super().close()

    async def _accept_all(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._listening)
            except OSError as full:  # No file descriptors, for a while.
                log.warning("connection_not_accepted", error=str(full))
                await asyncio.sleep(RETRY_S)
                continue
            if len(self._waiting) >= MAX_WAITING:
                HEADERS.labels("too_many").inc()
                connection.close()
                continue
            task = self._loop.create_task(self._admit(connection, address), name="read a PROXY header")
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _admit(self, connection: socket.socket, address: Any) -> None:
        is_admitted = False
        try:
            connection.setblocking(False)
            async with asyncio.timeout(HEADER_WITHIN_S):
                client = await self._client_of(connection, address)
            self._ready.append((connection, client))
            is_admitted = True
            if len(self._ready) == 1:
                self._waker.send(b"\0")  # It stays until none is ready: an octet each would not fit into the pair.
        except (TimeoutError, OSError, EOFError):
            HEADERS.labels("silent").inc()
        except _Rejected as rejected:
            HEADERS.labels(str(rejected)).inc()
            log.warning("proxy_header_rejected", address=address[0], reason=str(rejected))
        finally:
            if not is_admitted:
                connection.close()

    async def _client_of(self, connection: socket.socket, address: Any) -> Any:
        if not is_listed(address[0], self._proxies):
            await self._readable(connection)
            start = connection.recv(START, socket.MSG_PEEK)
            if start.startswith((V1_START, V2_START)):
                raise _Rejected("not_listed")
            return address
        try:
            client = await self._read_header(connection)
        except MalformedHeader:
            raise _Rejected("malformed") from None
        HEADERS.labels("ok").inc()
        return address if client is None else client

    async def _read_header(self, connection: socket.socket) -> tuple[str, int] | None:
        start = await self._exactly(connection, START)
        if start == V2_START:
            command, family, *length = await self._exactly(connection, 4)
            octets = int.from_bytes(bytes(length))
            if octets > MAX_V2:
                raise MalformedHeader(f"{octets} octets")
            return parse_v2(command, family, await self._exactly(connection, octets))
        if not start.startswith(V1_START):
            raise _Rejected("missing")
        return parse_v1(await self._line(connection, start))

    async def _readable(self, connection: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(connection, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            self._loop.remove_reader(connection)

    async def _exactly(self, connection: socket.socket, length: int) -> bytes:
        """So many octets and not one more: what follows is for the server."""
        octets = b""
        while len(octets) < length:
            more = await self._loop.sock_recv(connection, length - len(octets))
            if not more:
                raise EOFError
            octets += more
        return octets

    async def _line(self, connection: socket.socket, start: bytes) -> bytes:
        line = start
        while not line.endswith(b"\n"):
            if len(line) >= MAX_V1:
                raise MalformedHeader(line)
            line += await self._exactly(connection, 1)
        return line
