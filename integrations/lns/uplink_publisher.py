"""Publishes to UPLINKS, one publish in flight per shard (docs/architecture.md, "Acknowledge after the effect")."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field

from core.messages import topics
from core.messages.batch import encode_batches
from core.messages.topics import shard_of_slot
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus
from integrations.lns.telemetry import PUBLISH_SECONDS

MAX_ITEMS = 500
LINGER_S = 0.005
MAX_WAITING = 10_000


class TooMuchWaiting(Exception):
    """The bus is away or full and so is the queue: the sender of the uplink has to keep it for now."""


@dataclass(slots=True)
class _Lane:
    waiting: list[tuple[Uplink, asyncio.Future[None]]] = field(
        default_factory=list[tuple[Uplink, "asyncio.Future[None]"]]
    )
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class Publisher:
    """`publish` returns when the uplink is in the stream. Run `run` beside it."""

    def __init__(self, bus: Bus, shards: int, *, max_waiting: int = MAX_WAITING) -> None:
        self._bus = bus
        self._shards = shards
        self._max_waiting = max_waiting
        self._lanes = [_Lane() for _ in range(shards)]

    async def publish(self, uplink: Uplink, slot: int) -> None:
        """Return once the bus has acknowledged it; cancelled, it may be published all the same.

        Raises:
            TooMuchWaiting: the queue of its shard is full.
        """
        lane = self._lanes[shard_of_slot(slot, self._shards)]
        if len(lane.waiting) >= self._max_waiting:
            raise TooMuchWaiting
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append((uplink, safe))
        lane.filled.set()
        started = time.perf_counter()
        await safe
        PUBLISH_SECONDS.observe(time.perf_counter() - started)

    async def run(self) -> None:
        """Publish until cancelled; what nobody waits for any more is left out."""
        async with asyncio.TaskGroup() as tasks:
            for shard, lane in enumerate(self._lanes):
                tasks.create_task(self._run_lane(lane, topics.uplinks(shard)), name=f"publish uplinks of {shard}")

    async def _run_lane(self, lane: _Lane, subject: str) -> None:
        while True:
            await lane.filled.wait()
            await asyncio.sleep(LINGER_S)
            taken = [one for one in lane.waiting[:MAX_ITEMS] if not one[1].done()]
            del lane.waiting[:MAX_ITEMS]
            if not lane.waiting:
                lane.filled.clear()
            for octets in encode_batches([uplink for uplink, _ in taken], MAX_ITEMS) if taken else ():
                await self._bus.publish(subject, octets, uuid.uuid4().hex)
            for _, safe in taken:
                if not safe.done():
                    safe.set_result(None)
