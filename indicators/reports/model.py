"""A monthly report: sections of figures, each beside last month and last year, with charts and tables. Pure.

What nobody knows is None and says why; it is never zero. French and English are made at the edge (`words`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal, get_args

from core.model.calendar_buckets import a_year_before, moved, named

Service = Literal["all", "waste", "buildings", "lighting", "network", "cost"]
"""What a report is about; `all`: everything."""
SERVICES: tuple[Service, ...] = get_args(Service)
CHART_MONTHS = 13
"""So many months, so that the same month of last year is the first."""


class Unknown(StrEnum):
    """Why there is no figure."""

    NOTHING_THERE = "nothing_there"  # Nothing of the sort stands in this commune.
    NOT_MEASURED = "not_measured"  # It stands there, and nothing was measured of this month.
    NOT_WHOLE = "not_whole"  # Too little is known of the month.
    WEATHER_MISSING = "weather_missing"
    NO_STATION = "no_station"
    NO_BASELINE = "no_baseline"
    NO_REFERENCE = "no_reference"  # Nobody says the rated power, or where it stands.
    NO_CALENDAR = "no_calendar"
    NO_RULE = "no_rule"  # No rule of alerts watches it.
    NO_STATEMENT = "no_statement"
    NOT_OF_THEN = "not_of_then"  # It says how things are now, and the month is long over.


@dataclass(frozen=True, slots=True)
class Amount:
    """A figure of a month. `known` of `of` things are in it, where that can differ; without a value `unknown` says

    why.
    """

    value: float | None
    known: int | None = None
    of: int | None = None
    unknown: Unknown | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all that should be in it is."""
        return self.value is not None and self.known == self.of


NOTHING = Amount(None, unknown=Unknown.NOTHING_THERE)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report. `of_month`: it is of the month, and not of the day on which the report was made."""

    id: str
    this: Amount
    last_month: Amount | None = None
    last_year: Amount | None = None
    of_month: bool = True

    def change_percent(self, other: Amount | None) -> float | None:
        """By how much it is more or less than in another month; None unless the same things are in both."""
        if other is None or not (self.this.is_whole and other.is_whole) or self.this.of != other.of:
            return None
        if self.this.value is None or not other.value:
            return None
        return 100 * (self.this.value - other.value) / abs(other.value)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure month by month; None: unknown."""

    id: str
    months: tuple[str, ...]
    values: tuple[float | None, ...]


Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """The first of many, the gravest on top; `more`: how many others there are. Columns are those of `words`."""

    id: str
    rows: tuple[tuple[Cell, ...], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs together."""

    id: str
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Of a commune and a month."""

    commune: str
    insee: str | None
    service: Service
    month: str
    sections: tuple[Section, ...]

    @property
    def figures(self) -> dict[str, Figure]:
        """By their ids."""
        return {figure.id: figure for section in self.sections for figure in section.figures}


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the month that late data has changed; None: there was none, or there is none any more."""

    id: str
    before: Amount | None
    after: Amount | None


def compared_months(month: date) -> tuple[date, date, date]:
    """The month, the one before, and the same one a year before."""
    year = a_year_before(month)
    assert year is not None  # noqa: S101 - The first day of a month is in each year.
    return month, moved(month, "month", -1), year


def chart_months(month: date) -> list[date]:
    """The months of a chart, the report's own last."""
    return [moved(month, "month", number - CHART_MONTHS + 1) for number in range(CHART_MONTHS)]


def figures_of(
    month: date, by_month: Mapping[date, Mapping[str, Amount]], of_now: Iterable[str] = ()
) -> list[Figure]:
    """A line for each figure of the month, beside those of the same name in the months beside it."""
    this, before, year = compared_months(month)
    now = set(of_now)
    return [
        Figure(
            id_,
            amount,
            None if id_ in now else by_month.get(before, {}).get(id_),
            None if id_ in now else by_month.get(year, {}).get(id_),
            id_ not in now,
        )
        for id_, amount in by_month[this].items()
    ]


def chart_of(id_: str, values: Mapping[date, float | None], months: Sequence[date]) -> list[Chart]:
    """The chart, unless nothing is known of it or of one month alone."""
    found = tuple(values.get(month) for month in months)
    if sum(one is not None for one in found) <= 1:
        return []
    return [Chart(id_, tuple(named(month) for month in months), found)]


def table_of(id_: str, rows: Sequence[tuple[Cell, ...]], most: int) -> list[Table]:
    """The first so many of these rows; no table without any."""
    return [Table(id_, tuple(rows[:most]), max(0, len(rows) - most))] if rows else []


def total(amounts: Iterable[float | None], if_none: Unknown = Unknown.NOT_WHOLE) -> Amount:
    """The sum of those that are known, and of how many it is."""
    every = list(amounts)
    known = [one for one in every if one is not None]
    if not every:
        return NOTHING
    if not known:
        return Amount(None, 0, len(every), if_none)
    return Amount(sum(known), len(known), len(every))


def changes_between(former: Report, report: Report) -> list[Change]:
    """What of the month differs; not what says how things are now, nor figures of other months."""
    before, after = _of_month(former), _of_month(report)
    return [
        Change(id_, before.get(id_), after.get(id_))
        for id_ in {**after, **before}
        if _is_other(before.get(id_), after.get(id_))
    ]


def _of_month(report: Report) -> dict[str, Amount]:
    return {id_: figure.this for id_, figure in report.figures.items() if figure.of_month}


def _is_other(before: Amount | None, after: Amount | None) -> bool:
    """Beyond what adding up in another order makes of a sum."""
    if before is None or after is None or before.value is None or after.value is None:
        return before != after
    tolerance = 1e-6 * max(abs(before.value), abs(after.value), 1e-3)
    return abs(before.value - after.value) > tolerance or (before.known, before.of) != (after.known, after.of)
