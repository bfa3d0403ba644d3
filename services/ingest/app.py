"""Composition root of ingest."""

import asyncio
from contextlib import suppress

import structlog

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from core.runtime.ownership import Sharded, ShardOwner
from ingest.codec_suspension import Suspension
from ingest.prepare import Registry
from ingest.publishing import MeasurementPublisher
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.scripts import Scripts
from ingest.shadows import Shadows
from ingest.store import Store
from ingest.uplink_shards import Ingest, worker_of
from ingest.workers import open_workers
from registry.changes import RegistryWatcher
from registry.keys import key_wrap_of
from registry.service import open_service
from services.ingest.settings import IngestSettings

log = structlog.get_logger()


async def _ensure_measurements(bus: Bus) -> None:
    try:
        await bus.ensure_measurements_stream()
    except BUS_AWAY as away:  # It is made at the first publish then.
        log.warning("measurements_stream_not_made", error=describe(away))


async def run(settings: IngestSettings, stopping: asyncio.Event) -> None:
    """Own shards of UPLINKS and store what they bring until stopped."""
    async with (
        open_service("ingest", settings) as service,
        open_workers(settings.codec_workers, (overruns := asyncio.Queue[str]()).put_nowait) as workers,
    ):
        pool, bus, shards = service.pool, service.bus, service.shards
        await _ensure_measurements(bus)
        scripts = Scripts(workers, overruns, Suspension(pool, bus).suspend)
        devices = KnownDevices(pool, keys=key_wrap_of(settings))
        registry = Registry(pool, devices, KnownGateways(pool), scripts)
        watcher = RegistryWatcher(pool, bus, registry.apply)
        shadows = Shadows(scripts, pool)
        ingest = Ingest(registry, Store(pool), MeasurementPublisher(bus, shards), shadows)
        worker = worker_of(pool, ingest, settings)
        sharded = Sharded("ingest", topics.UPLINKS, topics.uplinks, shards)
        owner = ShardOwner(pool, bus, sharded, settings.instance, worker.serve, stopping)
        service.is_ready({"shards": owner.check_share})
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(watcher.watch(), name="watch the registry"),
                tasks.create_task(scripts.suspend(), name="suspend codecs"),
                tasks.create_task(shadows.run(), name="compare shadows"),
            ]
            owning = tasks.create_task(owner.run(), name="own shards")
            await tasks.create_task(
                worker.run(stopping), name="work off uplinks"
            )  # Its last batch is finished before the shards are let go.
            for task in (*background, owning):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await owning
