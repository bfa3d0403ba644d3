"""Starts child processes in order, restarts them with backoff, and stops them in reverse order."""

import asyncio
import math
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from core.runtime.errors import system_reason
from services.supervisor.launch import Launch

FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
# A process that has not answered by then hangs; on a machine that does much else its imports take a while.
ANSWERS_WITHIN_S = 60.0
SOUND_AFTER = 30.0
PROBE_INTERVAL = 0.05
HELD_INTERVAL = 0.2
WAIT_TOLD_EVERY_S = 10.0
# Between two looks at a disk: the first when it may be full soon.
ROOM_INTERVAL, LONGEST_ROOM_INTERVAL = 0.1, 1.0
RESTARTS_KEPT = 20


class StartFailed(Exception):
    """A child did not become ready. The message carries the end of its log."""


class Process(Protocol):
    """A child process, as asyncio has them."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """Its status; None until we know of its end. Negative: the signal that ended it."""
        ...

    async def wait(self) -> int:
        """Its status once it has ended."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Signal it unless it has ended."""
        ...


Start = Callable[[Launch, IO[bytes]], Awaitable[Process]]


async def execute(launch: Launch, log: IO[bytes]) -> asyncio.subprocess.Process:
    """Start a program; its output goes to the log."""
    return await asyncio.create_subprocess_exec(*launch.command, **launch.arguments(log))


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What is started and when it counts as started."""

    name: str
    launch: Launch
    log: Path
    ready: Callable[[], Awaitable[bool]]
    ready_within: float | None = 30.0
    """In seconds. None: for as long as it lives, as a server that recovers after a sudden end."""
    is_required: bool = True
    """Whether nothing starts without it. Else the others do, and it is started again until it is ready."""
    attempts: int = 6
    """How often it may end before it is ready for the first time."""
    stop_within: float = 10.0
    health_url: str | None = None
    room_lasts_s: Callable[[], float | None] | None = None
    """For how many seconds its disk has room enough at least; None: it has none now. When not, it is stopped, and
    started again once there is. Without it: it needs no room."""
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    """The ports that it listens on, by kind, so that others find this replica."""
    start: Start = execute
    """Starts the process. It raises OSError when it cannot at this moment."""


@dataclass(slots=True)
class Child:
    """A spec and the process that carries it out at present."""

    spec: ChildSpec
    process: Process | None = None
    restarts: int = 0
    restarted_at: deque[float] = field(default_factory=lambda: deque[float](maxlen=RESTARTS_KEPT))
    """The last of them, in seconds since the epoch."""
    watcher: asyncio.Task[None] | None = None
    spawned_at: float = 0.0
    """By the monotonic clock."""
    has_answered: bool = False
    """Whether this process has, since it was started."""

    @property
    def is_young(self) -> bool:
        """Whether it may still be starting: that it does not answer yet says nothing."""
        return not self.has_answered and time.monotonic() - self.spawned_at < ANSWERS_WITHIN_S

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        alive = self.process is not None and self.process.returncode is None
        return self.process.pid if self.process is not None and alive else None

    async def spawn(self) -> None:
        """Start the process; its output goes to the log."""
        self.spawned_at, self.has_answered = time.monotonic(), False
        with self.spec.log.open("ab") as log:
            self.process = await self.spec.start(self.spec.launch, log)

    def send(self, number: signal.Signals) -> None:
        """Signal the process; one that has ended meanwhile is left in peace."""
        if self.pid is not None and self.process is not None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL to the process and all that it started: each child leads its own group."""
        if self.pid is not None:
            os.killpg(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Supervisor:
    """Runs children. `changed` is called after every start and end of one, to publish their pids.

    A child that has ended while `held(name)` is not started again before that is over. While the first start of
    one takes long, `waiting` is called every ten seconds with its name, and for how many seconds it has.
    """

    changed: Callable[[], None] = lambda: None
    held: Callable[[str], bool] = lambda _: False
    waiting: Callable[[str, float], None] = lambda _name, _seconds: None
    children: list[Child] = field(default_factory=list[Child])
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _stages: list[list[Child]] = field(default_factory=list[list[Child]])

    @property
    def stopping(self) -> bool:
        """Whether nothing is started any more."""
        return self._stopping.is_set()

    async def start(self, specs: Sequence[ChildSpec]) -> None:
        """Start one stage, its children side by side; returns when every one of them is ready.

        Raises:
            StartFailed: one of them keeps ending, or is not ready in time.
        """
        stage = [Child(spec) for spec in specs]
        self._stages.append(stage)
        self.children.extend(stage)
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in stage:
                    tasks.create_task(self._bring_up(child), name=f"start {child.spec.name}")
        except* StartFailed as refused:
            raise refused.exceptions[0] from None

    async def _bring_up(self, child: Child) -> None:
        spec = child.spec
        began = spec.log.stat().st_size if spec.log.exists() else 0
        deadline = math.inf if spec.ready_within is None else time.monotonic() + spec.ready_within
        telling = asyncio.create_task(self._notify_waiting(spec.name), name=f"tell that {spec.name} is awaited")
        try:
            is_ready = await self._try_to_start(child, deadline)
        finally:
            telling.cancel()
        if not is_ready and (spec.is_required or self.stopping):
            late = child.pid is not None and spec.ready_within is not None
            what = f"n'est pas prêt en {spec.ready_within:.0f} s" if late else "ne démarre pas"
            raise StartFailed(f"{spec.name} {what}. Fin de {spec.log} :\n{tail(spec.log, began)}")
        if not is_ready:
            self._write_event(child, "is not ready: the others start without it")
        child.watcher = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")

    async def _try_to_start(self, child: Child, deadline: float) -> bool:
        """Whether it is ready by then, after some attempts."""
        for attempt in range(child.spec.attempts):
            try:
                await child.spawn()
            except OSError as refused:
                self._write_event(child, f"cannot be started: {refused}")
            self._publish()
            if await self._becomes_ready(child, deadline):
                return True
            if child.pid is not None or self.stopping:
                break  # Alive and not ready in time: another one would be no better.
            await asyncio.sleep(FIRST_DELAY * 2**attempt)
        return False

    async def _notify_waiting(self, name: str) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(WAIT_TOLD_EVERY_S)
            self.waiting(name, time.monotonic() - began)

    async def _becomes_ready(self, child: Child, deadline: float) -> bool:
        while child.pid is not None and time.monotonic() < deadline and not self.stopping:
            if await child.spec.ready():
                return True
            await asyncio.sleep(PROBE_INTERVAL)
        return False

    async def _keep(self, child: Child) -> None:
        """Wait for the end of the process and start another, later each time while it stays unsound."""
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            guarding = self._guarding(child)
            status = await child.process.wait() if child.process is not None else None
            if guarding is not None:
                guarding.cancel()
            if self.stopping:
                return
            if time.monotonic() - began > SOUND_AFTER:
                delay = FIRST_DELAY
            child.restarts += 1
            child.restarted_at.append(time.time())
            self._write_event(child, f"ended with {status}, restart {child.restarts} in {delay:.1f} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            delay = min(delay * 2, LONGEST_DELAY)
            while (self.held(child.spec.name) or _lasts_s(child) is None) and not self.stopping:  # noqa: ASYNC110 - A file has no event.
                await asyncio.sleep(HELD_INTERVAL)
            if self.stopping:
                return
            try:
                await child.spawn()
            except OSError as refused:  # No memory, or the program is gone: the next attempt may find it.
                self._write_event(child, f"cannot be started: {refused}")
            if self.stopping:
                child.send(child.spec.launch.stop_signal)
            self._publish()

    def _guarding(self, child: Child) -> asyncio.Task[None] | None:
        if child.spec.room_lasts_s is None:
            return None
        return asyncio.create_task(self._guard(child), name=f"guard {child.spec.name}")

    async def _guard(self, child: Child) -> None:
        """Stop a child before its disk is full."""
        while (lasts_s := _lasts_s(child)) is not None:  # noqa: ASYNC110 - A disk has no event.
            await asyncio.sleep(min(max(lasts_s, ROOM_INTERVAL), LONGEST_ROOM_INTERVAL))
        self._write_event(child, "is stopped until its disk has room again")
        child.send(child.spec.launch.stop_signal)

    def _write_event(self, child: Child, event: str) -> None:
        self._publish()
        with suppress(OSError), child.spec.log.open("a", encoding="utf-8") as log:
            log.write(f"supervisor: {child.spec.name} {event}\n")

    def _publish(self) -> None:
        """Call `changed`. A full disk, which may be why a child ended, must not end the supervision of it."""
        with suppress(OSError):
            self.changed()

    async def run_to_completion(self, name: str, launch: Launch, log: Path, start: Start = execute) -> None:
        """Run a program once, for as long as it takes.

        Raises:
            StartFailed: it failed.
        """
        child = Child(ChildSpec(name, launch, log, _always, start=start))
        try:
            await child.spawn()
        except OSError as refused:
            raise StartFailed(f"{name} ne démarre pas : {system_reason(refused)}") from None
        if child.process is None:
            raise StartFailed(name)
        telling = asyncio.create_task(self._notify_waiting(name), name=f"tell that {name} is awaited")
        try:
            status = await child.process.wait()
        finally:
            telling.cancel()
            child.kill_group()
        if status != 0:
            raise StartFailed(f"{name} a échoué ({status}). Fin de {log} :\n{tail(log)}")

    async def all_ready(self) -> dict[str, bool]:
        """Ask every child at this instant."""
        answers = await asyncio.gather(*(child.spec.ready() for child in self.children))
        return {child.spec.name: answer for child, answer in zip(self.children, answers, strict=True)}

    async def stop(self) -> None:
        """Stop the last stage first; what does not end in time is killed. Never raises for a child's sake."""
        self._stopping.set()
        while self._stages:
            stage = self._stages.pop()
            await asyncio.gather(*(self._stop(child) for child in reversed(stage)))
        self._publish()

    async def _stop(self, child: Child) -> None:
        if child.process is None:
            return
        child.send(child.spec.launch.stop_signal)
        ended: asyncio.Task[Any] = child.watcher or asyncio.create_task(child.process.wait())
        try:
            async with asyncio.timeout(child.spec.stop_within):
                await asyncio.shield(ended)
        except TimeoutError:
            self._write_event(child, f"did not stop within {child.spec.stop_within:.0f} s: killed")
            child.kill_group()
            await ended

    def kill(self) -> None:
        """The operator does not wait: every process ends now. The servers recover at the next start."""
        self._stopping.set()
        for child in self.children:
            child.kill_group()


def _lasts_s(child: Child) -> float | None:
    return math.inf if child.spec.room_lasts_s is None else child.spec.room_lasts_s()


async def _always() -> bool:
    return True


def tail(log: Path, since: int = 0, octets: int = 2000) -> str:
    """The end of a log, for people; nothing of before this octet, which a former run has written."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(since, file.tell() - octets))
        return file.read().decode("utf-8", "replace").strip()
