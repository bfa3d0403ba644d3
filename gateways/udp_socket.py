"""The UDP socket of the packet forwarders' frontend: reads bursts, counts what the kernel dropped."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

Address = tuple[Any, ...]
# A burst at most this long after its first datagram: its frames wait for their batch much longer anyway, and a
# forwarder waits for its acknowledgement ten times as long.
PAUSE_S = 0.01
# Of one burst; the loop has other work too.
MOST_AT_ONCE = 500
LARGEST = 65_535


def bound_socket(family: int, address: tuple[object, ...], receive_buffer: int) -> tuple[socket.socket, int]:
    """A socket bound to `address`, and the receive buffer that the kernel granted, in octets.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    # Linux answers with twice the value, for its own bookkeeping.
    return bound, bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def kernel_drops(inode: int) -> int:
    """How many datagrams the kernel dropped from the socket with this inode (proc(5), /proc/net/udp)."""
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
    """Reads in bursts: while datagrams keep coming, the process is woken every 10 ms and not for each of them."""

    def __init__(
        self,
        bound: socket.socket,
        received: Callable[[bytes, Address], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._socket = bound
        self._received = received
        self._failed = failed
        self._buffer = bytearray(LARGEST)
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
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
        return kernel_drops(os.fstat(self._socket.fileno()).st_ino)

    def _begin(self) -> None:
        self._loop.remove_reader(self._socket)
        self._go_on()

    def _go_on(self) -> None:
        self._next = None
        count = self._burst()
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
            received(bytes(view[:size]), address)
        return MOST_AT_ONCE
