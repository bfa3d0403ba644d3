"""Buildings with meters, rooms and doors, and what their devices have said, rolled up."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.model.quantities import QUANTITIES
from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from registry.datastreams import make_datastream

PARIS = ZoneInfo("Europe/Paris")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def local(*at: int) -> datetime:
    return datetime(*at, tzinfo=PARIS).astimezone(UTC)


class Metering:
    """Buildings with their meters, and what these say."""

    def __init__(self, pool: Pool, registry, tenant_id: int) -> None:
        self.pool, self.registry, self._tenant_id = pool, registry, tenant_id

    async def building(self, **attributes: Any) -> int:
        made = await self.registry.asset(kind="building", attributes=attributes)
        return made["id"]

    async def below(self, parent: int, kind: str, **fields: Any) -> int:
        made = await self.registry.asset(kind=kind, **fields)
        await self.pool.execute("UPDATE asset SET parent_id = $2 WHERE id = $1", made["id"], parent)
        return made["id"]

    async def index(
        self, parent: int, quantity: str, *, kind: str = "electricity_meter", channel: str = "",
        meter: int | None = None, interval_s: int = 3600,
    ) -> int:  # fmt: skip
        if meter is None:
            meter = await self.below(parent, kind)
        profile = await self.registry.profile()
        device = await self.registry.device(profile)
        id_ = await self.pool.fetchval(
            "SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"])
        )
        await self.pool.execute("UPDATE device_profile SET expected_interval = $2 WHERE id = $1",
                                 profile["id"], timedelta(seconds=interval_s))  # fmt: skip
        unit = QUANTITIES[quantity].unit
        made = await make_datastream(
            self.pool, tenant_id=self._tenant_id, asset_id=meter, device_id=id_, position="", channel=channel,
            quantity=quantity, unit=unit,
        )  # fmt: skip
        return made.id

    async def write(self, index: int, readings: dict[datetime, float]) -> None:
        await self.pool.executemany(
            "INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)",
            [(index, at, float(value)) for at, value in readings.items()],
        )
        instants = {instant for at in readings for instant in (at, at - timedelta(microseconds=1))}
        hours = {at.replace(minute=0, second=0, microsecond=0) for at in instants}
        await self.pool.executemany(
            "INSERT INTO observation.dirty VALUES ($1, $2)", [(hour, [index]) for hour in hours]
        )
        await roll_up(self.pool, force=True)


def daily(first: date, days: int, a_day: Callable[[date], float], start: float = 0.0) -> dict[datetime, float]:
    """An index read at each local midnight, the first one included."""
    readings, index = {}, start
    for number in range(days + 1):
        day = first + DAY * number
        readings[local(day.year, day.month, day.day)] = index
        index += a_day(day)
    return readings
