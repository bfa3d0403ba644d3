"""Deletes raw data by term and privacy class: whole chunks, and personal data before that; rollups of dwellings.

What was forgotten is written down in the same transaction, so that an hour's rollup outlives its readings. Rollups
of dwellings have terms of their own (`personal`, docs/decisions/0008-retention-by-chunk-and-by-class.md and 0062).
With a folder for cold files, readings of classes 0 and 1 go only once they are there (decision 123).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from core.runtime.postgres import Connection, Pool
from ingest.chunks import Chunk, list_chunks
from ingest.cold.files import ColdFailure
from ingest.maintenance.cold_keeping import ColdFolder
from ingest.maintenance.leader import change_chunks, leading
from ingest.maintenance.settings import RetentionSettings
from ingest.maintenance.telemetry import DROPPED_CHUNKS, PRUNED_ROWS
from ingest.rollups import LOCK as ROLLUPS_LOCK
from ingest.rollups import WAIT_FOR_LOCK
from lorawan.instants import EPOCH

# Datastreams or devices in one transaction: half a million rows, for one every ten minutes.
MOST_AT_ONCE = 500

# Hours that are marked and would not be made once their raw is gone.
OLDEST_DIRTY = "SELECT min(hour) FROM observation.dirty"
DROP_CHUNKS = "SELECT observation.drop_chunks_before($1, $2)"
NOTE_FORGOTTEN = """
INSERT INTO observation.forgotten AS f (hypertable, id, before) SELECT $1, id, $3 FROM unnest($2::int[]) AS id
ON CONFLICT (hypertable, id) DO UPDATE SET before = greatest(f.before, excluded.before)
"""
# $1: the end of a chunk; $2: those with personal data, or the others; who may still have rows in it.
DATASTREAMS_BEHIND = """
SELECT d.id
FROM datastream d LEFT JOIN observation.forgotten f ON f.hypertable = 'measurement' AND f.id = d.id
WHERE (d.privacy_class = 2) = $2::boolean
  AND coalesce(f.before, '-infinity') < $1::timestamptz
ORDER BY d.id LIMIT $3
"""
DEVICES_BEHIND = """
SELECT d.id
FROM device d LEFT JOIN observation.forgotten f ON f.hypertable = 'uplink' AND f.id = d.id
WHERE d.is_personal = $2::boolean
  AND coalesce(f.before, '-infinity') < $1::timestamptz
