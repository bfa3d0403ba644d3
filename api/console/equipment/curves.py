"""Curves of datastreams: which instants a page asks for, and its points with those of before beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import Query

from api.auth import Caller
from api.console.navigation import marked
from api.routes import measurements, series
from core.model.calendar_buckets import Comparison, a_year_before

CHOSEN, USUAL = "dates", "7j"
RANGES = {
    "24h": (marked("24 heures"), timedelta(days=1)),
    USUAL: (marked("7 jours"), timedelta(days=7)),
    "30j": (marked("30 jours"), timedelta(days=30)),
    "1a": (marked("1 an"), timedelta(days=365)),
}
COMPARISONS: dict[str, Comparison] = {"avant": "previous_period", "annee": "previous_year"}
# Beside the first one: more curves are told apart by nobody.
ALSO_MOST = 3
# Up to so long each reading is drawn, then hours, then days.
EACH_READING_UP_TO, HOURS_UP_TO, LONGEST = timedelta(days=2), timedelta(days=31), timedelta(days=3650)
READINGS_MOST = 3_000
Day = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address says of a curve: which datastream, over which time, compared with what."""

    flux: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
    periode: Annotated[str, Query(max_length=10)] = USUAL
    compare: Annotated[str, Query(max_length=10)] = ""
    avec: Annotated[list[int] | None, Query(max_length=50)] = None
    du: Day = ""
    au: Day = ""

    @property
    def compared(self) -> str:
        """With what; empty: with nothing."""
        return self.compare if self.compare in COMPARISONS else ""

    def span(self, zone: ZoneInfo, now: datetime) -> "Span":
        """The time that is asked for; a week where the address says nothing that can be meant."""
        first, last = _day_of(self.du), _day_of(self.au)
        if self.periode in {CHOSEN, ""} and first is not None:
            since = datetime.combine(first, time(), zone)
            until = datetime.combine((last or now.astimezone(zone).date()) + timedelta(days=1), time(), zone)
            if timedelta() < until - since <= LONGEST:
                return Span(CHOSEN, since.astimezone(UTC), until.astimezone(UTC))
        name = self.periode if self.periode in RANGES else USUAL
        return Span(name, now - RANGES[name][1], now)


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when, and by which choice of the page."""

    name: str
    since: datetime
    until: datetime

    @property
    def lasts(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    def moved(self, by: timedelta) -> "Span":
        """As much earlier."""
        return Span(self.name, self.since - by, self.until - by)

    @property
    def bucket(self) -> Literal["hour", "day"] | None:
        """The steps of its curve; None: each reading."""
        if self.lasts <= EACH_READING_UP_TO:
            return None
        return "hour" if self.lasts <= HOURS_UP_TO else "day"


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the table below a curve, and one point of it; `others` are of the curves beside it, in order."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    former: float | None = None
    others: tuple[float | None, ...] = ()


async def read_curve(
    caller: Caller, datastream: int, also: Sequence[int], span: Span, zone: str, compared: str
) -> Sequence[Point]:
    """The points of a datastream, with those of the time or the year before and of others beside them."""
    bucket = span.bucket or ("hour" if also else None)
    if bucket is None:
        return await _each_reading(caller, datastream, span, ZoneInfo(zone), compared)
    comparisons: list[Comparison] = [COMPARISONS[compared]] if compared else []
    wanted = series.Wanted(datastream_id=[datastream, *also])
    found = await series.ask_series(caller, wanted, bucket, span.since, span.until, zone, comparisons)
    of: dict[int, list[series.Item]] = {}
    for item in found.items:
        of.setdefault(item.datastream_id, []).append(item)
    points: list[Point] = []
    for place, item in enumerate(of[datastream]):
        former = item.previous_period or item.previous_year
        others = tuple(of[id_][place].value for id_ in also)
        known = (item.value, None if former is None else former.value, *others)
        if compared or any(one is not None for one in known):
            points.append(Point(item.since, item.value, item.minimum, item.maximum, known[1], others))
    return points if any(point.value is not None or any(point.others) for point in points) else []


async def _each_reading(
    caller: Caller, datastream: int, span: Span, zone: ZoneInfo, compared: str
) -> Sequence[Point]:
    points = await _readings(caller, datastream, span)
    if not compared:
        return points
    shift = span.lasts if compared == "avant" else _a_year_at(span.until, zone)
    former = await _readings(caller, datastream, span.moved(shift))
    by_instant = {point.at + shift: point.value for point in former}
    return [Point(point.at, point.value, former=by_instant.get(point.at)) for point in points]


def _a_year_at(until: datetime, zone: ZoneInfo) -> timedelta:
    """From the same date of the year before to this one."""
    today = until.astimezone(zone).date()
    return today - (a_year_before(today) or today - timedelta(days=366))


async def _readings(caller: Caller, datastream: int, span: Span) -> list[Point]:
    read = await measurements.list_measurements(datastream, caller, span.since, span.until, "asc", READINGS_MOST)
    return [Point(one.time, one.value) for one in read.items]


def _day_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
