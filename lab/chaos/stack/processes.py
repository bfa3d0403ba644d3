"""The processes of a running stack, by service: to kill, freeze, keep stopped, or run with another clock."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.runtime.listen_fds import handing
from lab.chaos.outcome import CaseFailed
from lab.kept_socket import kept_descriptor, kept_socket
from lab.programs import Program
from lab.radio.clock import now_us
from services.supervisor.home import Home
from services.supervisor.launch import HANDED_AS
from services.supervisor.loopback import answers_ok
from services.supervisor.run_info import HELD, RunInfo, ServiceInfo, read_run_info
from services.supervisor.stack import Stack

POLL_S = 0.1
# All services begin at once, and import what they need.
READY_WITHIN_S = 180.0
STOP_WITHIN_S = 25.0
DEAD_WITHIN_S = 10.0

# Imports a program, says so, and runs it once it is told to: what the supervisor's fork server does.
PREPARED = """
import importlib, os, runpy, sys
importlib.import_module(sys.argv[1] + ".app")
os.write(0, b".")
if not os.read(0, 1):
    sys.exit()
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""

Cutting = Callable[[], AbstractContextManager[None]]
"""What is entered when a process is asked to stop, and left when it is gone."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How one replica is started by us."""

    replica: ServiceInfo
    service: str
    environment: Mapping[str, str]
    supervisor: int

    def start(
        self, besides: Mapping[str, str], through: Sequence[str] = (), python: str = sys.executable
    ) -> subprocess.Popen[bytes]:
        """As the supervisor starts its children; it dies with us, also when we are killed.

        `through` is a command that ends by running the program whose arguments follow it.
        """
        return self._start((python, "-P", "-m", f"services.{self.service}"), besides, through, python)

    async def prepare(self, program: Program) -> "Prepared":
        """Start it with this program, up to the point where it is imported: it touches nothing before `run`.

        Raises:
            CaseFailed: it does not get there.
        """
        argv = (program.python, "-P", "-c", PREPARED, f"services.{self.service}")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = self._start(argv, program.environment, (), program.python, theirs.fileno())
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                imported = await asyncio.get_running_loop().sock_recv(ours, 1)
        except TimeoutError:
            imported = b""
        if not imported:
            process.kill()
            ours.close()
            raise CaseFailed(f"{self.replica.name} : le programme ne s'importe pas")
        return Prepared(process, ours)

    def _start(
        self,
        program: Sequence[str],
        besides: Mapping[str, str],
        through: Sequence[str],
        python: str,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        with (
            Path(self.replica.log).open("ab") as output,
            kept_socket(self.supervisor, self.replica.ports.get("udp")) as kept,
        ):
            argv = program if kept is None else handing(HANDED_AS, kept, tuple(program), python)
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *through, *argv],
                pass_fds=() if kept is None else (kept,),
                env={**self.environment, **besides},
                cwd="/tmp",
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A process that has imported its program and waits."""

    process: subprocess.Popen[bytes]
    _holding: socket.socket

    def run(self) -> subprocess.Popen[bytes]:
        """From now on it is the service. One that is never told to be ends by itself."""
        with self._holding:
            self._holding.send(b".")
        return self.process


class Processes:
    """Control over one stack by what its run.json says; the supervisor goes on doing its work."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ours: dict[str, subprocess.Popen[bytes]] = {}
        self._leaders: set[int] = set()
        self._kept: list[subprocess.Popen[Any]] = []
        self.stood_in_for: set[str] = set()
        """Children that are gone for good, whose work something of ours does."""
        self._began = time.time()

    @property
    def run(self) -> RunInfo:
        """What the stack says of itself at this instant."""
        run = read_run_info(self._home)
        self._leaders.update(service.pid for service in run.services if service.pid is not None)
        return run

    def pids(self, service: str) -> dict[str, int]:
        """The living children of a service, by the name of the child."""
        return {one.name: one.pid for one in self.run.replicas(service) if one.pid is not None}

    def signal(self, service: str, number: signal.Signals) -> int:
        """Signal every replica of a service; returns the instant before the first, in microseconds."""
        at = now_us()
        for pid in self.pids(service).values():
            send(pid, number)
        return at

    def hold(self, service: str) -> None:
        """From now on the supervisor does not start this service again."""
        for one in self.run.replicas(service):
            self._hold_one(one.name)

    def _hold_one(self, name: str) -> None:
        folder = self._home / HELD
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / name).touch()

    def let_go(self, service: str) -> None:
        """The supervisor starts what was held."""
        for one in self.run.replicas(service):
            (self._home / HELD / one.name).unlink(missing_ok=True)

    def keep(self, process: subprocess.Popen[Any]) -> None:
        """It outlives the services, which need it to the end, and ends with the stack."""
        self._kept.append(process)
        self._leaders.add(process.pid)

    async def until_ended(self, service: str, within_s: float) -> bool:
        """Whether every replica has ended within this time."""
        return await _holds(lambda: not self.pids(service), within_s)

    async def until_replaced(self, service: str, former: Mapping[str, int], within_s: float) -> bool:
        """Whether every replica runs under another pid than before, within this time."""
        return await _holds(
            lambda: all(self.pids(service).get(name) not in {None, pid} for name, pid in former.items()), within_s
        )

    async def until_ready(self, within_s: float) -> list[str]:
        """Wait until every child runs and every /readyz answers 200; returns those that do not by then."""
        deadline = time.monotonic() + within_s
        while True:
            services = [one for one in self.run.services if one.name not in self.stood_in_for]
            answers = await asyncio.gather(*(_is_ready(service) for service in services))
            unready = [service.name for service, ready in zip(services, answers, strict=True) if not ready]
            if not unready or time.monotonic() > deadline:
                return unready
            await asyncio.sleep(POLL_S)

    async def require_ready(self, within_s: float, why: str) -> None:
        """Return once all is ready.

        Raises:
            CaseFailed: something is not by then; `why` says in French what came before.
        """
        unready = await self.until_ready(within_s)
        if unready:
            raise CaseFailed(f"pas prêt {why} : {', '.join(unready)}")

    @asynccontextmanager
    async def replaced(
        self, environments: Mapping[str, Mapping[str, str]], why: str, through: Sequence[str] = ()
    ) -> AsyncGenerator[None]:
        """While the block runs each of these services, by its name, has these variables besides, as in `replace`.

        Raises:
            CaseFailed: one does not stop, or is not ready with them; `why` says in French with what.
        """
        try:
            await asyncio.gather(
                *(self.replace(service, besides, through) for service, besides in environments.items())
            )
            await self.require_ready(READY_WITHIN_S, why)
            yield
        finally:
            await asyncio.gather(*map(self.give_back, environments))
            await self.until_ready(READY_WITHIN_S)

    async def replace(self, service: str, environment: Mapping[str, str], through: Sequence[str] = ()) -> None:
        """Stop a service in order and run it ourselves, as it was, with these variables besides.

        Raises:
            CaseFailed: it does not stop.
        """
        launches = self._launches(service)
        self.hold(service)
        self.signal(service, signal.SIGTERM)
        if not await self.until_ended(service, STOP_WITHIN_S):
            raise CaseFailed(f"{service} ne s'arrête pas")
        for launch in launches:
            self._ours[launch.replica.name] = launch.start(environment, through)

    async def replace_in_turn(self, service: str, program: Program, cutting_off: Cutting, within_s: float) -> None:
        """Another program in place of one replica after the other, each once the former is ready.

        A replica is imported before its predecessor is stopped, as the supervisor starts one.

        Raises:
            CaseFailed: one does not stop, or its successor is not ready in time.
        """
        for launch in self._launches(service):
            name, pid = launch.replica.name, launch.replica.pid
            prepared = await launch.prepare(program)
            self._hold_one(name)
            with cutting_off():
                send(pid or 0, signal.SIGTERM)
                if not await _holds(lambda name=name: name not in self.pids(service), STOP_WITHIN_S):
                    raise CaseFailed(f"{name} ne s'arrête pas")
            self._ours[name] = prepared.run()
            await self._until_one_is_ready(launch.replica, within_s)

    async def give_back(self, service: str) -> None:
        """End what we run ourselves; the supervisor starts it as it was."""
        names = [one.name for one in self.run.replicas(service)]
        for name in names:
            if name in self._ours:
                self._ours[name].terminate()
        for name in names:
            await self._end(name)
        self.let_go(service)

    async def give_back_in_turn(self, service: str, cutting_off: Cutting, within_s: float) -> None:
        """End what we run ourselves one replica after the other, each once the former is ready.

        Raises:
            CaseFailed: one is not ready in time.
        """
        for one in self.run.replicas(service):
            if one.name not in self._ours:
                continue
            with cutting_off():
                self._ours[one.name].terminate()
                await self._end(one.name)
            (self._home / HELD / one.name).unlink(missing_ok=True)
            if not await _holds(lambda name=one.name: name in self.pids(service), within_s):
                raise CaseFailed(f"{one.name} n'a pas été relancé")
            await self._until_one_is_ready(one, within_s)

    def keeps_socket(self, replica: ServiceInfo) -> bool:
        """Whether the supervisor keeps the UDP socket of this replica."""
        return kept_descriptor(self.run.supervisor_pid, replica.ports["udp"]) is not None

    def setting(self, service: str, name: str) -> str:
        """The value of this variable in the environment of a service that runs."""
        return self._launches(service)[0].environment[name]

    def _launches(self, service: str) -> list["Launch"]:
        # The kernel knows only the environment of the process that a service was forked from.
        stack = Stack.running(Home(self._home))
        return [
            Launch(
                one,
                service,
                stack.environment(service, one.name if one.name != service else f"{service}-1"),
                self.run.supervisor_pid,
            )
            for one in self.run.replicas(service)
            if one.pid is not None
        ]

    async def _end(self, name: str) -> None:
        process = self._ours.pop(name, None)
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()

    async def _until_one_is_ready(self, replica: ServiceInfo, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not await answers_ok(f"{replica.health_url}/readyz"):
            if time.monotonic() > deadline:
                raise CaseFailed(f"{replica.name} : pas prêt après {within_s:.0f} s")
            await asyncio.sleep(POLL_S)

    def clean_up(self) -> None:
        """Let everything go, wake what is frozen, and end what a killed child has left behind. Never raises."""
        shutil.rmtree(self._home / HELD, ignore_errors=True)
        for process in self._ours.values():
            process.kill()
        self._ours.clear()

    def end_left_overs(self) -> int:
        """Once the stack has stopped: end whatever still runs in a group of one of its children.

        They write nothing any more when this returns: their folder can be removed.
        """
        for process in self._kept:
            process.kill()
            process.wait()
        self._kept.clear()
        left = self._left_overs()
        for pid in left:
            send(pid, signal.SIGKILL)
        deadline = time.monotonic() + DEAD_WITHIN_S
        while self._left_overs() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return len(left)

    def _left_overs(self) -> list[int]:
        return [pid for pid in _processes() if _group(pid) in self._leaders and _started(pid) >= self._began - 60]


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


async def _is_ready(service: ServiceInfo) -> bool:
    if service.health_url is None:
        return service.pid is not None
    return await answers_ok(f"{service.health_url}/readyz")


async def _holds(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def _group(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[2]) if fields and fields[0] != "Z" else -1


def _started(pid: int) -> float:
    """Seconds since the epoch."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
