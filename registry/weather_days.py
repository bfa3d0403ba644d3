"""Temperatures of days at weather stations, of a tenant: written by imports, read for degree days."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from core.runtime.postgres import Connection, Pool
from registry.rows import columns_of, fetch_all


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A day at a station: its lowest and highest temperature, °C, and where they are from."""

    station: str
    day: date
    tn: float
    tx: float
    source: str
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class Station:
    """A station with its first and last known day, and how many of those from one to the other are known."""

    station: str
    first: date
    last: date
    days: int


ENTER = """
INSERT INTO weather_day AS w (tenant_id, station, day, tn, tx, source) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, station, day) DO UPDATE
SET tn = excluded.tn, tx = excluded.tx, source = excluded.source, imported_at = now()
WHERE (w.tn, w.tx, w.source) IS DISTINCT FROM (excluded.tn, excluded.tx, excluded.source)
RETURNING xmax = 0
"""
STATIONS = """
SELECT station, min(day) AS first, max(day) AS last, count(*)::int AS days
FROM weather_day GROUP BY station ORDER BY station
"""
DAYS = f"""
SELECT {columns_of(StoredDay)} FROM weather_day WHERE station = $1 AND day >= $2 AND day < $3 ORDER BY day
"""


async def enter_day(
    connection: Connection, tenant_id: int, station: str, day: date, tn: float, tx: float, source: str
) -> Literal["created", "updated", "unchanged"]:
    """Keep a day's temperatures in place of what was known of it."""
    is_new = await connection.fetchval(ENTER, tenant_id, station, day, tn, tx, source)
    return "unchanged" if is_new is None else "created" if is_new else "updated"


async def list_stations(connection: Connection | Pool) -> list[Station]:
    """The stations of which a day is known."""
    return await fetch_all(connection, Station, STATIONS)


async def list_days(connection: Connection | Pool, station: str, first: date, after: date) -> list[StoredDay]:
    """The known days of a station from one day to another, which is not included."""
    return await fetch_all(connection, StoredDay, DAYS, station, first, after)
