"""The UDP socket of the packet forwarders' frontend: reads bursts, counts what the kernel dropped.

It may outlive the process that reads it. Then the kernel keeps what comes meanwhile, with the instant at which it
came, and whoever reads next begins with that.
"""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.runtime.errors import OperatorError
from core.runtime.listen_fds import Handed

Address = tuple[Any, ...]
# A burst at most this long after its first datagram: its frames wait for their batch much longer anyway, and a
# forwarder waits for its acknowledgement ten times as long.
PAUSE_S = 0.01
# Of one burst; the loop has other work too.
MOST_AT_ONCE = 500
LARGEST = 65_535
RECEIVE_BUFFER = 4 << 20
# socket(7), and Linux's asm-generic/socket.h, which x86-64 and 64-bit ARM have: Python does not name it.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(TIMESPEC.size)


class WrongSocket(OperatorError):
    """A socket that was handed over is not the one that the settings name."""

    def __init__(self, what: str, french: str) -> None:
        super().__init__(f"socket handed over: {what}", f"socket reçu au démarrage (LISTEN_FDS) : {french}")


def bound_socket(family: int, address: tuple[object, ...]) -> socket.socket:
    """A socket bound to `address`.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        # Before anything can come: the kernel notes no instant unless it is asked to.
        bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def grow_receive_buffer(bound: socket.socket, wanted: int) -> int:
    """Ask for a receive buffer of so many octets; returns what the socket has. One that is larger stays."""
    if _receive_buffer(bound) < wanted:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
    return _receive_buffer(bound)


def _receive_buffer(bound: socket.socket) -> int:
    # Linux answers with twice the value, for its own bookkeeping.
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


@dataclass(frozen=True, slots=True)
class KeptSocket:
    """A socket that was there before this process."""

    socket: socket.socket
    dropped: int
    """How many datagrams the kernel has dropped from it so far."""


def handed_socket(handed: Sequence[Handed], host: str, port: int) -> KeptSocket | None:
    """The datagram socket that whoever started this process has handed to it; None: it binds one itself.

    Raises:
        WrongSocket: there are several, or it is no UDP socket, or not where these settings say.
    """
    if len(handed) > 1:
        names = ", ".join(one.name for one in handed)
        raise WrongSocket(f"{names} instead of one", f"un seul était attendu, et voici {names}")
    for one in handed:
        opened = udp_socket_of(one)
        _require_bound_to(opened, host, port)
        return KeptSocket(opened, kernel_drops(opened))
    return None


def udp_socket_of(handed: Handed) -> socket.socket:
    """The UDP socket of this descriptor.

    Raises:
        WrongSocket: it is something else.
    """
    try:
        opened = socket.socket(fileno=handed.descriptor)
    except OSError:
        raise WrongSocket(f"{handed.name} is no socket", f"{handed.name} n'est pas un socket") from None
    if opened.type is not socket.SOCK_DGRAM or opened.family not in (socket.AF_INET, socket.AF_INET6):
        opened.close()
        raise WrongSocket(f"{handed.name} is not UDP", f"{handed.name} n'est pas un socket UDP (ListenDatagram=)")
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return opened


def is_bound_to(bound: socket.socket, host: str, port: int) -> bool:
    """Whether a socket is where these settings say; 0: any port. A name is looked up."""
    at = bound.getsockname()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return any(at[0] == address[0] and port in (0, at[1]) for *_, address in found)


def _require_bound_to(handed: socket.socket, host: str, port: int) -> None:
    if is_bound_to(handed, host, port):
        return
    at, wanted = address_of(handed), f"{host}:{port}"
    raise WrongSocket(
        f"{at} instead of {wanted}",
        f"il écoute sur {at}, et TERRITOIRE_UDP_HOST et TERRITOIRE_UDP_PORT demandent {wanted} ; donnez la même "
        "adresse des deux côtés, ou retirez l'unité .socket : le pont ouvre alors le sien",
    )


def address_of(bound: socket.socket) -> str:
    """Its address and port, for people."""
    host, port, *_ = bound.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kernel_drops(bound: socket.socket) -> int:
    """How many datagrams the kernel has dropped from this socket (proc(5), /proc/net/udp)."""
    inode = os.fstat(bound.fileno()).st_ino
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[9] == str(inode):
                return int(columns[-1])
    return 0


class DatagramSocket:
    """Reads in bursts: while datagrams keep coming, the process is woken every 10 ms and not for each of them.

    `received` is called with a datagram, its sender, and for how many microseconds it has waited for this process
    to be there. Of what comes later that is not asked: it would cost half as much again as reading it.
    """

    def __init__(
        self,
        bound: socket.socket,
        received: Callable[[bytes, Address, int], None],
        failed: Callable[[OSError], None],
        *,
        has_waiting: bool = False,
    ) -> None:
        self._socket = bound
        self._received = received
        self._failed = failed
        self._buffer = bytearray(LARGEST)
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self._has_waiting = has_waiting
        self._loop.add_reader(bound, self._begin)

    @property
    def is_open(self) -> bool:
        """Whether datagrams are received."""
        return self._socket.fileno() >= 0

    def close(self) -> None:
        """Receive no more."""
        if not self.is_open:
            return
        if self._next is None:
            self._loop.remove_reader(self._socket)
        else:
            self._next.cancel()
        self._socket.close()

    def send(self, datagram: bytes, address: Address) -> bool:
        """Hand a datagram to the kernel; False when it has no room, or cannot send there."""
        try:
            self._socket.sendto(datagram, address)
        except OSError as failed:
            self._failed(failed)
            return False
        return True

    def dropped(self) -> int:
        """How many datagrams the kernel dropped so far."""
        return kernel_drops(self._socket)

    def _begin(self) -> None:
        self._loop.remove_reader(self._socket)
        self._go_on()

    def _go_on(self) -> None:
        self._next = None
        count = self._late_burst() if self._has_waiting else self._burst()
        if not self.is_open:
            return
        if count:
            self._next = self._loop.call_later(PAUSE_S if count < MOST_AT_ONCE else 0.0, self._go_on)
        else:
            self._loop.add_reader(self._socket, self._begin)

    def _burst(self) -> int:
        """Read what is there; returns how many datagrams."""
        receive, buffer, received = self._socket.recvfrom_into, self._buffer, self._received
        view = memoryview(buffer)
        for count in range(MOST_AT_ONCE):
            try:
                size, address = receive(buffer)
            except BlockingIOError:
                return count
            except OSError as failed:  # What the network says of an earlier datagram.
                self._failed(failed)
                continue
            received(bytes(view[:size]), address, 0)
        return MOST_AT_ONCE

    def _late_burst(self) -> int:
        """Read what came before anybody read, and for how long it has waited; returns how many datagrams."""
        receive, buffer, received = self._socket.recvmsg_into, [self._buffer], self._received
        view = memoryview(self._buffer)
        for count in range(MOST_AT_ONCE):
            try:
                size, ancillary, _, address = receive(buffer, _ANCILLARY)
            except BlockingIOError:
                self._has_waiting = False
                return count
            except OSError as failed:
                self._failed(failed)
                continue
            received(bytes(view[:size]), address, waited_us(ancillary, time.time_ns()))
        return MOST_AT_ONCE


def waited_us(ancillary: list[tuple[int, int, bytes]], now_ns: int) -> int:
    """How long ago the kernel had a datagram, by its SO_TIMESTAMPNS; 0: not known, or the clock was set back."""
    for level, kind, octets in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(octets) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(octets)
            return max(0, now_ns - seconds * 1_000_000_000 - nanoseconds) // 1_000
    return 0
