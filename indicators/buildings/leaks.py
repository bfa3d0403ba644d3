"""Water that runs at night when nobody is there: litres and euros of leaks, by night. Pure.

The same hours as the alert of a leak: from two to five by the clocks on the wall, the least of them, two nights in
a row. A night of which an hour is unknown is unknown: it neither makes a leak nor ends one, and nothing is added
for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from math import fsum
from typing import NamedTuple

NIGHT_FROM_HOUR, NIGHT_UNTIL_HOUR = 2, 5
USUAL_LIMIT_L_H = 5.0
LITRES_PER_M3 = 1000


class HourFlow(NamedTuple):
    """An hour of the night by the clocks on the wall, and the litres that ran in it; None: unknown."""

    local: datetime
    litres: float | None


class Night(NamedTuple):
    """A night by its morning, its least flow in litres an hour (None: unknown), the hours of its day."""

    morning: date
    least_l_h: float | None
    day_hours: float


@dataclass(frozen=True, slots=True)
class Leak:
    """Nights in a row above the limit, from the first morning to the last; what ran away in their days."""

    first: date
    last: date
    nights: int
    litres: float
    eur: float | None


@dataclass(frozen=True, slots=True)
class Leaks:
    """All leaks of a span, and how many of its nights are known."""

    nights: int
    known_nights: int
    leaks: tuple[Leak, ...]

    @property
    def litres(self) -> float:
        """Of all of them."""
        return fsum(leak.litres for leak in self.leaks)

    def eur(self, eur_per_m3: float | None) -> float | None:
        """At a price; None: nobody says one."""
        return None if eur_per_m3 is None else self.litres / LITRES_PER_M3 * eur_per_m3


def is_of_night(local: datetime) -> bool:
    """Whether an hour that begins then is one by which leaks are found."""
    return NIGHT_FROM_HOUR <= local.hour < NIGHT_UNTIL_HOUR


def nights_of(mornings: Sequence[tuple[date, float]], flows: Iterable[HourFlow]) -> list[Night]:
    """A night for each of these mornings, with the hours that its day has (23, 24 or 25).

    All of its hours have to be known: on the night on which summer time begins there are two, in October four.
    """
    by_morning: dict[date, list[float | None]] = {}
    for flow in flows:
        if is_of_night(flow.local):
            by_morning.setdefault(flow.local.date(), []).append(flow.litres)
    nights: list[Night] = []
    for morning, hours in mornings:
        found = by_morning.get(morning, [])
        known = [litres for litres in found if litres is not None]
        least = min(known) if known and len(known) == len(found) else None
        nights.append(Night(morning, least, hours))
    return nights


def find_leaks(nights: Sequence[Night], limit_l_h: float, eur_per_m3: float | None = None) -> Leaks:
    """Leaks among nights in their order: two in a row above the limit; unknown nights between them are bridged."""
    leaks, run = list[Leak](), list[Night]()
    for night in nights:
        if night.least_l_h is None:
            continue
        if night.least_l_h > limit_l_h:
            run.append(night)
            continue
        leaks += _leak(run, eur_per_m3)
        run = []
    leaks += _leak(run, eur_per_m3)
    return Leaks(len(nights), sum(night.least_l_h is not None for night in nights), tuple(leaks))


def _leak(run: Sequence[Night], eur_per_m3: float | None) -> list[Leak]:
    if not any(later.morning - night.morning == timedelta(days=1) for night, later in pairwise(run)):
        return []
    litres = fsum((night.least_l_h or 0.0) * night.day_hours for night in run)
    eur = None if eur_per_m3 is None else litres / LITRES_PER_M3 * eur_per_m3
    return [Leak(run[0].morning, run[-1].morning, len(run), litres, eur)]
