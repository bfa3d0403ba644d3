"""Days of an index that did not fall within one, as the database packs them, and what it has risen by. Pure."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Protocol

from ingest.series.buckets import Aggregated
from ingest.series.series_columns import Columns, doubles, slices_of, whole_numbers

EPOCH, MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class ReadingBefore(Protocol):
    """The last sound reading before the first bucket."""

    @property
    def at(self) -> datetime:
        """When."""
        ...

    @property
    def value(self) -> float:
        """The index."""
        ...


@dataclass(frozen=True, slots=True)
class PackedIndexes:
    """Days or larger buckets in order, each of which has a sound reading; instants are microseconds since 2000."""

    sinces: list[datetime]
    n: list[int]
    suspects: list[int]
    firsts: Sequence[float]
    lasts: Sequence[float]
    first_ats: Sequence[int]
    last_ats: Sequence[int]
    untils: list[datetime] | None = None
    """Of larger buckets."""

    @classmethod
    def of(
        cls, sinces: list[datetime], n: list[int], suspects: list[int] | None, *octets: bytes
    ) -> "PackedIndexes":
        """Of a row of packed_indexes()."""
        count = len(sinces)
        firsts, lasts, first_ats, last_ats = octets
        return cls(
            sinces, n if len(n) == count else n * count, suspects or [0] * count,
            doubles(firsts), doubles(lasts), whole_numbers(first_ats), whole_numbers(last_ats),
        )  # fmt: skip

    @property
    def rises(self) -> bool:
        """Whether it never fell from one day to the next either."""
        return all(map(operator.le, self.lasts, self.firsts[1:]))

    def joined(self, edges: list[datetime]) -> "PackedIndexes":
        """The same by these larger buckets, of an index that rises."""
        slices = slices_of(self.sinces, edges)
        begins, lasts = [begin for _, begin, _ in slices], [end - 1 for _, _, end in slices]
        return PackedIndexes(
            [edges[number] for number, _, _ in slices],
            [sum(self.n[begin:end]) for _, begin, end in slices],
            [sum(self.suspects[begin:end]) for _, begin, end in slices],
            [self.firsts[place] for place in begins], [self.lasts[place] for place in lasts],
            [self.first_ats[place] for place in begins], [self.last_ats[place] for place in lasts],
            [edges[number + 1] for number, _, _ in slices],
        )  # fmt: skip

    def columns(self) -> Columns:
        """The same as pieces."""
        until = {} if self.untils is None else dict(zip(self.sinces, self.untils, strict=True))
        return Columns(
            self.sinces.copy(), self.n, self.suspects,
            [*self.firsts], [*self.lasts], [*self.firsts], [*self.lasts], [],
            [*map(_instant, self.first_ats)], [*map(_instant, self.last_ats)],
            [*repeat(None, len(self.n))], [*repeat(None, len(self.n))], until=until,
        )  # fmt: skip


def _us(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def risen(
    packed: PackedIndexes,
    untils: list[datetime],
    known_for: timedelta,
    before: ReadingBefore | None,
    bucket_before: datetime,
) -> Aggregated | None:
    """What an index that rises has risen by in each of these buckets, which follow each other.

    None where it was silent over an edge for so long that nobody knows when it rose: `consumption` says what of
    that. Otherwise the rise of a bucket is from the last index of the one before, as it is there.
    """
    firsts, lasts, first_ats, last_ats = packed.firsts, packed.lasts, packed.first_ats, packed.last_ats
    longest = known_for // MICROSECOND
    former = firsts[0]
    if before is not None:
        silence = first_ats[0] - _us(before.at)
        is_known = silence <= longest or before.at >= packed.sinces[0]
        if before.value > former or before.at <= bucket_before or not is_known:
            return None
        former = before.value
    if max(map(operator.sub, first_ats[1:], last_ats), default=0) > longest:
        edges = zip(packed.sinces[1:], first_ats[1:], last_ats, strict=False)
        if any(first - last > longest and last < _us(edge) for edge, first, last in edges):
            return None
    rises: list[float | None] = [*map(operator.sub, lasts, [former, *lasts[:-1]])]
    if before is None and first_ats[0] == last_ats[0]:
        rises[0] = None
    return Aggregated(
        packed.sinces.copy(), untils.copy(), packed.n, packed.suspects, [*firsts], [*lasts],
        [*repeat(None, len(rises))], [*firsts], [*lasts], rises,
    )  # fmt: skip
