"""Rewrites rollups week by week in the order in which they are read.

Hours are rolled up as they end, all datastreams together, so that a year of one lies on 8,760 pages of the disk:
60 ms when they are in memory, 400 ms when they are not. Packed, it lies on about 200: 9 ms (docs/performance.md).
"""

from datetime import datetime, timedelta

from core.runtime.postgres import Pool
from ingest.maintenance.leader import leading
from ingest.rollups import LOCK, PLAN_ANEW, WAIT_FOR_LOCK

WEEK = timedelta(days=7)
# Devices that deliver late have done so by then; what comes later still is right, only not packed.
AFTER = timedelta(days=2)
# Datastreams of one transaction: some seconds' work.
AT_ONCE = 1_000

# The first time, the last week that is old enough: what was before stays as it lies.
NEXT_WEEK = """
SELECT week FROM (
    SELECT coalesce((SELECT max(week) + interval '7 days' FROM observation.packed),
                    date_trunc('week', now() - $1::interval, 'UTC') - interval '7 days') AS week
) AS next WHERE week + interval '7 days' <= now() - $1
"""
NEXT_DATASTREAMS = "SELECT id FROM datastream WHERE id > $1 ORDER BY id LIMIT $2"
PACK = """
WITH gone AS (
    DELETE FROM observation.rollup_hour WHERE datastream_id = ANY($1::int[]) AND bucket >= $2 AND bucket < $3
    RETURNING datastream_id, bucket, n, suspects, sum, min, max, first, last
)
INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects, sum, min, max, first, last)
SELECT datastream_id, bucket, n, suspects, sum, min, max, first, last FROM gone ORDER BY datastream_id, bucket
"""
MARK_PACKED = "INSERT INTO observation.packed (week) VALUES ($1) ON CONFLICT DO NOTHING"


async def pack_hours(pool: Pool, *, at_once: int = AT_ONCE) -> int:
    """Pack every week that is over since two days and was not packed; returns how many hours were moved.

    Rollups wait for one transaction of it at most. What a stop cuts short is packed again.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    moved = 0
    while True:
        week: datetime | None = await pool.fetchval(NEXT_WEEK, AFTER)
        if week is None:
            return moved
        moved += await _pack_week(pool, week, at_once)


async def _pack_week(pool: Pool, week: datetime, at_once: int) -> int:
    moved, last = 0, 0
    while True:
        async with leading(pool) as connection:
            ids = [row["id"] for row in await connection.fetch(NEXT_DATASTREAMS, last, at_once)]
            if not ids:
                await connection.execute(MARK_PACKED, week)
                return moved
            await connection.execute(WAIT_FOR_LOCK, LOCK)
            await connection.execute(PLAN_ANEW)
            status = await connection.execute(PACK, ids, week, week + WEEK)
        moved += int(status.rpartition(" ")[2])
        last = ids[-1]
