"""Composition root of indicators: figures that people decide by, kept up to date by one replica at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from api.reporting.monthly import MonthlyReports
from core.runtime.health import database_check, serve_health, starting
from core.runtime.leader import NotLeader
from core.runtime.postgres import open_pool
from core.runtime.repeating import repeat
from indicators.cost.measured import measure_last_month
from indicators.network.refresh import NetworkDays
from indicators.telemetry import LAST_SUCCESS, PASSES
from indicators.waste.refresh import refresh_fill_days
from registry.releases import announced
from registry.schema import require_schema
from services.indicators.settings import IndicatorsSettings

# A month's reports take the processors that nothing else needs: nobody waits for them, and uplinks do not.
NICENESS = 10
# A transaction that marks all days of all bins.
COMMAND_TIMEOUT_S = 600.0
# What is made a day at a time is looked for so often.
DAYS_EVERY_S = 1_800.0


def led(name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """The work where no other replica does it, counted, with when it went well."""
    LAST_SUCCESS.labels(name).set_to_current_time()  # One that never goes well is missed, too.

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
            knows = await require_schema(connection)
        days, reports = NetworkDays(pool), MonthlyReports(pool)
        jobs: dict[str, tuple[float, Callable[[], Awaitable[object]]]] = {
            "fill_days": (settings.indicators_every_s, lambda: refresh_fill_days(pool)),
            "network_days": (DAYS_EVERY_S, days.refresh),
            "costs": (DAYS_EVERY_S, lambda: measure_last_month(pool)),
            "reports": (DAYS_EVERY_S, lambda: reports.make(datetime.now(UTC))),
        }
        readiness.checks = {"database": database_check(pool)}
        async with announced(pool, "indicators", settings.instance, knows), asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(repeat(led(name, work), every_s, "indicators_put_off"), name=name)
                for name, (every_s, work) in jobs.items()
            ]
            await stopping.wait()
            for task in background:
                task.cancel()
