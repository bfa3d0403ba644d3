"""What is looked at while a stack soaks: of each process memory, descriptors, tasks; of the stack its backlog."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.faults.limits import open_descriptors
from lab.chaos.stack.metrics import samples
from lab.chaos.watch import messages
from lab.simulator.stack_memory import NOT_COUNTED, pids_of, written_mb
from services.supervisor.run_info import RunInfo

LOOK_WITHIN_S = 20.0
TASKS = "territoire_event_loop_tasks"
READ_CONNECTIONS = """
SELECT coalesce(nullif(application_name, ''), backend_type), count(*) FROM pg_stat_activity
WHERE datname = current_database() GROUP BY 1
"""
READ_BLOAT = """
SELECT coalesce(sum(n_dead_tup), 0)::float8, coalesce(sum(n_live_tup), 0)::float8,
       pg_database_size(current_database())::float8
FROM pg_stat_user_tables
"""
MB = 1 << 20
ALL = "toutes"


@dataclass(slots=True)
class Curve:
    """One quantity of one thing over time; `goal` names how it is judged."""

    goal: str
    name: str
    unit: str
    times_s: list[float] = field(default_factory=list[float])
    values: list[float] = field(default_factory=list[float])

    def after(self, warm_up_s: float) -> tuple[list[float], list[float]]:
        """The samples behind the warm-up."""
        kept = [(at, value) for at, value in zip(self.times_s, self.values, strict=True) if at >= warm_up_s]
        return [at for at, _ in kept], [value for _, value in kept]

    def highest_before(self, at_s: float) -> float:
        """The most until this moment."""
        return max((value for at, value in zip(self.times_s, self.values, strict=True) if at < at_s), default=0.0)


@dataclass(slots=True)
class Samples:
    """The curves of one soak, by goal and name."""

    began: float = field(default_factory=time.monotonic)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict[tuple[str, str], Curve])
    pids: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    """Of each process; two say that it was started again."""
    misses: int = 0

    def record_values(self, at_s: float, goal: str, values: Mapping[str, float], unit: str) -> None:
        """One look."""
        for name, value in values.items():
            curve = self.curves.setdefault((goal, name), Curve(goal, name, unit))
            curve.times_s.append(at_s)
            curve.values.append(value)

    def record_counts(self, at_s: float, goal: str, counts: Mapping[str, float]) -> None:
        """One look at what comes and goes: who is not named has none, and had none before."""
        seen = self.curves.get((goal, ALL))
        for name in counts:
            if (goal, name) not in self.curves and seen is not None:
                self.curves[goal, name] = Curve(goal, name, "", list(seen.times_s), [0.0] * len(seen.times_s))
        known = {name: 0.0 for of, name in self.curves if of == goal}
        self.record_values(at_s, goal, {**known, **counts, ALL: sum(counts.values())}, "")

    async def take_samples(self, run: RunInfo, pool: Pool, bus: Bus) -> None:
        """Look at everything once; what is away is looked at the next time."""
        at_s, pids = time.monotonic() - self.began, pids_of(run)
        for name, pid in pids.items():
            self.pids.setdefault(name, set()).add(pid)
        self.record_values(
            at_s, "memory", {name: written_mb(pid) for name, pid in pids.items() if name not in NOT_COUNTED}, "Mo"
        )
        self.record_values(at_s, "descriptors", {name: _descriptors(pid) for name, pid in pids.items()}, "")
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                self.record_values(at_s, "tasks", await _tasks(run), "")
                self.record_values(at_s, "backlog", {"frames et uplinks": float(await messages(bus))}, "messages")
                connections = {name: float(count) for name, count in await pool.fetch(READ_CONNECTIONS)}
                self.record_counts(at_s, "connections", connections)
                dead, live, octets = await pool.fetchrow(READ_BLOAT) or (0.0, 0.0, 0.0)
                self.record_values(
                    at_s, "bloat", {"lignes mortes": 100 * dead / max(1.0, dead + live)}, "% des lignes"
                )
                self.record_values(at_s, "size", {"base": octets / MB}, "Mo")
        except (PostgresError, *DATABASE_AWAY, *BUS_AWAY):
            self.misses += 1


def _descriptors(pid: int) -> float:
    try:
        return float(len(open_descriptors(pid)))
    except OSError:
        return 0.0


async def _tasks(run: RunInfo) -> dict[str, float]:
    services = [one for one in run.services if one.health_url is not None]
    answers = await asyncio.gather(*(samples(f"{one.health_url}/metrics", TASKS) for one in services))
    return {one.name: sum(found.values()) for one, found in zip(services, answers, strict=True) if found}
