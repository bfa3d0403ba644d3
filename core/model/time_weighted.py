"""Means of states, weighted by how long each was known to last. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from core.model.consumption import Bucket


class StateReading(NamedTuple):
    """What a state was at an instant."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class StatePiece:
    """Readings of a part of a bucket, at least one, and what they add up to from the first one to its end.

    `weighted` is the integral of the state over the `seconds` for which it was known. None: nobody knows any more.
    """

    until: datetime
    first_at: datetime | None
    last_at: datetime | None
    last: float
    seconds: float | None
    weighted: float | None


def state_means(
    buckets: Sequence[Bucket],
    pieces: Sequence[StatePiece],
    before: StateReading | None,
    held_for: timedelta,
    until: datetime,
) -> list[float | None]:
    """The mean of a state in each of these buckets, which are in order and hold every piece; to `until` at most.

    A state lasts until the next reading, for `held_for` at most: beyond it is unknown, and does not count.
    `before` is the last reading before the first bucket. None for a bucket of which nothing is known, or not all
    any more.
    """
    means = _Means(buckets)
    state, reached = before, None if before is None else before.at
    for piece in pieces:
        if state is not None and reached is not None and piece.first_at is not None:
            means.add_state(state.value, reached, min(piece.first_at, state.at + held_for))
        means.add_piece(piece)
        state = None if piece.last_at is None else StateReading(piece.last_at, piece.last)
        reached = piece.until
    if state is not None and reached is not None:
        means.add_state(state.value, reached, min(until, state.at + held_for))
    return means.result()


class _Means:
    """Adds up, by bucket, for how long a state was known, and its integral."""

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self._buckets = buckets
        self._seconds = [0.0] * len(buckets)
        self._weighted = [0.0] * len(buckets)
        self._is_known = [True] * len(buckets)
        self._place = 0

    def add_state(self, value: float, since: datetime, until: datetime) -> None:
        """It had this value all the time; instants never go back."""
        self._advance(since)
        for place in range(self._place, len(self._buckets)):
            bucket = self._buckets[place]
            if bucket.since >= until:
                break
            seconds = (min(until, bucket.until) - max(since, bucket.since)).total_seconds()
            if seconds > 0:
                self._seconds[place] += seconds
                self._weighted[place] += seconds * value

    def add_piece(self, piece: StatePiece) -> None:
        """A part of one bucket."""
        while self._buckets[self._place].until < piece.until:
            self._place += 1
        if piece.seconds is None or piece.weighted is None:
            self._is_known[self._place] = False
        else:
            self._seconds[self._place] += piece.seconds
            self._weighted[self._place] += piece.weighted

    def result(self) -> list[float | None]:
        """The means."""
        sums = zip(self._is_known, self._seconds, self._weighted, strict=True)
        return [weighted / seconds if is_known and seconds else None for is_known, seconds, weighted in sums]

    def _advance(self, since: datetime) -> None:
        while self._place < len(self._buckets) - 1 and self._buckets[self._place].until <= since:
            self._place += 1
