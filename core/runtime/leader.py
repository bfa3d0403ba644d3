"""Lets one replica of a service do a job at a time: an advisory lock for the length of one transaction."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from core.runtime.postgres import Connection, Pool

TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"


class NotLeader(Exception):
    """Another replica does this at this moment."""


@asynccontextmanager
async def leading(pool: Pool, lock: int) -> AsyncGenerator[Connection]:
    """A transaction that holds an advisory lock, so that it works through any pooler.

    Raises:
        NotLeader: another replica holds it.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TRY_LOCK, lock):
            raise NotLeader
        yield connection
