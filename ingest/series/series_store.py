"""Buckets of one datastream or many at once, in a local calendar.

Everything goes through what row security bounds. What is over is read from rollups, packed or as arrays; hours
that the dirty log names, and this hour, from raw. What is asked first and read afterwards may be behind what is
written meanwhile, never wrong.
"""

import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from core.model import consumption
from core.model.calendar_buckets import Unit, any_edges_of, are_even, midnight
from core.model.consumption import IndexReading, MeterChange
from core.model.quantities import Kind
from core.model.time_weighted import StatePiece, StateReading, state_means
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection, Record
from ingest.rollups import LONGEST_DAY
from ingest.series.buckets import AT_THE_EDGE, HOUR, IN_ORDER, Aggregated, Bucket, indexes_of
from ingest.series.packed_indexes import PackedIndexes, risen
from ingest.series.series_choice import Series, with_profiles
from ingest.series.series_columns import (
    OCTETS_OF_A_NUMBER,
    Columns,
    doubles,
    extreme,
    floats,
    follow_from,
    slices_of,
    total,
)
from ingest.series.series_statements import (
    CHANGES_OF_MANY,
    CLOCK,
    DAYS,
    DAYS_IN_ORDER,
    HOURS,
    HOURS_BEFORE,
    HOURS_IN_ORDER,
    HOURS_OF_DAYS,
    PACKED_DAYS,
    PACKED_HOURS,
    PACKED_INDEXES,
    RAW,
    RAW_INDEXES,
    RAW_OF_HOURS,
    STALE,
)
from lorawan.instants import EPOCH

# Where the reading before a range is looked for first: two or three parts of the table, and not all there are.
LOOKED_BACK = timedelta(days=62)


class _Before(NamedTuple):
    """The last sound reading before the range."""

    at: datetime
    value: float
    is_exact: bool


class Read(NamedTuple):
    """What was read of a range, by datastream; and whether none of it can change but by what comes late."""

    series: dict[int, Aggregated]
    is_closed: bool


async def read_series(
    connection: Connection, series: Sequence[Series], edges: Sequence[datetime], unit: Unit, zone: ZoneInfo
) -> Read:
    """The buckets between these edges that have readings, of each datastream; it has `with_profiles`.

    A reading of an index at an edge belongs to the bucket that it ends. The mean of a state is weighted by time,
    any other is that of the readings.
    """
    row = await connection.fetchrow(CLOCK)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    reading = _Reading(connection, series, edges, unit, zone, row["now"], row["open"], row["timezone"])
    return Read(await reading.read(), edges[-1] <= row["open"] and not reading.stale)


async def read_one(
    connection: Connection, one: Series, edges: Sequence[datetime], unit: Unit, zone: ZoneInfo
) -> Aggregated:
    """As `read_series`, of a single datastream, with its profile."""
    read = await read_series(connection, await with_profiles(connection, [one]), edges, unit, zone)
    return read.series.get(one.id, Aggregated())


