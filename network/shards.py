"""The shards of frames that this replica owns: open windows and sessions of each, forgotten when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.messages.batch import UnreadableBatch
from core.messages.frames import FRAME_BATCHES
from core.messages.topics import shard_of_slot, slots_of_shard
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.bus import BUS_AWAY, Bus, Message
from core.runtime.lease import Lease
from core.runtime.owned_shard import Decoded, OwnedShard
from core.runtime.ownership import fenced
from core.runtime.postgres import Pool
from network import store
from network.deduplication import Deduplication, Group
from network.held_state import DeviceCache, SessionTable
from network.settings import NetworkServerSettings
from network.telemetry import SESSIONS_HELD, SHARDS_OWNED
from registry.downlinks import Changed, requeue_sending
from registry.keys import key_wrap_of

SERVICE = "network"
# After a fetch that waited this long and got nothing, all that was published has been read.
CAUGHT_UP_AFTER_S = 0.02

log = structlog.get_logger()


@dataclass(slots=True)
class FrameUnit:
    """One closed group of one shard, or something of that shard that goes to quarantine."""

    shard: "Shard"
    sequences: Sequence[int]
    group: Group | None = None
    poison: Quarantined | None = None


class Shard(OwnedShard[FrameUnit]):
    """One owned shard with its deduplication windows."""

    def __init__(self, shards: "Shards", lease: Lease, windows: Deduplication) -> None:
        super().__init__(lease)
        self._shards = shards
        self._windows = windows
        self._last_published_us = 0
        self._last_read_at = 0.0

    def add_waiting(self, messages: Sequence[Message]) -> None:
        """Advance the stream's clock to the time of reading these messages."""
        super().add_waiting(messages)
        self._last_published_us = messages[-1].published_at_us
        self._last_read_at = asyncio.get_running_loop().time()

    def decode(self, message: Message) -> Decoded:
        """Sort a message's frames into deduplication windows."""
        frames = FRAME_BATCHES.decode(message.data)
        return Decoded(len(frames), self._windows.add_frames(message.sequence, message.published_at_us, frames))

    def unreadable(self, message: Message, why: UnreadableBatch | None) -> FrameUnit:
        """The item that goes to quarantine, with the reason."""
        reason = QuarantineReason.POISON if why is None else QuarantineReason.UNREADABLE_BATCH
        detail = str(self.lease.crashes) if why is None else str(why)
        poison = Quarantined(message.subject, message.sequence, reason, message.data, detail)
        return FrameUnit(self, (message.sequence,), poison=poison)

    def take_units(self) -> list[FrameUnit]:
        """The groups whose windows have closed by the stream's clock."""
        now = asyncio.get_running_loop().time()
        if self._has_caught_up(now):
            self._windows.close_until(self._stream_now_us(now))
        return [FrameUnit(self, group.sequences, group) for group in self._windows.take_closed()]

    def due_in_s(self, now: float) -> float | None:
        """How long until the first open window ends; None when none is open."""
        next_close = self._windows.next_close_us
        if next_close is None:
            return None
        return max(CAUGHT_UP_AFTER_S / 2, (next_close - self._stream_now_us(now)) / 1_000_000)

    async def finish(self) -> None:
        """Finish the downlinks of its devices before another replica owns it."""
        await self._shards.finish(self)

    def forget(self) -> None:
        """Remove its sessions and devices from memory."""
        self._shards.forget(self)

    def _stream_now_us(self, now: float) -> int:
        """The stream's clock by our monotonic one, late by the bus's delay; it never runs ahead."""
        return self._last_published_us + int((now - self._last_read_at) * 1_000_000)

    def _has_caught_up(self, now: float) -> bool:
        """Whether a timer may close windows: the reader waits, and nothing that it read is left."""
        since = self.reading_since
        return not self.waiting and since is not None and now - since >= CAUGHT_UP_AFTER_S


class Shards:
    """What this replica owns: loaded when a shard is taken, forgotten when it is lost."""

    def __init__(
        self, pool: Pool, settings: NetworkServerSettings, sessions: SessionTable, devices: DeviceCache, count: int
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._keys = key_wrap_of(settings)
        self._sessions = sessions
        self._devices = devices
        self._count = count
        self._owned: dict[int, Shard] = {}
        self._finish: Callable[[Collection[int]], Awaitable[None]] | None = None

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

    async def open(self, lease: Lease) -> Shard:
        """Load a shard that was taken; until it is lost it is one of `owned`."""
        shard = Shard(self, lease, Deduplication(self._settings.dedup_window_ms * 1000))
        async with self._sessions.lock:  # A registry change that is applied meanwhile would miss this shard.
            await self._load(lease)
            self._owned[shard.number] = shard
        self._report()
        return shard

    async def finish(self, shard: Shard) -> None:
        """Finish the downlinks of its devices."""
        if self._finish is not None:
            await self._finish(slots_of_shard(shard.number, self._count))

    async def _load(self, lease: Lease) -> None:
        """Read sessions and devices as committed; downlinks that the former owner was sending are sent again."""
        slots = slots_of_shard(lease.shard, self._count)
        async with fenced(self._pool, [lease]) as connection:
            await requeue_sending(connection, slots)
            found = await store.read_all_sessions(connection, slots, self._keys)
            await self._devices.load(connection, slots, [held.device_id for held in found.held])
        self._sessions.forget_slots(slots)  # What a former ownership left in memory is out of date.
        for held in found.held:
            self._sessions.add_session(held)
        if found.sealed:
            log.error("sessions_sealed_with_another_kek", shard=lease.shard, sessions=len(found.sealed))

    def drop(self, shard: Shard) -> None:
        """Stop at once: read, publish, ask and write nothing more for this shard until it is taken anew."""
        shard.stop()

    def forget(self, shard: Shard) -> None:
        """It has stopped: remove its sessions and devices from memory."""
        if self._owned.get(shard.number) is not shard:
            return
        del self._owned[shard.number]
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
    """Nudge the processes that wait for these rows; without a bus they find the rows at their next look."""
    with suppress(*BUS_AWAY):
        for row in changed:
            await bus.nudge(topics.downlink_done(shard_of_slot(row.slot, shards)), str(row.id).encode())
