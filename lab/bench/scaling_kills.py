"""Kills one replica after the other, and says what each cost."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from rich.console import Console

from core.runtime.postgres import Pool
from lab.bench.metrics import read_counters
from lab.bench.scaling_probes import SHARDED, Held, is_shared, read_leases, taken_anew, until
from lab.bench.scaling_shares import work_done
from lab.chaos.stack.processes import Processes, send
from lab.load.load import Load
from lab.radio.clock import now_us
from lab.simulator.account import Kill
from lab.users.balancer import Balancer
from services.supervisor.loopback import answers_ok
from services.supervisor.run_info import RunInfo, ServiceInfo

SERVED_WITHIN_S, BACK_WITHIN_S, SHARED_WITHIN_S = 30.0, 30.0, 20.0
# How long a replica stays away once it is replaced, and how long is looked on once it is back.
PAUSE_S = 1.5
# What is sent last before the next kill is stored before it.
SETTLE_S = 1.5
SECOND_US = 1_000_000
READ_WAITS = """
WITH committed AS (
    SELECT u.time, pg_xact_commit_timestamp(u.xmin) AS at
    FROM observation.uplink u JOIN device d ON d.id = u.device_id
    WHERE d.tenant_id = $1 AND u.time >= $2 AND u.time < $3
)
SELECT count(*) AS stored,
       percentile_disc(ARRAY[0.5, 1.0]) WITHIN GROUP (ORDER BY extract(epoch FROM at - time)::float8) AS seconds
FROM committed
"""

Condition = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Blow:
    """One kill -9, and what it cost."""

    child: str
    stays_away: bool
    began_us: int
    ended_us: int = 0
    served_s: float | None = None
    """Until all that it had done is done again, by whomever; None: not within half a minute."""
    back_s: float | None = None
    """From the start that it was allowed until it is ready; of one that comes back at once, from the kill."""
    shared_s: float | None = None
    """From then until both have their share again."""
    sent: int = 0
    stored: int = 0
    p50_s: float = 0.0
    slowest_s: float = 0.0
    """From datagram to commit, of the uplinks sent meanwhile."""

    @property
    def service(self) -> str:
        """Whose replica it was."""
        return self.child.rpartition("-")[0]

    @property
    def is_survived(self) -> bool:
        """Whether the work went on, and the replica came back to it."""
        return self.served_s is not None and self.back_s is not None and self.shared_s is not None


@dataclass(slots=True)
class KillSequence:
    """Where they are struck, and everything that is seen from there."""

    processes: Processes
    pool: Pool
    load: Load
    balancer: Balancer
    shards: int
    console: Console
    blows: list[Blow] = field(default_factory=list[Blow])
    kills: list[Kill] = field(default_factory=list[Kill])
    """At the radio edge: what gateways sent to a dead bridge is nobody's."""

    async def strike_both(self, service: str) -> None:
        """Kill the first replica, which stays away until it is replaced, and then the second, which does not."""
        for number, one in enumerate(self.processes.run.replicas(service)):
            blow = await self._strike(one, stays_away=number == 0)
            self.blows.append(blow)
            self.console.print(
                f"  {one.name} : repris en {_seconds(blow.served_s)}, de retour en {_seconds(blow.back_s)}",
                highlight=False,
            )

    async def _strike(self, victim: ServiceInfo, *, stays_away: bool) -> Blow:
        run, pid = self.processes.run, victim.pid
        if pid is None:
            raise TimeoutError(f"{victim.name} ne tourne pas")
        service = victim.name.rpartition("-")[0]
        before = await read_leases(self.pool, service)
        resumed = await self._resumed(run, victim, before)
        if stays_away:
            self.processes.hold(victim.name)
        blow = Blow(victim.name, stays_away, now_us())
        if service == "gateway_bridge":
            self.kills.append(Kill(blow.began_us, self.balancer.behind(victim)))
        send(pid, signal.SIGKILL)
        blow.served_s = await until(resumed, SERVED_WITHIN_S)
        if stays_away:
            await asyncio.sleep(PAUSE_S)
        released = time.monotonic()
        self.processes.let_go(victim.name)
        await until(lambda: self._is_replaced(victim, pid), BACK_WITHIN_S)
        is_back = await until(lambda: answers_ok(f"{victim.health_url}/readyz"), BACK_WITHIN_S)
        since = released if stays_away else blow.began_us / SECOND_US - time.time() + time.monotonic()
        blow.back_s = None if is_back is None else time.monotonic() - since
        blow.shared_s = await until(lambda: self._is_shared(run, service), SHARED_WITHIN_S)
        await asyncio.sleep(PAUSE_S)
        blow.ended_us = now_us()
        await asyncio.sleep(SETTLE_S)
        return blow

    async def _is_replaced(self, victim: ServiceInfo, pid: int) -> bool:
        return self.processes.run.service(victim.name).pid not in {None, pid}

    async def _is_shared(self, run: RunInfo, service: str) -> bool:
        if service not in SHARDED:
            return True
        owners = [one.name for one in run.replicas(service)]
        return is_shared(await read_leases(self.pool, service), owners, self.shards)

    async def _resumed(self, run: RunInfo, victim: ServiceInfo, before: Mapping[int, Held]) -> Condition:
        """What holds once the work of a replica that dies now is done by another, or by itself again."""
        service = victim.name.rpartition("-")[0]
        if service in SHARDED:

            async def taken() -> bool:
                return taken_anew(before, await read_leases(self.pool, service), victim.name)

            return taken
        if service == "gateway_bridge":
            behind, at_us = self.balancer.behind(victim), now_us()
            uptimes = [uptime for gateway_id, uptime in self.load.uptimes.items() if gateway_id in behind]

            async def answered() -> bool:
                return all(uptime.back_after(at_us) is not None for uptime in uptimes)

            return answered
        others = [one for one in run.replicas(service) if one.name != victim.name]
        counted = await _work(run, service, others)

        async def worked() -> bool:
            return await _work(run, service, others) > counted

        return worked

    async def judge(self) -> None:
        """Once all is stored: how many of the uplinks of each kill are, and how long they took."""
        sent = self.load.sent
        for blow in self.blows:
            blow.sent = sum(
                bool(one.received_by) and blow.began_us <= one.sent_at_us < blow.ended_us for one in sent
            )
            edges = (datetime.fromtimestamp(at / SECOND_US, UTC) for at in (blow.began_us, blow.ended_us))
            row = await self.pool.fetchrow(READ_WAITS, self.load.tenant.id, *edges, timeout=120)
            assert row is not None
            blow.stored = row["stored"]
            blow.p50_s, blow.slowest_s = row["seconds"] or (0.0, 0.0)


async def _work(run: RunInfo, service: str, replicas: list[ServiceInfo]) -> int:
    try:
        return sum([work_done(await read_counters(run, one.name), service) for one in replicas])
    except httpx.HTTPError:
        return 0


def _seconds(value: float | None) -> str:
    return "jamais" if value is None else f"{value:.1f} s".replace(".", ",")
