"""Composition root of the network server: open, start, wait, drain, close."""

import asyncio
from collections.abc import Awaitable, Callable

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.health import bus_check, database_check, serve_health, starting
from core.runtime.lease import read_shards
from core.runtime.ownership import Sharded, ShardOwner
from core.runtime.postgres import Pool, open_pool
from lorawan.commands.rx_param_setup import RxParamSetupReq
from lorawan.mac_state import HOUR_US, MacPolicy
from lorawan.regions import EU868
from network import store
from network.device_cache import DeviceCache
from network.downlink_dispatch import Dispatcher
from network.downlink_planner import Downlinks
from network.join_handler import JoinDesk
from network.multicast import Multicasts
from network.rejections import Refusals
from network.session_table import SessionTable
from network.shards import SERVICE, Shards
from network.uplink_loop import UplinkPass
from registry.changes import Change, RegistryWatcher
from registry.schema import require_schema
from services.network.settings import NetworkSettings

FINISH_PASS_S = 5.0
FINISH_DOWNLINKS_S = 3.0


async def run(settings: NetworkSettings, stopping: asyncio.Event) -> None:
    """Own shards, read their frames, publish their uplinks and work off their downlinks, until stopped."""
    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(settings.database_url.get_secret_value(), "network", size=settings.pool_size) as pool,
        connect_bus(settings.nats_url.get_secret_value(), settings.instance) as bus,
    ):
        async with pool.acquire() as connection:
            await require_schema(connection)
            count = await read_shards(connection)
        sessions, devices = SessionTable(), DeviceCache()
        shards = Shards(pool, settings, sessions, devices, count)
        sharded = Sharded(SERVICE, topics.FRAMES, topics.frames, count)
        owner = ShardOwner(pool, bus, sharded, settings.instance, shards.serve, stopping)
        readiness.checks = {"database": database_check(pool), "bus": bus_check(bus), "shards": _tried(owner)}
        async with asyncio.TaskGroup() as tasks:
            dispatcher = Dispatcher(pool, bus, shards, settings, tasks)
            downlinks = Downlinks(pool, bus, shards, sessions, devices, dispatcher)
            refusals = Refusals(pool)
            uplinks = UplinkPass(
                pool, bus, shards, sessions, devices, JoinDesk(settings), downlinks, _policy(settings), refusals
            )
            watcher = RegistryWatcher(pool, bus, _follow_registry(pool, settings, shards, sessions, devices))
            owning = tasks.create_task(owner.run(), name="own shards")
            helpers = [
                tasks.create_task(downlinks.run(), name="plan downlinks"),
                tasks.create_task(watcher.watch(), name="watch registry"),
                tasks.create_task(refusals.run(), name="save refusals"),
                tasks.create_task(
                    Multicasts(pool, bus, shards, settings, tasks).run(), name="tell multicast groups"
                ),
            ]
            passing = tasks.create_task(uplinks.run(stopping), name="pass")
            await stopping.wait()
            shards.something_to_do.set()
            for helper in helpers:
                helper.cancel()
            await asyncio.wait((passing,), timeout=FINISH_PASS_S)
            passing.cancel()
            await refusals.save()
            await dispatcher.drain(FINISH_DOWNLINKS_S)
            owning.cancel()  # It lets go of the leases, so that the next owner need not wait.


def _policy(settings: NetworkSettings) -> MacPolicy:
    rx2 = RxParamSetupReq(0, settings.rx2_data_rate, EU868.rx2_frequency)
    return MacPolicy(
        EU868,
        rx1_delay=settings.rx1_delay,
        far_rx1_delay=settings.far_rx1_delay,
        rx_params=rx2 if settings.rx2_for_all else None,
        max_duty_cycle=settings.max_duty_cycle,
        status_every_us=settings.dev_status_every_h * HOUR_US,
        adr=settings.adr,
    )


def _tried(owner: ShardOwner) -> Callable[[], Awaitable[str | None]]:
    async def check() -> str | None:
        return None if owner.tried.is_set() else "no attempt to take shards has ended yet"

    return check


def _follow_registry(
    pool: Pool, settings: NetworkSettings, shards: Shards, sessions: SessionTable, devices: DeviceCache
) -> Callable[[list[Change]], Awaitable[None]]:
    async def follow(changes: list[Change]) -> None:
        """A device that was disabled, moved, replaced or given a session is so here, too."""
        device_ids = [change.entity_id for change in changes if change.entity == "device"]
        if not device_ids and not any(change.entity == "device_profile" for change in changes):
            return
        async with sessions.lock:
            slots = shards.slots()
            held = (await store.read_sessions(pool, slots, settings.kek_octets, device_ids)).held
            await devices.refresh(pool, slots, device_ids, [session.device_id for session in held])
            for session in held:
                sessions.add(session)
            for device_id in device_ids:
                sessions.keep_only(device_id, {s.id for s in held if s.device_id == device_id})
                device = devices.get(device_id)
                if device is not None:
                    sessions.set_skip_f_cnt(device_id, device.skip_f_cnt_check)

    return follow
