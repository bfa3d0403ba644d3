"""The supervisor's side of the fork server: it asks for processes, and they are its own children."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from services.supervisor.fork_server import AT_ONCE, FAILED, LONGEST_REQUEST, Orders
from services.supervisor.launch import Launch

PR_SET_CHILD_SUBREAPER = 36
# What it imports first is imported by then, on a machine that has much else to do.
FORKED_WITHIN_S = 60.0

_libc = ctypes.CDLL(None, use_errno=True)


class ForkedProcess:
    """A child of this process that another has forked; used as asyncio's own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._descriptor = os.pidfd_open(pid)
        self._loop.add_reader(self._descriptor, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self._status.set_result(os.waitstatus_to_exitcode(status))

    @property
    def returncode(self) -> int | None:
        """Its status; None until we know of its end."""
        return self._status.result() if self._status.done() else None

    async def wait(self) -> int:
        """Its status once it has ended; negative: the signal that ended it."""
        return await asyncio.shield(self._status)

    def send_signal(self, number: int) -> None:
        """Signal it unless it has ended. Until we know of its end, its id is nobody else's."""
        if self.returncode is None:
            os.kill(self.pid, number)


class ForkServer:
    """Starts the fork server, and processes by it. It is asked for one at a time.

    The first of the programs runs before the others, and not for long: it does not wait until they are imported.
    Nor does anything that is started again when the fork server was: what it shares counts for less then.
    """

    def __init__(
        self, programs: Sequence[str], env: dict[str, str], *, forked_within: float = FORKED_WITHIN_S
    ) -> None:
        self._programs = tuple(programs)
        self._env = env
        self._forked_within = forked_within
        self._starts = 0
        self._asking = asyncio.Lock()
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None

    def launch(self) -> Launch:
        """How it is started; `start` adds the descriptor."""
        argv = (sys.executable, "-P", "-m", "services.supervisor.fork_server")
        return Launch(argv, env=self._env, stop_signal=signal.SIGKILL)

    async def start(self, launch: Launch, log: IO[bytes]) -> asyncio.subprocess.Process:
        """Start it, again when it has ended: what it had forked goes on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = (*launch.argv, str(theirs.fileno()), *self._programs)
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, **launch.arguments(log), pass_fds=(theirs.fileno(),)
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        if self._control is not None:
            self._control.close()
        self._control, self._process = ours, process
        self._starts += 1
        return process

    async def is_there(self) -> bool:
        """Whether it can be asked; it answers once it has imported what is asked for."""
        return self._control is not None

    async def fork(self, launch: Launch, log: IO[bytes]) -> ForkedProcess:
        """Start `python -m PROGRAM` as a fork.

        Raises:
            OSError: the fork server died of it, or refuses.
        """
        async with self._asking:
            if self._control is None or self._process is None or self._process.returncode is not None:
                raise OSError("no fork server")
            try:
                async with asyncio.timeout(self._forked_within):
                    return await self._ask(self._control, launch, log)
            except TimeoutError:
                self._process.kill()  # It is frozen: another one is started.
                raise OSError("the fork server does not answer") from None

    async def _ask(self, control: socket.socket, launch: Launch, log: IO[bytes]) -> ForkedProcess:
        loop = asyncio.get_running_loop()
        program = launch.argv[-1]
        is_urgent = program == self._programs[0] or self._starts > 1
        request = (AT_ONCE if is_urgent else b"") + program.encode()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            with theirs, _adopting():
                handed = () if launch.handed is None else (launch.handed.fileno(),)
                socket.send_fds(control, [request], [log.fileno(), theirs.fileno(), *handed])
                answer = await loop.sock_recv(control, LONGEST_REQUEST)
            if not answer or answer.startswith(FAILED):
                raise OSError(answer.removeprefix(FAILED).decode() or "the fork server ended")
            process = ForkedProcess(int(answer))
            orders = Orders(
                program,
                launch.argv,
                dict(launch.env),
                str(launch.cwd),
                None if launch.account is None else (launch.account.uid, launch.account.gid),
                os.getpid(),
                launch.stop_signal,
            )
            try:
                await loop.sock_sendall(ours, msgspec.msgpack.encode(orders))
                ours.shutdown(socket.SHUT_WR)
                await loop.sock_recv(ours, 1)  # From then on it leads a group of its own. Nothing: it has ended.
            except ConnectionError:
                pass
        return process


@contextmanager
def _adopting() -> Generator[None]:
    """What loses its parent meanwhile becomes our child; at other times it is the machine's first process's."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