ORDER BY d.id LIMIT $3
"""
FORGET_MEASUREMENTS = """
DELETE FROM observation.measurement WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time < $3
"""
FORGET_CORRECTIONS = """
DELETE FROM observation.correction
WHERE ($1::int[] IS NULL OR datastream_id = ANY($1)) AND time >= $2 AND time < $3
"""
FORGET_UPLINKS = "DELETE FROM observation.uplink WHERE device_id = ANY($1::int[]) AND time >= $2 AND time < $3"
Demand = Callable[[Connection, Sequence[int]], Awaitable[None]]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Term:
    """How many months of a hypertable are kept, for personal data and for the rest; 0: for ever."""

    hypertable: str
    months: int
    personal_months: int

    @property
    def whole_months(self) -> int:
        """The months after which no rows at all are left; 0: never."""
        return max(self.months, self.personal_months) if self.months and self.personal_months else 0

    @property
    def shorter(self) -> tuple[int, bool] | None:
        """The months after which one of the two goes before the other, and whether it is personal data."""
        if self.months == self.personal_months:
            return None
        is_personal = not self.months or 0 < self.personal_months < self.months
        return (self.personal_months if is_personal else self.months), is_personal


def shortest(*months: int) -> int:
    """The shortest of these terms; 0, for ever, when all of them are."""
    return min((term for term in months if term), default=0)


def terms(settings: RetentionSettings) -> tuple[Term, ...]:
    """What the settings say of each hypertable; receptions say where gateways are, not who lives there.

    A dwelling's readings do not outlive its hours.
    """
    personal = shortest(settings.keep_personal_measurements_months, settings.keep_personal_hours_months)
    return (
        Term("measurement", settings.keep_measurements_months, personal),
        Term("uplink", settings.keep_uplinks_months, settings.keep_personal_uplinks_months),
        Term("reception", settings.keep_uplinks_months, settings.keep_uplinks_months),
    )


async def forget(pool: Pool, term: Term, now: datetime, cold: ColdFolder | None = None) -> None:
    """Drop the chunks that every class has outlived, then, chunk by chunk, the rows of the class kept shorter.

    What goes of measurements is in a file of `cold` first; where its folder fails it stays, personal data apart.

    Raises:
        NotLeader: another replica runs these jobs.
        BackupRuns, LockNotAvailableError: chunks are held, and stay until a later pass.
    """
    cold_files = cold if term.hypertable == "measurement" else None
    if term.whole_months:
        if cold_files is not None:
            await _drop_kept(pool, term, now, cold_files)
        else:
            async with leading(pool) as connection:
                outlived = await list_chunks(connection, term.hypertable, term.whole_months, now)
                if outlived and await _may_forget(connection, term.hypertable, outlived[-1].until):
                    await _drop_before(connection, term.hypertable, outlived[-1].until)
    if term.shorter is not None:
        months, is_personal = term.shorter
        # Personal data is kept for so long at most: it goes when its chunk's first reading is that old; other
        # data, when its last is.
        chunks = await list_chunks(pool, term.hypertable, months, now, by_their_start=is_personal)
        if cold_files is not None and not is_personal:
            await _forget_kept(pool, chunks, cold_files)
            return
        for chunk in chunks:
            while await _forget_some(pool, term.hypertable, chunk, is_personal):
                pass


async def _drop_kept(pool: Pool, term: Term, now: datetime, cold_files: ColdFolder) -> None:
    """Chunk by chunk, the oldest first: each once its files hold what it holds."""
    chunks = await list_chunks(pool, term.hypertable, term.whole_months, now)
    if not cold_files.is_open:
        cold_files.waiting += len(chunks)
        return
    for place, chunk in enumerate(chunks):
        try:
            if not await _drop_one(pool, chunk, cold_files):
                return
        except ColdFailure as failure:
            cold_files.failed(failure, len(chunks) - place)
            return


async def _drop_one(pool: Pool, chunk: Chunk, cold_files: ColdFolder) -> bool:
    async def drop() -> bool:
        async with leading(pool) as connection:
            if not await _may_forget(connection, "measurement", chunk.until):
                return False
            await cold_files.demand(connection, chunk)
            await _drop_before(connection, "measurement", chunk.until)
            return True

    return await cold_files.keep(chunk, drop)


async def _forget_kept(pool: Pool, chunks: Sequence[Chunk], cold_files: ColdFolder) -> None:
    """Of chunks that personal data outlives: the rows of classes 0 and 1, once files hold them."""
    if not cold_files.is_open:
        return
    for place, chunk in enumerate(chunks):
        try:
            if await pool.fetch(DATASTREAMS_BEHIND, chunk.until, False, 1):
                await _forget_one(pool, chunk, cold_files)
        except ColdFailure as failure:
            cold_files.failed(failure, len(chunks) - place)
            return


async def _forget_one(pool: Pool, chunk: Chunk, cold_files: ColdFolder) -> None:
    async def demand(connection: Connection, ids: Sequence[int]) -> None:
        await cold_files.demand(connection, chunk, ids)

    async def forget_all() -> bool:
        while await _forget_some(pool, "measurement", chunk, False, demand):
            pass
        return True

    await cold_files.keep(chunk, forget_all)


async def _drop_before(connection: Connection, hypertable: str, before: datetime) -> None:
    await connection.execute(NOTE_FORGOTTEN, hypertable, [0], before)
    await change_chunks(connection)
    dropped = await connection.fetchval(DROP_CHUNKS, hypertable, before)
    if hypertable == "measurement":
        await connection.execute(FORGET_CORRECTIONS, None, EPOCH, before)
    DROPPED_CHUNKS.labels(hypertable).inc(dropped)
    log.info("chunks_dropped", hypertable=hypertable, before=before.isoformat(), chunks=dropped)


async def _forget_some(
    pool: Pool, hypertable: str, chunk: Chunk, is_personal: bool, demand: Demand | None = None
) -> bool:
    behind, forget_rows = (
        (DATASTREAMS_BEHIND, FORGET_MEASUREMENTS)
        if hypertable == "measurement"
        else (DEVICES_BEHIND, FORGET_UPLINKS)
    )
    since, until = chunk.since, chunk.until
    async with leading(pool) as connection:
        ids = [row["id"] for row in await connection.fetch(behind, until, is_personal, MOST_AT_ONCE)]
        if not ids or not await _may_forget(connection, hypertable, until):
            return False
        if demand is not None:
            await demand(connection, ids)
        deleted = count_of(await connection.execute(forget_rows, ids, since, until))
        if hypertable == "measurement":
            await connection.execute(FORGET_CORRECTIONS, ids, since, until)
        await connection.execute(NOTE_FORGOTTEN, hypertable, ids, until)
    PRUNED_ROWS.labels(hypertable).inc(deleted)
    if deleted:
        log.info("rows_forgotten", hypertable=hypertable, before=until.isoformat(), of=len(ids), rows=deleted)
    return True


async def _may_forget(connection: Connection, hypertable: str, before: datetime) -> bool:
    """Whether rollups are up to date until then; from now to the end of the transaction none are made."""
    if hypertable != "measurement":
        return True
    await connection.execute(WAIT_FOR_LOCK, ROLLUPS_LOCK)
    dirty = await connection.fetchval(OLDEST_DIRTY)
    if dirty is not None and dirty < before:
        log.warning("retention_put_off", dirty_hour=dirty.isoformat(), before=before.isoformat())
        return False
    return True


def count_of(status: str) -> int:
    """How many rows a statement has changed, by the tag that it is answered with."""
    return int(status.rsplit(" ", 1)[1])
