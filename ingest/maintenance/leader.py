"""Lets one maintenance replica work at a time, and no chunk change while a backup is made."""

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager

import structlog

from core.runtime import leader
from core.runtime.errors import describe
from core.runtime.postgres import Connection, LockNotAvailableError, Pool
from ingest.chunks import CHUNKS_LOCK
from ingest.maintenance.telemetry import PUT_OFF

# Arbitrary, ours. Rollups have their own: they do not wait for a long prune.
LOCK = 0x7E44171
# Behind a long query a chunk is dropped next time: a waiting lock holds up all later queries.
SOON_OR_LATER = "SET LOCAL lock_timeout = '5s'"

log = structlog.get_logger()


class BackupRuns(Exception):
    """Until it is done chunks stay as they are."""


async def change_chunks(connection: Connection) -> None:
    """From here to the end of the transaction tables of chunks may change, and no backup begins.

    Raises:
        BackupRuns: one is being made.
    """
    if not await connection.fetchval(leader.TRY_LOCK, CHUNKS_LOCK):
        raise BackupRuns("a backup is being made")
    await connection.execute(SOON_OR_LATER)


@contextmanager
def put_off(what: str) -> Generator[None]:
    """What a backup, or a long query, holds is done with a later pass; all else is done now."""
    try:
        yield
    except (BackupRuns, LockNotAvailableError) as held:
        PUT_OFF.labels(what).inc()
        log.warning("housekeeping_put_off", what=what, error=describe(held))


def leading(pool: Pool) -> AbstractAsyncContextManager[Connection]:
    """A transaction that holds the advisory lock of these jobs.

    Raises:
        NotLeader: another replica holds it.
    """
    return leader.leading(pool, LOCK)
