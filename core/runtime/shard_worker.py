"""The one way in which a service works off the shards of a work queue that it owns.

Read, decode, prepare, commit, publish, acknowledge: all shards of a replica together, one transaction a batch.

- What fails for want of the database or the bus is tried again, the same batch, and nothing is read past it.
- A batch that fails otherwise is halved until the unit that spoils it stands alone; that one goes to quarantine.
- A shard whose owners have ended twice with the same batch is worked off unit by unit under `poison_guard`; what
  was in hand at the third end goes to quarantine without being looked at.
- A message is acknowledged when all its units are committed and published.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

import structlog

from core.messages.batch import UnreadableBatch
from core.runtime import poison_guard
from core.runtime.bus import BUS_AWAY, Message, ShardReader
from core.runtime.errors import describe
from core.runtime.lease import WHOLE_MESSAGE, Lease, LeaseLost
from core.runtime.owned_shard import OwnedShard, U, acknowledge
from core.runtime.ownership import ShardsLost, batches
from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, Pool, PostgresError

# A second attempt succeeds, unless the database rejects a value.
TRANSIENT = (PostgresError, *DATABASE_AWAY, *BUS_AWAY)
RETRY_S = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
IN_PROGRESS_EVERY_S = 10.0  # A third of the bus's ack_wait.

log = structlog.get_logger()


class Place(NamedTuple):
    """A message, and which of its items."""

    sequence: int
    item: int


class Batch(Protocol):
    """What is committed in one transaction."""

    async def prepare(self) -> None:
        """Do what can be done before earlier batches are committed. When it raises, `commit` does it."""
        ...

    async def commit(self) -> None:
        """Commit it under the leases of its shards. When it raises, it is tried again, or divided."""
        ...

    async def publish(self) -> None:
        """It is committed, and all before it is published: say so to those who wait. It does not raise."""
        ...


class Domain(Protocol[U]):
    """What a service does with the units of its shards, for `ShardWorker`."""

    transient: tuple[type[Exception], ...]
    """Errors that look like bad data but after which a second attempt succeeds."""

    async def open_shard(self, lease: Lease) -> OwnedShard[U]:
        """A shard that was taken, with all that is to be known before its first message."""
        ...

    def batch(self, units: list[U]) -> Batch:
        """These units, which are in the order of the stream within each shard."""
        ...

    def divide(self, unit: U) -> list[U]:
        """The parts of a unit that may be stored without each other; the unit itself when it has none."""
        ...

    def place_of(self, unit: U) -> Place | None:
        """Of a unit that is not divided further: its first item; None when nobody is to look at it any more."""
        ...

    def rejected(self, unit: U, error: Exception | None) -> U | None:
        """The same for quarantine; `error` None: the service ended by it. None: it was for quarantine already."""
        ...

    def count_retry(self, error: Exception) -> None:
        """A batch is to be tried again."""
        ...


def _at_once(_items: int) -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at once, and how often."""

    fetch_messages: int
    batch_items: int
    """A batch has about so many items, and never more units."""
    read_ahead: int
    """Of each shard: so many octets at most wait for the worker when the next messages are asked for."""
    prepare_ahead: bool = False
    """While one batch is committed the next is prepared, and while one is published the next is committed."""
    fetch_pause_s: float = 0.0
    """After a fetch that brought less than it could: asking less often costs less."""
    linger_s: Callable[[int], float] = _at_once
    """How long to wait for more once something has come, by the number of items of the batch before."""
    every_s: float = 0.0
    """The least time between the beginnings of two batches. What comes alone does not wait."""


