"""One transaction for all that a page reads: to enter a tenant takes as long as a statement or two."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from core.runtime.postgres import Connection, Pool, PostgresError
from registry.entering import shared_transaction


class SharedReading:
    """The transaction of a page; `connection` is None once it is over, and who reads then has one of their own."""

    def __init__(self, connection: Connection, opened: AsyncExitStack) -> None:
        self.connection: Connection | None = connection
        self._opened = opened
        self._readers = 0

    @asynccontextmanager
    async def reading(self, connection: Connection) -> AsyncGenerator[Connection]:
        """Read in it, for as long as the block lasts even if it is to end meanwhile."""
        self._readers += 1
        try:
            yield connection
        except PostgresError:  # Nothing more can be read in it.
            self.connection = None
            raise
        finally:
            self._readers -= 1
            if self.connection is None:
                await self.end()

    async def end(self) -> None:
        """Commit before something is waited for, or written, that this transaction must not hold up."""
        self.connection = None
        if not self._readers:
            await self._opened.aclose()


class SharedReadings:
    """Gives half of the pool's connections to pages: a second one that is needed beside it is there."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SharedReading | None]:
        """The transaction of a page, which has entered no tenant yet; None: too many have one now."""
        if self._open >= self._pool.get_max_size() // 2:
            yield None
            return
        self._open += 1
        try:
            async with AsyncExitStack() as opened:
                shared = SharedReading(await opened.enter_async_context(shared_transaction(self._pool)), opened)
                try:
                    yield shared
                finally:
                    shared.connection = None
        finally:
            self._open -= 1
