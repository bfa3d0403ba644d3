"""The curve of a datastream: which instants a page asks for, and its points with those of before beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Query

from api.auth import Caller
from api.console.navigation import marked
from api.routes import measurements, years

CHOSEN, USUAL = "dates", "7j"
RANGES = {
    "24h": (marked("24 heures"), timedelta(days=1)),
    USUAL: (marked("7 jours"), timedelta(days=7)),
    "30j": (marked("30 jours"), timedelta(days=30)),
    "1a": (marked("1 an"), timedelta(days=365)),
}
COMPARISONS = ("", "avant", "annee")
# Up to so long each reading is drawn, then hours, then days.
EACH_READING_UP_TO, HOURS_UP_TO, LONGEST = timedelta(days=2), timedelta(days=31), timedelta(days=3650)
READINGS_MOST = 3_000
A_YEAR = timedelta(days=366)
Day = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address says of a curve: which datastream, over which time, compared with what."""

    flux: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
    periode: Annotated[str, Query(max_length=10)] = USUAL
    compare: Annotated[str, Query(max_length=10)] = ""
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
    """One line of the table below a curve, and one point of it."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    former: float | None = None


async def read_curve(caller: Caller, datastream: int, span: Span, zone: str, compared: str) -> Sequence[Point]:
    """The points of a datastream, with those of the time or the year before beside them."""
    if compared == "annee" and span.bucket == "day" and span.lasts <= A_YEAR:
        return await _beside_last_year(caller, datastream, span, ZoneInfo(zone))
    points = await _points(caller, datastream, span, zone)
    if not compared:
        return points
    shift = span.lasts if compared == "avant" else _a_year_at(span.until, ZoneInfo(zone))
    former = await _points(caller, datastream, span.moved(shift), zone)
    by_instant = {point.at + shift: point.value for point in former}
    return [Point(point.at, point.value, point.low, point.high, by_instant.get(point.at)) for point in points]


async def _beside_last_year(caller: Caller, datastream: int, span: Span, zone: ZoneInfo) -> list[Point]:
    """The days of a range, also those of which nothing is known, with the same dates of the year before."""
    last = (span.until - timedelta(microseconds=1)).astimezone(zone).date()
    year = await years.read_year(datastream, caller, last)
    return [
        Point(datetime.combine(one.day, time(), zone), one.value, former=one.former)
        for one in year.items[-span.lasts.days :]
    ]


def _a_year_at(until: datetime, zone: ZoneInfo) -> timedelta:
    """From the same date of the year before to this one."""
    today = until.astimezone(zone).date()
    return today - (years.a_year_before(today) or today - timedelta(days=366))


async def _points(caller: Caller, datastream: int, span: Span, zone: str) -> list[Point]:
    if span.bucket is None:
        read = await measurements.list_measurements(
            datastream, caller, span.since, span.until, "asc", READINGS_MOST
        )
        return [Point(one.time, one.value) for one in read.items]
    found: Any = await measurements.list_aggregates(datastream, caller, span.bucket, span.since, span.until, zone)
    return [
        Point(one.since, one.difference if one.mean is None else one.mean, one.minimum, one.maximum)
        for one in found.items
    ]


def _day_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