class ShardWorker(Generic[U]):
    """`serve` reads one shard, for a `ShardOwner`; `run` works on what all of them have read."""

    def __init__(self, pool: Pool, domain: Domain[U], pace: Pace) -> None:
        self._pool = pool
        self._domain = domain
        self._pace = pace
        self._shards: list[OwnedShard[U]] = []
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._committing: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._last_items = 0

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        """Read a shard, a little ahead of the batches, until it is lost or another replica is to have it."""
        shard = await self._domain.open_shard(lease)
        self._shards.append(shard)
        try:
            await self._read(shard, reader)
            shard.is_leaving = True
            if lease.draining.is_set():
                await shard.finish()
        finally:
            shard.stop()
            self._shards.remove(shard)

    async def _read(self, shard: OwnedShard[U], reader: ShardReader) -> None:
        loop, pace = asyncio.get_running_loop(), self._pace
        shard.reading_since = loop.time()
        async for messages in batches(reader, pace.fetch_messages):
            shard.reading_since = None
            shard.add_waiting(messages)
            self._arrived.set()
            await shard.until_taken(pace.read_ahead)
            if pace.fetch_pause_s and len(messages) < pace.fetch_messages:
                await asyncio.sleep(pace.fetch_pause_s)
            shard.reading_since = loop.time()

    async def run(self, stopping: asyncio.Event) -> None:
        """Batch after batch until stopped; what is not committed then stays with the bus."""
        self._stopping, loop = stopping, asyncio.get_running_loop()
        async with self._tasks:
            beside = [
                self._tasks.create_task(self._wake_at_the_end(), name="wait for the end"),
                self._tasks.create_task(self._keep_in_progress(), name="keep in progress"),
            ]
            while await self._something_to_do():
                await asyncio.sleep(self._linger_s())
                began = loop.time()
                if await self._step():
                    await asyncio.sleep(max(0.0, began + self._pace.every_s - loop.time()))
            await self._settled()
            for task in beside:
                task.cancel()

    async def _wake_at_the_end(self) -> None:
        await self._stopping.wait()
        self._arrived.set()

    async def _keep_in_progress(self) -> None:
        """While a batch is tried again, the bus must not hand the same messages out once more."""
        while True:
            await asyncio.sleep(IN_PROGRESS_EVERY_S)
            try:
                for shard in list(self._shards):
                    for message in shard.unacknowledged():
                        await message.in_progress()
            except BUS_AWAY as away:
                log.warning("in_progress_not_sent", error=describe(away))

    async def _something_to_do(self) -> bool:
        """Wait for messages, or for units to be complete; False: it is the end."""
        now = asyncio.get_running_loop().time()
        due = [due_s for shard in self._shards if (due_s := shard.due_in_s(now)) is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(due, default=None)):
                await self._arrived.wait()
        return not self._stopping.is_set()

    def _linger_s(self) -> float:
        return 0.0 if self._is_behind() else self._pace.linger_s(self._last_items)

    def _is_behind(self) -> bool:
        """Whether there was more than a batch can take, or a shard is worked off unit by unit."""
        if self._last_items >= self._pace.batch_items:
            return True
        return any(shard.waiting and shard.lease.is_guarded for shard in self._shards)

    async def _step(self) -> bool:
        """One batch, nearly always; whether it is worth a pause before the next."""
        together, guarded = await self._take_batch()
        most = self._pace.batch_items
        for start in range(0, len(together), most):
            await self._begin(together[start : start + most])
        if guarded:
            await self._settled()
            await self._work_off(guarded)
        return bool(together) and not self._is_behind()

    async def _take_batch(self) -> tuple[list[U], list[U]]:
        """What is complete, of every shard in turn: what goes together, and what is worked on unit by unit."""
        self._arrived.clear()
        together: list[U] = []
        guarded: list[U] = []
        room = self._pace.batch_items
        for shard in list(self._shards):
            while shard.waiting and room > 0:
                message = shard.next_message()
                if not shard.lease.is_guarded:
                    room -= await self._take_in(shard, message, together)
                    continue
                await self._settled()  # Nothing else may end the process meanwhile.
                room -= await self._take_in_guarded(shard, message, guarded)
                break  # It may be the last for which this is necessary.
            units = shard.take_units()
            if units:
                (guarded if shard.lease.is_guarded else together).extend(units)
        self._shards = [*self._shards[1:], *self._shards[:1]]  # The next batch begins with another shard.
        if any(shard.waiting for shard in self._shards):
            self._arrived.set()
        self._last_items = max(self._pace.batch_items - room, len(together) + len(guarded))
        return together, guarded

    async def _take_in(self, shard: OwnedShard[U], message: Message, units: list[U]) -> int:
        """Decode a message; returns how many items it has. One that cannot be read is a unit of its own."""
        if not await shard.hold(message):
            return 0
        try:
            decoded = shard.decode(message)
        except UnreadableBatch as why:
            units.append(shard.unreadable(message, why))
            return 1
        await shard.set_units(message, decoded.units)
        return max(1, decoded.items)

    async def _take_in_guarded(self, shard: OwnedShard[U], message: Message, units: list[U]) -> int:
        if shard.lease.is_poison(message.sequence, WHOLE_MESSAGE):
            if await shard.hold(message):
                units.append(shard.unreadable(message, None))
            return 1
        await poison_guard.begin_decoding(self._pool, shard.lease, message.sequence)
        try:
            return await self._take_in(shard, message, units)
        finally:
            await poison_guard.commit(self._pool, shard.lease)

    async def _begin(self, units: list[U]) -> None:
        """Prepare them, while their predecessors are committed if that is wanted, and commit them."""
        batch = self._domain.batch(units)
        try:
            await batch.prepare()
        except Exception as failed:  # noqa: BLE001 - `commit` prepares it again, and is judged by that.
            log.warning("batch_not_prepared", error=describe(failed))
        if not self._pace.prepare_ahead:
            await self._publish(await self._commit(units, batch))
            return
        if self._committing is not None:
            await self._committing
        self._committing = self._tasks.create_task(self._see_through(units, batch), name="commit a batch")

    async def _settled(self) -> None:
        """Everything that was begun is committed, published and acknowledged."""
        if self._committing is not None:
            await self._committing
        if self._publishing is not None:
            await self._publishing

    async def _see_through(self, units: list[U], batch: Batch) -> None:
        committed = await self._commit(units, batch)
        if self._publishing is not None:
            await self._publishing
        self._publishing = self._tasks.create_task(self._publish(committed), name="publish a batch")

    async def _publish(self, committed: Iterable[tuple[list[U], Batch]]) -> None:
        for _, batch in committed:
            await batch.publish()
        for units, _ in committed:
            await acknowledge(units)

    async def _work_off(self, units: list[U]) -> None:
        """Of shards that have ended their owners: one part of a unit after the other, and nothing beside it."""
        for unit in units:
            for part in self._divided(unit):
                lease, place = part.shard.lease, self._domain.place_of(part)
                if place is not None and lease.is_poison(*place):
                    log.error("poison_quarantined", service=lease.service, shard=lease.shard, place=place)
                    await self._publish(await self._commit([self._domain.rejected(part, None) or part]))
                else:
                    await self._publish(await self._commit([part], None, place if lease.is_guarded else None))

    def _divided(self, unit: U) -> list[U]:
        parts = self._domain.divide(unit)
        if len(parts) > 1:
            unit.shard.add_parts(unit.sequences, len(parts) - 1)
        return parts

    async def _commit(
        self, units: list[U], batch: Batch | None = None, in_hand: Place | None = None
    ) -> list[tuple[list[U], Batch]]:
        """Commit these units, however often the database or the bus is away; returns what was committed together.

        Those of shards that were lost meanwhile are left to their new owners, and at the end everything is.
        `in_hand` is written down before and after.
        """
        attempt = 0
        while ours := [unit for unit in units if unit.shard.is_ours]:
            if batch is None or len(ours) < len(units):
                batch = self._domain.batch(ours)
            units = ours
            failed = await self._try_to_commit(units, batch, in_hand)
            if failed is None:
                return [(units, batch)]
            if isinstance(failed, LeaseLost):
                self._drop_lost(failed)
            elif self._is_transient(failed):
                if not await self._may_try_again(failed, attempt):
                    break
                attempt += 1
            elif len(units) > 1:
                log.warning("batch_divided", units=len(units), error=describe(failed))
                half = len(units) // 2
                return await self._commit(units[:half]) + await self._commit(units[half:])
            else:
                units, batch = self._smaller(units[0], failed), None
        return []

    async def _try_to_commit(self, units: list[U], batch: Batch, in_hand: Place | None) -> Exception | None:
        lease = units[0].shard.lease
        try:
            if in_hand is not None:
                await poison_guard.begin(self._pool, lease, *in_hand)
            await batch.commit()
            if in_hand is not None:
                await poison_guard.commit(self._pool, lease)
        except Exception as failed:  # noqa: BLE001 - Raised again when nothing else can be done.
            return failed
        return None

    def _is_transient(self, failed: Exception) -> bool:
        if isinstance(failed, self._domain.transient):
            return True
        return isinstance(failed, TRANSIENT) and not isinstance(failed, BAD_DATA)

    async def _may_try_again(self, failed: Exception, attempt: int) -> bool:
        """After a pause; False: it is the end, and the batch stays with the bus."""
        self._domain.count_retry(failed)
        log.warning("batch_retried", attempt=attempt, error=describe(failed))
        if self._stopping.is_set():
            return False
        await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
        return True

    def _smaller(self, unit: U, failed: Exception) -> list[U]:
        """The parts of a unit that could not be stored; of one without parts what goes to quarantine."""
        parts = self._divided(unit)
        if len(parts) > 1:
            return parts
        rejected = self._domain.rejected(unit, failed)
        if rejected is None:
            raise failed
        return [rejected]

    def _drop_lost(self, lost: LeaseLost) -> None:
        """Of those named, or else of those whose leases are too old to publish under them."""
        overdue = (shard.number for shard in self._shards if not shard.lease.is_fresh())
        numbers = lost.shards if isinstance(lost, ShardsLost) else set(overdue)
        for shard in list(self._shards):
            if shard.number in numbers:
                log.warning("shard_lost", shard=shard.number, error=str(lost))
                shard.stop()
