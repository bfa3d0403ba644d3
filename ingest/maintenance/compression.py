"""Compresses old chunks where TimescaleDB can (docs/decisions/0039-timescaledb-apache-edition-is-enough.md).

Its own scheduled policies fail under PostgreSQL 17 (decision 39), and Debian's package, Apache's
edition, has no compression: there nothing is called and nothing prepared.
"""

from enum import StrEnum

import structlog

from core.runtime.postgres import Pool
from ingest.maintenance.leader import change_chunks, leading

READ_LICENSE = "SELECT current_setting('timescaledb.license', true)"
COMPRESS = "SELECT observation.compress_chunk_before(now() - make_interval(days => $1))"

log = structlog.get_logger()


class Compression(StrEnum):
    """Whether old chunks are compressed, and if not, why."""

    ON = "on"
    SWITCHED_OFF = "switched_off"
    NO_LICENSE = "no_license"


def decide(license_name: str | None, after_days: int) -> Compression:
    """The mode that `timescaledb.license` and the setting together give."""
    if after_days == 0:
        return Compression.SWITCHED_OFF
    return Compression.ON if license_name == "timescale" else Compression.NO_LICENSE


async def compress(pool: Pool, after_days: int) -> tuple[Compression, int]:
    """Compress the chunks that ended so many days ago, one in a transaction; returns how many were.

    Raises:
        NotLeader: another replica runs these jobs.
        BackupRuns, LockNotAvailableError: chunks are held.
    """
    decided = decide(await pool.fetchval(READ_LICENSE), after_days)
    compressed = 0
    if decided is Compression.ON:
        while True:
            async with leading(pool) as connection:
                await change_chunks(connection)
                more = await connection.fetchval(COMPRESS, max(after_days, 7))
            if not more:
                break
            compressed += more
            log.info("chunk_compressed")
    return decided, compressed
