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
from core.messages.topics import shard_of_slot
from core.model.pauses import growing_pause
from core.runtime.errors import describe
from core.runtime.lease import Lease
from core.runtime.ownership import fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.lns.downlink_reports import Reports, kept
from integrations.lns.lns_client import ASKED, NEED_ADDRESS, SHORT_ITEMS, LnsClient
from integrations.lns.lns_downlink import Handed, Later, LnsDownlink, Rejected, in_their_queue
from integrations.lns.source_stats import SourceStats
from integrations.lns.telemetry import DOWNLINKS
from registry.downlinks import (
    SLOT_OF_OTHER_LNS,
    Changed,
    HandOver,
    record_handed_over,
    record_rejection,
    record_retry,
    take_due_of_lns,
    take_undecided_of_lns,
)
from registry.lns_sources import Source

POLL_S = 1.0
ASK_EVERY_S = 15.0
ASKED_AT_ONCE = 20
# After a hand-over that failed the device's row waits; after several in a row the whole source does.
WAIT_S = 5.0
LONGEST_WAIT_S = 60.0
AGAIN_S = 0.5
# When the service ends, the downlink in hand is finished.
FINISH_S = 12.0

log = structlog.get_logger()


def due_subject(shards: int) -> str:
    """The subject on which a new row of another LNS is announced."""
    return topics.downlink_due(shard_of_slot(SLOT_OF_OTHER_LNS, shards))


class Sender:
    """Sends one source's rows while its lease holds."""

    def __init__(
        self,
        pool: Pool,
        reports: Reports,
        lease: Lease,
        source: Source,
        client: LnsClient,
        source_stats: SourceStats,
    ) -> None:
        self._pool = pool
        self._reports = reports
        self._lease = lease
        self._source = source
        self._client = client
        self._sightings = source_stats
        self._failures = 0
        self._next_question = 0.0
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Hand over on a nudge and every second until cancelled; raises LeaseLost when the source is another's."""
        while True:
            self.wake.clear()
            try:
                await self._hand_over_due()
            except DATABASE_AWAY as away:
                log.warning("downlinks_not_taken", source=self._source.id, error=describe(away))
            if self._failures > 1:
                await asyncio.sleep(growing_pause(POLL_S, LONGEST_WAIT_S, self._failures))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self.wake.wait()

    async def _hand_over_due(self) -> None:
        """Hand over the due rows, one after the other, until their LNS does not take one."""
        short_items = self._source.kind in SHORT_ITEMS
        while True:
            async with fenced(self._pool, [self._lease]) as connection:
                due = await take_due_of_lns(connection, self._source.id, short_items=short_items)
            if due is None:
                break
            self._lease.check()
            await self._finish(self._hand_over(due))
            if self._failures > 1:
                break
        await self._ask()

    async def _finish(self, doing: Awaitable[None]) -> None:
        """Finish this also when cancelled: whether their LNS has the downlink must be written."""
        task = asyncio.ensure_future(doing)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_S):
                    await task
            raise

    async def _hand_over(self, due: HandOver) -> None:
        downlink = LnsDownlink(
            due.id, due.dev_eui, due.f_port, due.payload, due.confirmed, due.not_after, due.item, due.address
        )
        outcome = await self._client.hand_over(downlink)
        match outcome:
            case Handed(item):
                self._failures = 0
                result = "handed"
                queued = in_their_queue(is_class_c=due.is_class_c)
                changed = await self._write_until_done(
                    lambda: record_handed_over(self._pool, due.id, due.item, item, queued)
                )
            case Later(reason, french, detail):
                result = "later"
                if downlink.address or self._source.kind not in NEED_ADDRESS:
                    self._failures += 1  # A device without an uplink yet is no failure of the source.
                    self._sightings.error(self._source, french)
                wait = timedelta(seconds=WAIT_S)
                changed = await self._write_until_done(
                    lambda: record_retry(self._pool, due.id, due.item, reason, kept(detail), wait)
                )
            case Rejected(reason, detail):
                result = "refused"  # The metric's word.
                self._failures = 0
                changed = await self._write_until_done(
                    lambda: record_rejection(self._pool, due.id, due.item, reason, kept(detail))
                )
        DOWNLINKS.labels(self._source.kind, result).inc()
        log.info("downlink_handed_over", downlink_id=downlink.id, source=self._source.id, result=result)
        await self._reports.nudge_changed(changed)

    async def _write_until_done(self, write: Callable[[], Awaitable[list[Changed]]]) -> Sequence[Changed]:
        """Write however long the database is away."""
        while True:
            try:
                return await write()
            except DATABASE_AWAY as away:
                log.warning("hand_over_not_noted", error=describe(away))
                await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> None:
        """Poll the status of downlinks now and then, where their LNS does not report it."""
        now = asyncio.get_running_loop().time()
        if self._source.kind not in ASKED or now < self._next_question:
            return
        self._next_question = now + ASK_EVERY_S
        async with fenced(self._pool, [self._lease]) as connection:
            undecided = await take_undecided_of_lns(connection, self._source.id, ASKED_AT_ONCE)
        for item, confirmed in undecided:
            self._lease.check()
            report = await self._client.ask(item, confirmed=confirmed)
            if report is not None:
                await self._reports.save_report(self._source, report)
