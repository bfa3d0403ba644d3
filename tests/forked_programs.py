"""Programs of ours as processes, forked from one that has imported them: no interpreter starts for each.

An interpreter that starts and imports takes 0.6 s of a core, this a tenth of it, by the supervisor's own fork
server: session, environment and standard streams are the process's own, and it ends with this one. How a program
comes up by itself is what tests of the supervisor, and those that still start an interpreter, are for.
"""

import asyncio
import atexit
import faulthandler
import logging
import os
import runpy
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.supervisor.fork_server import serve
from services.supervisor.forking import ForkedProcess, ForkServer
from services.supervisor.launch import Launch
from services.supervisor.preloading import Preloading

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class _Forker:
    """The fork server's process, of which a `ForkServer` needs no more."""

    pid: int
    returncode: None = None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class _Inherited(ForkServer):
    """A fork server that is a fork of this process: what has been imported here it need not import again."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        super().__init__(("",), {})
        control.setblocking(False)
        self._control = control
        self._process: Any = _Forker(pid)
        self._starts = 2  # Each program is imported when it is asked for, and no other waited for.


_server: list[_Inherited] = []


def fork_server() -> None:
    """Have one. A worker calls it at its birth, while it has neither a thread nor a loop."""
    if _server:
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            _serve(theirs)
        finally:
            os._exit(0)  # Its parent has closed the socket.
    theirs.close()
    _server.append(_Inherited(ours, pid))


def _serve(control: socket.socket) -> None:
    """What is pytest's own here, where it keeps output and what it does at its end, is not the programs'."""
    faulthandler.disable()
    atexit._clear()
    logging.getLogger().handlers.clear()
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    with control:
        orders = serve(control, Preloading(()))
    sys.argv = [orders.program]
    status: Any = 1
    try:
        runpy.run_module(orders.program, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - As an interpreter ends by it.
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


async def start_program(program: str, environment: Mapping[str, str], log: Path | None = None) -> ForkedProcess:
    """`python -m PROGRAM` in the checkout; what it writes is added to `log`, or is nobody's."""
    if not _server:
        await asyncio.to_thread(fork_server)
    launch = Launch(
        (sys.executable, "-P", "-m", program), env=environment, cwd=CHECKOUT, stop_signal=signal.SIGKILL
    )
    with (Path(os.devnull) if log is None else log).open("ab") as output:
        return await _server[0].fork(launch, output)
