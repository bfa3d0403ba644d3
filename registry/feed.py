"""Reads the feed: what has changed since a position that the tenant which was entered may see (decision 0096)."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from core.runtime.postgres import Connection
from registry.rows import named_tuples

# Batches that are looked at for one page, by their values: from a page's worth to so many times that.
LEAST_BUDGET, MOST_BUDGET = 500, 200_000
MOST_SCANNED = 400_000

POSITION = "SELECT epoch, settled, ahead, forgotten_xid, forgotten_number FROM feed_position()"
READ = """
SELECT xid, number, place, at, origin, subject, datastream_id, asset_id, quantity, time, value, flags
FROM read_feed($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


class Standing(Enum):
    """Of a position, later: good, of a database that was restored since, or before what is kept."""

    GOOD = "good"
    RESTORED = "restored"
    FORGOTTEN = "forgotten"


class Position(NamedTuple):
    """After which entry reading goes on: the transaction, the row's number, and the place in the row."""

    xid: int
    number: int
    place: int


@dataclass(frozen=True, slots=True)
class FeedState:
    """Which database it is; below `settled`, behind the last row, all is there; from `ahead` on nothing is."""

    epoch: str
    settled: int
    ahead: int
    forgotten_xid: int
    forgotten_number: int

    @property
    def now(self) -> Position:
        """Behind everything that is there to read."""
        return Position(self.settled, 0, 0)

    @property
    def oldest(self) -> Position:
        """Before everything that is kept."""
        return Position(self.forgotten_xid, self.forgotten_number + 1, 0)

    def standing_of(self, epoch: str, position: Position) -> Standing:
        """Whether reading can go on after a position that was good in `epoch`."""
        if epoch != self.epoch or position.xid > self.ahead:
            return Standing.RESTORED
        if (position.xid, position.number) <= (self.forgotten_xid, self.forgotten_number):
            return Standing.FORGOTTEN
        return Standing.GOOD


class Entry(NamedTuple):
    """One change: of a measurement, of a meter, of an alert or of a command (`subject`)."""

    xid: int
    number: int
    place: int
    at: datetime
    origin: str
    subject: int | None
    datastream_id: int | None
    asset_id: int | None
    quantity: str | None
    time: datetime | None
    value: float | None
    flags: int | None

    @property
    def position(self) -> Position:
        """Where reading goes on after it."""
        return Position(self.xid, self.number, self.place)


class Part(NamedTuple):
    """Entries in their order, from where to go on, and whether that is behind everything that is there now."""

    entries: list[Entry]
    following: Position
    is_all: bool


@dataclass(frozen=True, slots=True)
class WantedChanges:
    """Which changes a reader asks for; None: whatever they are of."""

    origins: tuple[str, ...]
    datastream_ids: tuple[int, ...] | None = None
    quantity: str | None = None
    asset_kind: str | None = None
    tag: str | None = None
    commune: str | None = None

    def values(self) -> tuple[Any, ...]:
        """In the order of the function's parameters."""
        return (self.origins, self.datastream_ids, self.quantity, self.asset_kind, self.tag, self.commune)


async def read_state(connection: Connection) -> FeedState:
    """Where the feed is now."""
    return FeedState(*(await connection.fetchrow(POSITION) or ()))


async def read_changes(connection: Connection, after: Position, wanted: WantedChanges, most: int) -> Part:
    """Up to `most` entries after a position; fewer only where there are no more, or after a long look for them."""
    entries: list[Entry] = []
    budget, scanned = max(most, LEAST_BUDGET), 0
    while True:
        room = most - len(entries)
        rows = await connection.fetch(READ, *after, room, budget, *wanted.values())
        is_full = rows[-1]["origin"] is not None
        # When it is less than was asked for, the last row only says from where reading goes on.
        entries += named_tuples(Entry, rows if is_full else rows[:-1])
        if is_full:
            return Part(entries, entries[-1].position, is_all=False)
        reached = Position(*rows[-1][:3])
        if (
            reached.number == 0
        ):  # There is no row behind `after`, which stays: the number of a row is never given again.
            return Part(entries, after, is_all=True)
        after = reached
        if scanned > MOST_SCANNED:
            return Part(entries, after, is_all=False)
        scanned += budget
        budget = min(4 * budget, MOST_BUDGET)
