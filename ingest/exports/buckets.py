"""Files of buckets: hours to years of the tenant's calendar, as /v1/measurements/series has them.

A datastream begins with its first bucket that has a reading, and goes on to the end of the period or to now, also
where nothing was read. Few buckets are in memory at a time, however long the period.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Protocol
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import UnevenZone, Unit, edges_of
from core.model.quantities import Kind
from core.runtime.postgres import Connection
from ingest.exports.bucket_lines import BucketLines, BucketRow
from ingest.exports.lines import Stream
from ingest.exports.store import Readable
from ingest.exports.writer import ExportFailed, PartWriter
from ingest.series.buckets import Aggregated, Bucket
from ingest.series.series_choice import Series, with_profiles
from ingest.series.series_store import read_series
from ingest.series.values import completeness, is_in_gap, value_is, value_of

BUCKETS_AT_ONCE = 20_000
UNEVEN_TEXT = "les jours de ce calendrier ne sont pas à un nombre entier d'heures d'UTC : demandez des mesures"
NOW = "SELECT now()"


class RowWriter(Protocol):
    """How rows become octets."""

    async def begin(self) -> None:
        """What stands before all."""
        ...

    async def write(self, stream: Stream, rows: Sequence[BucketRow]) -> None:
        """The rows of a datastream that follow."""
        ...

    async def finish(self) -> None:
        """What stands behind."""
        ...


class LineRows:
    """CSV or NDJSON."""

    def __init__(self, lines: BucketLines, writer: PartWriter) -> None:
        self._lines = lines
        self._writer = writer

    async def begin(self) -> None:
        """The names of the columns."""
        await self._writer.write(self._lines.header.encode())

    async def write(self, stream: Stream, rows: Sequence[BucketRow]) -> None:
        """A line for each."""
        identity = self._lines.identity(stream)
        await self._writer.write("".join(self._lines.line(identity, row) for row in rows).encode())

    async def finish(self) -> None:
        """Nothing follows."""


class BucketFile:
    """A file of buckets of this unit, whatever its form."""

    def __init__(self, rows: RowWriter, unit: Unit, zone: ZoneInfo) -> None:
        self._rows = rows
        self._unit: Unit = unit
        self._zone = zone

    async def begin(self) -> None:
        """What stands before all."""
        await self._rows.begin()

    async def copy(
        self, connection: Connection, streams: Sequence[Readable], since: datetime, until: datetime
    ) -> int:
        """The buckets of these datastreams that touch the period; how many."""
        try:
            edges = edges_of(since, until, self._unit, self._zone)
        except UnevenZone:
            raise ExportFailed(UNEVEN_TEXT) from None
        named = {one.stream.id: one.stream for one in streams}
        asked = [Series(one.id, None, one.asset, one.quantity, one.unit) for one in named.values()]
        series = await with_profiles(connection, asked)
        now: datetime = await connection.fetchval(NOW)
        together = max(1, BUCKETS_AT_ONCE // max(1, len(edges) - 1))
        copied = 0
        for place in range(0, len(series), together):
            copied += await self._read_some(connection, series[place : place + together], named, edges, now)
        return copied

    async def _read_some(
        self,
        connection: Connection,
        series: Sequence[Series],
        named: dict[int, Stream],
        edges: Sequence[datetime],
        now: datetime,
    ) -> int:
        """All their buckets at once; of one that has too many for that, some after the other."""
        held: dict[int, list[BucketRow]] = {}
        copied = 0
        for place in range(0, len(edges) - 1, BUCKETS_AT_ONCE):
            some = edges[place : place + BUCKETS_AT_ONCE + 1]
            found = (await read_series(connection, series, some, self._unit, self._zone)).series
            for one in series:
                of_one = found.get(one.id)
                rows = list(_rows_of(one, some, of_one, now, has_begun=one.id in held))
                if not rows and one.id not in held:
                    continue
                rows = _known_now(held.get(one.id, ()), of_one) + rows
                if one.kind is Kind.COUNTER and some[-1] != edges[-1]:
                    known = _last_read(rows)
                    held[one.id], rows = rows[known:], rows[:known]
                else:
                    held[one.id] = []
                await self._rows.write(named[one.id], rows)
                copied += len(rows)
        return copied

    async def finish(self) -> None:
        """What stands behind."""
        await self._rows.finish()


def _known_now(held: Sequence[BucketRow], found: Aggregated | None) -> list[BucketRow]:
    """Rows of before of which it was not known whether a gap goes on in them: the next reading says so."""
    gaps = () if found is None else found.gaps
    return [replace(row, in_gap=row.in_gap or is_in_gap(row.since, row.until, gaps)) for row in held]


def _last_read(rows: Sequence[BucketRow]) -> int:
    """From which row on a gap may have begun: the last one with a reading."""
    return next((place for place in reversed(range(len(rows))) if rows[place].readings), 0)


def _rows_of(
    series: Series, edges: Sequence[datetime], found: Aggregated | None, now: datetime, *, has_begun: bool
) -> Iterator[BucketRow]:
    if found is None and not has_begun:
        return
    known = {} if found is None else {bucket.since: bucket for bucket in found.buckets}
    gaps = () if found is None else found.gaps
    kind = series.kind
    for since, until in pairwise(edges):
        if since >= now:
            return
        bucket = known.get(since)
        has_begun = has_begun or bucket is not None
        if not has_begun:
            continue
        bucket = bucket or Bucket(since, until, 0, 0, None, None, None, None, None)
        yield BucketRow(
            since, until, bucket.readings, bucket.suspects,
            completeness(bucket.readings, since, until, series.expected, now), value_of(bucket, kind),
            value_is(kind), bucket.minimum, bucket.maximum, bucket.first, bucket.last,
            is_in_gap(since, until, gaps),
        )  # fmt: skip
