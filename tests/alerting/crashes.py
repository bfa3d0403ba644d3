"""An evaluator that can be killed before or after any statement, and messages as the bus hands them out."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from core.runtime.bus import Message
from core.runtime.postgres import Pool


class Crash(BaseException):
    """Whatever ends a process."""


def message_of(octets: bytes, published_at_us: int = 0) -> Message:
    """As the bus hands it out; nothing of it is acknowledged."""
    return Message(1, published_at_us, octets, "territoire.measurements.0", cast(Any, None), {})


class Fuse:
    """Counts down with every statement; the process dies when it reaches zero, and a new random number is set.

    Half are short, so that it dies twice in a row; half are long enough for the longest transaction there is.
    """

    def __init__(self, seed: int, longest: int) -> None:
        self._random = random.Random(seed)
        self._longest = longest
        self._left = self._length()

    def _length(self) -> int:
        return self._random.randint(1, self._random.choice((self._longest // 15, self._longest)))

    def burn(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._left = self._length()
            raise Crash


class MortalConnection:
    """A connection whose process dies before a statement when the fuse says so."""

    def __init__(self, connection: Any, fuse: Fuse) -> None:
        self._connection, self._fuse = connection, fuse

    def transaction(self) -> Any:
        return self._connection.transaction()

    async def execute(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._connection.execute(*arguments)

    async def fetch(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._connection.fetch(*arguments)

    async def fetchrow(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._connection.fetchrow(*arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._connection.fetchval(*arguments)


class MortalPool:
    """A pool of such connections; it also dies right after a commit."""

    def __init__(self, pool: Pool, fuse: Fuse) -> None:
        self._pool, self._fuse = pool, fuse

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[MortalConnection]:
        async with self._pool.acquire() as connection:
            yield MortalConnection(connection, self._fuse)
        self._fuse.burn()

    async def fetch(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._pool.fetch(*arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        self._fuse.burn()
        return await self._pool.fetchval(*arguments)
