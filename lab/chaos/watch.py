"""Looks at a stack from outside while it is hurt: does it keep up, and do counters only rise."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus, raise_if_cancelled
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.checks import CounterWatch
from lab.chaos.stack.metrics import total
from services.supervisor.run_info import RunInfo

LOOK_EVERY_S = 0.5
LOOK_WITHIN_S = 3.0
# Behind by more than this is not keeping up; a clock that is set wrong says nothing of how far behind.
BEHIND_S, CLOCK_OFF_S = 2.0, 1_000.0
# A chain that keeps up has each shard's batches of the last quarter of a second in hand, of each bridge its own:
# 40 a second for each of 4 shards, and half as much again.
MOST_MESSAGES_A_BRIDGE = 60
SOUND_FOR_S = 2.5
EMPTY_LOOKS = 3
# The newest reading: few rows, whatever the load.
READ_LAG = "SELECT extract(epoch FROM now() - max(time))::float8 FROM observation.latest"
EDGE_DROPS = 'territoire_gateway_bridge_uplinks_total{result="queue_full"}'
SOCKET_DROPS = "territoire_gateway_bridge_socket_drops"


@dataclass(slots=True)
class Watch:
    """One look every half second."""

    pool: Pool
    bus: Bus
    counters: CounterWatch
    signs: Sequence[Callable[[], bool]] = ()
    bridges: int = 1
    """How many publish frames."""
    is_silent: bool = False
    """The load has ended: nothing new is measured, and what is not in the streams has arrived."""
    _looks: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])

    def load_ended(self) -> None:
        """From now on a chain that keeps up has empty streams; when something was measured says nothing."""
        self.is_silent = True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            self._looks.append((began, await self._keeps_up()))
            raise_if_cancelled()  # Who cancels this waits for it.
            await asyncio.sleep(max(0.0, began + LOOK_EVERY_S - time.monotonic()))

    async def _keeps_up(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                waiting = await messages(self.bus)
                lag = await self.pool.fetchval(READ_LAG) or 0.0
                await self.counters.look(self.pool)
        except (PostgresError, *DATABASE_AWAY, *BUS_AWAY):
            return False
        if self.is_silent:
            return waiting == 0
        keeps_up = waiting <= MOST_MESSAGES_A_BRIDGE * self.bridges and (lag < BEHIND_S or lag > CLOCK_OFF_S)
        return keeps_up and all(sign() for sign in self.signs)

    def recovery_s(self, since: float) -> float | None:
        """How long after this instant of the monotonic clock the chain kept up, and went on to; None: never."""
        looks = [(at, well) for at, well in self._looks if at >= since]
        for place, (at, well) in enumerate(looks):
            following = [good for later, good in looks[place:] if later <= at + SOUND_FOR_S]
            if well and all(following):
                return round(at - since, 1)
        return None

    def settled_s(self, since: float) -> float | None:
        """The same while it is still being looked: None as well while it has not kept up for long enough."""
        found = self.recovery_s(since)
        newest = self._looks[-1][0] if self._looks else since
        return None if found is None or since + found + SOUND_FOR_S > newest else found

    async def until_empty(self, most_s: float) -> bool:
        """Whether the streams hold nothing any more, seen several times running, within this time."""
        deadline, empty = time.monotonic() + most_s, 0
        while empty < EMPTY_LOOKS:
            if time.monotonic() > deadline:
                return False
            try:
                async with asyncio.timeout(LOOK_WITHIN_S):
                    waiting = await messages(self.bus)
            except BUS_AWAY:
                waiting = 1
            empty = 0 if waiting else empty + 1
            await asyncio.sleep(LOOK_EVERY_S / 2)
        return True


async def messages(bus: Bus) -> int:
    """What the two streams hold that lose nothing."""
    return await bus.stream_messages(topics.FRAMES) + await bus.stream_messages(topics.UPLINKS)


async def counted_drops(run: RunInfo) -> Counter[int | str | None]:
    """Receptions that each bridge has counted as dropped since it was started, by its pid, and datagrams.

    Those are by its name: they are of the socket, which outlives it.
    """
    counted: Counter[int | str | None] = Counter()
    for one in run.replicas("gateway_bridge"):
        counted[one.pid] = await total(f"{one.health_url}/metrics", EDGE_DROPS)
        counted[one.name] = await total(f"{one.health_url}/metrics", SOCKET_DROPS)
    return counted
