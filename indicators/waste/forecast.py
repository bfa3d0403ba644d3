"""When a bin will be full, by how it and its neighbours have filled. Pure.

What happened in the weeks before is played again from the level of now, once for each week that begins on the
weekday of today: weekdays, holidays and bad weeks are in it as they were. The first, fifth and ninth of ten plays
are the answer, not a straight line with an error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

FULL = 100.0
LEAST_WEEKS = 8
MOST_WEEKS = 26
WEEK = 7
# What was gained over an outage was measured at its end; over a longer one nobody knows on which days.
LONGEST_OUTAGE = 7
# Further ahead than this a bin is as good as empty.
FURTHEST_DAYS = 365
SPEED_DAYS = 28
ONE_DAY = timedelta(days=1)
Basis = Literal["own", "neighbours"]


class DayEnd(NamedTuple):
    """The last level of a local day, and how many points were taken out on it."""

    day: date
    level: float
    emptied: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days until a bin is full, from the end of the last day on; None: not within a year. `weeks` were played."""

    p10: float | None
    p50: float | None
    p90: float | None
    basis: Basis
    weeks: int


def daily_gains(ends: Sequence[DayEnd]) -> dict[date, float]:
    """Percentage points that each day has added, from the ends of days in order; nothing of a longer outage.

    Of a few days that nobody measured, each has its part of what was gained over them.
    """
    gains: dict[date, float] = {}
    for before, after in pairwise(ends):
        days = (after.day - before.day).days
        if days <= LONGEST_OUTAGE:
            each = (after.level - before.level + after.emptied) / days
            gains |= {before.day + n * ONE_DAY: each for n in range(1, days + 1)}
    return gains


def fill_speed(gains: Mapping[date, float], today: date) -> float | None:
    """Points a day, the median of the last four weeks; None where less than half of them is known."""
    known = [gains[day] for n in range(1, SPEED_DAYS + 1) if (day := today - n * ONE_DAY) in gains]
    return median(known) if len(known) * 2 >= SPEED_DAYS else None


def forecast(
    level: float,
    today: date,
    own: Mapping[date, float],
    neighbours: Sequence[Mapping[date, float]] = (),
    full: float = FULL,
) -> Forecast | None:
    """When a bin that was at this level when yesterday ended will be full, or as full as this.

    By its own last weeks, eight at least; by those of neighbours that have as many where it has not. None: nobody
    knows enough.
    """
    basis: Basis = "own"
    histories = [weeks for weeks in [_whole_weeks(own, today)] if weeks]
    if not histories:
        basis = "neighbours"
        histories = [weeks for one in neighbours if (weeks := _whole_weeks(one, today))]
    if not histories:
        return None
    plays = sorted(
        _days_until_full(level, history, start, full)
        for history in histories
        for start in range(0, len(history), WEEK)
    )
    p10, p50, p90 = (_quantile(plays, part) for part in (0.1, 0.5, 0.9))
    return Forecast(p10, p50, p90, basis, len(plays))


def has_weeks(own: Mapping[date, float], today: date) -> bool:
    """Whether a bin is forecast by its own weeks: those of its neighbours are not asked for then."""
    return bool(_whole_weeks(own, today))


def _whole_weeks(gains: Mapping[date, float], today: date) -> list[float]:
    """The last days that follow one another until yesterday, whole weeks of them; too few: none.

    Each week begins on the weekday of today.
    """
    days: list[float] = []
    while len(days) < MOST_WEEKS * WEEK and (day := today - (len(days) + 1) * ONE_DAY) in gains:
        days.append(gains[day])
    weeks = len(days) // WEEK
    return days[: weeks * WEEK][::-1] if weeks >= LEAST_WEEKS else []


def _days_until_full(level: float, history: Sequence[float], start: int, full: float) -> float:
    """From the level on, as it went from `start` on, and from the first day again after the last."""
    for day in range(FURTHEST_DAYS):
        gain = history[(start + day) % len(history)]
        if level + gain >= full:
            return day + max(0.0, (full - level) / gain if gain > 0 else 0.0)
        level = max(0.0, level + gain)
    return math.inf


def _quantile(plays: Sequence[float], part: float) -> float | None:
    """By the nearest rank: one of the plays, not a mean of two; None: that one never ended."""
    found = plays[max(0, math.ceil(part * len(plays)) - 1)]
    return None if math.isinf(found) else found
