"""What buildings took, month by month and hour by hour, from the rollups of their meters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from math import fsum
from typing import Any, Literal
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import edges_of
from core.runtime.postgres import Connection
from indicators.buildings.amounts import (
    OFF_PEAK,
    PEAK,
    MonthAmount,
    StreamMonth,
    counted_channels,
    known_days,
    month_amount,
    peak_split,
)
from ingest.series.buckets import Aggregated
from ingest.series.series_choice import Series, with_profiles
from ingest.series.series_store import read_series
from registry.rows import fetch_all

Use = Literal["electricity", "gas", "heat", "water"]
DAY = timedelta(days=1)
# Beyond, a reading does not stand for the days after it.
HELD_MOST = timedelta(days=62)


@dataclass(frozen=True, slots=True)
class Metered:
    """What a use is counted by: its index, the unit in which it is shown, and how many of its own that is."""

    quantity: str
    unit: str
    divisor: float


USES: Mapping[Use, Metered] = {
    "electricity": Metered("active_energy_import", "kWh", 1000),
    "gas": Metered("gas_volume", "m3", 1),
    "heat": Metered("thermal_energy", "kWh", 1000),
    "water": Metered("water_volume", "m3", 1000),
}
# A sub-meter counts again what a building's own has counted, and so does what hangs on another meter.
METERS = ("electricity_meter", "gas_meter", "heat_meter", "water_meter")
LIST = """
SELECT id, name, commune, attributes FROM asset
WHERE kind = 'building' AND archived_at IS NULL AND id > $1 AND ($2::int[] IS NULL OR id = ANY($2))
  AND ($3::text IS NULL OR commune = $3) ORDER BY id LIMIT $4
