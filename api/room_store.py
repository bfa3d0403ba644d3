"""Rooms and doors of buildings: what was measured there hour by hour, and when they are open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerting.rule_store import list_calendars
from alerting.rulebook import read_calendar
from alerting.rules.calendar import Calendar
from core.messages.measurements import SOUND
from core.model.calendar_buckets import edges_of
from core.model.region import Region
from core.runtime.postgres import Connection
from ingest.series.series_choice import Series, with_profiles
from ingest.series.series_store import read_series
from registry.rows import fetch_all

HOUR = timedelta(hours=1)
# An hour counts as occupied that is open at each of these.
INSTANTS = tuple(timedelta(minutes=minutes) for minutes in (0, 59, 15, 30, 45))
# A room's own calendar, or its building's.
ROOMS = """
SELECT a.id, a.name, a.parent_id AS building_id, coalesce(a.attributes ->> 'calendar', b.attributes ->> 'calendar')
       AS calendar
FROM asset a JOIN asset b ON b.id = a.parent_id
WHERE a.kind = 'room' AND a.parent_id = ANY($1::int[]) AND a.archived_at IS NULL ORDER BY a.parent_id, a.id
"""
STREAMS = """
SELECT d.id, d.asset_id, a.name AS asset_name, d.quantity, d.unit
FROM datastream d JOIN asset a ON a.id = d.asset_id
WHERE d.asset_id = ANY($1::int[]) AND d.quantity = ANY($2::text[]) ORDER BY d.id
"""
# Doors of a building, of its rooms, or assets of their own that hang on it.
DOORS = """
SELECT d.id, d.asset_id, a.name, CASE WHEN a.id = ANY($1::int[]) THEN a.id ELSE a.parent_id END AS building_id,
       coalesce(a.attributes ->> 'calendar', b.attributes ->> 'calendar') AS calendar
FROM asset a LEFT JOIN asset b ON b.id = a.parent_id JOIN datastream d ON d.asset_id = a.id
WHERE d.quantity = 'open' AND (a.id = ANY($1) OR a.parent_id = ANY($1)) ORDER BY d.id
"""
# The last state before begins the count.
STATES = f"""
SELECT s.id, m.time, m.value FROM unnest($1::int[]) AS s (id)
CROSS JOIN LATERAL (
    (SELECT time, value FROM measurement
     WHERE datastream_id = s.id AND time < $2 AND time >= $2 - interval '7 days' AND {SOUND}
     ORDER BY time DESC LIMIT 1)
    UNION ALL
    (SELECT time, value FROM measurement WHERE datastream_id = s.id AND time >= $2 AND time < $3 AND {SOUND}
     ORDER BY time LIMIT $4)
) AS m ORDER BY s.id, m.time
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A room of a building, and the name of the calendar by which it is open (None: nobody says)."""

    id: int
    name: str
    building_id: int
    calendar: str | None


@dataclass(frozen=True, slots=True)
class Door:
    """A contact that says whether something is open."""

    id: int
    asset_id: int
    name: str
    building_id: int
    calendar: str | None


@dataclass(frozen=True, slots=True)
class _Stream:
    id: int
    asset_id: int
    asset_name: str
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class State:
    """A reading of a contact."""

    id: int
    time: datetime
    value: float


class Calendars:
    """The visible calendars; who names none has the only one, if there is one alone."""

    def __init__(self, by_name: Mapping[str, Calendar], region: Region) -> None:
        self._by_name = by_name
        self._region = region
        self._occupied: dict[str, frozenset[datetime]] = {}

    def named(self, name: str | None) -> tuple[str, Calendar] | None:
        """The calendar of this name, or the only one."""
        if name is None:
            only = [*self._by_name.items()]
            return only[0] if len(only) == 1 else None
        found = self._by_name.get(name)
        return None if found is None else (name, found)

    def is_open(self, calendar: Calendar, at: datetime) -> bool:
        """Whether it says that people are there."""
        return calendar.is_open(at, self._region)

    def occupied(self, name: str, calendar: Calendar, hours: Sequence[datetime]) -> frozenset[datetime]:
        """Those of these hours that are open from end to end."""
        if name not in self._occupied:
            self._occupied[name] = frozenset(
                hour for hour in hours if all(self.is_open(calendar, hour + after) for after in INSTANTS)
            )
        return self._occupied[name]


async def read_calendars(connection: Connection, tenant_id: int, region: Region) -> Calendars:
    """The tenant's own."""
    stored = [one for one in await list_calendars(connection) if one.tenant_id == tenant_id]
    read = {one.name: read_calendar(one) for one in stored}
    return Calendars({name: calendar for name, calendar in read.items() if calendar is not None}, region)


async def list_rooms(connection: Connection, building_ids: Sequence[int]) -> list[Room]:
    """The rooms of these buildings."""
    return await fetch_all(connection, Room, ROOMS, building_ids)


async def streams_of(connection: Connection, asset_ids: Sequence[int], quantities: Sequence[str]) -> list[Series]:
    """What is measured there."""
    rows = await fetch_all(connection, _Stream, STREAMS, asset_ids, quantities)
    series = [Series(row.id, row.asset_id, row.asset_name, row.quantity, row.unit) for row in rows]
    return await with_profiles(connection, series) if series else []


async def read_means(
    connection: Connection, series: Sequence[Series], begin: datetime, end: datetime, zone: ZoneInfo
) -> tuple[list[datetime], dict[tuple[int, str], dict[datetime, float]]]:
    """The hours, and the mean of each by asset and quantity; of several probes the highest."""
    edges = edges_of(begin, end, "hour", zone)
    found = (await read_series(connection, series, edges, "hour", zone)).series
    means: dict[tuple[int, str], dict[datetime, float]] = {}
    for one in series:
        of_asset: Any = one.asset_id
        into = means.setdefault((of_asset, one.quantity), {})
        for bucket in found[one.id].buckets if one.id in found else ():
            if bucket.mean is not None:
                into[bucket.since] = max(bucket.mean, into.get(bucket.since, bucket.mean))
    return edges[:-1], means


async def list_doors(connection: Connection, building_ids: Sequence[int]) -> list[Door]:
    """The contacts of these buildings and of what hangs on them."""
    return await fetch_all(connection, Door, DOORS, building_ids)


async def read_states(
    connection: Connection, ids: Sequence[int], begin: datetime, end: datetime, most: int
) -> list[State]:
    """What contacts said, up to `most` readings each, and the last reading of the week before."""
    return await fetch_all(connection, State, STATES, ids, begin, end, most)
