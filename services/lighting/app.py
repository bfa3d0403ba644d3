"""Composition root of the lighting service: open, start, wait, drain, close."""

import asyncio

from core.messages import topics
from core.runtime.settings import ServiceSettings
from lighting.shadows import keep_shadows
from lighting.sweep import keep_sweeping
from registry.service import open_service


async def run(settings: ServiceSettings, stopping: asyncio.Event) -> None:
    """Sweep the open commands every second and at each nudge, and clocks' shadows each minute, until stopped."""
    nudged = asyncio.Event()

    async def nudge(_subject: str, _data: bytes) -> None:
        nudged.set()

    async with open_service("lighting", settings) as service:
        pool, bus, shards = service.pool, service.bus, service.shards
        await bus.subscribe(topics.ALL_DOWNLINKS_DONE, nudge)
        service.is_ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_sweeping(pool, bus, shards, nudged, stopping), name="sweep")
            tasks.create_task(keep_shadows(pool, bus, shards, stopping), name="shadows")
            await stopping.wait()
            nudged.set()