"""
STREAMS = """
SELECT b.id AS building_id, d.id, d.asset_id, a.name AS asset_name, d.quantity, d.unit, d.position, d.channel
FROM unnest($1::int[]) AS b (id)
JOIN asset a ON a.id = b.id OR (a.parent_id = b.id AND a.kind = ANY($2::text[]))
JOIN datastream d ON d.asset_id = a.id
WHERE d.quantity = ANY($3::text[]) ORDER BY b.id, d.id
"""


@dataclass(frozen=True, slots=True)
class Building:
    """A building that is visible, and what is known of its size."""

    id: int
    name: str
    commune: str
    attributes: Mapping[str, Any]

    def size(self, name: str) -> float | None:
        """Its surface or its occupants; None: nobody says."""
        value: Any = self.attributes.get(name)
        return float(value) if isinstance(value, int | float) and value > 0 else None


@dataclass(frozen=True, slots=True)
class _Stream:
    building_id: int
    id: int
    asset_id: int
    asset_name: str
    quantity: str
    unit: str
    position: str
    channel: str


@dataclass(frozen=True, slots=True)
class UseMeters:
    """The indexes that count a use of a building once; `tariffs` are those of off-peak and peak, by channel."""

    building_id: int
    use: Use
    counted: tuple[int, ...]
    tariffs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class UseMonths:
    """A use of a building by month, with its off-peak and peak (None: no such tariff, or unknown)."""

    meters: UseMeters
    months: list[MonthAmount]
    peaks: list[tuple[float, float] | None]


async def list_buildings(
    connection: Connection, ids: Sequence[int] | None, commune: str | None, after: int, most: int
) -> list[Building]:
    """Visible buildings by id, beyond `after`; all that is given is to hold."""
    return await fetch_all(connection, Building, LIST, after, ids, commune, most)


async def meters_of(
    connection: Connection, building_ids: Sequence[int], uses: Iterable[Use]
) -> tuple[list[UseMeters], list[Series]]:
    """What counts each use of each building, and all of these indexes."""
    wanted: dict[str, Use] = {USES[use].quantity: use for use in uses}
    rows = await fetch_all(connection, _Stream, STREAMS, building_ids, list(METERS), list(wanted))
    by_use: dict[tuple[int, Use], list[_Stream]] = {}
    for row in rows:
        by_use.setdefault((row.building_id, wanted[row.quantity]), []).append(row)
    found = [_use_meters(building_id, use, streams) for (building_id, use), streams in by_use.items()]
    ids = {id_ for one in found for id_ in (*one.counted, *(id_ for of in one.tariffs.values() for id_ in of))}
    series = [
        Series(row.id, row.asset_id, row.asset_name, row.quantity, row.unit)
        for row in {row.id: row for row in rows}.values()
        if row.id in ids
    ]
    return found, await with_profiles(connection, series) if series else []


def _use_meters(building_id: int, use: Use, streams: Sequence[_Stream]) -> UseMeters:
    counted: list[int] = []
    tariffs: dict[str, tuple[int, ...]] = {}
    by_meter: dict[tuple[int, str], list[_Stream]] = {}
    for stream in streams:
        by_meter.setdefault((stream.asset_id, stream.position), []).append(stream)
    for channels in by_meter.values():
        names = [one.channel for one in channels]
        kept = counted_channels(names) if use == "electricity" else [""] if "" in names else names
        counted += [one.id for one in channels if one.channel in kept]
        for one in channels:
            if use == "electricity" and one.channel in OFF_PEAK | PEAK:
                tariffs[one.channel] = (*tariffs.get(one.channel, ()), one.id)
    return UseMeters(building_id, use, tuple(counted), tariffs)


async def read_months(
    connection: Connection,
    meters: Sequence[UseMeters],
    series: Sequence[Series],
    first: date,
    after: date,
    zone: ZoneInfo,
    now: datetime,
) -> list[UseMonths]:
    """Each use by month; what never spoke in all that time is no part of it."""
    begin, end = midnight(first, zone), midnight(after, zone)
    edges = edges_of(begin, end, "month", zone)
    days = edges_of(begin - HELD_MOST, end, "day", zone)
    by_month = (await read_series(connection, series, edges, "month", zone)).series
    by_day = (await read_series(connection, series, days, "day", zone)).series
    months = [edge.astimezone(zone).date() for edge in edges]
    today = now.astimezone(zone).date()
    streams = {
        one.id: _stream_months(by_month[one.id], by_day.get(one.id), one.expected, months, zone)
        for one in series
        if one.id in by_month
    }
    return [_use_months(one, streams, months, today) for one in meters]


def _stream_months(
    found: Aggregated, days: Aggregated | None, expected: timedelta, months: Sequence[date], zone: ZoneInfo
) -> list[StreamMonth]:
    amounts = {bucket.since.astimezone(zone).date(): bucket.difference for bucket in found.buckets}
    read = [bucket.since.astimezone(zone).date() for bucket in days.buckets if bucket.readings] if days else []
    known = known_days(read, months[0], months[-1], min(expected, HELD_MOST / 2))
    result: list[StreamMonth] = []
    for since, until in pairwise(months):
        begin, end = midnight(since, zone), midnight(until, zone)
        in_gaps = fsum(abs(gap.amount) for gap in found.gaps if gap.since < end and gap.until > begin)
        result.append(StreamMonth(amounts.get(since), sum(since <= day < until for day in known), in_gaps))
    return result


def _use_months(
    meters: UseMeters, streams: Mapping[int, list[StreamMonth]], months: Sequence[date], today: date
) -> UseMonths:
    divisor = USES[meters.use].divisor
    counted = [streams[id_] for id_ in meters.counted if id_ in streams]
    tariffs = {channel: [streams[id_] for id_ in ids if id_ in streams] for channel, ids in meters.tariffs.items()}
    amounts: list[MonthAmount] = []
    peaks: list[tuple[float, float] | None] = []
    for place, (since, until) in enumerate(pairwise(months)):
        over = max(0, (min(until, today) - since).days)
        of_month = [_divided(one[place], divisor) for one in counted]
        amounts.append(month_amount(since, until, over, of_month))
        split = {
            channel: _sum([_divided(one[place], divisor).amount for one in found])
            for channel, found in tariffs.items()
            if found
        }
        peaks.append(peak_split(split))
    return UseMonths(meters, amounts, peaks)


def _divided(month: StreamMonth, divisor: float) -> StreamMonth:
    amount = None if month.amount is None else month.amount / divisor
    return StreamMonth(amount, month.known_days, month.in_gaps / divisor)


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [one for one in amounts if one is not None]
    return fsum(known) if known and len(known) == len(amounts) else None


async def read_hours(
    connection: Connection,
    meters: Sequence[UseMeters],
    series: Sequence[Series],
    begin: datetime,
    end: datetime,
    zone: ZoneInfo,
) -> list[list[tuple[datetime, float | None]]]:
    """Each use by hour, in the unit in which it is shown: when it begins on the wall's clock, and the amount."""
    edges = edges_of(begin, end, "hour", zone)
    found = (await read_series(connection, series, edges, "hour", zone)).series
    amounts = {id_: {bucket.since: bucket.difference for bucket in one.buckets} for id_, one in found.items()}
    result: list[list[tuple[datetime, float | None]]] = []
    for one in meters:
        counted, divisor = [amounts[id_] for id_ in one.counted if id_ in amounts], USES[one.use].divisor
        hours: list[tuple[datetime, float | None]] = []
        for since in edges[:-1]:
            total = _sum([of.get(since) for of in counted])
            hours.append((since.astimezone(zone), None if total is None else total / divisor))
        result.append(hours)
    return result


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a local day begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def days_of(first: date, after: date, zone: ZoneInfo) -> list[tuple[date, float]]:
    """The local days from one to another, each with its hours: 23, 24 or 25."""
    days = [date.fromordinal(number) for number in range(first.toordinal(), after.toordinal() + 1)]
    return [
        (day, (midnight(following, zone) - midnight(day, zone)).total_seconds() / 3600)
        for day, following in pairwise(days)
    ]
