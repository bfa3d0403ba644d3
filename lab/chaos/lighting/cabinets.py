"""Lighting cabinets before a stack that is hurt: clocks and relays, which remember what came to them."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from core.model.region import ZONES
from core.runtime.postgres import connect
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.device.application import Message
from lab.device.lamp_clock import LampClock, sunset
from lab.device.payloads import clock as wire
from lab.device.payloads import watteco
from lab.device.sensors import WATTECO_PORT, Cabinet
from lab.fleet.pilot import CABINET, CLOCK
from lab.fleet.plan import DevicePlan, Kind, plan_device
from lab.lighting.air import SimulatedCabinet
from lab.lighting.area import FAST_RX2, Area, AreaCabinet
from lab.lighting.real import RealArea, open_area
from lab.lighting.registered import profile_of

EQUATOR = 0.0
DEGREES_PER_MINUTE = 0.25
FIRST_REPORTS_WITHIN_S, REPORTED_S, TAKEN_WITHIN_S = 8.0, 3.0, 90.0
RELAYS_EVERY = 2
SNR = (5.0, 3.0)
PLACE_TENANT = "UPDATE tenant SET department = $2 WHERE id = $1"
PATH = "/v1/lighting-programs"
READ_HEARD = """
SELECT DISTINCT a.asset_id FROM assignment a JOIN observation.uplink u ON u.device_id = a.device_id
WHERE a.asset_id = ANY($1::int[])
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where cabinets stand, and the department by whose clocks people live there; empty: Paris's."""

    department: str
    latitude: float
    longitude: float


def place_with_dusk_at(at: datetime) -> Place:
    """Somewhere on the equator where the sun sets then: a night, or a day, without waiting for one."""
    there = sunset(at.date(), EQUATOR, 0.0)
    longitude = -((at - there) / timedelta(minutes=1)) * DEGREES_PER_MINUTE
    longitude = round((longitude + 180) % 360 - 180, 2)

    def away(zone: str) -> float:
        offset = at.astimezone(ZONES[zone]).utcoffset() if zone else timedelta(hours=1)
        assert offset is not None
        return abs((offset / timedelta(hours=1) - longitude / 15 + 12) % 24 - 12)

    return Place(min(("", *ZONES), key=away), EQUATOR, longitude)


@dataclass(slots=True)
class Remembering:
    """An application whose downlinks are kept, in their order."""

    application: LampClock | Cabinet
    received: list[Message] = field(default_factory=list[Message])

    def next_message(self, now_us: int) -> Message:
        """Its own."""
        return self.application.next_message(now_us)

    def on_downlink(self, message: Message, now_us: int) -> Message | None:
        """Its own, once it is noted."""
        self.received.append(message)
        return self.application.on_downlink(message, now_us)

    @property
    def switches(self) -> list[bytes]:
        """The payloads that were to switch it."""
        if isinstance(self.application, Cabinet):
            ours = [one.payload for one in self.received if one.f_port == WATTECO_PORT]
            return [payload for payload in ours if watteco.parse_switch_command(payload) is not None]
        return [one.payload for one in self.received if one.f_port == wire.STATE_PORT]

    @property
    def programs(self) -> list[bytes]:
        """The programs that came to it."""
        return [one.payload for one in self.received if one.f_port == wire.PROGRAM_PORT]


@dataclass(frozen=True, slots=True)
class Street:
    """The cabinets on the air, with what each remembers, by the number of its asset."""

    real: RealArea
    place: Place
    remembered: dict[int, Remembering]

    @property
    def clocks(self) -> dict[int, LampClock]:
        """Those that hold a program."""
        every = ((number, one.application) for number, one in self.remembered.items())
        return {number: one for number, one in every if isinstance(one, LampClock)}

    @property
    def relays(self) -> dict[int, Cabinet]:
        """Those that depend on the platform."""
        every = ((number, one.application) for number, one in self.remembered.items())
        return {number: one for number, one in every if isinstance(one, Cabinet)}

    async def report(self) -> None:
        """Each says what it does until the platform has taken it: no frame goes to what was never heard.

        A stack that has just started knows sessions that were made in its tables some seconds later.

        Raises:
            CaseFailed: not all were heard in time.
        """
        deadline = time.monotonic() + TAKEN_WITHIN_S
        unheard = dict(zip(self.real.assets, self.real.cabinets, strict=True))
        while unheard:
            if time.monotonic() > deadline:
                raise CaseFailed(f"{len(unheard)} armoires sur {len(self.real.cabinets)} n'ont pas été entendues")
            await asyncio.gather(*(_report(cabinet) for cabinet in unheard.values()))
            await asyncio.sleep(REPORTED_S)
            for row in await self.real.pool.fetch(READ_HEARD, list(unheard)):
                del unheard[row["asset_id"]]

    async def assign(self, program: dict[str, object]) -> None:
        """All of them are to follow this program."""
        made = await self.real.api.post(PATH, {"name": "Nuit", "program": program})
        body = {"program_id": made["id"], "asset_ids": self.real.assets}
        await self.real.api.post(f"{PATH}/assignments", body)


async def _report(cabinet: SimulatedCabinet) -> None:
    await asyncio.sleep(cabinet.random.uniform(0, FIRST_REPORTS_WITHIN_S))
    cabinet.report()


@asynccontextmanager
async def open_street(
    scene: Scene, count: int, place: Place, *, has_collisions: bool = True
) -> AsyncGenerator[Street]:
    """So many cabinets there, every other one a relay, which two gateways hear."""

    def plan(area: Area, name: str) -> list[DevicePlan]:
        return [
            replace(
                plan_device(_kind(one, place), one.number, name),
                latitude=place.latitude,
                longitude=place.longitude,
            )
            for one in area.cabinets
        ]

    area = Area(2, [AreaCabinet(number, _receptions_of(number), FAST_RX2) for number in range(count)])
    run = scene.processes.run
    async with open_area(run, area, "chaos", plan, loss=0.0, has_collisions=has_collisions) as real:
        admin = await connect(run.database_admin_url, "chaos")
        try:
            await admin.execute(PLACE_TENANT, real.tenant_id, place.department or None)
        finally:
            await admin.close()
        applications: Sequence[object] = [one.application for one in real.cabinets]
        remembered = {
            number: application
            for number, application in zip(real.assets, applications, strict=True)
            if isinstance(application, Remembering)
        }
        yield Street(real, place, remembered)


def _receptions_of(number: int) -> tuple[tuple[int, float], ...]:
    best = number % 2
    return (best, SNR[0]), (1 - best, SNR[1])


def _kind(cabinet: AreaCabinet, place: Place) -> Kind:
    def clock(source: random.Random, _number: int) -> Remembering:
        at = (place.latitude, place.longitude)
        return Remembering(LampClock((source.randint(800, 6_000),), own_position=at))

    def relay(source: random.Random, _number: int) -> Remembering:
        return Remembering(Cabinet(source, power_w=source.randint(800, 6_000)))

    if cabinet.number % RELAYS_EVERY:
        return Kind(profile_of(FAST_RX2, CABINET), "lighting_cabinet", "Armoire", relay)
    return Kind(profile_of(FAST_RX2, CLOCK), "lighting_cabinet", "Armoire à horloge", clock)
