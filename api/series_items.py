"""What a question about several datastreams asks, and the items of its answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from core.model.calendar_buckets import Comparison, Unit, spans_of
from ingest.series.bucket_store import Aggregated, Bucket
from ingest.series.series_choice import Series
from ingest.series.values import ValueIs, completeness, due_readings, is_in_gap, share_of, value_is, value_of


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
    known = {bucket.since: bucket for bucket in found.buckets} if found is not None else {}
    gaps = [] if found is None else found.gaps

    def bucket_of(since: datetime, until: datetime) -> Bucket:
        return known.get(since) or Bucket(since, until, 0, 0, None, None, None, None, None)

    def beside(comparison: Comparison, place: int) -> Beside | None:
        since = question.beside[comparison][place] if comparison in question.beside else None
        if since is None:
            return None
        bucket = bucket_of(since, untils[since])
        return Beside(
            since,
            bucket.until,
            bucket.readings,
            completeness(bucket.readings, since, bucket.until, one.expected, now),
            value_of(bucket, kind),
        )

    spans = question.spans
    if found is not None and len(found.buckets) == len(spans) and not question.beside:
        buckets = found.buckets  # None is missing, and they are in order.
    else:
        buckets = [bucket_of(*span) for span in spans]
    identity = (one.id, one.asset_id, one.asset_name, one.quantity, one.unit)
    due = question.due_readings(one.expected, now)
    for place, (since, until) in enumerate(spans):
        _, _, readings, suspects, low, high, mean, first, last, difference = buckets[place]
        value = difference if kind_of_value == "difference" else mean if kind_of_value is not None else None
        in_gap = bool(gaps) and is_in_gap(since, until, gaps)
        former = (beside("previous_period", place), beside("previous_year", place)) if question.beside else ()
        yield Item(
            *identity, since, until, readings, suspects, share_of(readings, due[place]), value, kind_of_value, low,
            high, first, last, in_gap, *former,
        )  # fmt: skip
