"""The UDP socket that a supervisor keeps for a bridge: looked up, and taken for a bridge of our own."""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# pidfd_getfd(2), by its number in the generic table, which x86-64 has as well: Python does not have it.
PIDFD_GETFD = 438
LOCAL_ADDRESS, INODE = 1, 9

_libc = ctypes.CDLL(None, use_errno=True)


def kept_descriptor(supervisor: int, port: int) -> int | None:
    """Which descriptor of this process is bound to the UDP port; None: it keeps none there."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]]
    sockets = {f"socket:[{row[INODE]}]" for row in rows if int(row[LOCAL_ADDRESS].rpartition(":")[2], 16) == port}
    try:
        opened = [(int(one.name), str(one.readlink())) for one in Path(f"/proc/{supervisor}/fd").iterdir()]
    except OSError:
        return None
    return next((number for number, what in opened if what in sockets), None)


@contextmanager
def kept_socket(supervisor: int, port: int | None) -> Generator[int | None]:
    """A descriptor of our own of that socket; None: it keeps none there, and a bridge binds one by itself.

    Raises:
        OSError: the kernel does not let us (ptrace(2), "Ptrace access mode checking").
    """
    number = None if port is None else kept_descriptor(supervisor, port)
    if number is None:
        yield None
        return
    process = os.pidfd_open(supervisor)
    try:
        ours = int(_libc.syscall(PIDFD_GETFD, process, number, 0))
        if ours < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(process)
    try:
        yield ours
    finally:
        os.close(ours)
