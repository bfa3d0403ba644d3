"""Starts the script workers when the first script is to run; many installations need none."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from decoders.javascript.pool import Answer, Call, CodecPool, PoolUnavailable

# After a start that failed, so long nobody tries again: what needs no script goes on undisturbed.
TRY_AGAIN_S = 30.0

log = structlog.get_logger()


class NoWorkers:
    """Where no script runs."""

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        """Raises PoolUnavailable."""
        raise PoolUnavailable(f"there are no codec workers here for {len(calls)} calls")

    def release(self, key: str) -> None:
        """Nothing was stopped."""


class LateWorkers:
    """A `CodecPool` that is started by its first call."""

    def __init__(self, count: int, overran: Callable[[str], None] | None) -> None:
        self._pool = CodecPool(count, overran=overran)
        self._starting: asyncio.Task[None] | None = None
        self._failed_at: float | None = None

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        """As the pool's; raises PoolUnavailable, too, while the workers do not start."""
        if self._starting is None:
            now = asyncio.get_running_loop().time()
            if self._failed_at is not None and now - self._failed_at < TRY_AGAIN_S:
                raise PoolUnavailable("the codec workers did not start a moment ago")
            self._starting = asyncio.create_task(self._pool.start(), name="start codec workers")
        starting = self._starting
        try:
            await asyncio.shield(starting)
        except Exception:
            if self._starting is starting:
                self._starting = None
                self._failed_at = asyncio.get_running_loop().time()
                log.exception("codec_workers_not_started")
            raise
        return await self._pool.call(calls)

    def release(self, key: str) -> None:
        """Lets a suspended script run again."""
        self._pool.release(key)

    async def close(self) -> None:
        """End what was started."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, PoolUnavailable):
                await self._starting
        await self._pool.close()


@asynccontextmanager
async def open_workers(count: int, overran: Callable[[str], None] | None = None) -> AsyncGenerator[LateWorkers]:
    """Workers while the block runs; `overran` is called with the key of a script that times out too often."""
    workers = LateWorkers(count, overran)
    try:
        yield workers
    finally:
        await workers.close()
