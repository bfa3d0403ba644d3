"""Committed measurements go to MEASUREMENTS, whose truth is the table: it may never hold up ingest."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter

import structlog

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.shards import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus
from ingest.pipeline import Row
from ingest.telemetry import UNPUBLISHED

MESSAGE_ITEMS = 2_000
ATTEMPT_S = 2.0
# What a shard may keep for when the bus is back; beyond it the oldest is left to the table.
KEPT_MESSAGES = 50

log = structlog.get_logger()


class MeasurementPublisher:
    """Publishes in the order of the commits, by the shard of the asset.

    What cannot be published at once is kept, within bounds, and goes out before what comes later.
    """

    def __init__(self, bus: Bus, shards: int) -> None:
        self._bus = bus
        self._shards = shards
        self._waiting: dict[int, deque[list[Row]]] = {shard: deque() for shard in range(shards)}

    async def publish(self, by_slot: Mapping[int, Sequence[Row]]) -> None:
        """Offer these measurements to the bus, two attempts at most; it returns whatever becomes of them."""
        for shard, measurements in self._by_shard(by_slot).items():
            for start in range(0, len(measurements), MESSAGE_ITEMS):
                self._waiting[shard].append(measurements[start : start + MESSAGE_ITEMS])
        waiting = [shard for shard, queue in self._waiting.items() if queue]
        if not waiting:
            return
        try:
            await self._offer(waiting)
        except BUS_AWAY as away:
            log.warning("measurements_not_published", error=str(away) or type(away).__name__)
            await self._offer_again(waiting)
        self._give_up_the_oldest()

    def _by_shard(self, by_slot: Mapping[int, Sequence[Row]]) -> dict[int, list[Row]]:
        by_shard: dict[int, list[Row]] = {}
        for slot, measurements in by_slot.items():
            by_shard.setdefault(shard_of_slot(slot, self._shards), []).extend(measurements)
        for measurements in by_shard.values():
            # A meter sends its newest value first and its past after it; readers go forward in time.
            measurements.sort(key=itemgetter(1))
        return by_shard

    async def _offer(self, shards: Sequence[int]) -> None:
        async with asyncio.timeout(ATTEMPT_S):
            outcomes = await asyncio.gather(*map(self._offer_shard, shards), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _offer_shard(self, shard: int) -> None:
        queue = self._waiting[shard]
        while queue:
            await self._bus.publish_once(topics.measurements(shard), encode_batch(queue[0]))
            queue.popleft()

    async def _offer_again(self, shards: Sequence[int]) -> None:
        """The stream lives in memory: after a restart of the server it has to be made again."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await self._bus.ensure_measurements_stream()
            await self._offer(shards)
        except BUS_AWAY as away:
            log.warning("measurements_kept_back", error=str(away) or type(away).__name__)

    def _give_up_the_oldest(self) -> None:
        for queue in self._waiting.values():
            while len(queue) > KEPT_MESSAGES:
                UNPUBLISHED.inc(len(queue.popleft()))
