"""Lighting of a commune in a month: energy, hours lit, availability, and what a program saves against another.
Pure.

Each cabinet is judged first; a commune's figures are sums over those of which they are known, and say of how many.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import fsum
from typing import NamedTuple

from core.model.lighting import DAY, NOON, LampPlace, Program, changes, night_of

HOUR = timedelta(hours=1)
HOUR_S = 3600.0


class LampHour(NamedTuple):
    """An hour of a cabinet: which share of it its program burns, and which it was on; None: unknown."""

    expected: float | None
    lit: float | None


@dataclass(frozen=True, slots=True)
class Burning:
    """Hours that were lit among the known ones; of those that should burn from end to end, how much did."""

    hours: int
    known_hours: int
    lit_hours: float
    judged_hours: int
    availability: float | None
    """From 0 to 1; None: no hour of the program is known."""


def burning_of(hours: Iterable[LampHour]) -> Burning:
    """Hours around a switching are lit in part by the program itself: they are in no availability."""
    every = list(hours)
    known = [(hour.expected, hour.lit) for hour in every if hour.lit is not None]
    judged = [lit for expected, lit in known if expected is not None and expected >= 1]
    return Burning(
        len(every),
        len(known),
        fsum(lit for _, lit in known),
        len(judged),
        fsum(judged) / len(judged) if judged else None,
    )


def expected_shares(program: Program, place: LampPlace, begin: datetime, end: datetime) -> list[float | None]:
    """Of each hour from one instant to another, which share of it a program burns; None: nobody can say."""
    shares: list[float | None] = [0.0] * ((end - begin) // HOUR)
    night = night_of(begin, place.region)
    while night <= night_of(end, place.region):
        found = changes(program, place, night)
        noons = [_noon(night, place), _noon(night + DAY, place)]
        if found is None:
            _add_stretch(shares, begin, noons[0], noons[1], None)
        else:
            edges = [*(change.at for change in found[1:]), noons[1]]
            for change, until in zip(found, edges, strict=False):
                if change.level > 0:
                    _add_stretch(shares, begin, change.at, until, 1.0)
        night += DAY
    return shares


def _noon(night: date, place: LampPlace) -> datetime:
    return datetime.combine(night, NOON, place.region.zone).astimezone(UTC)


def _add_stretch(
    shares: list[float | None], begin: datetime, since: datetime, until: datetime, lit: float | None
) -> None:
    """To each hour its part of a stretch; a stretch of which nothing is known makes its hours unknown."""
    for place in range(max(0, (since - begin) // HOUR), min(len(shares), -((begin - until) // HOUR))):
        hour = begin + HOUR * place
        seconds = (min(until, hour + HOUR) - max(since, hour)).total_seconds()
        known = shares[place]
        if seconds > 0:
            shares[place] = None if known is None or lit is None else min(1.0, known + lit * seconds / HOUR_S)


@dataclass(frozen=True, slots=True)
class CabinetMonth:
    """`kwh`: what its meter has counted (None: not all of the month is known); `reference_kwh`: by the other
    program.

    `reference_kwh` is None where nobody says the rated power, or where it is.
    """

    kwh: float | None
    reference_kwh: float | None
    burning: Burning
    faults: int


@dataclass(frozen=True, slots=True)
class CommuneMonth:
    """Sums over the cabinets of which each is known. `saved_kwh` is of those with both figures: `compared`."""

    cabinets: int
    metered: int
    kwh: float | None
    compared: int
    reference_kwh: float | None
    saved_kwh: float | None
    saved_eur: float | None
    lit_hours: float | None
    """A cabinet's, on average over those whose state is known."""
    known_hours: int
    hours: int
    availability: float | None
    faults: int


def commune_month(cabinets: Sequence[CabinetMonth], eur_per_kwh: float | None) -> CommuneMonth:
    """What is known of them together; without a price there are no euros."""
    metered = [one.kwh for one in cabinets if one.kwh is not None]
    both = [
        (one.kwh, one.reference_kwh) for one in cabinets if one.kwh is not None and one.reference_kwh is not None
    ]
    saved = fsum(reference - kwh for kwh, reference in both) if both else None
    known = [one.burning for one in cabinets if one.burning.known_hours]
    judged = sum(one.judged_hours for one in known)
    burnt = fsum((one.availability or 0.0) * one.judged_hours for one in known)
    return CommuneMonth(
        len(cabinets),
        len(metered),
        fsum(metered) if metered else None,
        len(both),
        fsum(reference for _, reference in both) if both else None,
        saved,
        None if saved is None or eur_per_kwh is None else saved * eur_per_kwh,
        fsum(one.lit_hours for one in known) / len(known) if known else None,
        sum(one.known_hours for one in known),
        sum(one.burning.hours for one in cabinets),
        burnt / judged if judged else None,
        sum(one.faults for one in cabinets),
    )
