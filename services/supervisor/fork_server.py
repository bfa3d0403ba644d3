"""`python -m services.supervisor.fork_server SOCKET PROGRAM...`: imports once, forks a process for each program.

The supervisor starts it and asks by the socket, a descriptor. Nothing here has a connection, an event loop, a
thread or a secret: what a process is given (`Orders`) comes to itself alone, once it is forked.
"""

import ctypes
import gc
import os
import runpy
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from core.runtime.listen_fds import hand_to_this_process
from services.supervisor.launch import HANDED_AS, die_with
from services.supervisor.preloading import Preloading, hide

LONGEST_REQUEST = 256
# Its log, the channel of its orders, and the socket that it is handed, if it is handed one.
MOST_DESCRIPTORS = 3
# Before the name of a program that is asked for.
AT_ONCE = b"+"
# Before the reason, where there is no process's id.
FAILED = b"!"
BOUND = b"."
# proc(5), /proc/pid/stat: arg_start and arg_end are fields 48 and 49, counted here from field 3.
ARG_START, ARG_END = 45, 46
# What libraries of ours import where it is there, to draw on a terminal that no process of ours has: 4 MB.
NOT_IMPORTED = "rich"


class Orders(msgspec.Struct, frozen=True):
    """What one process is given, and no other ever has."""

    program: str
    argv: tuple[str, ...]
    """As if it had been started by itself: for those who list processes."""
    env: dict[str, str]
    cwd: str
    account: tuple[int, int] | None
    """User and group; None: those of the supervisor."""
    parent: int
    """The supervisor, whose child it is; with it the process ends, by this signal."""
    stop_signal: int


def serve(control: socket.socket, preloading: Preloading) -> Orders:
    """Import, and fork whenever the supervisor asks. Returns in a forked process, with its orders.

    What is asked for at once waits for its own imports alone. The others are forked when everything is imported: a
    page that is written on here afterwards is no longer shared with them.
    """
    while True:
        if not preloading.is_complete and not select.select([control], [], [], 0)[0]:
            preloading.import_next()
            continue
        request, descriptors, _, _ = socket.recv_fds(control, LONGEST_REQUEST, MOST_DESCRIPTORS)
        if not request:
            raise SystemExit(0)  # The supervisor has closed it.
        program = request.removeprefix(AT_ONCE).decode()
        preloading.import_program(program)
        if not request.startswith(AT_ONCE):
            preloading.import_all()
        foreign = preloading.metrics_of_others(program)
        log, private, *handed = descriptors
        # What is frozen is not walked through by a child's collector, which would copy every page of it.
        gc.freeze()
        try:
            child = _fork_apart()
        except OSError as refused:
            control.send(FAILED + str(refused).encode())
            child = 0
        if child is None:
            control.close()
            orders = _bind(log, private)
            for descriptor in handed:
                hand_to_this_process(HANDED_AS, descriptor)
            hide(foreign)
            return orders
        for descriptor in descriptors:
            os.close(descriptor)
        if child:
            control.send(str(child).encode())


def _fork_apart() -> int | None:
    """The id of a new process, which nobody here is the parent of; None in it.

    Its parent ends at once, so that the supervisor adopts it: it learns of its end and of its status, and it lives
    on when this process dies.
    """
    reading, writing = os.pipe()
    between = os.fork()
    if between:
        os.close(writing)
        os.waitpid(between, 0)
        with open(reading, "rb") as answer:  # noqa: PTH123 - A descriptor.
            pid = answer.read()
        if not pid:
            raise OSError("no second fork")
        return int(pid)
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.close(reading)
    os.close(writing)
    return None


def _bind(log: int, private: int) -> Orders:
    """Read the orders, and become what they say. The supervisor sends them once this process is its child."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    os.close(nothing)
    os.close(log)
    with socket.socket(fileno=private) as channel:
        octets = b""
        while more := channel.recv(65_536):
            octets += more
        try:
            orders = msgspec.msgpack.decode(octets, type=Orders)
        except msgspec.DecodeError:
            os._exit(1)  # The supervisor died meanwhile.
        os.setsid()
        os.chdir(orders.cwd)
        _show_as(orders.argv)
        if orders.account is not None:
            os.setgroups([])
            os.setgid(orders.account[1])
            os.setuid(orders.account[0])
        os.environ.clear()
        os.environ.update(orders.env)
        time.tzset()
        die_with(orders.parent, signal.Signals(orders.stop_signal))
        channel.sendall(BOUND)
    return orders


def _show_as(argv: tuple[str, ...]) -> None:
    """Write over the memory where ps(1) finds a command line; ours is longer than those of what is forked."""
    with suppress(OSError, IndexError, ValueError):
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_END])
        line = b"".join(os.fsencode(part) + b"\0" for part in argv)
        if 0 < len(line) <= end - start:
            ctypes.memmove(start, line.ljust(end - start, b"\0"), end - start)


def main() -> None:
    """Serve; in each forked process run its program, whose end is the process's."""
    gc.disable()
    sys.modules.setdefault(NOT_IMPORTED, None)  # pyright: ignore[reportArgumentType] - As importlib says: not there.
    with socket.socket(fileno=int(sys.argv[1])) as control:
        orders = serve(control, Preloading(sys.argv[2:]))
    gc.enable()
    sys.argv = [orders.program]
    runpy.run_module(orders.program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
