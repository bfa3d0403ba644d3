"""What a question about several datastreams asks, and the items of its answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from core.model.calendar_buckets import Comparison, Unit, spans_of
from ingest.series.buckets import Aggregated
from ingest.series.series_choice import Series
from ingest.series.values import ValueIs, completeness, due_readings, is_in_gap, share_of, value_is


class Beside(msgspec.Struct, rename={"since": "from", "until": "to"}, gc=False):
    """What BesideAnswer describes."""

    since: datetime
    until: datetime
    readings: int
    completeness: float | None
    value: float | None


class Item(msgspec.Struct, rename={"since": "from", "until": "to"}, gc=False):
    """What SeriesItem describes; a hundred thousand of them are encoded in one go."""

    datastream_id: int
    asset_id: int | None
    asset_name: str | None
    quantity: str
    unit: str
    since: datetime
    until: datetime
    readings: int
    suspects: int
    completeness: float | None
    value: float | None
    value_is: ValueIs | None
    minimum: float | None
    maximum: float | None
    first: float | None
    last: float | None
    in_gap: bool
    previous_period: Beside | None = None
    previous_year: Beside | None = None


# Of a bucket: readings and suspects, value, minimum, maximum, first and last.
NOTHING_READ = (0, 0, None, None, None, None, None)


@dataclass(frozen=True)
class Question:
    """The buckets that are asked for, and those that stand beside them."""

    unit: Unit
    zone: ZoneInfo
    edges: list[datetime]
    beside: Mapping[Comparison, list[datetime | None]]
    _due: dict[timedelta, list[int | None]] = field(default_factory=dict[timedelta, "list[int | None]"])

    @cached_property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """From when until when each bucket goes."""
        return list(pairwise(self.edges))

    def due_readings(self, expected: timedelta, now: datetime) -> list[int | None]:
        """Of each bucket; of two thousand datastreams few are expected to speak at a rhythm of their own."""
        if expected not in self._due:
            self._due[expected] = [due_readings(*span, expected, now) for span in self.spans]
        return self._due[expected]

    def ranges(self) -> list[list[datetime]]:
        """The edges of all buckets to be read; what touches is one range."""
        ranges = [self.edges]
        for of in self.beside.values():
            starts = [one for one in of if one is not None]
            if starts:
                ranges.append(spans_of(starts, self.unit, self.zone))
        merged: list[list[datetime]] = []
        for edges in sorted(ranges, key=lambda one: one[0]):
            if merged and edges[0] <= merged[-1][-1]:
                merged[-1] = sorted({*merged[-1], *edges})
            else:
                merged.append(edges)
        return merged


def items_of(
    one: Series, question: Question, untils: Mapping[datetime, datetime], found: Aggregated | None, now: datetime
) -> Iterator[Item]:
    """An item for each bucket that is asked for, also of those without readings; `untils`: where others end."""
    kind = one.kind
    kind_of_value = value_is(kind)
    found = found or Aggregated()
    spans, gaps = question.spans, found.gaps
    is_whole = found.since == question.edges[:-1]  # None is missing, and none is of a comparison.
    places = {} if is_whole and not question.beside else {since: place for place, since in enumerate(found.since)}

    def beside(comparison: Comparison, place: int) -> Beside | None:
        since = question.beside[comparison][place] if comparison in question.beside else None
        if since is None:
            return None
        there = places.get(since)
        until, readings = untils[since], 0 if there is None else found.readings[there]
        return Beside(
            since,
            until,
            readings,
            completeness(readings, since, until, one.expected, now),
            None if there is None or of_value is None else of_value[there],
        )

    of_value = {"difference": found.difference, "mean": found.mean, None: None}[kind_of_value]
    numbers = (
        *(found.readings, found.suspects, [None] * len(found.since) if of_value is None else of_value),
        *(found.minimum, found.maximum, found.first, found.last),
    )
    if is_whole:
        rows = zip(*numbers, strict=True)
    else:
        known = {since: row for since, *row in zip(found.since, *numbers, strict=True)}
        rows = (known.get(since, NOTHING_READ) for since, _ in spans)
    identity = (one.id, one.asset_id, one.asset_name, one.quantity, one.unit)
    due = question.due_readings(one.expected, now)
    for place, ((since, until), row) in enumerate(zip(spans, rows, strict=True)):
        readings, suspects, value, low, high, first, last = row
        in_gap = bool(gaps) and is_in_gap(since, until, gaps)
        former = (beside("previous_period", place), beside("previous_year", place)) if question.beside else ()
        yield Item(
            *identity, since, until, readings, suspects, share_of(readings, due[place]), value, kind_of_value, low,
            high, first, last, in_gap, *former,
        )  # fmt: skip
