"""Buckets of many datastreams at once, in a local calendar, as `bucket_store` has them of one.

What is over is read from rollups, as arrays; hours that the dirty log names, and this hour, from raw. Where every
reading counts (a meter change inside the range), `bucket_store` reads that one datastream.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, repeat
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from core.model import consumption
from core.model.calendar_buckets import Unit, edges_of
from core.model.consumption import IndexReading
from core.model.quantities import Kind
from core.model.time_weighted import StatePiece, StateReading, state_means
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection
from ingest.series.bucket_store import (
    AT_THE_EDGE,
    HOUR,
    IN_ORDER,
    Aggregated,
    Bucket,
    indexes_of,
    read_buckets,
)
from ingest.series.series_choice import Series
from ingest.series.series_columns import Columns, extreme, floats, slices_of, total
from ingest.series.series_statements import (
    CHANGES_OF_MANY,
    CLOCK,
    DAYS,
    DAYS_IN_ORDER,
    HOURS,
    HOURS_BEFORE,
    HOURS_IN_ORDER,
    HOURS_OF_DAYS,
    RAW,
    RAW_OF_HOURS,
    STALE,
    WHOLE_DAYS,
    WHOLE_INDEX_BUCKETS,
)
from registry.rows import named_tuples


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
    """The buckets between these edges that have readings, of each datastream; it has `with_profiles`."""
    row = await connection.fetchrow(CLOCK)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    reading = _Reading(connection, series, edges, unit, zone, row["now"], row["open"], row["timezone"])
    return Read(await reading.read(), edges[-1] <= row["open"] and not reading.stale)


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
        self._sinces = list(edges[:-1])
        self._since, self._until = edges[0], edges[-1]
        self._open = opened
        # Hours before this one are over; days before that one are ready made.
        self._closed = max(self._since, min(self._until, opened))
        self._ready = self._since
        if unit != "hour" and own_timezone == zone.key:
            today = edges_of(opened, opened + AT_THE_EDGE, "day", zone)[0]
            self._ready = max(self._since, min(self._until, today))
        self.stale: set[tuple[int, datetime]] = set()
        """The hours within the range whose rollups are behind."""
        self._stale_before: dict[int, set[datetime]] = {}
        days = edges_of(self._since, self._until, "day", zone)
        self._day_ends = dict(pairwise(days))
        self._columns: dict[int, Columns] = {}

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
        await self._add_days(plain, ordered, torn)
        for chosen, hours in ((plain, HOURS), (ordered, HOURS_IN_ORDER)):
            await self._add_arrays(hours, chosen, self._ready, self._closed, self.stale, HOUR)
        if torn:
            await self._add_hours(torn)
        await self._add_raw(ids)
        for columns in self._columns.values():
            columns.put_in_order()
        before = await self._read_before([id_ for id_ in ordered if id_ in self._columns])
        return await self._put_together(before)

    async def _add_days(self, plain: list[int], ordered: list[int], torn: set[tuple[int, datetime]]) -> None:
        """What is ready made: of datastreams that may be read whole at once, of any other through its policy."""
        range_ = self._since, self._ready
        found = await self._add_arrays(WHOLE_DAYS, plain, *range_, torn, None)
        found |= await self._add_indexes(ordered, torn)
        for chosen, days in ((plain, DAYS), (ordered, DAYS_IN_ORDER)):
            await self._add_arrays(days, [id_ for id_ in chosen if id_ not in found], *range_, torn, None)

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

    async def _add_indexes(self, ids: list[int], torn: set[tuple[int, datetime]]) -> set[int]:
        """A piece for each bucket of the indexes that rose from day to day, which it returns."""
        touched = {id_ for id_, _ in torn}
        asked = [id_ for id_ in ids if id_ not in touched and self._series[id_].kind is Kind.COUNTER]
        if not asked or self._unit in {"hour", "day"} or self._ready <= self._since:
            return set()
        fell, made = set[int](), dict[int, Columns]()
        rows = await self._connection.fetch(WHOLE_INDEX_BUCKETS, asked, self._since, self._ready, self._edges)
        for id_, number, n, suspects, low, high, firsts, lasts, first_at, last_at, is_known in rows:
            if not is_known or (n and not all(map(operator.le, lasts, firsts[1:]))):
                fell.add(id_)
                continue
            first, last = (firsts[0], lasts[-1]) if n else (None, None)
            values = [n, suspects, low, high, first, last, None, first_at, last_at, None, None]
            place: int = number
            self._append(id_, self._edges[place - 1], self._edges[place], values, None, made)
        rose = made.keys() - fell
        self._columns |= {id_: made[id_] for id_ in rose}
        return rose

    async def _add_hours(self, torn: set[tuple[int, datetime]]) -> None:
        ids, days = [id_ for id_, _ in torn], [day for _, day in torn]
        for id_, *row in await self._connection.fetch(HOURS_OF_DAYS, ids, days, self._zone.key):
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
        reached = min(self._since, self._open)
        for id_, hour, at, value, is_exact in await self._connection.fetch(HOURS_BEFORE, ids, most, reached):
            if id_ not in before and hour not in behind.get(id_, ()):
                before[id_] = _Before(at, value, is_exact)
        pairs = [(id_, hour) for id_, hours in behind.items() for hour in hours]
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

    async def _put_together(self, before: Mapping[int, _Before]) -> dict[int, Aggregated]:
        counters = [id_ for id_ in self._columns if self._series[id_].kind is Kind.COUNTER]
        changed: set[int] = set()
        for id_, at, *_ in await self._connection.fetch(CHANGES_OF_MANY, counters) if counters else ():
            known = before.get(id_)
            if at <= self._until and (known is None or at > known.at):
                changed.add(id_)
        found: dict[int, Aggregated] = {}
        for id_, columns in sorted(self._columns.items()):
            one = self._series[id_]
            if not columns.at:
                continue
            if id_ in changed:
                found[id_] = await read_buckets(
                    self._connection, id_, self._since, self._until, bucket=self._unit, timezone=self._zone.key,
                    kind=one.kind,
                )  # fmt: skip
                continue
            match one.kind:
                case Kind.COUNTER:
                    found[id_] = self._consumed(one, columns, before.get(id_))
                case Kind.BOOLEAN:
                    found[id_] = self._with_means(one, columns, before.get(id_))
                case _:
                    found[id_] = Aggregated(self._averaged(columns))
        return found

    def _averaged(self, columns: Columns) -> list[Bucket]:
        sinces = columns.at
        if sinces == self._sinces:  # Each piece is a bucket, and none is missing: most days of most sensors.
            return self._as_they_are(columns, self._sinces, self._edges[1:])
        slices = slices_of(columns.at, self._edges)
        if len(slices) == len(sinces):
            numbers = [number for number, _, _ in slices]
            sinces = [self._edges[number] for number in numbers]
            return self._as_they_are(columns, sinces, [self._edges[number + 1] for number in numbers])
        buckets = [self._bucket(columns, one) for one in slices]
        return [
            bucket._replace(mean=total(columns.sum[begin:end]) / bucket.readings) if bucket.readings else bucket
            for bucket, (_, begin, end) in zip(buckets, slices, strict=True)
        ]

    @staticmethod
    def _as_they_are(columns: Columns, sinces: list[datetime], untils: list[datetime]) -> list[Bucket]:
        means = [total / n if n else None for total, n in zip(columns.sum, columns.n, strict=True)]
        kept = columns.n, columns.suspects, columns.min, columns.max, means, columns.first, columns.last
        return named_tuples(Bucket, zip(sinces, untils, *kept, repeat(None)))

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

    def _consumed(self, one: Series, columns: Columns, before: _Before | None) -> Aggregated:
        slices = slices_of(columns.at, self._edges)
        buckets = [self._bucket(columns, of) for of in slices]
        spans = [consumption.Bucket(bucket.since, bucket.until) for bucket in buckets]
        readings: list[IndexReading] = []
        if before is not None:
            spans.insert(0, consumption.Bucket(*self._bucket_at(before.at - AT_THE_EDGE)))
            readings.append(IndexReading(before.at, before.value))
        for _, begin, end in slices:
            readings += self._indexes(columns, begin, end)
        consumed = consumption.consumption(spans, readings, (), one.moduli, known_for(one.expected))
        of_buckets = consumed.by_bucket if before is None else consumed.by_bucket[1:]
        return Aggregated(
            named_tuples(Bucket, [(*bucket[:9], rise) for bucket, rise in zip(buckets, of_buckets, strict=True)]),
            consumed.gaps,
        )

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
        return Aggregated([bucket._replace(mean=mean) for bucket, mean in zip(buckets, means, strict=True)])

    def _bucket_at(self, at: datetime) -> tuple[datetime, datetime]:
        edges = edges_of(at, at + AT_THE_EDGE, self._unit, self._zone)
        return edges[0], edges[1]

    def _day_of(self, hour: datetime) -> datetime:
        return datetime.combine(hour.astimezone(self._zone).date(), datetime.min.time(), self._zone).astimezone(
            UTC
        )
