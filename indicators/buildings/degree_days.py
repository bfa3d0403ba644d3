"""Heating degree days, base 18 °C, of each day and of months, by either of two French methods. Pure.

`meteo` is the "méthode Météo" of mean temperatures; `energy_professionals` is that of "professionnels de
l'énergie", which also counts the cold hours of a day whose afternoon is above the base. A day without both
temperatures is missing: it is counted, and is never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, NamedTuple

BASE_C = 18.0
Method = Literal["meteo", "energy_professionals"]
DAY = timedelta(days=1)


class DayTemperatures(NamedTuple):
    """The lowest and the highest temperature of a day, °C."""

    tn: float
    tx: float


@dataclass(frozen=True, slots=True)
class DegreeDays:
    """What the known days of a span add up to, and how many days are missing."""

    method: Method
    known: float
    days: int
    missing: int
    base_c: float = BASE_C

    @property
    def total(self) -> float | None:
        """Of the whole span; None: a day is missing."""
        return None if self.missing else self.known


def by_mean(day: DayTemperatures) -> float:
    """Degree days of one day by the méthode Météo."""
    return max(0.0, BASE_C - (day.tn + day.tx) / 2)


def by_energy_professionals(day: DayTemperatures) -> float:
    """Degree days of one day by the method of the professionnels de l'énergie."""
    tn, tx = day
    if tn >= BASE_C:
        return 0.0
    if tx < BASE_C:
        return BASE_C - (tn + tx) / 2
    below = BASE_C - tn
    return below * (0.08 + 0.42 * below / (tx - tn))


def degree_days(
    temperatures: Mapping[date, DayTemperatures], first: date, after: date, method: Method
) -> DegreeDays:
    """The degree days from one day to another, which is not included."""
    of_day = by_mean if method == "meteo" else by_energy_professionals
    known, days, missing = 0.0, 0, 0
    day = first
    while day < after:
        found = temperatures.get(day)
        if found is None:
            missing += 1
        else:
            known += of_day(found)
        days += 1
        day += DAY
    return DegreeDays(method, known, days, missing)
