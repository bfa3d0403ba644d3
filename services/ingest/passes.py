"""One pass over all owned shards: read, prepare, commit, publish, acknowledge. A failure tries the same again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.messages.batch import UnreadableBatch
from core.messages.uplinks import UPLINK_BATCHES
from core.runtime.bus import BUS_AWAY, Message, ShardReader
from core.runtime.lease import Lease
from core.runtime.ownership import ShardsLost, batches
from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, ForeignKeyViolationError, PostgresError
from ingest.batch import Batch, Item, Quarantined, quarantine_of
from ingest.pipeline import readable
from ingest.prepare import Registry, prepare
from ingest.publishing import MeasurementPublisher
from ingest.store import write_batch
from ingest.telemetry import (
    BATCH_ROWS,
    BATCHES_REPEATED,
    LAG_SECONDS,
    MEASUREMENTS,
    PASSES_RETRIED,
    QUARANTINED,
    RECEPTIONS_SKIPPED,
    SHARDS_OWNED,
    UPLINKS,
)
from services.ingest.settings import IngestSettings

TRY_AGAIN_S = (0.1, 2.0)  # First and longest pause.
IN_PROGRESS_EVERY_S = 10.0  # A third of the bus's ack_wait.

log = structlog.get_logger()


@dataclass(slots=True)
class Inbox:
    """What was read of one shard and is not acknowledged: `waiting`, then `held` by the pass."""

    lease: Lease
    waiting: list[Message] = field(default_factory=list[Message])
    held: list[Message] = field(default_factory=list[Message])
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    is_ours: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """What a pass has taken of one shard."""

    inbox: Inbox
    items: list[Item]
    unreadable: list[Quarantined]
    oldest_us: list[int]  # Of each message: when its oldest uplink was received.


class Ingest:
    """The shards' inboxes and the loop over them."""

    def __init__(self, registry: Registry, publisher: MeasurementPublisher, settings: IngestSettings) -> None:
        self._registry = registry
        self._publisher = publisher
        self._settings = settings
        self._inboxes: list[Inbox] = []
        self._arrived = asyncio.Event()

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        """Read one shard, one fetch ahead of the pass at most; for a `ShardOwner`."""
        inbox = Inbox(lease)
        self._inboxes.append(inbox)
        SHARDS_OWNED.inc()
        try:
            async for messages in batches(reader, self._settings.fetch_messages):
                inbox.waiting += messages
                inbox.emptied.clear()
                self._arrived.set()
                await inbox.emptied.wait()
        finally:
            inbox.is_ours = False
            self._inboxes.remove(inbox)
            SHARDS_OWNED.dec()

    async def run(self, stopping: asyncio.Event) -> None:
        """Pass after pass until stopped; what is not committed then stays with the bus."""
        ending = asyncio.create_task(stopping.wait(), name="wait for the end")
        try:
            while await self._something_arrived(ending):
                await asyncio.sleep(self._settings.linger_ms / 1000)
                await self._finish(self._take(), stopping)
        finally:
            ending.cancel()

    async def _something_arrived(self, ending: asyncio.Task[bool]) -> bool:
        """Wait for uplinks; False when the end came first."""
        arriving = asyncio.create_task(self._arrived.wait(), name="wait for uplinks")
        try:
            await asyncio.wait((arriving, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            arriving.cancel()
        return not ending.done()

    async def keep_in_progress(self) -> None:
        """While a pass is tried again, the bus must not hand the same messages out once more."""
        while True:
            await asyncio.sleep(IN_PROGRESS_EVERY_S)
            try:
                for inbox in list(self._inboxes):
                    for message in [*inbox.held, *inbox.waiting]:
                        await message.in_progress()
            except BUS_AWAY as away:
                log.warning("in_progress_not_sent", error=str(away) or type(away).__name__)

    def _take(self) -> list[Taken]:
        """Messages of every shard in turn, in each shard's order, until there are enough uplinks."""
        self._arrived.clear()
        taken: list[Taken] = []
        room = self._settings.pass_uplinks
        for inbox in self._inboxes:
            of_shard = Taken(inbox, [], [], [])
            while inbox.waiting and room > 0:
                message = inbox.waiting.pop(0)
                inbox.held.append(message)
                room -= max(1, _read(message, of_shard))
            if inbox.waiting:
                self._arrived.set()
            else:
                inbox.emptied.set()
            if inbox.held:
                taken.append(of_shard)
        self._inboxes = [*self._inboxes[1:], *self._inboxes[:1]]  # The next pass begins with another shard.
        return taken

    async def _finish(self, taken: list[Taken], stopping: asyncio.Event) -> None:
        """Repeat until it is committed, or no longer ours to commit."""
        pause = TRY_AGAIN_S[0]
        while taken := [shard for shard in taken if shard.inbox.is_ours]:
            try:
                await self._pass(taken)
                break
            except ShardsLost as lost:
                log.warning("shards_lost", shards=sorted(lost.shards))
                for shard in taken:
                    shard.inbox.is_ours &= shard.inbox.lease.shard not in lost.shards
                continue
            except (PostgresError, *DATABASE_AWAY) as away:
                log.warning("pass_put_off", error=str(away) or type(away).__name__)
                PASSES_RETRIED.labels(type(away).__name__).inc()
            if stopping.is_set():
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, TRY_AGAIN_S[1])
        for shard in taken:
            await _acknowledge(shard.inbox)

    async def _pass(self, taken: Sequence[Taken]) -> None:
        """One transaction for all shards; when a value in it is refused, one for each item."""
        leases = [shard.inbox.lease for shard in taken]
        items = [item for shard in taken for item in shard.items]
        unreadable = [entry for shard in taken for entry in shard.unreadable]
        try:
            await self._commit(leases, items, unreadable)
        except ForeignKeyViolationError:
            self._registry.devices.forget_all()
            raise
        except BAD_DATA as refused:
            log.error("batch_refused", error=str(refused), items=len(items))
            for item in items:
                await self._commit_alone(leases, item)
            await self._commit(leases, [], unreadable)
        now_us = datetime.now(UTC).timestamp() * 1_000_000
        for shard in taken:
            for oldest_us in shard.oldest_us:
                LAG_SECONDS.observe(max(0.0, (now_us - oldest_us) / 1_000_000))

    async def _commit_alone(self, leases: Sequence[Lease], item: Item) -> None:
        try:
            await self._commit(leases, [item], [])
        except ForeignKeyViolationError:
            raise
        except BAD_DATA as refused:
            await self._commit(
                leases, [], quarantine_of([item], "refused_value", f"Refusé par la base : {refused}")
            )

    async def _commit(
        self, leases: Sequence[Lease], items: Sequence[Item], unreadable: Sequence[Quarantined]
    ) -> None:
        batch = await prepare(items, self._registry)
        batch.quarantined += unreadable
        was_stored = await write_batch(self._registry.pool, leases, batch)
        _count(batch, items, was_stored=was_stored)
        await self._publisher.publish(batch.by_slot)


def _read(message: Message, taken: Taken) -> int:
    """Add what the message carries; returns how many uplinks."""
    try:
        uplinks = UPLINK_BATCHES.decode(message.data)
    except UnreadableBatch as unreadable:
        reason = readable(f"Lot illisible : {unreadable}")
        taken.unreadable.append(
            Quarantined(message.subject, message.sequence, "unreadable_batch", reason, message.data)
        )
        return 0
    taken.items.extend(Item(message.subject, message.sequence, uplink) for uplink in uplinks)
    if uplinks:
        taken.oldest_us.append(min(uplink.received_at_us for uplink in uplinks))
    return len(uplinks)


async def _acknowledge(inbox: Inbox) -> None:
    """What is committed and not acknowledged comes again, and changes nothing."""
    held, inbox.held = inbox.held, []
    try:
        for message in held:
            await message.ack()
    except BUS_AWAY as away:
        log.warning("not_acknowledged", error=str(away) or type(away).__name__)


def _count(batch: Batch, items: Sequence[Item], *, was_stored: bool) -> None:
    statuses: dict[str, int] = {}
    for row in batch.uplinks.values():
        statuses[row.status] = statuses.get(row.status, 0) + 1
    if late := sum(item.uplink.late for item in items):
        statuses["late"] = late
    for status, count in statuses.items():
        UPLINKS.labels(status).inc(count)
    for entry in batch.quarantined:
        QUARANTINED.labels(entry.kind).inc()
    measurements = len(batch.measurements) + len(batch.history)
    MEASUREMENTS.inc(measurements)
    RECEPTIONS_SKIPPED.inc(batch.receptions_skipped)
    BATCHES_REPEATED.inc(was_stored)
    BATCH_ROWS.observe(measurements + len(batch.uplinks) + len(batch.receptions) + len(batch.late_receptions))
