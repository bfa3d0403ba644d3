"""What a night of a program looks like, and whether a program stays within a syndicat's bounds. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from core.model.hours import MINUTES
from core.model.lighting import (
    DAY,
    FROM_DUSK_TO_DAWN,
    TWILIGHT_MARGIN,
    LampPlace,
    Program,
    changes,
    night_of,
)

NOON = MINUTES // 2
NIGHTS = 366


class Stretch(NamedTuple):
    """Between these instants lamps give this much light, in percent; 0: they are off."""

    since: datetime
    until: datetime
    level: float


class Night(NamedTuple):
    """One lighting day between the sun's setting and its rising, as this program fills it."""

    day: date
    dusk: datetime
    dawn: datetime
    stretches: tuple[Stretch, ...]


def night(program: Program, place: LampPlace, day: date) -> Night | None:
    """The night that begins on this day; None where nobody can say, or the sun does not set."""
    sun, found = changes(FROM_DUSK_TO_DAWN, place, day), changes(program, place, day)
    if not sun or found is None:
        return None
    dusk, dawn = sun[0].at, sun[-1].at
    edges = [min(dusk, *(change.at for change in found)) if found else dusk]
    levels = [0.0]
    for change in found:
        edges.append(change.at)
        levels.append(change.level)
    edges.append(max(dawn, edges[-1]))
    stretches = (Stretch(edges[i], edges[i + 1], level) for i, level in enumerate(levels))
    return Night(day, dusk, dawn, tuple(one for one in stretches if one.since < one.until))


def nights(program: Program, place: LampPlace, first: date, count: int = NIGHTS) -> Iterator[Night]:
    """So many nights from this one on, those of which something can be said; and the dates of rules after them."""
    last = first + count * DAY
    later = {day for rule in program.rules for day in rule.dates or () if day >= last}
    for day in (*(first + number * DAY for number in range(count)), *sorted(later)):
        found = night(program, place, day)
        if found is not None:
            yield found


def next_change(program: Program, place: LampPlace, now: datetime) -> tuple[datetime, float] | None:
    """When lamps change next, and to which percent; None: not in two days, or nobody can say."""
    for number in range(-1, 3):
        for change in changes(program, place, night_of(now, place.region) + number * DAY) or ():
            if change.at > now:
                return change.at, change.level
    return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which limits a member decides alone; minutes of the day, None: no such bound."""

    set_by_name: str
    earliest_cut: int | None = None
    latest_return: int | None = None
    least_level: int | None = None
    protected_tags: tuple[str, ...] = ()
    set_by_id: int = 0


class Overstep(NamedTuple):
    """A bound that an order does not keep, in French, and the tenant that has set it."""

    why: str
    set_by_id: int


def time_text(minute: int) -> str:
    """A minute of the day as people write it."""
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def outside(
    program: Program, place: LampPlace, bounds: Sequence[Bounds], *, protected: bool, first: date
) -> str | None:
    """The first bound that a year of this program oversteps, in French; None: none.

    What counts is when lamps that should light the night do not, however the program says so: a cut, a switching
    by the clock, a night without light. Half an hour of dusk and dawn is left to everybody.
    """
    for found in nights(program, place, first):
        for one in bounds:
            if wrong := _outside(found, place, one, protected=protected):
                return f"le {found.day:%d/%m/%Y}, {wrong} (borne fixée par {one.set_by_name})"
    return None


def override_outside(
    level: float, begin: datetime, end: datetime, place: LampPlace, bounds: Sequence[Bounds], tags: Collection[str]
) -> tuple[Overstep, ...]:
    """Of each tenant whose bounds lamps overstep that give this much light from `begin` to `end`, the first bound.

    In the order of `bounds`. Where nobody knows the place, nobody can say that any is kept.
    """
    if not bounds:
        return ()
    night_of_begin = night_of(begin, place.region)
    found = [night(FROM_DUSK_TO_DAWN, place, night_of_begin + number * DAY) for number in range(2)]
    if place.latitude is None or place.longitude is None:
        nowhere = "personne ne sait où est cette armoire (borne fixée par"
        return tuple(Overstep(f"{nowhere} {one.set_by_name})", one.set_by_id) for one in bounds)
    oversteps: list[Overstep] = []
    for one in bounds:
        is_protected = not set(one.protected_tags).isdisjoint(tags)
        for each in found:
            asked = None if each is None else each._replace(stretches=(Stretch(begin, end, level),))
            wrong = None if asked is None else _outside(asked, place, one, protected=is_protected)
            if asked is not None and wrong:
                why = f"le {asked.day:%d/%m/%Y}, {wrong} (borne fixée par {one.set_by_name})"
                oversteps.append(Overstep(why, one.set_by_id))
                break
    return tuple(oversteps)


def _outside(found: Night, place: LampPlace, bounds: Bounds, *, protected: bool) -> str | None:
    begin, end = found.dusk + TWILIGHT_MARGIN, found.dawn - TWILIGHT_MARGIN
    for stretch in found.stretches:
        if stretch.until <= begin or stretch.since >= end:
            continue
        if stretch.level > 0:
            if bounds.least_level is not None and stretch.level < bounds.least_level:
                return f"un palier de {stretch.level:g} % : pas moins de {bounds.least_level} %"
            continue
        since, until = max(stretch.since, found.dusk), min(stretch.until, found.dawn)
        if protected:
            return f"une extinction à {_local(since, place)} : cet éclairage est protégé"
        if bounds.earliest_cut is not None and _of_night(since, place) < _since_noon(bounds.earliest_cut):
            return f"une extinction à {_local(since, place)} : pas avant {time_text(bounds.earliest_cut)}"
        if bounds.latest_return is not None and _of_night(until, place) > _since_noon(bounds.latest_return):
            return f"un rallumage à {_local(until, place)} seulement : pas après {time_text(bounds.latest_return)}"
    return None


def _since_noon(minute: int) -> int:
    return (minute - NOON) % MINUTES


def _of_night(at: datetime, place: LampPlace) -> float:
    local = place.region.local(at)
    return (local.hour * 60 + local.minute + local.second / 60 - NOON) % MINUTES


def _local(at: datetime, place: LampPlace) -> str:
    return f"{place.region.local(at + timedelta(seconds=30)):%H:%M}"
