"""Turns of those who change an object only if it is still as they have read it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from core.runtime.postgres import Pool

# Keeps two replicas from comparing the same tag at the same time.
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"


class ChangeTurns:
    """Lets one change of a path at a time be compared with what its caller has read."""

    def __init__(self) -> None:
        # One at a time: each has a connection of its own beside its request's.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, pool: Pool, path: str) -> AsyncGenerator[bool]:
        """Keep others from comparing this path; False when somebody on another replica does so now."""
        async with self._turn, pool.acquire() as connection, connection.transaction():
            yield await connection.fetchval(LOCK, path)
