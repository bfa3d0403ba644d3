"""Composition root of the lighting service."""

import asyncio
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Histogram

from core.messages import topics
from core.messages.shards import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus, connect_bus
from core.runtime.errors import describe
from core.runtime.health import bus_check, database_check, serve_health, starting
from core.runtime.lease import read_shards
from core.runtime.postgres import DATABASE_AWAY, Pool, open_pool
from core.runtime.settings import ServiceSettings
from lighting.sweep import Swept, advance_open_commands, relight
from registry.schema import require_schema

SWEEP_EVERY_S = 1.0

COMMANDS = Counter("territoire_lighting_commands_total", "Steps of lighting commands", ["outcome"])
CONFIRMATION_DELAY = Histogram(
    "territoire_lighting_confirmation_delay_seconds",
    "From the request to the cabinet's own word",
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
)

log = structlog.get_logger()


async def _report(bus: Bus, shards: int, swept: Swept) -> None:
    for outcome in swept.outcomes:
        COMMANDS.labels(outcome).inc()
    for delay in swept.confirmation_delays_s:
        CONFIRMATION_DELAY.observe(delay)
    for shard in {shard_of_slot(slot, shards) for slot in swept.slots}:
        await bus.nudge(topics.downlink_due(shard))


async def _sweep(pool: Pool, bus: Bus, shards: int, nudged: asyncio.Event, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            for sweep in (relight, advance_open_commands):
                await _report(bus, shards, await sweep(pool, datetime.now(UTC)))
        except (*DATABASE_AWAY, *BUS_AWAY) as away:
            log.warning("sweep_put_off", error=describe(away))
        try:
            async with asyncio.timeout(SWEEP_EVERY_S):
                await nudged.wait()
        except TimeoutError:
            continue
        nudged.clear()


async def run(settings: ServiceSettings, stopping: asyncio.Event) -> None:
    """Sweep the open commands every second and at each nudge, until stopped."""
    nudged = asyncio.Event()

    async def nudge(_subject: str, _data: bytes) -> None:
        nudged.set()

    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(settings.database_url.get_secret_value(), "lighting", size=settings.pool_size) as pool,
        connect_bus(settings.nats_url.get_secret_value(), settings.instance) as bus,
    ):
        async with pool.acquire() as connection:
            await require_schema(connection)
            shards = await read_shards(connection)
        await bus.subscribe("territoire.downlink.done.*", nudge)
        readiness.checks = {"database": database_check(pool), "bus": bus_check(bus)}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_sweep(pool, bus, shards, nudged, stopping), name="sweep")
            await stopping.wait()
            nudged.set()
