"""One worker process as the pool sees it: start, ask, watch, kill."""

import asyncio
import mmap
import os
import socket
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from decoders.javascript.calls import Limits
from decoders.javascript.wire import LENGTH, LONGEST, PROGRESS, Answered, Batch, Hello, Start

ROOT = str(Path(__file__).resolve().parents[2])
READY_WITHIN_S = 30.0
SILENT_S = 1.0  # A call; its CPU is bounded far below.
# Over the wall time that a script's load may take anyway.
SILENT_LOADING_S = SILENT_S
# A process that would run if it were let has so many seconds of CPU instead: a busy machine is nobody's fault, up
# to here. D: it waits for a page.
RUNNABLE = "RD"
STARVED_S = 10.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

T = TypeVar("T")


class WorkerDied(Exception):
    """The process is gone, at the call in this `place`, 0 for none. `silent`: it was killed for its silence."""

    def __init__(self, place: int, silent: bool) -> None:
        super().__init__(f"worker died at call {place}")
        self.place = place
        self.silent = silent


class WorkerProcess:
    """A running worker. One batch at a time is asked of it; `look` is called several times a second meanwhile."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        progress: mmap.mmap,
        limits: Limits,
    ) -> None:
        self.pid = process.pid
        self.reached: list[str] = []
        self.holds: set[str] = set()
        self._process = process
        self._reader, self._writer = streams
        self._progress = progress
        self._limits = limits
        self._seen: tuple[int, int] = (0, 0)
        self._since = 0.0
        self._asked_at = 0.0
        self._cpu_s = 0.0
        self._is_asked = False
        self._silent = False

    @classmethod
    async def start(cls, limits: Limits) -> "WorkerProcess":
        """A worker that is ready.

        Raises:
            WorkerDied: it did not come up.
        """
        ours, theirs = socket.socketpair()
        shared = os.memfd_create("progress")
        try:
            os.ftruncate(shared, PROGRESS.size)
            progress = mmap.mmap(shared, PROGRESS.size)
            start = Start(theirs.fileno(), shared, os.getpid(), limits)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "decoders.javascript.worker",
                msgspec.json.encode(start).decode(),
                env={"PYTHONPATH": ROOT, "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), shared),
            )
        finally:
            theirs.close()
            os.close(shared)
        worker = cls(process, await asyncio.open_connection(sock=ours), progress, limits)
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                worker.reached = (await worker._receive(Hello)).reached
        except TimeoutError:
            await worker.end()
            raise WorkerDied(0, silent=True) from None
        except BaseException:
            await worker.end()
            raise
        return worker

    async def ask(self, batch: Batch) -> Answered:
        """The worker's answer.

        Raises:
            WorkerDied: there will be none.
        """
        self._seen, self._since = (0, 0), asyncio.get_running_loop().time()
        self._asked_at = self._since
        self._cpu_s = _cpu_of(self.pid)[1]
        self._is_asked = True
        try:
            octets = msgspec.msgpack.encode(batch)
            self._writer.write(LENGTH.pack(len(octets)) + octets)
            await self._writer.drain()
            return await self._receive(Answered)
        except ConnectionError:
            raise self._died() from None
        finally:
            self._is_asked = False

    def asked_for(self, now: float) -> float:
        """How long the batch in hand takes so far, 0 for none; `now` is the loop's time."""
        return now - self._asked_at if self._is_asked else 0.0

    def in_hand_for(self, now: float) -> float:
        """How long the call in hand was seen to take so far, by `look`."""
        return now - self._since if self._is_asked else 0.0

    def look(self, now: float) -> None:
        """Kill it when it has been silent for too long; `now` is the loop's time."""
        if not self._is_asked or self._silent:
            return
        seen = PROGRESS.unpack_from(self._progress)
        state, cpu_s = _cpu_of(self.pid)
        if seen != self._seen:
            self._seen, self._since, self._cpu_s = seen, now, cpu_s
            return
        allowed = self._limits.load_s + SILENT_LOADING_S if seen[1] else SILENT_S
        silent = now - self._since
        is_starved = state in RUNNABLE and cpu_s - self._cpu_s < allowed and silent < STARVED_S
        if silent > allowed and not is_starved:
            self._silent = True
            self.kill()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                return

    async def end(self) -> None:
        """Killed, reaped, closed."""
        self.kill()
        self._writer.close()
        await self._process.wait()
        self._progress.close()

    async def _receive(self, as_type: type[T]) -> T:
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if length > LONGEST:
                raise self._died()
            return msgspec.msgpack.decode(await self._reader.readexactly(length), type=as_type)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            raise self._died() from None

    def _died(self) -> WorkerDied:
        place: int = PROGRESS.unpack_from(self._progress)[0]
        return WorkerDied(place, self._silent)


def _cpu_of(pid: int) -> tuple[str, float]:
    """State and CPU seconds of a process (proc(5), /proc/pid/stat); of one that is gone, X and 0."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return "X", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) * TICK_S
