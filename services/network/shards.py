"""The shards that this replica owns: taken by lease, read in stream order, let go at once when lost."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from core.messages import topics
from core.messages.shards import shard_of_slot, slots_of_shard
from core.runtime.bus import BUS_AWAY, Bus, Message, ShardReader
from core.runtime.lease import Lease, LeaseLost, fence_all, keep_lease, release_lease, take_lease
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from services.network import downlink_store, store
from services.network.deduplication import Deduplication
from services.network.devices import DeviceCache
from services.network.downlink_store import Changed
from services.network.sessions import SessionTable
from services.network.settings import NetworkSettings
from services.network.telemetry import SESSIONS_HELD, SHARDS_OWNED

SERVICE = "network"
TAKE_EVERY_S = 2.0
FETCH_TIMEOUT_S = 0.5
# A fetch that has waited this long in vain: what was published is read.
CAUGHT_UP_AFTER_S = 0.02
# Fetches that failed for this long while the lease is ours: the consumer is gone, take the shard anew.
READER_BROKEN_AFTER_S = 5.0

log = structlog.get_logger()


class ShardsLost(LeaseLost):
    """These shards have another owner; what was about to be written for them is void."""

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__(f"{SERVICE} shards {sorted(shards)}")
        self.shards = frozenset(shards)


@asynccontextmanager
async def fenced(pool: Pool, leases: Sequence[Lease]) -> AsyncGenerator[Connection]:
    """A transaction that commits only while every one of these leases is ours.

    Raises:
        ShardsLost: some are not; nothing was written.
    """
    async with pool.acquire() as connection, connection.transaction():
        lost = await fence_all(connection, leases)
        if lost:
            raise ShardsLost([lease.shard for lease in lost])
        yield connection


@dataclass(slots=True)
class HeldMessage:
    """A message that is not acknowledged yet, and how many groups still have frames in it."""

    message: Message
    unfinished: int


@dataclass(slots=True)
class Shard:
    """One owned shard: its lease, what was read and what is still open."""

    lease: Lease
    windows: Deduplication
    inbox: list[Message] = field(default_factory=list[Message])
    held: dict[int, HeldMessage] = field(default_factory=dict[int, HeldMessage])
    highest_sequence: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    is_ours: bool = True
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
    """Takes what is free, keeps it, drops what is lost."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        settings: NetworkSettings,
        sessions: SessionTable,
        devices: DeviceCache,
        count: int,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._settings = settings
        self._sessions = sessions
        self._devices = devices
        self._count = count
        self._owned: dict[int, Shard] = {}
        self.first_attempt_done = asyncio.Event()
        self.something_to_do = asyncio.Event()

    @property
    def count(self) -> int:
        """SHARDS of this installation."""
        return self._count

    def owned(self) -> list[Shard]:
        """The shards that are ours at this moment and fully loaded."""
        return list(self._owned.values())

    def slots(self) -> list[int]:
        """Every slot of the owned shards."""
        return [slot for shard in self._owned for slot in slots_of_shard(shard, self._count)]

    def of_slot(self, slot: int) -> Shard | None:
        """The owned shard of a slot; None when another replica has it."""
        return self._owned.get(shard_of_slot(slot, self._count))

    async def take_for_ever(self, tasks: asyncio.TaskGroup) -> None:
        """Try every two seconds to take the shards that are free; `tasks` gets the readers."""
        while True:
            for number in range(self._count):
                if number not in self._owned:
                    try:
                        await self._take(number, tasks)
                    except (*DATABASE_AWAY, *BUS_AWAY, LeaseLost) as away:
                        log.warning("shard_not_taken", shard=number, error=str(away) or type(away).__name__)
            self.first_attempt_done.set()
            await asyncio.sleep(TAKE_EVERY_S)

    async def _take(self, number: int, tasks: asyncio.TaskGroup) -> None:
        lease = await take_lease(self._pool, SERVICE, number, self._settings.instance)
        if lease is None:
            return
        shard = Shard(lease, Deduplication(self._settings.dedup_window_ms * 1000))
        shard.tasks.append(tasks.create_task(self._keep(shard), name=f"keep shard {number}"))
        try:
            await self._load(lease)
            reader = await self._bus.read_shard(
                topics.FRAMES, topics.frames(number), f"{SERVICE}-{number}-{lease.epoch}"
            )
            lease.check()
        except BaseException:
            self.drop(shard)
            await release_lease(self._pool, lease)
            raise
        if shard.is_ours:
            self._owned[number] = shard
            shard.tasks.append(tasks.create_task(self._read(shard, reader), name=f"read shard {number}"))
            self._report()
            log.info("shard_taken", shard=number, epoch=lease.epoch)

    async def _load(self, lease: Lease) -> None:
        """Former owners' requests are void; sessions and devices as committed."""
        slots = slots_of_shard(lease.shard, self._count)
        self._forget(lease.shard)
        async with fenced(self._pool, [lease]) as connection:
            await downlink_store.requeue_sending(connection, slots)
            await self._devices.load(connection, slots)
            sessions, sealed = await store.read_sessions(connection, slots, self._settings.kek_octets)
        for held in sessions:
            self._sessions.add(held)
        if sealed:
            log.error("sessions_sealed_with_another_kek", shard=lease.shard, sessions=len(sealed))

    async def _keep(self, shard: Shard) -> None:
        try:
            await keep_lease(self._pool, shard.lease)
        except LeaseLost as lost:
            log.warning("shard_lost", shard=shard.number, error=str(lost))
            self.drop(shard)

    async def _read(self, shard: Shard, reader: ShardReader) -> None:
        """Fetch and hand over, one batch ahead of the pass at most."""
        loop = asyncio.get_running_loop()
        last_good = loop.time()
        while True:
            shard.waiting_since = loop.time()
            try:
                messages = await reader.fetch(self._settings.fetch_messages, FETCH_TIMEOUT_S)
            except BUS_AWAY as away:
                shard.waiting_since = None
                log.warning("frames_not_read", shard=shard.number, error=str(away) or type(away).__name__)
                if self._bus.is_connected and loop.time() - last_good > READER_BROKEN_AFTER_S:
                    await self._give_back(shard)
                    return
                await asyncio.sleep(0.2)
                continue
            last_good = loop.time()
            if not messages:
                continue
            shard.waiting_since = None
            shard.note_read(messages[-1], last_good)
            shard.inbox += messages
            shard.drained.clear()
            self.something_to_do.set()
            await shard.drained.wait()

    async def _give_back(self, shard: Shard) -> None:
        """Let go of a shard whose consumer is gone; the next attempt takes it with a new one."""
        log.error("shard_reader_broken", shard=shard.number)
        self.drop(shard)
        await release_lease(self._pool, shard.lease)

    def drop(self, shard: Shard) -> None:
        """Stop at once: read, publish, ask and write nothing more for this shard."""
        shard.is_ours = False
        for task in shard.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._owned.get(shard.number) is shard:
            del self._owned[shard.number]
        if shard.number not in self._owned:
            self._forget(shard.number)
        self._report()

    def drop_all(self, numbers: Collection[int]) -> None:
        """Stop at once for these shards."""
        for shard in self.owned():
            if shard.number in numbers:
                self.drop(shard)

    def _forget(self, number: int) -> None:
        slots = slots_of_shard(number, self._count)
        self._sessions.forget_slots(slots)
        self._devices.forget_slots(slots)

    def _report(self) -> None:
        SHARDS_OWNED.set(len(self._owned))
        SESSIONS_HELD.set(len(self._sessions))

    async def release(self) -> None:
        """At a clean stop: let go, so that the next owner need not wait."""
        for shard in self.owned():
            self.drop(shard)
            await release_lease(self._pool, shard.lease)


async def nudge_done(bus: Bus, changed: Iterable[Changed], shards: int) -> None:
    """Tell whoever waits for these rows; the rows are the truth, so a bus that is away is no harm."""
    with suppress(*BUS_AWAY):
        for row in changed:
            await bus.nudge(topics.downlink_done(shard_of_slot(row.slot, shards)), str(row.id).encode())
