"""Chunks of the hypertables by their age."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

# Arbitrary, ours. A backup shares it from before its snapshot to its end; what changes a chunk has it alone.
CHUNKS_LOCK = 0x7E44174
HOLD_CHUNKS = "SELECT pg_advisory_xact_lock_shared($1)"
LIST = """
SELECT range_start AS since, range_end AS until, format('%I.%I', chunk_schema, chunk_name) AS table
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'observation' AND hypertable_name = $1
  AND CASE WHEN $4::boolean THEN range_start ELSE range_end END
      <= $3::timestamptz - make_interval(months => $2)
ORDER BY range_start
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk: its period, and its table as SQL names it."""

    since: datetime
    until: datetime
    table: str


async def list_chunks(
    connection: Connection | Pool, hypertable: str, months: int, now: datetime, *, by_their_start: bool = False
) -> list[Chunk]:
    """Those that ended, or began, so many months ago, the oldest first."""
    return await fetch_all(connection, Chunk, LIST, hypertable, months, now, by_their_start)
