"""Readings of several datastreams, one datastream after the other, a page after a place in that order (keyset)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from api.fields import INT4_MOST
from api.pages import LATEST_INSTANT, bad_cursor
from core.runtime.postgres import Connection
from lorawan.instants import from_us, to_us
from registry.cursors import packed, unpacked

MICROSECOND = timedelta(microseconds=1)
# Datastreams that are asked at once, at most: what is read beyond the page is thrown away.
MOST_AT_ONCE = 64
# $1, $2: datastreams, and from when on each; $3: to when; $4: how many.
READINGS = """
SELECT s.id, m.time, m.value, m.flags
FROM unnest($1::int[], $2::timestamptz[]) AS s (id, since)
CROSS JOIN LATERAL (SELECT time, value, flags FROM measurement
                    WHERE datastream_id = s.id AND time >= s.since AND time < $3 ORDER BY time LIMIT $4) AS m
ORDER BY 1, 2 LIMIT $4
"""
NOW = "SELECT now()"


class Position(NamedTuple):
    """The last reading of a page."""

    datastream_id: int
    time: datetime


class Reading(NamedTuple):
    """One measurement of one datastream."""

    datastream_id: int
    time: datetime
    value: float
    flags: int


class Part(NamedTuple):
    """A page; `next` is None where that is all. Closed: only what comes late is still to come in the range."""

    rows: list[Reading]
    next: str | None
    is_closed: bool


def position_of(cursor: str | None) -> Position | None:
    """Where the former page ended; raises 422 for what is no cursor of such a list."""
    if cursor is None:
        return None
    found = unpacked(cursor, tuple[int, int])
    if found is None:
        raise bad_cursor()
    id_, time_us = found
    if not (0 < id_ <= INT4_MOST and 0 <= time_us <= LATEST_INSTANT):
        raise bad_cursor()
    return Position(id_, from_us(time_us))


def cursor_of(last: Reading) -> str:
    """What a client hands back as it is."""
    return packed([last.datastream_id, to_us(last.time)])


async def read_readings(
    connection: Connection,
    ids: Sequence[int],
    since: datetime,
    until: datetime,
    after: Position | None,
    limit: int,
) -> Part:
    """Up to `limit` readings of these datastreams, which are in order, after a place."""
    begin = since
    left = list(ids)
    if after is not None:
        left = [id_ for id_ in ids if id_ >= after.datastream_id]
        if left and left[0] == after.datastream_id:
            begin = max(since, after.time + MICROSECOND)
    rows: list[Reading] = []
    together = 1
    while left and len(rows) <= limit:
        chosen, left = left[:together], left[together:]
        begins = [begin, *[since] * (len(chosen) - 1)]
        found = await connection.fetch(READINGS, chosen, begins, until, limit + 1 - len(rows))
        rows += [Reading(*row) for row in found]
        # As many as will fill the page, if they have as much as these.
        missing = limit + 1 - len(rows)
        together = max(1, min(MOST_AT_ONCE, missing * len(chosen) // max(1, len(found)), 2 * together))
        begin = since
    is_closed = until <= await connection.fetchval(NOW)
    following = cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return Part(rows[:limit], following, is_closed)
