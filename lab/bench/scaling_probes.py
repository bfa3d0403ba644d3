"""What `bench scaling` looks at and asks for while replicas die: leases, APIs, bridges, peaks of memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.runtime.postgres import DATABASE_AWAY, Pool
from services.supervisor.run_info import RunInfo, read_run_info

# As the shards of these are held, so are they counted: the owner of a lease has the work.
SHARDED = ("network", "ingest", "alerting")
LOOK_EVERY_S = 0.05
READ_LEASES = "SELECT shard, epoch, owner FROM shard_lease WHERE service = $1 AND expires_at > now()"


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
