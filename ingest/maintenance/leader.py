"""Lets one maintenance replica work at a time: an advisory lock for the length of one transaction."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from core.runtime.postgres import Connection, Pool

# Arbitrary, ours. Rollups have their own: they do not wait for a long prune.
LOCK = 0x7E44171
TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"
# Behind a long query a chunk is dropped next time: a waiting lock holds up all later queries.
SOON_OR_LATER = "SET LOCAL lock_timeout = '5s'"


class NotLeader(Exception):
    """Another replica runs these jobs at this moment."""


@asynccontextmanager
async def leading(pool: Pool) -> AsyncGenerator[Connection]:
    """A transaction that holds the advisory lock of these jobs.

    Raises:
        NotLeader: another replica holds it.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TRY_LOCK, LOCK):
            raise NotLeader
        yield connection
