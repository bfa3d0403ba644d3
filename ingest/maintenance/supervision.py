"""Chunks, sizes and the dirty log, as metrics; a warning when the disk is nearly full."""

import asyncio
import shutil
from pathlib import Path

import structlog

from core.runtime.postgres import Pool
from ingest.cold.store import read_state
from ingest.maintenance.restore_drills import read_drills
from ingest.maintenance.telemetry import (
    CHUNKS,
    COLD_FAILED,
    COLD_WAITING,
    DATABASE_BYTES,
    DIRTY_HOURS,
    DIRTY_ROWS,
    DIRTY_WAITING_SINCE,
    DISK_BYTES,
    DISK_FREE_BYTES,
    DISK_LIMIT_BYTES,
    OLDEST_CHUNK,
    RESTORE_DRILL_AT,
    RESTORE_DRILL_FAILED,
    TABLE_BYTES,
)

HYPERTABLES = ("measurement", "uplink", "reception")
LEAST_FREE = 0.2

READ_CHUNKS = """
SELECT hypertable_name AS hypertable, count(*) FILTER (WHERE NOT is_compressed) AS plain,
       count(*) FILTER (WHERE is_compressed) AS compressed, min(range_start) AS oldest
FROM timescaledb_information.chunks WHERE hypertable_schema = 'observation' GROUP BY hypertable_name
"""
READ_SIZES = """
SELECT h AS table, hypertable_size(format('observation.%I', h)::regclass) AS octets FROM unnest($1::text[]) AS h
UNION ALL
SELECT relname, CASE relkind WHEN 'r' THEN pg_total_relation_size(c.oid)
                ELSE (SELECT sum(pg_total_relation_size(p.relid)) FROM pg_partition_tree(c.oid) p) END
FROM pg_class c
WHERE relnamespace = 'observation'::regnamespace AND relkind IN ('r', 'p') AND relname <> ALL($1)
"""
READ_DATABASE_SIZE = "SELECT pg_database_size(current_database())"
READ_DIRTY = """
SELECT count(*) AS rows,
       min(greatest(marked_at, hour + interval '1 hour'))
           FILTER (WHERE hour < date_trunc('hour', now(), 'UTC')) AS waiting_since,
       coalesce(sum(cardinality(datastream_ids))
                FILTER (WHERE hour < date_trunc('hour', now(), 'UTC')), 0) AS hours
FROM observation.dirty
"""

log = structlog.get_logger()


def is_scarce(free: int, total: int) -> bool:
    """Whether less than a fifth is left."""
    return free < LEAST_FREE * total


async def supervise(pool: Pool, disk_limit: int, disk_folder: Path | None) -> None:
    """Read chunks, sizes, the dirty log and free space, and set the metrics.

    `disk_limit` is what the database may fill, 0 when that is unknown; `disk_folder` lies on its disk, None when
    that is not this machine's: PostgreSQL itself has no answer to how much is left.
    """
    # First: a database whose disk is full may not answer.
    if disk_folder is not None:
        await _measure_disk(disk_folder)
    chunks = {row["hypertable"]: row for row in await pool.fetch(READ_CHUNKS)}
    for name in HYPERTABLES:
        row = chunks.get(name)
        CHUNKS.labels(name, "no").set(row["plain"] if row else 0)
        CHUNKS.labels(name, "yes").set(row["compressed"] if row else 0)
        OLDEST_CHUNK.labels(name).set(row["oldest"].timestamp() if row else 0)
    for row in await pool.fetch(READ_SIZES, HYPERTABLES):
        TABLE_BYTES.labels(row["table"]).set(row["octets"] or 0)
    dirty = await pool.fetchrow(READ_DIRTY)
    assert dirty is not None  # noqa: S101 - Counts are one row.
    DIRTY_ROWS.set(dirty["rows"])
    DIRTY_HOURS.set(dirty["hours"])
    DIRTY_WAITING_SINCE.set(dirty["waiting_since"].timestamp() if dirty["waiting_since"] else 0)
    drills = await read_drills(pool)
    RESTORE_DRILL_AT.set(drills.good_at.timestamp())
    RESTORE_DRILL_FAILED.set(drills.has_failed)
    # From the row: another replica may have done the last pass.
    cold = await read_state(pool)
    COLD_FAILED.set(cold.reason is not None)
    COLD_WAITING.set(cold.chunks)
    octets = await pool.fetchval(READ_DATABASE_SIZE)
    DATABASE_BYTES.set(octets)
    DISK_LIMIT_BYTES.set(disk_limit)
    if disk_limit and is_scarce(disk_limit - octets, disk_limit):
        log.warning("database_nearly_full", octets=octets, limit=disk_limit)


async def _measure_disk(folder: Path) -> None:
    try:
        disk = await asyncio.to_thread(shutil.disk_usage, folder)
    except OSError as unknown:
        log.warning("disk_not_measured", folder=str(folder), error=str(unknown))
        return
    DISK_BYTES.set(disk.total)
    DISK_FREE_BYTES.set(disk.free)
    if is_scarce(disk.free, disk.total):
        log.warning("disk_nearly_full", folder=str(folder), free=disk.free, of=disk.total)
