"""Makes the parts of months to come of rollups (docs/decisions/0118-rollups-in-native-parts.md)."""

from datetime import timedelta

import structlog

from core.runtime.postgres import Pool
from ingest.maintenance.leader import change_chunks, leading
from ingest.maintenance.telemetry import ROLLUPS_BEYOND
from ingest.rollups import LOCK as ROLLUPS_LOCK
from ingest.rollups import WAIT_FOR_LOCK

# So long may maintenance be away before rollups are written beyond the last part, where they are found as well.
AHEAD = timedelta(days=92)
MAKE_PARTS = "SELECT made, beyond FROM observation.make_rollup_parts(now() + $1::interval)"
ANALYZE = "SELECT observation.analyze_rollups()"

log = structlog.get_logger()


async def make_rollup_parts(pool: Pool) -> int:
    """Make the parts that are missing of the next three months; returns how many were.

    Raises:
        NotLeader: another replica runs these jobs.
        BackupRuns, LockNotAvailableError: the tables are held.
    """
    async with leading(pool) as connection:
        # Nobody writes beyond the last part while what is there is moved into its month.
        await connection.execute(WAIT_FOR_LOCK, ROLLUPS_LOCK)
        await change_chunks(connection)
        parts = await connection.fetchrow(MAKE_PARTS, AHEAD)
    assert parts is not None  # noqa: S101 - Of a function with two results.
    ROLLUPS_BEYOND.set(parts["beyond"])
    if parts["beyond"]:
        log.warning("rollups_beyond_all_parts", rows=parts["beyond"])
    if parts["made"]:
        async with leading(pool) as connection:
            await connection.execute(ANALYZE)
        log.info("rollup_parts_made", parts=parts["made"])
    return parts["made"]
