"""The UDP socket beneath the packet forwarders' frontend: its buffer, and what the kernel dropped from it."""

import socket
from pathlib import Path


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
