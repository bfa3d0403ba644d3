"""Rooms in a monthly report: the air in occupied hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import fsum

from api.reporting.asked import Asked
from api.room_store import Calendars, Room, list_rooms, read_calendars, read_means, streams_of
from core.runtime.postgres import Connection
from indicators.buildings.room_air import Co2, RoomHour, co2_of
from indicators.reports.model import NOTHING, Amount, Cell, Table, Unknown, table_of

WORST_MOST = 10
# A room of which less is known says nothing of the month.
LEAST_KNOWN = 0.5


@dataclass(frozen=True, slots=True)
class RoomFigures:
    """Of each month that is compared; tables are of the report's own."""

    amounts: Mapping[date, dict[str, Amount]]
    tables: list[Table]


async def read_rooms(
    connection: Connection, asked: Asked, building_ids: Sequence[int], personal: frozenset[int]
) -> RoomFigures:
    """The CO2 of all rooms of these buildings that are nobody's home."""
    rooms = [one for one in await list_rooms(connection, building_ids) if one.id not in personal]
    series = await streams_of(connection, [one.id for one in rooms], ("co2",)) if rooms else []
    measured = {one.asset_id for one in series}
    rooms = [one for one in rooms if one.id in measured]
    if not rooms:
        nothing = {"buildings.icone": NOTHING, "buildings.co2_1500": NOTHING}
        return RoomFigures({month: dict(nothing) for month in asked.months}, [])
    by_month: dict[date, list[tuple[Room, Co2]]] = {}
    for month in asked.months:
        hours, means = await read_means(connection, series, *asked.span(month), asked.zone)
        calendars = await read_calendars(connection, asked.tenant_id, asked.region)
        by_month[month] = [(room, _air(room, hours, means.get((room.id, "co2"), {}), calendars)) for room in rooms]
    return RoomFigures(
        {month: _amounts(found) for month, found in by_month.items()},
        _worst(by_month[asked.month]),
    )


def _air(room: Room, hours: Sequence[datetime], means: Mapping[datetime, float], calendars: Calendars) -> Co2:
    calendar = calendars.named(room.calendar)
    occupied = frozenset[datetime]() if calendar is None else calendars.occupied(*calendar, hours)
    return co2_of([RoomHour(means.get(hour), hour in occupied) for hour in hours])


def _is_known(air: Co2) -> bool:
    return air.hours > 0 and air.known_hours >= LEAST_KNOWN * air.hours


def _amounts(rooms: Sequence[tuple[Room, Co2]]) -> dict[str, Amount]:
    known = [air for _, air in rooms if _is_known(air)]
    hours = sum(air.known_hours for air in known)
    if not hours:
        has_calendar = any(air.hours for _, air in rooms)
        nothing = Amount(None, 0, len(rooms), Unknown.NOT_MEASURED if has_calendar else Unknown.NO_CALENDAR)
        return {"buildings.icone": nothing, "buildings.co2_1500": nothing}
    icone = fsum((air.icone or 0.0) * air.known_hours for air in known) / hours
    above = fsum((air.above_1500 or 0.0) * air.known_hours for air in known) / hours
    return {
        "buildings.icone": Amount(icone, len(known), len(rooms)),
        "buildings.co2_1500": Amount(100 * above, len(known), len(rooms)),
    }


def _worst(rooms: Sequence[tuple[Room, Co2]]) -> list[Table]:
    known = sorted(((room, air) for room, air in rooms if _is_known(air)), key=lambda one: -(one[1].icone or 0.0))
    rows: list[tuple[Cell, ...]] = [
        (
            room.name,
            air.icone,
            None if air.above_1500 is None else 100 * air.above_1500,
            100 * air.known_hours / air.hours,
        )
        for room, air in known
    ]
    return table_of("buildings.rooms", rows, WORST_MOST)
