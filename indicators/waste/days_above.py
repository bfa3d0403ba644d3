"""Days of bins at or above a threshold, below it and unknown, by bin, month and commune. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

Grouping = Literal["bin", "month", "commune"]


@dataclass(frozen=True, slots=True)
class Bin:
    """A level that is measured, and of what; `gone_on`: the day on which its asset was archived."""

    datastream_id: int
    asset_id: int
    name: str
    commune: str
    insee: str
    gone_on: date | None = None


class KnownMonth(NamedTuple):
    """Of the days of a bin in a month: how many it was known, and how many it was full, as parts of local days."""

    datastream_id: int
    month: date
    known: float
    above: float


@dataclass(frozen=True, slots=True)
class DaysAbove:
    """Days of bins; what they are not grouped by is None. `above`, `below` and `unknown` add up to `days`."""

    bin: Bin | None
    commune: str | None
    insee: str | None
    month: date | None
    bins: int
    days: int
    above: float
    below: float
    unknown: float


def days_above(
    bins: Sequence[Bin],
    known: Iterable[KnownMonth],
    first_days: dict[int, date],
    period: tuple[date, date],
    by: Sequence[Grouping],
) -> list[DaysAbove]:
    """What is known of these bins from one day on until another, which is not over.

    A bin counts from the first day on which it was measured, until it is archived: a day between of which nothing
    is known is unknown.
    """
    months = {(one.datastream_id, one.month): one for one in known}
    found: dict[tuple[object, ...], DaysAbove] = {}
    counted: dict[tuple[object, ...], set[int]] = {}
    for one in bins:
        first = first_days.get(one.datastream_id)
        if first is None:
            continue
        since, until = max(period[0], first), min(period[1], one.gone_on or period[1])
        for month, days in _months(since, until):
            of_month = months.get((one.datastream_id, month), KnownMonth(one.datastream_id, month, 0.0, 0.0))
            key = tuple(_PART_OF_KEY[part](one, month) for part in by)
            counted.setdefault(key, set()).add(one.datastream_id)
            before = found.get(key) or _nothing_yet(one, month, by)
            found[key] = replace(
                before,
                days=before.days + days,
                above=before.above + of_month.above,
                below=before.below + of_month.known - of_month.above,
                unknown=before.unknown + days - of_month.known,
            )
    return [replace(group, bins=len(counted[key])) for key, group in found.items()]


_PART_OF_KEY: dict[Grouping, Callable[[Bin, date], object]] = {
    "bin": lambda one, _: one.datastream_id,
    "month": lambda _, month: month,
    "commune": lambda one, _: (one.commune, one.insee),
}


def _nothing_yet(one: Bin, month: date, by: Sequence[Grouping]) -> DaysAbove:
    names_commune = "bin" in by or "commune" in by
    return DaysAbove(
        bin=one if "bin" in by else None,
        commune=one.commune if names_commune else None,
        insee=one.insee if names_commune else None,
        month=month if "month" in by else None,
        bins=0,
        days=0,
        above=0.0,
        below=0.0,
        unknown=0.0,
    )


def _months(since: date, until: date) -> Iterable[tuple[date, int]]:
    """The first day of each month between, and how many days of it are."""
    while since < until:
        month = since.replace(day=1)
        following = (month + timedelta(days=31)).replace(day=1)
        yield month, (min(following, until) - since).days
        since = following
