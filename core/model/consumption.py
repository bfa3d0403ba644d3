"""Consumption of an index that only rises, by bucket: across resets, rollovers, new meters and gaps. Pure.

The index at the edges of a bucket decides, never a sum of smaller differences that somebody has rounded. A bucket
holds (since, until]: an index read at an edge ends the bucket before it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

# A fall is a rollover where going on from zero explains it by at most this part of the counter's modulus.
ROLLOVER_AT_MOST = 0.25
# A fall is a reset to zero where at most this part of the former index is left.
RESET_AT_MOST = 0.25
# A meter may run back a little (backflow, rounding); what it has lost is then counted back.
BACKWARD_AT_MOST = 0.01


class IndexReading(NamedTuple):
    """What a counter showed at an instant."""

    at: datetime
    value: float


class Bucket(NamedTuple):
    """An hour, day, week, month or year."""

    since: datetime
    until: datetime


class Amount(NamedTuple):
    """What was consumed between two instants, of which it is unknown when."""

    since: datetime
    until: datetime
    amount: float


@dataclass(frozen=True, slots=True)
class MeterChange:
    """From `at` on another meter counts. `final` is the former one's last index, `initial` the new one's first.

    Where one is not known, its meter counts until its last reading, or from its first one on.
    """

    at: datetime
    final: float | None = None
    initial: float | None = None


class Modulus(NamedTuple):
    """From `since` on the counter goes from `modulus` back to zero; None: it does not."""

    since: datetime
    modulus: float | None


@dataclass(frozen=True, slots=True)
class Consumption:
    """By bucket, None where nothing was read that says it; and apart what was consumed over gaps."""

    by_bucket: list[float | None]
    gaps: list[Amount]


def consumption(
    buckets: Sequence[Bucket],
    readings: Iterable[IndexReading],
    changes: Iterable[MeterChange] = (),
    moduli: Sequence[Modulus] = (),
    unknown_after: timedelta = timedelta.max,
) -> Consumption:
    """What was consumed in each of these buckets, which are in order and hold every reading.

    Readings are in order, too. From one to the next the consumption belongs to the bucket of the latter, unless
    between them is a gap: an edge within a time longer than `unknown_after`, or a whole bucket without a reading.
    What a gap has consumed is one amount over its span. `moduli` are in order.
    """
    counted = _Counted(buckets, unknown_after)
    former: IndexReading | None = None
    waiting = sorted(changes, key=attrgetter("at"))
    for reading in readings:
        while waiting and waiting[0].at <= reading.at:
            change = waiting.pop(0)
            former = _changed(counted, former, change, moduli)
        if former is not None:
            counted.add_amount(former.at, reading.at, _step(former, reading, moduli))
        former = reading
    for change in waiting:
        former = _changed(counted, former, change, moduli)
    return counted.result()


def _changed(
    counted: "_Counted", former: IndexReading | None, change: MeterChange, moduli: Sequence[Modulus]
) -> IndexReading | None:
    """The former meter counts to its last index; returns the new one's first."""
    if former is not None and change.final is not None:
        last = IndexReading(max(change.at, former.at), change.final)
        counted.add_amount(former.at, last.at, _step(former, last, moduli))
    return None if change.initial is None else IndexReading(change.at, change.initial)


def _step(former: IndexReading, reading: IndexReading, moduli: Sequence[Modulus]) -> tuple[float, ...]:
    """What adds up to the consumption from one index to the next; negative where the meter ran back a little.

    After a reset at an unknown moment, what the new index shows is what is known to have been consumed. After a
    fall that is none of all this, nothing is known: counting begins anew.
    """
    index, before = reading.value, former.value
    if index >= before or before - index <= BACKWARD_AT_MOST * abs(before):
        return index, -before
    modulus = _modulus_at(moduli, former.at)
    if modulus is not None and before < modulus and index >= 0:
        rollover = index, modulus, -before
        if math.fsum(rollover) <= ROLLOVER_AT_MOST * modulus:
            return rollover
    return (index,) if 0 <= index <= RESET_AT_MOST * before else (0.0,)


def _modulus_at(moduli: Sequence[Modulus], at: datetime) -> float | None:
    known = moduli[0].modulus if moduli else None
    for since, modulus in moduli:
        if since > at:
            break
        known = modulus
    return known


class _Counted:
    """Adds what was consumed to the bucket that it belongs to, or to the gaps.

    Summed up exactly, so that of an index that only rises the first and the last one are what counts.
    """

    def __init__(self, buckets: Sequence[Bucket], unknown_after: timedelta) -> None:
        self._terms: list[list[float]] = [[] for _ in buckets]
        self._gaps: list[Amount] = []
        self._buckets = buckets
        self._unknown_after = unknown_after
        self._place = 0

    def add_amount(self, since: datetime, until: datetime, terms: tuple[float, ...]) -> None:
        """`until` never goes back."""
        buckets = self._buckets
        while self._place < len(buckets) and buckets[self._place].until < until:
            self._place += 1
        place = self._place
        if place == len(buckets) or until <= buckets[place].since or self._is_gap(place, since, until):
            self._gaps.append(Amount(since, until, math.fsum(terms)))
        else:
            self._terms[place] += terms

    def result(self) -> Consumption:
        """By bucket, and over gaps."""
        return Consumption([math.fsum(terms) if terms else None for terms in self._terms], self._gaps)

    def _is_gap(self, place: int, since: datetime, until: datetime) -> bool:
        bucket = self._buckets[place]
        if since >= bucket.since:
            return False
        if until - since > self._unknown_after or place == 0:
            return True
        before = self._buckets[place - 1]
        return before.until < bucket.since or since <= before.since
