"""For how long of a local day a bin stood at or above each level, and for how long nobody knows. Pure.

A level holds until the next sound reading, for twice the expected interval at most (`core.model.unknown_time`).
What follows is unknown: neither full nor empty.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.model.comparisons import COMPARISONS

# Thresholds of figures are whole percentages, as those of rules that people write.
PERCENTAGES = range(1, 101)
_SECOND = timedelta(seconds=1)
_NOTHING = timedelta()
_is_reached = COMPARISONS[">="]


class LevelReading(NamedTuple):
    """How full a bin was at an instant, in percent; sound."""

    at: datetime
    level: float


class Hold(NamedTuple):
    """From `since` on a reading stands for `held_for` at most."""

    since: datetime
    held_for: timedelta


class LocalDay(NamedTuple):
    """A day of the calendar, of 23, 24 or 25 hours."""

    day: date
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class FillDay:
    """Whole seconds of a local day. `at_or_above[k - 1]`: for how many the level was known to be k % or more."""

    day: date
    seconds: int
    known: int
    at_or_above: tuple[int, ...]

    @property
    def unknown(self) -> int:
        """For how many nobody knows."""
        return self.seconds - self.known


def local_days(first: date, last: date, zone: ZoneInfo) -> list[LocalDay]:
    """The days from `first` to `last`, both with them."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 2)]
    edges = [datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in days]
    return [LocalDay(*day) for day in zip(days, edges, edges[1:], strict=False)]


@lru_cache(maxsize=4096)
def percentage_reached(level: float) -> int:
    """The highest whole percentage for which a rule that fires at `>=` would; 0: not even 1 %."""
    return bisect_left(PERCENTAGES, True, key=lambda percentage: not _is_reached(level, percentage))


def held_for(holds: Sequence[Hold], at: datetime) -> timedelta:
    """For how long a reading of then stands at most; `holds` are in order, and the first holds before it, too."""
    return holds[max(0, bisect_right(holds, at, key=lambda hold: hold.since) - 1)].held_for


def fill_days(readings: Sequence[LevelReading], holds: Sequence[Hold], days: Sequence[LocalDay]) -> list[FillDay]:
    """What is known of each of these days, which follow one another.

    `readings` are in order, and begin where one may still stand for the first of these days. `holds` are in order,
    at least one; the first holds before it, too.
    """
    levels = [[_NOTHING] * (len(PERCENTAGES) + 1) for _ in days]
    ends = [reading.at for reading in readings[1:]]
    place = 0
    for place_of_next, reading in enumerate(readings):
        until = reading.at + held_for(holds, reading.at)
        if place_of_next < len(ends):
            until = min(until, ends[place_of_next])
        while place < len(days) and days[place].until <= reading.at:
            place += 1
        reached = percentage_reached(reading.level)
        for number in range(place, len(days)):
            day = days[number]
            if day.since >= until:
                break
            levels[number][reached] += min(until, day.until) - max(reading.at, day.since)
    return [_fill_day(*both) for both in zip(days, levels, strict=True)]


def _fill_day(day: LocalDay, levels: Sequence[timedelta]) -> FillDay:
    # From the top: what is at 80 % or more is at 75 % or more.
    sums = [*accumulate(reversed(levels))]
    *from_the_top, known = (total // _SECOND for total in sums)
    return FillDay(day.day, (day.until - day.since) // _SECOND, known, tuple(reversed(from_the_top)))
