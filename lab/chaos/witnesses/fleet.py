"""A few devices on the air beside the load, whose gateways speak MQTT and WebSocket as well."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from rich.console import Console

from lab.chaos.case import Around
from lab.chaos.scene import Scene
from lab.fleet.tenancy import prepare_tenant
from lab.radio.clock import now_us
from lab.simulator.driver import Fleet
from lab.simulator.main import provision_fleet
from services.supervisor.run_info import RunInfo

# Four gateways, of which one is on MQTT; the nearest ones receive a device.
FLEET_GATEWAYS, FLEET_DEVICES, FLEET_RATE = 4, 40, 20.0
FLEET_JOINS_WITHIN_S, FLEET_ENOUGH, FLEET_SETTLES_S = 30.0, 0.75, 3.0


def with_mqtt_fleet(case: str) -> Around:
    """Beside the load, a few devices that gateways on MQTT receive as well."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        async with fly_fleet(scene, case, scene.processes.run):
            yield

    return around


@dataclass(frozen=True, slots=True)
class Flown:
    """A fleet on the air, its tenant, and that one's key."""

    fleet: Fleet
    tenant_id: int
    key: str


@asynccontextmanager
async def fly_fleet(
    scene: Scene, case: str, run: RunInfo, prepare: Callable[[Fleet], None] | None = None
) -> AsyncGenerator[Flown]:
    """A few devices beside the load, whose gateways on MQTT and WebSocket go where `run` says."""
    name = f"{case}-{now_us()}"
    tenant, key = await prepare_tenant(scene.pool, name, name)
    fleet = await provision_fleet(run, key, name, FLEET_GATEWAYS, FLEET_DEVICES, FLEET_RATE, Console(quiet=True))
    if prepare is not None:
        prepare(fleet)
    flying = asyncio.create_task(fleet.run(), name="fleet")
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLEET_JOINS_WITHIN_S):
                while fleet.joined < FLEET_ENOUGH * len(fleet.devices):  # noqa: ASYNC110 - The fleet has no event.
                    await asyncio.sleep(0.2)
        scene.fleets.append(fleet)
        yield Flown(fleet, tenant.id, key)
        fleet.silent.set()
        await asyncio.sleep(FLEET_SETTLES_S)
    finally:
        flying.cancel()
        await asyncio.gather(flying, return_exceptions=True)