class _Reading:
    """One range of many datastreams."""

    def __init__(
        self,
        connection: Connection,
        series: Sequence[Series],
        edges: Sequence[datetime],
        unit: Unit,
        zone: ZoneInfo,
        now: datetime,
        opened: datetime,
        own_timezone: str,
    ) -> None:
        self._connection = connection
        self._series = {one.id: one for one in series}
        self._edges, self._zone, self._now = list(edges), zone, now
        self._unit: Unit = unit
        self._sinces, self._untils = self._edges[:-1], self._edges[1:]
        self._since, self._until = edges[0], edges[-1]
        self._open = opened
        # Hours before this one are over; days before that one are ready made. In a calendar that is no whole hours
        # from UTC all is raw.
        is_even = are_even(edges[:1] if unit == "hour" else edges)
        self._closed = max(self._since, min(self._until, opened)) if is_even else self._since
        self._ready = self._since
        if unit != "hour" and own_timezone == zone.key:
            today = any_edges_of(opened, opened + AT_THE_EDGE, "day", zone)[0]
            self._ready = max(self._since, min(self._until, today))
        self.stale: set[tuple[int, datetime]] = set()
        """The hours within the range whose rollups are behind."""
        self._stale_before: dict[int, set[datetime]] = {}
        self._changes: dict[int, list[MeterChange]] = {}
        days = self._edges if unit == "day" else any_edges_of(self._since, self._until, "day", zone)
        self._day_ends = dict(pairwise(days))
        self._columns: dict[int, Columns] = {}
        self._packed: dict[int, PackedIndexes] = {}
        """Of indexes of which there is nothing else."""

    async def read(self) -> dict[int, Aggregated]:
        """Everything, by datastream."""
        ids = sorted(self._series)
        if not ids:
            return {}
        for id_, hour in await self._connection.fetch(STALE, ids, self._closed):
            if hour >= self._since:
                self.stale.add((id_, hour))
            else:
                self._stale_before.setdefault(id_, set()).add(hour)
        ordered = [id_ for id_ in ids if self._series[id_].kind in IN_ORDER]
        plain = [id_ for id_ in ids if self._series[id_].kind not in IN_ORDER]
        torn = {(id_, self._day_of(hour)) for id_, hour in self.stale if hour < self._ready}
        await self._find_changes([id_ for id_ in ordered if self._series[id_].kind is Kind.COUNTER])
        await self._add_days(plain, ordered, torn)
        await self._add_hours(plain, ordered)
        if torn:
            await self._add_hours_of(torn)
        await self._add_raw(ids)
        for id_ in self._packed.keys() & self._columns.keys():
            self._columns[id_].extend(self._packed.pop(id_).columns())
        for columns in self._columns.values():
            columns.put_in_order()
        found = self._packed.keys() | {id_ for id_, columns in self._columns.items() if columns.at}
        before = await self._read_before([id_ for id_ in ordered if id_ in found])
        return {id_: await self._put_together(self._series[id_], before.get(id_)) for id_ in sorted(found)}

    async def _find_changes(self, counters: list[int]) -> None:
        rows = await self._connection.fetch(CHANGES_OF_MANY, counters) if counters else ()
        for id_, *change in rows:
            if change[0] <= self._until:
                self._changes.setdefault(id_, []).append(MeterChange(*change))

    async def _add_days(self, plain: list[int], ordered: list[int], torn: set[tuple[int, datetime]]) -> None:
        """What is ready made: of datastreams that may be read whole at once, of any other through its policy."""
        if self._ready <= self._since:
            return
        range_ = self._since, self._ready
        days = [day for day in self._day_ends if day < self._ready]
        touched = {id_ for id_, _ in torn}
        found = await self._add_packed(PACKED_DAYS, [id_ for id_ in plain if id_ not in touched], days)
        found |= await self._add_indexes([id_ for id_ in ordered if id_ not in touched], days)
        for chosen, statement in ((plain, DAYS), (ordered, DAYS_IN_ORDER)):
            await self._add_arrays(statement, [id_ for id_ in chosen if id_ not in found], *range_, torn, None)

    async def _add_hours(self, plain: list[int], ordered: list[int]) -> None:
        """Those that are over, of days that are not ready made."""
        count = (self._closed - self._ready) // HOUR
        if count <= 0:
            return
        hours = [self._ready + HOUR * number for number in range(count)]
        touched = {id_ for id_, _ in self.stale}
        found = await self._add_packed(PACKED_HOURS, [id_ for id_ in plain if id_ not in touched], hours)
        range_ = self._ready, self._closed
        left = [id_ for id_ in plain if id_ not in found]
        for chosen, statement in ((left, HOURS), (ordered, HOURS_IN_ORDER)):
            await self._add_arrays(statement, chosen, *range_, self.stale, HOUR)

    async def _add_packed(self, statement: str, ids: list[int], expected: list[datetime]) -> set[int]:
        """Of what has no order; the datastreams of which something was found."""
        found = set[int]()
        range_ = expected[0], expected[-1] + AT_THE_EDGE
        rows = await self._connection.fetch(statement, ids, *range_) if ids else ()
        for id_, begins, at, n, suspects, *values in rows:
            low, high, first, last, sums = (doubles(one).tolist() for one in values)
            count = len(sums)
            ats = follow_from(begins, at, expected, count)
            if not ats:
                continue
            readings = n if len(n) == count else n * count
            part = Columns(ats, readings, suspects or [0] * count, [*low], [*high], first, last, sums)
            if id_ in self._columns:
                self._columns[id_].extend(part)
            else:
                self._columns[id_] = part
            found.add(id_)
        return found

    async def _add_indexes(self, ids: list[int], days: list[datetime]) -> set[int]:
        """Of those that did not fall within a day; the datastreams of which something was found."""
        asked = [id_ for id_ in ids if self._series[id_].kind is Kind.COUNTER]
        range_ = days[0], days[-1] + AT_THE_EDGE
        rows = await self._connection.fetch(PACKED_INDEXES, asked, *range_) if asked else ()
        for id_, begins, at, n, suspects, *octets in rows:
            sinces = follow_from(begins, at, days, len(octets[0]) // OCTETS_OF_A_NUMBER)
            if not sinces:
                continue
            packed = PackedIndexes.of(sinces, n, suspects, *octets)
            if self._unit != "day" and id_ not in self._changes and packed.rises:
                packed = packed.joined(self._edges)
            self._packed[id_] = packed
        return set(self._packed)

    async def _add_arrays(
        self,
        statement: str,
        ids: list[int],
        since: datetime,
        until: datetime,
        left_out: set[tuple[int, datetime]],
        length: timedelta | None,
    ) -> set[int]:
        """The datastreams of which something was found."""
        if not ids or until <= since:
            return set()
        found_of = set[int]()
        touched = {id_ for id_, _ in left_out}
        for id_, *found in await self._connection.fetch(statement, ids, since, until):
            found_of.add(id_)
            columns = self._columns.setdefault(id_, Columns())
            ats: list[datetime] = found[0]
            kept: list[Any] = found[:8]
            if self._series[id_].kind in IN_ORDER:
                kept = [*found[:7], [], *found[7:11]]
                fallen = zip(found[11] or (), found[12] or (), strict=True)
                columns.falls |= {at: floats(text) for at, text in fallen if (id_, at) not in left_out}
            part = Columns(*kept)
            if id_ in touched:
                part.keep(lambda at, id_=id_: (id_, at) not in left_out)
                ats = part.at
            if length is not None:
                columns.until |= {at: at + length for at in ats}
            columns.extend(part)
        return found_of

    async def _add_hours_of(self, torn: set[tuple[int, datetime]]) -> None:
        ids, days = [id_ for id_, _ in torn], [day for _, day in torn]
        bounds = min(days), max(days) + LONGEST_DAY
        for id_, *row in await self._connection.fetch(HOURS_OF_DAYS, ids, days, self._zone.key, *bounds):
            at: datetime = row[0]
            if (id_, at) not in self.stale:
                self._append(id_, at, at + HOUR, row[1:12], row[12])

    async def _add_raw(self, ids: list[int]) -> None:
        rows: list[Any] = []
        if self._closed < self._until:
            rows += await self._connection.fetch(RAW, ids, self._closed, self._until)
        if self.stale:
            hours = [hour for _, hour in self.stale]
            stale = [id_ for id_, _ in self.stale]
            rows += await self._connection.fetch(RAW_OF_HOURS, stale, hours, min(hours), max(hours) + HOUR)
        for id_, time, value, is_sound, hour in rows:
            at = time - self._series[id_].boundary
            if self._closed <= at < self._until if hour is None else hour <= at < hour + HOUR:
                one = value if is_sound else None
                moment = time if is_sound else None
                row = [int(is_sound), int(not is_sound), one, one, one, one, one, moment, moment, 0.0, 0.0]
                self._append(id_, at, time, row, None)

    def _append(
        self,
        id_: int,
        at: datetime,
        until: datetime,
        row: Sequence[Any],
        falls: list[float] | None,
        to: dict[int, Columns] | None = None,
    ) -> None:
        columns = (self._columns if to is None else to).setdefault(id_, Columns())
        kept = columns.every()
        values = [at, *row]
        # As the arrays have it: what has an order has no sum, and the other no instants.
        is_ordered = self._series[id_].kind in IN_ORDER
        chosen = [*range(7), *(range(8, 12) if is_ordered else (7,))]
        for place in chosen:
            kept[place].append(values[place])
        columns.until[at] = until
        if falls:
            columns.falls[at] = falls

    async def _read_before(self, ids: list[int]) -> dict[int, _Before]:
        """The last sound reading of each before the range, from whichever of rollup and raw has the later one."""
        if not ids:
            return {}
        behind = {id_: hours for id_, hours in self._stale_before.items() if id_ in set(ids)}
        most = [1 + len(behind.get(id_, ())) for id_ in ids]
        before: dict[int, _Before] = {}
        reached = min(self._since, self._open).replace(minute=0, second=0, microsecond=0)
        for id_, hour, at, value, is_exact in await self._hours_before(dict(zip(ids, most, strict=True)), reached):
            if id_ not in before and hour not in behind.get(id_, ()):
                before[id_] = _Before(at, value, is_exact)
        pairs = [(id_, hour) for id_, hours in behind.items() for hour in hours]
        if reached < min(self._since, self._open):  # A part of an hour, in a calendar that is not on it.
            pairs += [(id_, reached) for id_ in ids]
        if pairs:
            hours = [hour for _, hour in pairs]
            rows = await self._connection.fetch(
                RAW_OF_HOURS, [id_ for id_, _ in pairs], hours, min(hours), max(hours) + HOUR
            )
            for id_, time, value, is_sound, hour in rows:
                at = time - self._series[id_].boundary
                if is_sound and hour <= at < hour + HOUR and at < self._since:
                    known = before.get(id_)
                    if known is None or known.at <= time:
                        before[id_] = _Before(time, value, True)
        return before

    async def _hours_before(self, most: dict[int, int], reached: datetime) -> list[Record]:
        """The last hours with a reading, so many of each: of two months, where those are too few of all time."""
        recent = await self._connection.fetch(
            HOURS_BEFORE, list(most), list(most.values()), reached, reached - LOOKED_BACK
        )
        found = Counter(row[0] for row in recent)
        lacking = {id_: wanted for id_, wanted in most.items() if found[id_] < wanted}
        if not lacking:
            return recent
        ever = await self._connection.fetch(HOURS_BEFORE, list(lacking), list(lacking.values()), reached, EPOCH)
        return [row for row in recent if row[0] not in lacking] + ever

    async def _put_together(self, one: Series, before: _Before | None) -> Aggregated:
        changes = [change for change in self._changes.get(one.id, ()) if before is None or change.at > before.at]
        packed = self._packed.get(one.id)
        if packed is not None:
            found = None if changes else self._risen(one, packed, before)
            if found is not None:
                return found
            self._columns[one.id] = packed.columns()
        columns = self._columns[one.id]
        match one.kind:
            case Kind.COUNTER:
                return await self._consumed(one, columns, before, changes)
            case Kind.BOOLEAN:
                return self._with_means(one, columns, before)
            case _:
                return self._averaged(columns)

    def _risen(self, one: Series, packed: PackedIndexes, before: _Before | None) -> Aggregated | None:
        """What this index has risen by, unless it fell, or has buckets without a reading between others."""
        if packed.sinces == self._sinces:
            untils = self._untils
        else:
            begin = bisect_left(self._sinces, packed.sinces[0])
            end = begin + len(packed.sinces)
            if packed.sinces != self._sinces[begin:end] or (begin and before is not None):
                return None
            untils = self._untils[begin:end]
        if self._unit == "day" and not packed.rises:
            return None
        return risen(packed, untils, known_for(one.expected), before, self._bucket_before)

    @cached_property
    def _bucket_before(self) -> datetime:
        return self._bucket_at(self._since - AT_THE_EDGE)[0]

    def _averaged(self, columns: Columns) -> Aggregated:
        sinces, untils = columns.at, self._untils
        if (
            sinces != self._sinces
        ):  # Unless each piece is a bucket, and none is missing: most days of most sensors.
            slices = slices_of(columns.at, self._edges)
            if len(slices) != len(sinces):
                buckets = [self._bucket(columns, one) for one in slices]
                return Aggregated.of(
                    bucket._replace(mean=total(columns.sum[begin:end]) / bucket.readings)
                    if bucket.readings
                    else bucket
                    for bucket, (_, begin, end) in zip(buckets, slices, strict=True)
                )
            numbers = [number for number, _, _ in slices]
            sinces, untils = (
                [self._sinces[number] for number in numbers],
                [self._untils[number] for number in numbers],
            )
        means = [total / n if n else None for total, n in zip(columns.sum, columns.n, strict=True)]
        return Aggregated(
            sinces, untils, columns.n, columns.suspects, columns.min, columns.max, means, columns.first,
            columns.last, [None] * len(means),
        )  # fmt: skip

    def _bucket(self, columns: Columns, of: tuple[int, int, int]) -> Bucket:
        number, begin, end = of
        since, until = self._edges[number], self._edges[number + 1]
        if end - begin == 1:
            return Bucket(
                since, until, columns.n[begin], columns.suspects[begin], columns.min[begin], columns.max[begin],
                None, columns.first[begin], columns.last[begin],
            )  # fmt: skip
        firsts, lasts = columns.first[begin:end], columns.last[begin:end]
        return Bucket(
            since,
            until,
            sum(columns.n[begin:end]),
            sum(columns.suspects[begin:end]),
            extreme(min, columns.min[begin:end]),
            extreme(max, columns.max[begin:end]),
            None,
            next((one for one in firsts if one is not None), None),
            next((one for one in reversed(lasts) if one is not None), None),
        )

    async def _consumed(
        self, one: Series, columns: Columns, before: _Before | None, changes: Sequence[MeterChange]
    ) -> Aggregated:
        slices = slices_of(columns.at, self._edges)
        buckets = [self._bucket(columns, of) for of in slices]
        spans = [consumption.Bucket(bucket.since, bucket.until) for bucket in buckets]
        readings: list[IndexReading] = []
        if before is not None:
            spans.insert(0, consumption.Bucket(*self._bucket_at(before.at - AT_THE_EDGE)))
            readings.append(IndexReading(before.at, before.value))
        for _, begin, end in slices:
            if changes:
                readings += await self._indexes_beside(one, columns, range(begin, end), changes)
            else:
                readings += self._indexes(columns, begin, end)
        consumed = consumption.consumption(spans, readings, changes, one.moduli, known_for(one.expected))
        of_buckets = consumed.by_bucket if before is None else consumed.by_bucket[1:]
        return Aggregated.of(
            ((*bucket[:9], rise) for bucket, rise in zip(buckets, of_buckets, strict=True)), consumed.gaps
        )

    async def _indexes_beside(
        self, one: Series, columns: Columns, places: Iterable[int], changes: Sequence[MeterChange]
    ) -> list[IndexReading]:
        """Of a piece in which a meter was changed the very readings; what its rollup knows where they are gone."""
        indexes: list[IndexReading] = []
        for place in places:
            piece = columns.piece(place, self._day_ends)
            inside = [change for change in changes if piece.since < change.at <= piece.until]
            rows: Sequence[Any] = ()
            if inside:
                rows = await self._connection.fetch(RAW_INDEXES, one.id, piece.since, piece.until)
            if len(rows) == piece.readings:
                indexes += [IndexReading(*row) for row in rows]
            else:
                indexes += indexes_of(piece, inside)
        return indexes

    def _indexes(self, columns: Columns, begin: int, end: int) -> Iterable[IndexReading]:
        """Readings that say what a bucket has consumed: where it never fell, the first and the last one."""
        if end - begin == 1 and not columns.falls:
            first_at, last_at, only = columns.first_at[begin], columns.last_at[begin], columns.last[begin]
            if first_at is not None and last_at is not None and only is not None:
                ending = IndexReading(last_at, only)
                return [ending] if first_at == last_at else [IndexReading(first_at, columns.first[begin]), ending]
        firsts, lasts = columns.first[begin:end], columns.last[begin:end]
        first_ats, last_ats = columns.first_at[begin:end], columns.last_at[begin:end]
        ats = columns.at[begin:end]
        if (
            not columns.falls.keys().isdisjoint(ats)
            or None in first_ats
            or None in lasts
            or not all(map(operator.le, lasts, firsts[1:]))
        ):
            pieces = [columns.piece(place, self._day_ends) for place in range(begin, end)]
            return [reading for piece in pieces if piece.readings for reading in indexes_of(piece)]
        since, until = first_ats[0], last_ats[-1]
        assert since is not None and until is not None  # noqa: S101, PT018 - None is none of them.
        last = IndexReading(until, lasts[-1])
        return [last] if since == until else [IndexReading(since, firsts[0]), last]

    def _with_means(self, one: Series, columns: Columns, before: _Before | None) -> Aggregated:
        buckets = [self._bucket(columns, of) for of in slices_of(columns.at, self._edges)]
        pieces = [columns.piece(place, self._day_ends) for place in range(len(columns.at))]
        means = state_means(
            [consumption.Bucket(bucket.since, bucket.until) for bucket in buckets],
            [
                StatePiece(piece.until, piece.first_at, piece.last_at, piece.last, piece.seconds, piece.weighted)
                for piece in pieces
                if piece.last is not None
            ],
            None if before is None or not before.is_exact else StateReading(before.at, before.value),
            known_for(one.expected),
            min(self._until, self._now),
        )
        return Aggregated.of(bucket._replace(mean=mean) for bucket, mean in zip(buckets, means, strict=True))

    def _bucket_at(self, at: datetime) -> tuple[datetime, datetime]:
        edges = any_edges_of(at, at + AT_THE_EDGE, self._unit, self._zone)
        return edges[0], edges[1]

    def _day_of(self, hour: datetime) -> datetime:
        return midnight(hour.astimezone(self._zone).date(), self._zone)
