"""Pieces of one datastream, column by column: what costs is the row, not the value."""

import operator
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ingest.series.buckets import Piece

OCTETS_OF_A_NUMBER = 8
Number = TypeVar("Number", int, float)


@dataclass(slots=True)
class Columns:
    """Pieces of one datastream in order: days, hours and single readings, each column a list."""

    at: list[datetime] = field(default_factory=list[datetime])
    """By which a piece is placed: its beginning; of a reading the instant, an edge's belonging to what it ends."""
    n: list[int] = field(default_factory=list[int])
    suspects: list[int] = field(default_factory=list[int])
    min: list[float | None] = field(default_factory=list[float | None])
    max: list[float | None] = field(default_factory=list[float | None])
    first: list[Any] = field(default_factory=list[Any])
    last: list[Any] = field(default_factory=list[Any])
    sum: list[Any] = field(default_factory=list[Any])
    first_at: list[datetime | None] = field(default_factory=list[datetime | None])
    last_at: list[datetime | None] = field(default_factory=list[datetime | None])
    seconds: list[float | None] = field(default_factory=list[float | None])
    weighted: list[float | None] = field(default_factory=list[float | None])
    falls: dict[datetime, list[float]] = field(default_factory=dict[datetime, list[float]])
    """By `at`, of the few that have some."""
    until: dict[datetime, datetime] = field(default_factory=dict[datetime, datetime])
    """By `at`, of what is no day."""

    def every(self) -> list[list[Any]]:
        """The columns, `at` first; of what has no order the last four stay empty, of what has one `sum` does."""
        return [
            self.at,
            self.n,
            self.suspects,
            self.min,
            self.max,
            self.first,
            self.last,
            self.sum,
            self.first_at,
            self.last_at,
            self.seconds,
            self.weighted,
        ]

    def extend(self, other: "Columns") -> None:
        """Add the pieces of another one."""
        for column, added in zip(self.every(), other.every(), strict=True):
            column.extend(added)

    def filled(self) -> list[list[Any]]:
        """The columns that are not empty."""
        return [column for column in self.every() if column]

    def keep(self, wanted: Callable[[datetime], bool]) -> None:
        """Leave out the pieces whose `at` is not wanted."""
        chosen = list(map(wanted, self.at))
        if not all(chosen):
            for column in self.filled():
                column[:] = [one for one, is_kept in zip(column, chosen, strict=True) if is_kept]

    def put_in_order(self) -> None:
        """By `at`."""
        if not all(map(operator.le, self.at, self.at[1:])):
            order = sorted(range(len(self.at)), key=self.at.__getitem__)
            for column in self.filled():
                column[:] = [column[place] for place in order]

    def piece(self, place: int, day_ends: Mapping[datetime, datetime]) -> Piece:
        """One of them, as an object."""
        at = self.at[place]
        until = self.until.get(at) or day_ends[at]
        return Piece(
            at, until, self.n[place], self.suspects[place], self.min[place], self.max[place],
            self.first[place], self.last[place], self.first_at[place], self.last_at[place], self.seconds[place],
            self.weighted[place], self.falls.get(at),
        )  # fmt: skip


def slices_of(ats: list[datetime], edges: list[datetime]) -> list[tuple[int, int, int]]:
    """Of each bucket that has pieces: its number, and the first piece in it and beyond it."""
    if len(ats) > len(edges):
        places = [bisect_left(ats, edge) for edge in edges]
        slices = zip(range(len(places)), places, places[1:], strict=False)
        return [one for one in slices if one[1] < one[2]]
    slices, place = list[tuple[int, int, int]](), 0
    number = bisect_left(edges, ats[0])
    number -= edges[number] > ats[0]
    while place < len(ats):
        while edges[number + 1] <= ats[place]:
            number += 1
        begin = place
        while place < len(ats) and ats[place] < edges[number + 1]:
            place += 1
        slices.append((number, begin, place))
    return slices


def doubles(octets: bytes) -> "array[float]":
    """Of octets as float8send writes them, one number after the other."""
    return _in_our_order(array("d", octets))


def whole_numbers(octets: bytes) -> "array[int]":
    """Of octets as timestamptz_send writes them: microseconds since 2000."""
    return _in_our_order(array("q", octets))


def _in_our_order(column: "array[Number]") -> "array[Number]":
    if sys.byteorder == "little":
        column.byteswap()
    return column


def follow_from(begins: datetime, at: list[datetime] | None, starts: list[datetime], count: int) -> list[datetime]:
    """When so many packed buckets begin, which are among these that there may be; none: they are none of these."""
    if at is not None:
        return at
    place = bisect_left(starts, begins)
    found = starts[place : place + count]
    return found if len(found) == count and found[0] == begins else []


def floats(text: str) -> list[float]:
    """Of an array as PostgreSQL writes it."""
    return [float(one) for one in text.strip("{}").split(",")]


def total(values: Sequence[float | None]) -> float:
    """Of those that there are."""
    return sum(value for value in values if value is not None)


def extreme(choose: Callable[..., float], values: Sequence[float | None]) -> float | None:
    """The lowest or the highest of those that there are."""
    known = [value for value in values if value is not None]
    return choose(known) if known else None
