"""Runs a job again and again in the background of a process."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY

log = structlog.get_logger()


async def repeat(
    work: Callable[[], Awaitable[object]],
    every_s: float,
    put_off: str,
    away: tuple[type[BaseException], ...] = DATABASE_AWAY,
) -> None:
    """Run the job now and after each pause, until cancelled. A failure of `away` is logged as `put_off`."""
    while True:
        try:
            await work()
        except away as failed:
            log.warning(put_off, error=describe(failed))
        await asyncio.sleep(every_s)
