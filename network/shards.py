"""The shards that this replica owns: taken by lease, read in stream order, let go at once when lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from core.messages import topics
from core.messages.shards import shard_of_slot, slots_of_shard
from core.runtime.bus import BUS_AWAY, Bus, Message, ShardReader
from core.runtime.lease import Lease
from core.runtime.ownership import batches, fenced
from core.runtime.postgres import Pool
from network import store
from network.deduplication import Deduplication
from network.device_cache import DeviceCache
from network.session_table import SessionTable
from network.settings import NetworkServerSettings
from network.telemetry import SESSIONS_HELD, SHARDS_OWNED
from registry.downlinks import Changed, requeue_sending

SERVICE = "network"
# A fetch that has waited this long in vain: what was published is read.
CAUGHT_UP_AFTER_S = 0.02

log = structlog.get_logger()


@dataclass(slots=True)
class HeldMessage:
    """A message that is not acknowledged yet, and how many groups still have frames in it."""

    message: Message
    unfinished: int


@dataclass(slots=True)
class Shard:
    """One owned shard: its lease, what was read and what is still open."""

    pool: Pool
    lease: Lease
    windows: Deduplication
    serving: asyncio.Task[Any] | None = None
    inbox: list[Message] = field(default_factory=list[Message])
    held: dict[int, HeldMessage] = field(default_factory=dict[int, HeldMessage])
    highest_sequence: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    is_ours: bool = True
    is_leaving: bool = False  # Another replica is to have it: read no more, plan nothing new.
    waiting_since: float | None = None  # Monotonic; None: not waiting for messages.
    _last_published_us: int = 0
    _last_read_at: float = 0.0

    @property
    def number(self) -> int:
        """Its number, below SHARDS."""
        return self.lease.shard

    def note_read(self, message: Message, now: float) -> None:
        """The stream's clock was at least here when the message was read."""
        self._last_published_us, self._last_read_at = message.published_at_us, now

    def stream_now_us(self, now: float) -> int:
        """The stream's clock by our monotonic one, late by what the bus took; it never runs ahead."""
        return self._last_published_us + int((now - self._last_read_at) * 1_000_000)

    def has_caught_up(self, now: float) -> bool:
        """Whether a timer may close windows: the reader waits, and nothing that it read is left."""
        waiting = self.waiting_since
        return not self.inbox and waiting is not None and now - waiting >= CAUGHT_UP_AFTER_S

    def closes_in_s(self, now: float) -> float | None:
        """How long until the first open window ends; None when none is open."""
        next_close = self.windows.next_close_us
        if next_close is None:
            return None
        return max(CAUGHT_UP_AFTER_S / 2, (next_close - self.stream_now_us(now)) / 1_000_000)


class Shards:
    """What this replica owns: loaded when a shard is taken, forgotten when it is lost."""

    def __init__(
        self, pool: Pool, settings: NetworkServerSettings, sessions: SessionTable, devices: DeviceCache, count: int
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._sessions = sessions
        self._devices = devices
        self._count = count
        self._owned: dict[int, Shard] = {}
        self._finish: Callable[[Collection[int]], Awaitable[None]] | None = None
        self.something_to_do = asyncio.Event()

    def on_leaving(self, finish: Callable[[Collection[int]], Awaitable[None]]) -> None:
        """Await `finish(slots)` before a shard is given to another replica."""
        self._finish = finish

    @property
    def count(self) -> int:
        """SHARDS of this installation."""
        return self._count

    def owned(self) -> list[Shard]:
        """The shards that are ours at this moment and fully loaded."""
        return list(self._owned.values())

    def slots(self) -> list[int]:
        """Every slot of the owned shards that stay ours."""
        staying = [shard for shard in self._owned.values() if not shard.is_leaving]
        return [slot for shard in staying for slot in slots_of_shard(shard.number, self._count)]

    def of_slot(self, slot: int) -> Shard | None:
        """The owned shard of a slot; None when another replica has it."""
        return self._owned.get(shard_of_slot(slot, self._count))

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        """Load a shard that was taken, read it, one batch ahead of the pass, until it is lost or given away."""
        windows = Deduplication(self._settings.dedup_window_ms * 1000)
        shard = Shard(self._pool, lease, windows, asyncio.current_task())
        async with self._sessions.lock:  # Who follows the registry meanwhile would not know that it is ours.
            await self._load(lease)
            self._owned[shard.number] = shard
        self._report()
        loop = asyncio.get_running_loop()
        try:
            shard.waiting_since = loop.time()
            async for messages in batches(reader, self._settings.fetch_messages):
                shard.waiting_since = None
                shard.note_read(messages[-1], loop.time())
                shard.inbox += messages
                shard.drained.clear()
                self.something_to_do.set()
                await shard.drained.wait()
                shard.waiting_since = loop.time()
            shard.is_leaving = True
            if self._finish is not None and lease.draining.is_set():
                await self._finish(slots_of_shard(shard.number, self._count))
        finally:
            self.drop(shard)

    async def _load(self, lease: Lease) -> None:
        """Sessions and devices as committed; what the former owner asked of gateways is asked again."""
        slots = slots_of_shard(lease.shard, self._count)
        async with fenced(self._pool, [lease]) as connection:
            await requeue_sending(connection, slots)
            found = await store.read_all_sessions(connection, slots, self._settings.kek_octets)
            await self._devices.load(connection, slots, [held.device_id for held in found.held])
        self._sessions.forget_slots(slots)  # Whatever is left of a former ownership is out of date.
        for held in found.held:
            self._sessions.add(held)
        if found.sealed:
            log.error("sessions_sealed_with_another_kek", shard=lease.shard, sessions=len(found.sealed))

    def drop(self, shard: Shard) -> None:
        """Stop at once: read, publish, ask and write nothing more for this shard until it is taken anew."""
        shard.is_ours = False
        if self._owned.get(shard.number) is not shard:
            return
        del self._owned[shard.number]
        if shard.serving is not None and shard.serving is not asyncio.current_task():
            shard.serving.cancel()
        slots = slots_of_shard(shard.number, self._count)
        self._sessions.forget_slots(slots)
        self._devices.forget_slots(slots)
        self._report()

    def drop_all(self, numbers: Collection[int]) -> None:
        """Stop at once for these shards."""
        for shard in self.owned():
            if shard.number in numbers:
                self.drop(shard)

    def _report(self) -> None:
        SHARDS_OWNED.set(len(self._owned))
        SESSIONS_HELD.set(len(self._sessions))


async def nudge_done(bus: Bus, changed: Iterable[Changed], shards: int) -> None:
    """Tell whoever waits for these rows; the rows are the truth, so a bus that is away is no harm."""
    with suppress(*BUS_AWAY):
        for row in changed:
            await bus.nudge(topics.downlink_done(shard_of_slot(row.slot, shards)), str(row.id).encode())
