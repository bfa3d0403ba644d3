"""Composition root of indicators: figures that people decide by, kept up to date by one replica at a time."""

import asyncio
from collections.abc import Awaitable, Callable

from core.runtime.health import database_check, serve_health, starting
from core.runtime.leader import NotLeader
from core.runtime.postgres import open_pool
from core.runtime.repeating import repeat
from indicators.telemetry import LAST_SUCCESS, PASSES
from indicators.waste.refresh import refresh_fill_days
from registry.schema import require_schema
from services.indicators.settings import IndicatorsSettings

# A transaction that marks all days of all bins.
COMMAND_TIMEOUT_S = 600.0


def led(name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """The work where no other replica does it, counted, with when it went well."""

    async def run_once() -> None:
        try:
            await work()
        except NotLeader:
            PASSES.labels(name, "elsewhere").inc()
            return
        PASSES.labels(name, "done").inc()
        LAST_SUCCESS.labels(name).set_to_current_time()

    return run_once


async def run(settings: IndicatorsSettings, stopping: asyncio.Event) -> None:
    """Do each job in its turn until stopped; what a stop cuts short is rolled back, and done next time."""
    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(
            settings.database_url.get_secret_value(),
            "indicators",
            size=settings.pool_size,
            command_timeout=COMMAND_TIMEOUT_S,
        ) as pool,
    ):
        async with pool.acquire() as connection:
            await require_schema(connection)
        jobs = {"fill_days": lambda: refresh_fill_days(pool)}
        readiness.checks = {"database": database_check(pool)}
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(
                    repeat(led(name, work), settings.indicators_every_s, "indicators_put_off"), name=name
                )
                for name, work in jobs.items()
            ]
            await stopping.wait()
            for task in background:
                task.cancel()
