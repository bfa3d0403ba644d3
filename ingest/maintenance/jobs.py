"""The jobs of maintenance: each is done every so often, by one replica at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from core.runtime.errors import describe, describe_defect
from core.runtime.health import Check
from core.runtime.leader import NotLeader
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from decoders.javascript.pool import PoolUnavailable
from ingest.cold.files import ColdFailure
from ingest.cold.store import may_have_files
from ingest.exports.runner import export_next
from ingest.maintenance.audit_export import Destination, ExportFailed, export_audit
from ingest.maintenance.cold_keeping import ColdFolder
from ingest.maintenance.compression import Compression, compress
from ingest.maintenance.dwelling_days import make_dwelling_days
from ingest.maintenance.feed import FeedWatch
from ingest.maintenance.last_seen import raise_last_seen
from ingest.maintenance.leader import put_off
from ingest.maintenance.packing import pack_hours
from ingest.maintenance.personal import forget_ended_uplinks, forget_personal, state_terms
from ingest.maintenance.pruning import prune, prunes
from ingest.maintenance.retention import forget, terms
from ingest.maintenance.rollup_parts import make_rollup_parts
from ingest.maintenance.settings import RetentionSettings
from ingest.maintenance.telemetry import (
    COMPRESSED_CHUNKS,
    COMPRESSES,
    FORGOTTEN_HOURS,
    LAST_SUCCESS,
    PASS_SECONDS,
    PASSES,
    PERIOD,
    ROLLED_UP,
    ROLLED_UP_READINGS,
)
from ingest.redecode import redecode_next
from ingest.rollups import Made, UnevenTimezone, roll_up
from ingest.scripts import Workers
from registry import audit_chain, outlines
from registry.bulk_imports.rows import Writers
from registry.bulk_imports.runner import import_next
from registry.erasures import UnreadableLedger
from registry.keys import KeyWrap

# After a failure, no job waits longer than this for its next turn.
RETRY_AFTER_S = 60.0
DAYS_A_MONTH = timedelta(days=365.25 / 12)

# A job that ends so is tried again, and its check says why.
EXPECTED = (
    *DATABASE_AWAY,
    PostgresError,
    UnevenTimezone,
    PoolUnavailable,
    UnreadableLedger,
    ExportFailed,
    ColdFailure,
)

log = structlog.get_logger()


@dataclass(slots=True)
class Job:
    """A job that repeats; `problem` says why its last run failed."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[None]]
    problem: str | None = field(default=None, init=False)

    async def repeat(self) -> None:
        """Run the job now and every so often, until cancelled. A failure is counted, logged, and tried again."""
        self.expect_success()
        while True:
            began = time.monotonic()
            await self.run_once()
            took = time.monotonic() - began
            pause = self.every_s if self.problem is None else min(self.every_s, RETRY_AFTER_S)
            await asyncio.sleep(max(0.0, pause - took))

    def expect_success(self) -> None:
        """From now on: one that never goes well is missed, too."""
        PERIOD.labels(self.name).set(self.every_s)
        LAST_SUCCESS.labels(self.name).set_to_current_time()

    async def run_once(self) -> None:
        """Run the job. A failure is counted and logged, and a defect of ours with where it is."""
        began = time.monotonic()
        try:
            await self.work()
        except NotLeader:
            self._record_outcome("elsewhere", None)
        except EXPECTED as failure:
            self.record_failure(describe(failure))
        except Exception as defect:  # Of one job: the others go on, and it is tried again.
            log.error("job_broken", job=self.name, exc_info=defect)
            self.record_failure(describe_defect(defect))
        else:
            self.record_success()
        PASS_SECONDS.labels(self.name).observe(time.monotonic() - began)

    def record_success(self) -> None:
        """All that was to be done is done."""
        self._record_outcome("done", None)
        LAST_SUCCESS.labels(self.name).set_to_current_time()

    def record_failure(self, problem: str) -> None:
        """It is to be tried again, and its check says why."""
        self._record_outcome("failed", problem)
        log.warning("job_failed", job=self.name, error=problem)

    def _record_outcome(self, outcome: str, problem: str | None) -> None:
        PASSES.labels(self.name, outcome).inc()
        self.problem = problem

    def check(self) -> Check:
        """Ready unless the last run failed."""

        async def check() -> str | None:
            return self.problem

        return check


