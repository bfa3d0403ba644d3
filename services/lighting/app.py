"""Composition root of the lighting service: open, start, wait, drain, close."""

import asyncio

from core.runtime.bus import connect_bus
from core.runtime.health import bus_check, database_check, serve_health, starting
from core.runtime.lease import read_shards
from core.runtime.postgres import open_pool
from core.runtime.settings import ServiceSettings
from lighting.sweep import keep_sweeping
from registry.schema import require_schema


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
            tasks.create_task(keep_sweeping(pool, bus, shards, nudged, stopping), name="sweep")
            await stopping.wait()
            nudged.set()
