"""The days of a territory in Brittany: local midnights, public and school holidays, seasons, daylight."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from lorawan.instants import to_us

SATURDAY, SUNDAY = 5, 6
WEDNESDAY = 2
DAYS_OF_A_YEAR = 365.25
# Offices and schools are heated below this mean of the day: degree days count from 18 °C, less gains.
HEATED_BELOW = 16.0
SOLAR_NOON_H = 13.3  # Legal time in winter; an hour later in summer, which the shapes of light tolerate.


@dataclass(frozen=True, slots=True)
class Day:
    """One local day; instants are microseconds since 1970."""

    date: date
    start_us: int
    end_us: int
    is_working: bool
    """Monday to Friday, and no public holiday."""
    is_school: bool
    """A working day outside school holidays; primary schools rest on Wednesdays."""
    is_summer: bool
    temperature: float
    """Outdoor mean, degrees Celsius."""
    heating: float
    """Degrees below what needs no heating; 0 in summer."""
    sunrise_h: float
    sunset_h: float

    @property
    def weekday(self) -> int:
        """0 is Monday."""
        return self.date.weekday()


def easter(year: int) -> date:
    """Easter Sunday, by the anonymous Gregorian algorithm (Meeus, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)


@cache
def public_holidays(year: int) -> frozenset[date]:
    """The eleven of article L3133-1 of the Code du travail."""
    sunday = easter(year)
    fixed = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))
    moving = (1, 39, 50)  # Easter Monday, Ascension, Whit Monday.
    return frozenset(
        [date(year, month, day) for month, day in fixed] + [sunday + timedelta(days) for days in moving]
    )


def _saturday_from(year: int, month: int, day: int) -> date:
    first = date(year, month, day)
    return first + timedelta((SATURDAY - first.weekday()) % 7)


@cache
def _breaks(year: int) -> tuple[tuple[date, date], ...]:
    """School holidays that begin in this year, last day included; the ministry's calendar is days away at most."""
    shorts = [_saturday_from(year, month, day) for month, day in ((2, 8), (4, 5), (10, 17), (12, 19))]
    return (*((first, first + timedelta(15)) for first in shorts), (_saturday_from(year, 7, 4), date(year, 8, 31)))


def is_school_holiday(day: date) -> bool:
    """Whether pupils are on holiday, as calendars of zone B usually have it."""
    return any(first <= day <= last for year in (day.year - 1, day.year) for first, last in _breaks(year))


def outdoor_temperature(day: date) -> float:
    """A plausible mean of this day near Brest: a mild season, and weather that lasts some days."""
    number = day.toordinal()
    season = 11.5 - 5.5 * math.cos(2 * math.pi * (number - date(day.year, 1, 20).toordinal()) / DAYS_OF_A_YEAR)
    weather = 1.8 * math.sin(number / 2.9) + 1.3 * math.sin(number / 1.13 + 2) + 0.9 * math.sin(number / 6.7 + 1)
    return round(season + weather, 1)


def _is_heating_season(day: date) -> bool:
    """From 1 October to 20 May, the usual heating contract in France."""
    return not (5, 20) < (day.month, day.day) < (10, 1)


def daylight_h(day: date) -> float:
    """Hours from sunrise to sunset at 48.4 degrees north, within a quarter of an hour."""
    number = day.timetuple().tm_yday
    return 12.2 + 4.0 * math.sin(2 * math.pi * (number - 80) / DAYS_OF_A_YEAR)


def midnight_us(day: date, zone: ZoneInfo) -> int:
    """When this local day begins, in microseconds since 1970."""
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone))


def make_day(day: date, zone: ZoneInfo) -> Day:
    """All that the sources need to know of a day; one in March has 23 hours, one in October 25."""
    is_working = day.weekday() < SATURDAY and day not in public_holidays(day.year)
    temperature, light = outdoor_temperature(day), daylight_h(day)
    return Day(
        date=day,
        start_us=midnight_us(day, zone),
        end_us=midnight_us(day + timedelta(1), zone),
        is_working=is_working,
        is_school=is_working and day.weekday() != WEDNESDAY and not is_school_holiday(day),
        is_summer=day.month in {7, 8},
        temperature=temperature,
        heating=max(0.0, HEATED_BELOW - temperature) if _is_heating_season(day) else 0.0,
        sunrise_h=SOLAR_NOON_H - light / 2,
        sunset_h=SOLAR_NOON_H + light / 2,
    )


def weeks(since: date, until: date, zone: ZoneInfo) -> Iterator[list[Day]]:
    """The days from `since` to before `until`, seven at a time; the last week may be shorter."""
    days = [make_day(since + timedelta(number), zone) for number in range((until - since).days)]
    for first in range(0, len(days), 7):
        yield days[first : first + 7]
