"""Lets one maintenance replica work at a time."""

from contextlib import AbstractAsyncContextManager

from core.runtime import leader
from core.runtime.postgres import Connection, Pool

# Arbitrary, ours. Rollups have their own: they do not wait for a long prune.
LOCK = 0x7E44171
# Behind a long query a chunk is dropped next time: a waiting lock holds up all later queries.
SOON_OR_LATER = "SET LOCAL lock_timeout = '5s'"


def leading(pool: Pool) -> AbstractAsyncContextManager[Connection]:
    """A transaction that holds the advisory lock of these jobs.

    Raises:
        NotLeader: another replica holds it.
    """
    return leader.leading(pool, LOCK)
