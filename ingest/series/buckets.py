"""What a bucket is, alone and in columns; what a piece of a rollup is, and what an index has read in it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from core.model.consumption import Amount, IndexReading, MeterChange
from core.model.quantities import Kind

HOUR = timedelta(hours=1)
# An instant on an edge begins a bucket; an index there ends one.
AT_THE_EDGE = timedelta(microseconds=1)
# Whose readings have an order that matters: indexes rise, states last.
IN_ORDER = frozenset({Kind.COUNTER, Kind.BOOLEAN})


class Bucket(NamedTuple):
    """Readings of one hour, day, week, month or year; suspects are counted and left out of the rest."""

    since: datetime
    until: datetime
    readings: int
    suspects: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    first: float | None
    last: float | None
    difference: float | None = None


@dataclass(slots=True)
class Aggregated:
    """Buckets, a list for each field: of a hundred thousand an object each is what costs. And gaps of indexes."""

    since: list[datetime] = field(default_factory=list[datetime])
    until: list[datetime] = field(default_factory=list[datetime])
    readings: list[int] = field(default_factory=list[int])
    suspects: list[int] = field(default_factory=list[int])
    minimum: list[float | None] = field(default_factory=list[float | None])
    maximum: list[float | None] = field(default_factory=list[float | None])
    mean: list[float | None] = field(default_factory=list[float | None])
    first: list[float | None] = field(default_factory=list[float | None])
    last: list[float | None] = field(default_factory=list[float | None])
    difference: list[float | None] = field(default_factory=list[float | None])
    gaps: list[Amount] = field(default_factory=list[Amount])
    """What an index has consumed, of which it is unknown when."""

    @classmethod
    def of(cls, buckets: Iterable[Sequence[Any]], gaps: Sequence[Amount] = ()) -> "Aggregated":
        """Of buckets, or of what has their fields."""
        columns = [list(column) for column in zip(*buckets, strict=True)] or [[] for _ in Bucket._fields]
        return cls(*columns, gaps=list(gaps))

    def columns(self) -> tuple[list[Any], ...]:
        """Of a bucket's fields, in their order."""
        return (
            *(self.since, self.until, self.readings, self.suspects, self.minimum, self.maximum),
            *(self.mean, self.first, self.last, self.difference),
        )

    @property
    def buckets(self) -> list[Bucket]:
        """One object for each, for who has few."""
        return list(map(Bucket._make, zip(*self.columns(), strict=True)))

    def extend(self, other: "Aggregated") -> None:
        """Add the buckets and gaps of another one."""
        for column, added in zip(self.columns(), other.columns(), strict=True):
            column.extend(added)
        self.gaps.extend(other.gaps)


class Piece(NamedTuple):
    """An hour or a day of a rollup, or a single reading."""

    since: datetime
    until: datetime
    readings: int
    suspects: int
    minimum: float | None
    maximum: float | None
    first: float | None
    last: float | None
    first_at: datetime | None
    last_at: datetime | None
    seconds: float | None
    weighted: float | None
    falls: list[float] | None


def indexes_of(piece: Piece, changes: Sequence[MeterChange] = ()) -> list[IndexReading]:
    """Readings that say what a piece has consumed: its first and last one, and those around its falls.

    A meter that was changed in it is taken to be what fell from nearest to its last index.
    """
    first, last, low, high = piece.first, piece.last, piece.minimum, piece.maximum
    if first is None or last is None or low is None or high is None:
        return []
    if piece.first_at is not None and piece.last_at is not None:
        since, until, falls = piece.first_at, piece.last_at, piece.falls or []
    else:
        # Rolled up before the instants and the falls were: it fell once at most, from the highest to the lowest.
        since, until = piece.since + AT_THE_EDGE, piece.until
        falls = [*([high] if high > last else []), *([low] if low < first else [])]
    if piece.readings == 1:
        return [IndexReading(until, last)]
    at, between = since, list[IndexReading]()
    for change in changes:
        place = _fall_of(change, falls)
        between += [IndexReading(at, index) for index in falls[:place]]
        at, falls = max(at, min(change.at, until)), falls[place:]
    between += [IndexReading(at, index) for index in falls]
    return [IndexReading(since, first), *between, IndexReading(until, last)]


def _fall_of(change: MeterChange, falls: Sequence[float]) -> int:
    """How many of these indexes, each before and after a fall, are those of the meter that was changed."""
    final, initial = change.final, change.initial
    if not falls or (final is not None and initial is not None and initial >= final):
        return 0
    if final is None:
        return 1
    return 1 + min(range(0, len(falls), 2), key=lambda place: abs(falls[place] - final))


def finite(at: datetime) -> datetime:
    """The driver gives infinity without a time zone."""
    return at if at.tzinfo is not None else datetime.min.replace(tzinfo=UTC)
