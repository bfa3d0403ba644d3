"""Composition root of the network server: open, start, wait, drain, close."""

import asyncio

from core.messages import topics
from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.ownership import Sharded, ShardOwner
from network.downlink_dispatch import Dispatcher
from network.downlink_planner import Downlinks
from network.held_state import DeviceCache, SessionTable
from network.join_handler import JoinHandler
from network.live_frames import LiveFrames
from network.multicast import Multicasts
from network.registry_changes import RegistryChanges
from network.rejections import RejectionLog
from network.shards import SERVICE, Shards
from network.uplink_batch import Uplinks, worker_of
from registry.changes import RegistryWatcher
from registry.keys import key_wrap_of
from registry.service import open_service
from services.network.settings import NetworkSettings

FINISH_BATCH_S = 5.0
FINISH_DOWNLINKS_S = 3.0


async def run(settings: NetworkSettings, stopping: asyncio.Event, clock: WallClock = wall_clock_us) -> None:
    """Own shards, read their frames, publish their uplinks and work off their downlinks, until stopped."""
    async with open_service("network", settings) as service:
        pool, bus, count = service.pool, service.bus, service.shards
        sessions, devices = SessionTable(), DeviceCache(settings.mac_policy)
        shards = Shards(pool, settings, sessions, devices, count)
        async with asyncio.TaskGroup() as tasks:
            live = LiveFrames(bus, devices)
            dispatcher = Dispatcher(pool, bus, shards, settings, tasks, clock, live)
            downlinks = Downlinks(pool, bus, shards, sessions, devices, dispatcher, clock)
            refusals = RejectionLog(pool, clock)
            uplinks = Uplinks(
                pool,
                bus,
                shards,
                sessions,
                devices,
                JoinHandler(settings),
                downlinks,
                refusals,
                live,
                clock,
            )
            worker = worker_of(pool, uplinks, settings)
            sharded = Sharded(SERVICE, topics.FRAMES, topics.frames, count)
            owner = ShardOwner(pool, bus, sharded, settings.instance, worker.serve, stopping)
            service.is_ready({"shards": owner.check_share})
            changes = RegistryChanges(pool, key_wrap_of(settings), shards, sessions, devices)
            watcher = RegistryWatcher(pool, bus, changes.apply)
            owning = tasks.create_task(owner.run(), name="own shards")
            helpers = [
                tasks.create_task(downlinks.run(), name="plan downlinks"),
                tasks.create_task(watcher.watch(), name="watch registry"),
                tasks.create_task(refusals.run(), name="save refusals"),
                tasks.create_task(live.run(), name="show frames to viewers"),
                tasks.create_task(
                    Multicasts(pool, bus, shards, settings, tasks, clock).run(), name="send to multicast groups"
                ),
            ]
            working = tasks.create_task(worker.run(stopping), name="work off frames")
            await stopping.wait()
            for helper in helpers:
                helper.cancel()
            await asyncio.wait((working,), timeout=FINISH_BATCH_S)
            working.cancel()
            await refusals.save()
            await dispatcher.drain(FINISH_DOWNLINKS_S)
            owning.cancel()  # It lets go of the leases, so that the next owner need not wait.