async def seal_audit(pool: Pool) -> None:
    """Seal the lines of the audit that were committed; the last seal is in the log, outside the database."""
    if await audit_chain.seal(pool):
        head = await audit_chain.read_head(pool)
        log.info("audit_sealed", sequence=head.sequence, digest=head.digest.hex())


async def send_audit(pool: Pool, destination: Destination) -> None:
    """Send the lines that were sealed to their destination.

    Raises:
        NotLeader: another replica does.
        ExportFailed: it does not take them.
    """
    sent = await export_audit(pool, destination)
    if sent:
        log.info("audit_sent", lines=sent)


async def make_rollups(pool: Pool) -> None:
    """Make the rollups that are due, once.

    Raises:
        NotLeader: another replica runs it.
        UnevenTimezone: the deployment's days are not made of hours.
    """
    so_far = Made()

    def progress(made: Made) -> None:
        nonlocal so_far
        ROLLED_UP.labels("hour").inc(made.hours - so_far.hours)
        ROLLED_UP.labels("day").inc(made.days - so_far.days)
        ROLLED_UP_READINGS.inc(made.readings - so_far.readings)
        FORGOTTEN_HOURS.inc(made.forgotten - so_far.forgotten)
        so_far = made

    made = await roll_up(pool, progress=progress)
    if not made.is_leader:
        raise NotLeader
    if made.hours:
        log.info("rolled_up", hours=made.hours, days=made.days, readings=made.readings)


async def keep_house(pool: Pool, settings: RetentionSettings, cold_folder: Path | None = None) -> None:
    """Retention, pruning, parts of rollups, packing and compression, once.

    `cold_folder`: where readings go before they are dropped.

    Raises:
        NotLeader: another replica runs it.
    """
    now: datetime = await pool.fetchval("SELECT now()")
    await state_terms(pool, settings)
    await make_dwelling_days(pool, now)
    cold = await _open_cold(pool, cold_folder)
    for term in terms(settings):
        with put_off(term.hypertable):
            await forget(pool, term, now, cold)
    if cold is not None:
        await cold.report()
    await forget_personal(pool, settings.keep_personal_hours_months, settings.keep_personal_days_months, now)
    await forget_ended_uplinks(pool, now)
    for what in prunes(settings):
        pruned = await prune(pool, what)
        if pruned:
            log.info("rows_pruned", table=what.table, rows=pruned)
    if settings.keep_audit_months:
        ended = await audit_chain.end_lines(pool, DAYS_A_MONTH * settings.keep_audit_months)
        if ended:
            log.info("audit_lines_ended", rows=ended)
    await raise_last_seen(pool)
    with put_off("rollup_parts"):
        await make_rollup_parts(pool)
    packed = await pack_hours(pool)
    if packed:
        log.info("hours_packed", rows=packed)
    with put_off("compression"):
        decided, compressed = await compress(pool, settings.compress_after_days)
        COMPRESSES.set(decided is Compression.ON)
        COMPRESSED_CHUNKS.inc(compressed)
    log.info("house_kept")


async def _open_cold(pool: Pool, folder: Path | None) -> ColdFolder | None:
    """The folder of cold files, tidied; None: there is none, and readings are dropped without them."""
    if folder is None and not await may_have_files(pool):
        return None
    cold = ColdFolder(pool, folder)
    await cold.begin()
    return cold


async def redecode_waiting(pool: Pool, workers: Workers, owner: str, keys: KeyWrap) -> None:
    """Run the re-decoding jobs that wait, one after the other."""
    while await redecode_next(pool, workers, owner, keys):
        pass


async def import_waiting(pool: Pool, owner: str, keys: KeyWrap, writers: Writers) -> None:
    """Run the bulk imports that wait, one after the other."""
    while await import_next(pool, keys, owner, writers):
        pass


async def watch_feed(pool: Pool, feed: FeedWatch) -> None:
    """See whether something holds the feed."""
    await feed.look(pool)


async def export_waiting(pool: Pool, owner: str, room: int, cold_folder: Path | None = None) -> None:
    """Write the exports that wait, one after the other; what is older than the hypertable is in `cold_folder`."""
    while await export_next(pool, owner, room, cold_folder):
        pass


async def settle_communes(pool: Pool) -> None:
    """Give assets the communes of outlines that were taken in."""
    changed = await outlines.settle(pool)
    if changed:
        log.info("communes_settled", assets=changed)
