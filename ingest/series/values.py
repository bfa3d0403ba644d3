"""What a bucket says in one number, and how complete it is."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from core.model.consumption import Amount
from core.model.quantities import Kind
from ingest.series.buckets import Bucket

ValueIs = Literal["mean", "difference"]
# How a mean is weighted: of a state by time, of anything else by readings.
AVERAGED: dict[Kind, Literal["time", "count"]] = {Kind.GAUGE: "count", Kind.BOOLEAN: "time"}
DIGITS = 4


def value_is(kind: Kind) -> ValueIs | None:
    """What the value of a bucket is; None: an enumeration has neither."""
    return "difference" if kind is Kind.COUNTER else "mean" if kind in AVERAGED else None


def value_of(bucket: Bucket, kind: Kind) -> float | None:
    """The mean, or what an index has risen by; None: nothing is known."""
    return bucket.difference if kind is Kind.COUNTER else bucket.mean if kind in AVERAGED else None


def due_readings(since: datetime, until: datetime, expected: timedelta, now: datetime) -> int | None:
    """How many readings a bucket should have by now; None: it has not begun, or is too short."""
    if expected > until - since or since >= now:
        return None
    return max(1, (min(until, now) - since) // expected)


def share_of(readings: int, due: int | None) -> float | None:
    """The share of what was due that came; None: nothing was."""
    if due is None:
        return None
    return 1.0 if readings >= due else round(readings / due, DIGITS)


def completeness(
    readings: int, since: datetime, until: datetime, expected: timedelta, now: datetime
) -> float | None:
    """The share of the readings expected up to now; None: not begun yet, or shorter than what is expected."""
    return share_of(readings, due_readings(since, until, expected, now))


def is_in_gap(since: datetime, until: datetime, gaps: Iterable[Amount]) -> bool:
    """Whether a gap of an index covers some of it."""
    return any(gap.since < until and gap.until > since for gap in gaps)
