"""Pass after pass over all owned shards: read, prepare, commit, publish, acknowledge.

A failure tries the same again. While one pass is written the next is prepared, and while one is published the
next is written; commits, publications and acknowledgements keep the order.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.runtime.bus import BUS_AWAY
from core.runtime.clock import wall_clock_us
from core.runtime.errors import describe
from core.runtime.lease import LeaseLost
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, ForeignKeyViolationError, PostgresError
from ingest import uplink_trace
from ingest.batch import Prepared
from ingest.inbox import Inbox, Inboxes, Taken
from ingest.prepare import Registry, prepare
from ingest.publishing import MeasurementPublisher
from ingest.settings import BatchSettings
from ingest.shadows import Shadows
from ingest.single_retry import Done, OneByOne
from ingest.store import Store
from ingest.telemetry import LAG_SECONDS, PASSES_RETRIED, count_written

TRY_AGAIN_S = (0.1, 2.0)  # First and longest pause.
IN_PROGRESS_EVERY_S = 10.0  # A third of the bus's ack_wait.
# A pass of so many uplinks waits as long as it is set to; a larger one is followed by a longer wait, because what
# comes twice within a pass is cheaper.
USUAL_UPLINKS = 100

log = structlog.get_logger()


@dataclass(slots=True)
class Pass:
    """What is committed in one transaction."""

    taken: list[Taken]
    prepared: Prepared | None = None
    done: list[Done] = field(default_factory=list["Done"])
    began_us: int = field(default_factory=wall_clock_us)

    def size(self) -> int:
        """How many uplinks it has."""
        return sum(len(message.uplinks) for shard in self.taken for message in shard.delivered)


class Ingest:
    """The loop over the inboxes."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        publisher: MeasurementPublisher,
        settings: BatchSettings,
        shadows: Shadows | None = None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._publisher = publisher
        self._settings = settings
        self._shadows = shadows
        self._one_by_one = OneByOne(registry, store)
        self.inboxes = Inboxes(settings)
        self._tasks = asyncio.TaskGroup()
        self._writing: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._last_size = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Pass after pass until stopped; what is not committed then stays with the bus."""
        async with self._tasks:
            ending = self._tasks.create_task(stopping.wait(), name="wait for the end")
            while await self._something_arrived(ending):
                await asyncio.sleep(self._linger_s())
                careful = self.inboxes.careful()
                if careful is not None:
                    await self._settled()
                    await self._work_off(careful, stopping)
                if taken := self.inboxes.take():
                    await self._begin(Pass(taken), stopping)
            await self._settled()

    async def keep_in_progress(self) -> None:
        """While a pass is tried again, the bus must not hand the same messages out once more."""
        while True:
            await asyncio.sleep(IN_PROGRESS_EVERY_S)
            try:
                for message in self.inboxes.unacknowledged():
                    await message.in_progress()
            except BUS_AWAY as away:
                log.warning("in_progress_not_sent", error=describe(away))

    async def _something_arrived(self, ending: asyncio.Task[bool]) -> bool:
        """Wait for uplinks; False when the end came first."""
        arrived = self.inboxes.arrived
        if not arrived.is_set():
            arriving = asyncio.create_task(arrived.wait(), name="wait for uplinks")
            try:
                await asyncio.wait((arriving, ending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                arriving.cancel()
        return not ending.done()

    def _linger_s(self) -> float:
        """How long to wait for more: longer under load, not at all while there is more than a pass can take."""
        if self._last_size >= self._settings.pass_uplinks:
            return 0.0
        usual_ms = self._settings.linger_ms
        longest_ms = max(usual_ms, self._settings.longest_linger_ms)
        return min(longest_ms, usual_ms * max(1.0, self._last_size / USUAL_UPLINKS)) / 1000

    async def _begin(self, work: Pass, stopping: asyncio.Event) -> None:
        """Prepare it while its predecessor is written, then begin to write it."""
        self._last_size = work.size()
        try:
            work.prepared = await self._prepare(work)
        except Exception as failed:  # noqa: BLE001 - It is prepared again when it is to be written, and judged there.
            log.warning("pass_not_prepared", error=describe(failed))
        if self._writing is not None:
            await self._writing
        self._writing = self._tasks.create_task(self._finish(work, stopping), name="write a pass")

    async def _settled(self) -> None:
        """Everything that was begun is committed, published and acknowledged."""
        if self._writing is not None:
            await self._writing
        if self._announcing is not None:
            await self._announcing

    async def _prepare(self, work: Pass) -> Prepared:
        delivered = [message for shard in work.taken for message in shard.delivered]
        prepared = await prepare(delivered, self._registry)
        for shard in work.taken:
            prepared.quarantined += shard.unreadable
        return prepared

    async def _finish(self, work: Pass, stopping: asyncio.Event) -> None:
        """Repeat until it is committed, or no longer ours to commit; then tell of it."""
        pause = TRY_AGAIN_S[0]
        while True:
            ours = [shard for shard in work.taken if shard.inbox.is_ours]
            if not ours:
                return
            if len(ours) < len(work.taken):
                work.taken, work.prepared = ours, None
            try:
                await self._commit(work)
                break
            except ShardsLost as lost:
                log.warning("shards_lost", shards=sorted(lost.shards))
                for shard in work.taken:
                    shard.inbox.is_ours &= shard.inbox.lease.shard not in lost.shards
                continue
            except ForeignKeyViolationError as gone:
                self._registry.devices.forget_all()
                work.prepared = None
                _put_off(gone)
            except (PostgresError, *DATABASE_AWAY) as away:
                _put_off(away)
            if stopping.is_set():
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, TRY_AGAIN_S[1])
        await self._announce(work)

    async def _commit(self, work: Pass) -> None:
        """One transaction for all shards; when something in it is refused, one for each uplink."""
        leases = [shard.inbox.lease for shard in work.taken]
        try:
            if work.prepared is None:
                work.prepared = await self._prepare(work)
            work.done = [(work.prepared, await self._store.write(leases, work.prepared))]
        except (ShardsLost, ForeignKeyViolationError, *DATABASE_AWAY):
            raise
        except Exception as refused:
            if isinstance(refused, PostgresError) and not isinstance(refused, BAD_DATA):
                raise
            log.exception("batch_refused", uplinks=work.size())
            work.done = []
            for shard in work.taken:
                async for done in self._one_by_one.store_each(leases, shard.delivered):
                    work.done.append(done)
                unreadable = Prepared(quarantined=shard.unreadable)
                work.done.append((unreadable, await self._store.write(leases, unreadable)))

    async def _announce(self, work: Pass) -> None:
        """Publish and acknowledge, after its predecessor and beside the writing of its successor."""
        now_us = datetime.now(UTC).timestamp() * 1_000_000
        for shard in work.taken:
            for oldest_us in shard.oldest_us:
                LAG_SECONDS.observe(max(0.0, (now_us - oldest_us) / 1_000_000))
        for prepared, written in work.done:
            count_written(prepared, written)
            uplink_trace.write_steps(prepared, written, self._registry.devices, work.began_us)
            if self._shadows is not None:
                self._shadows.show(prepared.shadowed)
        if self._announcing is not None:
            await self._announcing
        self._announcing = self._tasks.create_task(self._publish(work), name="publish a pass")

    async def _publish(self, work: Pass) -> None:
        for prepared, written in work.done:
            await self._publisher.publish(written.to_publish(prepared))
        for shard in work.taken:
            await shard.inbox.acknowledge(shard.messages)

    async def _work_off(self, inbox: Inbox, stopping: asyncio.Event) -> None:
        """The messages of a shard that has ended its owners, one uplink at a time and nothing else beside it."""
        pause = TRY_AGAIN_S[0]
        work: Pass | None = None
        while inbox.is_ours and inbox.lease.is_careful and inbox.waiting and not stopping.is_set():
            shard = Taken(inbox)
            shard.add_oldest()
            work = Pass([shard])
            while inbox.is_ours and not stopping.is_set():
                try:
                    await self._store_carefully(work, shard)
                    break
                except LeaseLost as lost:
                    log.warning("shards_lost", shards=[inbox.lease.shard], error=str(lost))
                    inbox.is_ours = False
                except (PostgresError, *DATABASE_AWAY) as away:
                    self._registry.devices.forget_all()
                    _put_off(away)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, TRY_AGAIN_S[1])
            else:
                return
            await self._announce(work)
            await self._settled()

    async def _store_carefully(self, work: Pass, shard: Taken) -> None:
        work.done = []
        unreadable = Prepared(quarantined=shard.unreadable)
        work.done.append((unreadable, await self._store.write([shard.inbox.lease], unreadable)))
        for message in shard.delivered:
            async for done in self._one_by_one.store_carefully(shard.inbox.lease, message):
                work.done.append(done)


def _put_off(failed: BaseException) -> None:
    log.warning("pass_put_off", error=describe(failed))
    PASSES_RETRIED.labels(type(failed).__name__).inc()
