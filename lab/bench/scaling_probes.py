"""What `bench scaling` looks at and asks for while replicas die: leases, APIs, bridges, peaks of memory."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from core.runtime.postgres import DATABASE_AWAY, Pool
from lab.chaos.processes import answers
from lab.load.load import Load
from services.supervisor.run_info import RunInfo, ServiceInfo, read_run_info

# As the shards of these are held, so are they counted: the owner of a lease has the work.
SHARDED = ("network", "ingest", "alerting")
LOOK_EVERY_S = 0.05
PROBE_BRIDGES_EVERY_S = 0.5
REQUEST_WITHIN_S = 2.0
ASKED_AGAIN_AFTER_S = 0.25
READ_LEASES = "SELECT shard, epoch, owner FROM shard_lease WHERE service = $1 AND expires_at > now()"

Ask = Callable[[httpx.AsyncClient, str, int], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Held:
    """A shard at one instant."""

    epoch: int
    owner: str


async def read_leases(pool: Pool, service: str) -> dict[int, Held]:
    """Who holds which shard of a service now."""
    return {row["shard"]: Held(row["epoch"], row["owner"]) for row in await pool.fetch(READ_LEASES, service)}


def taken_anew(before: Mapping[int, Held], now: Mapping[int, Held], victim: str) -> bool:
    """Whether everything that `victim` held before is held since, by whomever."""
    return all(
        shard in now and now[shard].epoch > held.epoch for shard, held in before.items() if held.owner == victim
    )


def is_shared(now: Mapping[int, Held], owners: Sequence[str], shards: int) -> bool:
    """Whether every shard is held, and by each of the owners as many as it should have."""
    counts = [sum(held.owner == owner for held in now.values()) for owner in owners]
    return sum(counts) == shards and max(counts) - min(counts) <= 1


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> float | None:
    """Seconds until it holds; None when it does not within this time. A database that is away says no."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        try:
            if await condition():
                return time.monotonic() - began
        except DATABASE_AWAY:
            pass
        await asyncio.sleep(LOOK_EVERY_S)
    return None


@dataclass(slots=True)
class Caller:
    """Asks the replicas in turn, and the next one with the same request when one does not answer.

    So does whatever stands in front of them, and so does every client that tries again.
    """

    urls: Sequence[str]
    ask: Ask
    every_s: float
    insists_s: float = 0.0
    """For how long the same request is made again where no replica answers it."""
    most: int | None = None
    """So many requests; None: without end."""
    asked: int = 0
    turned: int = 0
    """Requests that another replica answered than the first that was asked."""
    failed: int = 0
    slowest_s: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: the request that is under way is the last."""

    @property
    def answered(self) -> int:
        """Requests that were answered, once the last is."""
        return self.asked - self.failed

    @property
    def figures(self) -> dict[str, float]:
        """What was asked for, and how it was answered."""
        return {
            "asked": self.asked,
            "turned": self.turned,
            "failed": self.failed,
            "slowest_s": round(self.slowest_s, 2),
        }

    async def run(self) -> None:
        """Until cancelled, or stopped."""
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(timeout=REQUEST_WITHIN_S, trust_env=False) as client:
            for number in itertools.count() if self.most is None else range(self.most):
                began = loop.time()
                await self.once(client, number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, began + self.every_s - loop.time())):
                        await self.stopping.wait()
                if self.stopping.is_set():
                    return

    async def once(self, client: httpx.AsyncClient, number: int) -> None:
        """Ask for one thing, of the first replica that answers."""
        self.asked += 1
        began = time.monotonic()
        while True:
            for attempt in range(len(self.urls)):
                url = self.urls[(number + attempt) % len(self.urls)]
                if await self._is_answered(client, url, number):
                    self.turned += attempt > 0
                    self.answered_at = time.monotonic()
                    self.slowest_s = max(self.slowest_s, self.answered_at - began)
                    return
            if time.monotonic() - began >= self.insists_s:
                self.failed += 1
                return
            await asyncio.sleep(ASKED_AGAIN_AFTER_S)

    async def _is_answered(self, client: httpx.AsyncClient, url: str, number: int) -> bool:
        try:
            return (await self.ask(client, url, number)).is_success
        except httpx.HTTPError:
            return False


@dataclass(slots=True)
class Balancer:
    """Stands in front of the bridges: each gateway has one of its own, and another while that is not ready."""

    load: Load
    bridges: Sequence[ServiceInfo]
    turns: int = 0

    async def run(self) -> None:
        """Look every half second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PROBE_BRIDGES_EVERY_S)

    async def look(self) -> None:
        """Ask who is ready, and turn the gateways to those that are."""
        ready = [await answers(f"{bridge.health_url}/readyz") for bridge in self.bridges]
        usable = [bridge for bridge, is_ready in zip(self.bridges, ready, strict=True) if is_ready]
        for number, gateway in enumerate(self.load.gateways):
            own = self.bridges[number % len(self.bridges)]
            bridge = own if own in usable or not usable else usable[number % len(usable)]
            server = (gateway.server[0], bridge.ports["udp"])
            if gateway.server != server:
                gateway.turn_to(server)
                self.turns += 1

    def behind(self, bridge: ServiceInfo) -> frozenset[bytes]:
        """The gateways that speak with this bridge now."""
        port = bridge.ports["udp"]
        return frozenset(bytes(one.gateway_id) for one in self.load.gateways if one.server[1] == port)


@dataclass(slots=True)
class Peaks:
    """The most memory that each child of a stack has had, over all its lives."""

    run_info: RunInfo
    megabytes: dict[str, float] = field(default_factory=dict[str, float])

    def look(self) -> None:
        """Ask the kernel for the peak of every living child."""
        for one in read_run_info(Path(self.run_info.home)).services:
            if one.pid is not None and one.health_url is not None:
                self.megabytes[one.name] = max(self.megabytes.get(one.name, 0.0), peak_megabytes(one.pid))


def peak_megabytes(pid: int, proc: Path = Path("/proc")) -> float:
    """VmHWM of a process; 0 when it has just ended."""
    try:
        lines = (proc / str(pid) / "status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0.0
    found = next((line for line in lines if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(found.split()[1]) / 1024
