"""Publishes committed measurements to MEASUREMENTS, without ever holding up ingest."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

import structlog

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from core.model.identities import NO_TRACE
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from ingest.batch import Published
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
        self._waiting: dict[int, deque[list[Published]]] = {shard: deque() for shard in range(shards)}

    async def publish(self, by_slot: Mapping[int, Sequence[Published]]) -> None:
        """Publish these measurements, two attempts at most; returns without an error, whatever becomes of them."""
        for shard, measurements in self._by_shard(by_slot).items():
            self._waiting[shard].extend(cut(measurements))
        waiting = [shard for shard, queue in self._waiting.items() if queue]
        if not waiting:
            return
        try:
            await self._publish_shards(waiting)
        except BUS_AWAY as away:
            log.warning("measurements_not_published", error=describe(away))
            await self._publish_again(waiting)
        self._give_up_the_oldest()

    def _by_shard(self, by_slot: Mapping[int, Sequence[Published]]) -> dict[int, list[Published]]:
        by_shard: dict[int, list[Published]] = {}
        for slot, measurements in by_slot.items():
            by_shard.setdefault(shard_of_slot(slot, self._shards), []).extend(measurements)
        for measurements in by_shard.values():
            # A meter sends its newest value first and its past after it; readers go forward in time.
            measurements.sort(key=itemgetter(1))
        return by_shard

    async def _publish_shards(self, shards: Sequence[int]) -> None:
        async with asyncio.timeout(ATTEMPT_S):
            outcomes = await asyncio.gather(*map(self._publish_shard, shards), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _publish_shard(self, shard: int) -> None:
        queue = self._waiting[shard]
        while queue:
            await self._bus.publish_once(topics.measurements(shard), encode_batch(queue[0]))
            queue.popleft()

    async def _publish_again(self, shards: Sequence[int]) -> None:
        """The stream lives in memory: after a restart of the server it has to be created again."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await self._bus.ensure_measurements_stream()
            await self._publish_shards(shards)
        except BUS_AWAY as away:
            log.warning("measurements_kept_back", error=describe(away))

    def _give_up_the_oldest(self) -> None:
        for queue in self._waiting.values():
            while len(queue) > KEPT_MESSAGES:
                UNPUBLISHED.inc(len(queue.popleft()))


def cut(measurements: Sequence[Published]) -> Iterator[list[Published]]:
    """The measurements of one message each; where an uplink is cut in two, its trace goes with both parts."""
    for start in range(0, len(measurements), MESSAGE_ITEMS):
        part = list(measurements[start : start + MESSAGE_ITEMS])
        if start and not trace_of(part[0]):
            before = (trace_of(measurements[place]) for place in range(start - 1, -1, -1))
            part[0] = (*part[0][:4], next((trace_id for trace_id in before if trace_id), NO_TRACE))
        yield part


def trace_of(row: Published) -> bytes:
    """The trace id of a row; empty where it is that of the row before."""
    return row[4] if len(row) == 5 else NO_TRACE  # noqa: PLR2004 - As its type says.
