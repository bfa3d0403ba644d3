"""A school with three years behind it: heat, electricity, water, rooms, a door, weather, and works that saved."""

import math
import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from core.model.quantities import QUANTITIES
from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from lab.fleet.provision import Provisioner
from registry.datastreams import make_datastream
from registry.weather_days import enter_day

NAME = "École des Dunes"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAYS = 1_200
# Ended 500 days ago, and saved a quarter of the heat.
WORKS_AGO, SAVED = 500, 0.25
HOURLY_DAYS = 70
ADD = "INSERT INTO observation.measurement (datastream_id, time, value, flags) VALUES ($1, $2, $3, 0)"
MARK = "INSERT INTO observation.dirty VALUES ($1, $2)"
Readings = Mapping[datetime, float]


async def build_school(api: Provisioner, pool: Pool, tenant_id: int) -> int:
    """The building's id; its readings are rolled up, and what it saved is in a frozen baseline."""
    size = {"surface_m2": 1450, "occupants": 210}
    school = await api.post(
        "/v1/assets", {"kind": "building", "name": NAME, "commune": "Brest", "attributes": size}
    )
    chance = random.Random(20)
    today = datetime.now(UTC).date()
    first = today - DAY * DAYS
    colds = {day: _temperature(day, chance) for day in (first + DAY * n for n in range(DAYS))}
    async with pool.acquire() as connection, connection.transaction():
        for day, mean in colds.items():
            await enter_day(
                connection, tenant_id, "29075001", day, round(mean - 3, 1), round(mean + 4, 1), "exemple"
            )
    works = (today - DAY * WORKS_AGO).replace(day=1)
    written = _Written(api, pool, tenant_id, school["id"])
    await written.index("heat_meter", "Chaufferie", "thermal_energy", DAY, _heat(colds, works, chance))
    begin = _midnight(today - DAY * HOURLY_DAYS)
    hours = [begin + HOUR * n for n in range(24 * HOURLY_DAYS)]
    await written.index("electricity_meter", "Compteur général", "active_energy_import", HOUR, _electricity(hours))
    await written.index("water_meter", "Compteur d'eau", "water_volume", HOUR, _water(hours))
    for name, people in (("Classe de CM2", 1300), ("Classe de CP", 650)):
        await written.index("room", name, "co2", HOUR, _co2(hours, people, chance))
    await written.index("door", "Portail", "open", HOUR, _door(hours))
    await roll_up(pool, force=True)
    month = timedelta(days=32)
    until = (works - DAY).replace(day=1)
    since = until
    for _ in range(11):
        since = (since - DAY).replace(day=1)
    await api.post(
        "/v1/energy-baselines",
        {
            "asset_id": school["id"], "use": "heat", "from": f"{since:%Y-%m}", "to": f"{until:%Y-%m}",
            "works_from": works.isoformat(), "works_to": ((works + month).replace(day=1) - DAY).isoformat(),
            "label": "Isolation des combles",
        },
    )  # fmt: skip
    return school["id"]


class _Written:
    """What hangs on the school, and what it said."""

    def __init__(self, api: Provisioner, pool: Pool, tenant_id: int, school_id: int) -> None:
        self._api, self._pool, self._tenant_id, self._school_id = api, pool, tenant_id, school_id

    async def index(self, kind: str, name: str, quantity: str, every: timedelta, readings: Readings) -> None:
        """An asset below the school, its device, and its readings, marked to be rolled up."""
        made = await self._api.post("/v1/assets", {"kind": kind, "name": f"{name}, {NAME}", "commune": "Brest"})
        await self._api.put(f"/v1/assets/{made['id']}/parent", {"parent_id": self._school_id})
        profile = await self._profile(every)
        device: dict[str, Any] = {"dev_eui": secrets.token_hex(8), "join_eui": "70b3d57ed0001000", "name": name}
        device |= {"device_profile_id": profile, "app_key": secrets.token_hex(16), "asset_id": made["id"]}
        added = await self._api.post("/v1/devices", device)
        id_ = await self._pool.fetchval(
            "SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(added["dev_eui"])
        )
        stream = await make_datastream(
            self._pool, tenant_id=self._tenant_id, asset_id=made["id"], device_id=id_, position="", channel="",
            quantity=quantity, unit=QUANTITIES[quantity].unit,
        )  # fmt: skip
        await self._pool.executemany(ADD, [(stream.id, at, float(value)) for at, value in readings.items()])
        edges = {instant for at in readings for instant in (at, at - timedelta(microseconds=1))}
        hours = {at.replace(minute=0, second=0, microsecond=0) for at in edges}
        await self._pool.executemany(MARK, [(hour, [stream.id]) for hour in hours])

    async def _profile(self, every: timedelta) -> int:
        body = {
            "name": f"école {secrets.token_hex(4)}",
            "vendor": "Acme",
            "model": "Index",
            "codec": "milesight.em400",
        }
        interval = int(every.total_seconds())
        made = await self._api.post("/v1/device-profiles", body | {"expected_interval_s": interval})
        return made["id"]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _temperature(day: date, chance: random.Random) -> float:
    return 11.5 - 7 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365.25) + chance.gauss(0, 2)


def _summed(a_step: Callable[[datetime], float], steps: list[datetime]) -> Readings:
    readings, index = dict[datetime, float](), 0.0
    for at in steps:
        readings[at] = index
        index += a_step(at)
    return readings


def _heat(colds: Mapping[date, float], works: date, chance: random.Random) -> Readings:
    def a_day(at: datetime) -> float:
        taken = 60 + 22 * max(0.0, 18 - colds[at.date()])
        return 1000 * taken * (1 + chance.gauss(0, 0.04)) * ((1 - SAVED) if at.date() >= works else 1)

    return _summed(a_day, [_midnight(day) for day in colds])


def _is_school_hour(at: datetime) -> bool:
    return at.weekday() < 5 and 8 <= at.hour < 17  # noqa: PLR2004 - Of a school's week.


def _electricity(hours: list[datetime]) -> Readings:
    return _summed(lambda at: 14_000.0 if _is_school_hour(at) else 2_500.0, hours)


def _water(hours: list[datetime]) -> Readings:
    leaking = {hours[24 * 45 + n].date() for n in range(0, 24 * 9, 24)}
    return _summed(lambda at: (180.0 if _is_school_hour(at) else 0.0) + 12.0 * (at.date() in leaking), hours)


def _co2(hours: list[datetime], people: int, chance: random.Random) -> Readings:
    return {
        at + HOUR / 2: 430.0 + (people + chance.uniform(-200, 350) if _is_school_hour(at) else 0.0) for at in hours
    }


def _door(hours: list[datetime]) -> Readings:
    found: dict[datetime, float] = {}
    for at in hours:
        if _is_school_hour(at) or (at.hour == 22 and at.weekday() == 5):  # noqa: PLR2004 - Once where nobody is.
            found |= {at + HOUR / 6: 1.0, at + HOUR / 5: 0.0}
    return found
