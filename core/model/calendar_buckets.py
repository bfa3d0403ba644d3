"""Hours, days, weeks, months and years of a local calendar, and which one stands beside which. Pure."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Unit = Literal["hour", "day", "week", "month", "year"]
Comparison = Literal["previous_period", "previous_year"]

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
HOUR_S = 3_600
MONTHS = 12


class UnevenZone(Exception):
    """Days of this calendar do not begin on an hour of UTC: they cannot be put together from hours."""


def edges_of(since: datetime, until: datetime, unit: Unit, zone: ZoneInfo) -> list[datetime]:
    """The edges, in UTC, of the whole buckets that touch the range; a bucket lies between two of them.

    Raises:
        UnevenZone: an edge is on no hour of UTC.
    """
    edges = any_edges_of(since, until, unit, zone)
    if not are_even(edges[:1] if unit == "hour" else edges):
        raise UnevenZone(zone.key)
    return edges


def are_even(edges: Sequence[datetime]) -> bool:
    """Whether all of these are on an hour of UTC."""
    return not any(edge.timestamp() % HOUR_S for edge in edges)


def any_edges_of(since: datetime, until: datetime, unit: Unit, zone: ZoneInfo) -> list[datetime]:
    """As `edges_of`, in any calendar."""
    if unit == "hour":
        begin = _hour_of(since, zone)
        count = -int((begin - until) // HOUR)
        return [begin + HOUR * number for number in range(count + 1)]
    day = first_day(since.astimezone(zone).date(), unit)
    edges = [midnight(day, zone)]
    while edges[-1] < until:
        day = moved(day, unit, 1)
        edges.append(midnight(day, zone))
    return edges


def first_day(day: date, unit: Unit) -> date:
    """With which day the bucket begins that holds this one; a week with its Monday."""
    match unit:
        case "week":
            return day - DAY * day.weekday()
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            return day


def moved(day: date, unit: Unit, buckets: int) -> date:
    """The first day of the bucket so many later (or earlier), from the first day of one."""
    match unit:
        case "week":
            return day + WEEK * buckets
        case "month":
            months = day.year * MONTHS + day.month - 1 + buckets
            return date(months // MONTHS, months % MONTHS + 1, 1)
        case "year":
            return day.replace(year=day.year + buckets)
        case _:
            return day + DAY * buckets


def a_year_before(day: date) -> date | None:
    """The same date of the year before; None for a 29 February, which that year has not."""
    try:
        return day.replace(year=day.year - 1)
    except ValueError:
        return None


def counterparts(
    edges: Sequence[datetime], unit: Unit, zone: ZoneInfo, comparison: Comparison
) -> list[datetime | None]:
    """With which instant the bucket begins that stands beside each of these; None: there is none.

    `previous_year`: the same date, the same date and hour on the clock, the week of the same number (ISO 8601),
    the same month, the year before. A 29 February, a 53rd week and an hour that the clock did not have that day
    stand beside nothing. `previous_period`: as many buckets earlier as there are; hours of whole days beside the
    same hour on the clock, as many days earlier.
    """
    sinces = edges[:-1]
    if comparison == "previous_year":
        return [_former_year(since, unit, zone) for since in sinces]
    if unit == "hour":
        days = _whole_days(edges, zone)
        if days is None:
            return [since - HOUR * len(sinces) for since in sinces]
        return [_same_hour(since, since.astimezone(zone).date() - DAY * days, zone) for since in sinces]
    return [midnight(moved(since.astimezone(zone).date(), unit, -len(sinces)), zone) for since in sinces]


def spans_of(starts: Sequence[datetime], unit: Unit, zone: ZoneInfo) -> list[datetime]:
    """The edges of all buckets from the first to the last of these, which are in no order."""
    return edges_of(min(starts), max(starts) + timedelta(microseconds=1), unit, zone)


def _former_year(since: datetime, unit: Unit, zone: ZoneInfo) -> datetime | None:
    day = since.astimezone(zone).date()
    match unit:
        case "week":
            year, week, _ = day.isocalendar()
            try:
                return midnight(date.fromisocalendar(year - 1, week, 1), zone)
            except ValueError:
                return None
        case "hour":
            former = a_year_before(day)
            return None if former is None else _same_hour(since, former, zone)
        case _:
            former = a_year_before(day)
            return None if former is None else midnight(former, zone)


def _same_hour(since: datetime, day: date, zone: ZoneInfo) -> datetime | None:
    """The hour of another day that has the same name on the clock, and of two of one name the same one."""
    local = since.astimezone(zone)
    there = datetime.combine(day, local.timetz())  # It keeps zone and fold.
    at = there.astimezone(UTC)
    back = at.astimezone(zone)
    return at if (back.replace(tzinfo=None), back.fold) == (there.replace(tzinfo=None), local.fold) else None


def _whole_days(edges: Sequence[datetime], zone: ZoneInfo) -> int | None:
    first, last = edges[0].astimezone(zone), edges[-1].astimezone(zone)
    is_whole = first.time() == last.time() == time()
    return (last.date() - first.date()).days if is_whole else None


def _hour_of(at: datetime, zone: ZoneInfo) -> datetime:
    """With which instant, in UTC, the hour on the clock begins."""
    local = at.astimezone(zone)
    return at.astimezone(UTC) - timedelta(
        minutes=local.minute, seconds=local.second, microseconds=local.microsecond
    )


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """With which instant, in UTC, a local day begins."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def first_of(month: str) -> date:
    """The first day of "2026-10"."""
    return date.fromisoformat(f"{month}-01")


def named(first: date) -> str:
    """A month as it is written in queries, of its first day."""
    return f"{first:%Y-%m}"


def months_between(first: date, after: date) -> list[date]:
    """The first days of all months from one to another, which is not included."""
    found, month = list[date](), first
    while month < after:
        found.append(month)
        month = moved(month, "month", 1)
    return found


def last_month(now: datetime, zone: ZoneInfo) -> date:
    """The first day of the last month that is over."""
    return moved(now.astimezone(zone).date().replace(day=1), "month", -1)
