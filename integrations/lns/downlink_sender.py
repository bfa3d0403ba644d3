"""Hands the downlinks of one source over to its LNS, each once, by the replica that holds the source's lease.

A row is `sending` under its item, committed, before anybody is asked. What came of it is written however long the
database is away; an owner that ends in between leaves the row to the next, which hands it over under the same
item: ChirpStack takes it once, the others may send it twice, as our own network may
(docs/architecture.md, "FCntDown is never given back"). What their LNS then says comes as a report, to any replica.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from core.messages import topics
from core.messages.shards import shard_of_slot
from core.runtime.errors import describe
from core.runtime.lease import Lease
from core.runtime.ownership import fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.lns import downlink_store
from integrations.lns.downlink_reports import Reports
from integrations.lns.downlink_store import Changed, Due
from integrations.lns.lns_client import ASKED, NEED_ADDRESS, SHORT_ITEMS, Carrier
from integrations.lns.lns_downlink import Handed, Later, Refused, in_their_queue
from integrations.lns.source_stats import Sightings
from integrations.lns.telemetry import DOWNLINKS
from registry.downlinks import SLOT_OF_OTHER_LNS
from registry.lns_sources import Source

POLL_S = 1.0
ASK_EVERY_S = 15.0
ASKED_AT_ONCE = 20
# After a hand-over that failed the device's row waits; after several in a row the whole source does.
WAIT_S = 5.0
LONGEST_WAIT_S = 60.0
AGAIN_S = 0.5
# On the way out the order in hand is finished.
FINISH_S = 12.0

log = structlog.get_logger()


def due_subject(shards: int) -> str:
    """Where a new row of another LNS is announced."""
    return topics.downlink_due(shard_of_slot(SLOT_OF_OTHER_LNS, shards))


class Sender:
    """Works off one source's rows while its lease holds."""

    def __init__(
        self, pool: Pool, reports: Reports, lease: Lease, source: Source, carrier: Carrier, sightings: Sightings
    ) -> None:
        self._pool = pool
        self._reports = reports
        self._lease = lease
        self._source = source
        self._carrier = carrier
        self._sightings = sightings
        self._failures = 0
        self._next_question = 0.0
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Hand over on a nudge and every second until cancelled; raises LeaseLost when the source is another's."""
        while True:
            self.wake.clear()
            try:
                await self._pass()
            except DATABASE_AWAY as away:
                log.warning("downlinks_not_taken", source=self._source.id, error=describe(away))
            if self._failures > 1:
                await asyncio.sleep(min(LONGEST_WAIT_S, POLL_S * 2**self._failures))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self.wake.wait()

    async def _pass(self) -> None:
        """Hand over what is due, one after the other, until their LNS does not take it."""
        short_items = self._source.kind in SHORT_ITEMS
        while True:
            async with fenced(self._pool, [self._lease]) as connection:
                due = await downlink_store.take_due(connection, self._source.id, short_items=short_items)
            if due is None:
                break
            self._lease.check()
            await self._finish(self._hand_over(due))
            if self._failures > 1:
                break
        await self._ask()

    async def _finish(self, doing: Awaitable[None]) -> None:
        """Cancelled, finish what is under way: whether they have it must be written."""
        task = asyncio.ensure_future(doing)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    await task
            raise

    async def _hand_over(self, due: Due) -> None:
        order = due.order
        outcome = await self._carrier.hand_over(order)
        match outcome:
            case Handed(item):
                self._failures = 0
                reason = in_their_queue(self._source.kind, is_class_c=due.is_class_c)
                changed = await self._insist(lambda: downlink_store.note_handed(self._pool, order, item, reason))
            case Later(reason):
                if order.address or self._source.kind not in NEED_ADDRESS:
                    self._failures += 1  # A device that was not heard yet is no failure of the source.
                    self._sightings.error(self._source, reason)
                wait = timedelta(seconds=WAIT_S)
                changed = await self._insist(lambda: downlink_store.note_later(self._pool, order, reason, wait))
            case Refused(reason):
                self._failures = 0
                changed = await self._insist(lambda: downlink_store.note_refused(self._pool, order, reason))
        result = type(outcome).__name__.lower()
        DOWNLINKS.labels(self._source.kind, result).inc()
        log.info("downlink_handed_over", downlink_id=order.id, source=self._source.id, result=result)
        await self._reports.tell(changed)

    async def _insist(self, write: Callable[[], Awaitable[list[Changed]]]) -> Sequence[Changed]:
        """Write however long the database is away."""
        while True:
            try:
                return await write()
            except DATABASE_AWAY as away:
                log.warning("hand_over_not_noted", error=describe(away))
                await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> None:
        """Where their LNS tells nothing by itself, ask now and then."""
        now = asyncio.get_running_loop().time()
        if self._source.kind not in ASKED or now < self._next_question:
            return
        self._next_question = now + ASK_EVERY_S
        async with fenced(self._pool, [self._lease]) as connection:
            undecided = await downlink_store.take_undecided(connection, self._source.id, ASKED_AT_ONCE)
        for item, confirmed in undecided:
            self._lease.check()
            told = await self._carrier.ask(item, confirmed=confirmed)
            if told is not None:
                await self._reports.take(self._source, told)
