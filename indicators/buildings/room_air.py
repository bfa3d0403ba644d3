"""The air of rooms while they are occupied: CO2, the ICONE index, comfort and humidity. Pure.

Everything is of hours: the mean of each hour, from rollups that are kept when readings are gone. An hour without a
reading is unknown, and in no share. Of CO2 and of comfort the hours count that are open from end to end.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

# Arrêté du 27 décembre 2022, article 4: satisfying below, to be acted upon above; insufficient above, at once.
SATISFYING_PPM, INSUFFICIENT_PPM = 800.0, 1500.0
CONFINED_PPM, VERY_CONFINED_PPM = 1000.0, 1700.0
# Below outdoor air: a sensor that drifts. Kept, counted, and never clipped.
LEAST_PLAUSIBLE_PPM = 400.0
ICONE_FACTOR = 2.5 / math.log10(2)
HALF_FROM_ROOMS = 6
HUMID_PERCENT = 70.0


class RoomHour(NamedTuple):
    """The mean of an hour (None: unknown), and whether the room was open all of it."""

    mean: float | None
    is_occupied: bool


@dataclass(frozen=True, slots=True)
class Co2:
    """Of the known occupied hours: shares above thresholds, from 0 to 1, and ICONE from 0 to 5.

    None: none is known.
    """

    hours: int
    known_hours: int
    mean: float | None
    highest: float | None
    above_800: float | None
    above_1500: float | None
    icone: float | None
    below_400: int


def icone(confined: float, very_confined: float) -> float:
    """The index of confinement: shares of values between 1,000 and 1,700 ppm, and above; from 0 to 5."""
    return ICONE_FACTOR * math.log10(1 + confined + 3 * very_confined)


def co2_of(hours: Iterable[RoomHour]) -> Co2:
    """Statistics of the occupied hours."""
    occupied = [hour.mean for hour in hours if hour.is_occupied]
    known = [mean for mean in occupied if mean is not None]
    if not known:
        return Co2(len(occupied), 0, None, None, None, None, None, 0)
    n = len(known)
    confined = sum(CONFINED_PPM <= mean <= VERY_CONFINED_PPM for mean in known) / n
    very = sum(mean > VERY_CONFINED_PPM for mean in known) / n
    return Co2(
        len(occupied),
        n,
        math.fsum(known) / n,
        max(known),
        sum(mean >= SATISFYING_PPM for mean in known) / n,
        sum(mean >= INSUFFICIENT_PPM for mean in known) / n,
        icone(confined, very),
        sum(mean < LEAST_PLAUSIBLE_PPM for mean in known),
    )


def co2_by_week(hours: Iterable[tuple[datetime, RoomHour]]) -> dict[date, Co2]:
    """The same of each week, by its Monday; hours are given with the local instant at which they begin.

    A week of which the hours are a part, at the edge of a month, is that part.
    """
    weeks: dict[date, list[RoomHour]] = {}
    for local, hour in hours:
        weeks.setdefault(local.date() - timedelta(days=local.weekday()), []).append(hour)
    return {monday: co2_of(of) for monday, of in sorted(weeks.items())}


@dataclass(frozen=True, slots=True)
class Comfort:
    """Occupied hours by their mean temperature."""

    hours: int
    known_hours: int
    within: int
    below: int
    above: int


def comfort_of(hours: Iterable[RoomHour], lowest_c: float, highest_c: float) -> Comfort:
    """How many were between these, both included."""
    occupied = [hour.mean for hour in hours if hour.is_occupied]
    known = [mean for mean in occupied if mean is not None]
    below, above = sum(mean < lowest_c for mean in known), sum(mean > highest_c for mean in known)
    return Comfort(len(occupied), len(known), len(known) - below - above, below, above)


@dataclass(frozen=True, slots=True)
class Humidity:
    """All hours, occupied or not: how many were humid, and for how many at a stretch at the most."""

    hours: int
    known_hours: int
    humid: int
    longest: int


def humidity_of(means: Sequence[float | None], humid_percent: float = HUMID_PERCENT) -> Humidity:
    """Where walls stay humid mould grows; an unknown hour ends a stretch."""
    longest = stretch = humid = 0
    for mean in means:
        stretch = stretch + 1 if mean is not None and mean >= humid_percent else 0
        humid += stretch > 0
        longest = max(longest, stretch)
    return Humidity(len(means), sum(mean is not None for mean in means), humid, longest)


def rooms_to_measure(rooms: int) -> int:
    """Of a school's rooms, in which the annual evaluation measures: all up to five, half of them from six on."""
    return rooms if rooms < HALF_FROM_ROOMS else math.ceil(rooms / 2)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A school's year: its rooms, those to measure, those measured, and how many went above each threshold."""

    rooms: int
    to_measure: int
    measured: int
    above_800: int
    above_1500: int

    @property
    def is_enough(self) -> bool:
        """Whether as many rooms were measured as have to be."""
        return self.rooms > 0 and self.measured >= self.to_measure


def evaluation_of(rooms: Sequence[Co2], least_known: float = 0.5) -> Evaluation:
    """Of all rooms; one is measured where at least half of its occupied hours are known."""
    measured = [room for room in rooms if room.hours and room.known_hours >= least_known * room.hours]
    return Evaluation(
        len(rooms),
        rooms_to_measure(len(rooms)),
        len(measured),
        sum((room.above_800 or 0) > 0 for room in measured),
        sum((room.above_1500 or 0) > 0 for room in measured),
    )
