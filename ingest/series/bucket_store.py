"""Hours, local days, weeks, months and years of one datastream, from rollups where these are up to date.

Everything goes through the views that row security bounds. An hour is read from raw while it goes on and while the
dirty log names it; what is asked first and read afterwards may be behind what is written meanwhile, never wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.messages.measurements import SOUND, UNSOUND
from core.model import consumption
from core.model.consumption import Amount, IndexReading, MeterChange, Modulus
from core.model.quantities import Kind
from core.model.time_weighted import StatePiece, StateReading, state_means
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection

HOUR = timedelta(hours=1)
# An instant on an edge begins a bucket; an index there ends one.
AT_THE_EDGE = timedelta(microseconds=1)
# Whose readings have an order that matters: indexes rise, states last.
IN_ORDER = frozenset({Kind.COUNTER, Kind.BOOLEAN})

# The whole buckets that touch the range, their calendar, and which of their hours are to be read from raw.
# $1 to $2: the range; $3: hour, day, week, month or year; $4: time zone; $5: the datastream.
FRAME = """
SELECT edge.since, edge.until, clock.open, date_trunc('day', clock.open, $4) AS open_day, now() AS now,
       (SELECT timezone FROM deployment) = $4 AS is_own_calendar,
       extract(epoch FROM edge.since)::bigint % 3600 = 0 AND extract(epoch FROM edge.until)::bigint % 3600 = 0
       AND (SELECT bool_and(extract(epoch FROM date_trunc('day', day, $4))::bigint % 3600 = 0)
            FROM generate_series(edge.since, edge.until, interval '7 days') AS day) AS is_on_the_hour,
       ARRAY(SELECT DISTINCT hour FROM unrolled
             WHERE datastream_id = $5 AND hour < least(edge.until, clock.open) ORDER BY hour) AS stale,
       ARRAY(SELECT DISTINCT date_trunc('day', hour, $4) FROM unrolled
             WHERE datastream_id = $5 AND hour < least(edge.until, clock.open)) AS stale_days
FROM (
    SELECT date_trunc($3, $1::timestamptz, $4) AS since,
           date_add(date_trunc($3, $2::timestamptz - interval '1 microsecond', $4),
                    ('1 ' || $3)::interval, $4) AS until
) AS edge, (SELECT date_trunc('hour', now(), 'UTC') AS open) AS clock
"""
# What a rollup holds of raw measurements; suspects (flags 1 and 2) are counted only.
AGGREGATED = f"""
           (count(*) FILTER (WHERE {SOUND}))::int AS n,
           (count(*) FILTER (WHERE {UNSOUND}))::int AS suspects,
           sum(value) FILTER (WHERE {SOUND}) AS sum,
           min(value) FILTER (WHERE {SOUND}) AS min, max(value) FILTER (WHERE {SOUND}) AS max,
           first(value, time) FILTER (WHERE {SOUND}) AS first,
           last(value, time) FILTER (WHERE {SOUND}) AS last
"""
ROLLED_UP = "n, suspects, min, max, first, last, first_at, last_at, seconds, weighted, falls"
# $1: datastream; $2 to $3: raw instants to look at; $4: the edge's microsecond; $5: from when on all is raw;
# $6: the hours before that are raw.
RAW_HOURS = f"""
    SELECT date_trunc('hour', time - $4::interval, 'UTC') AS bucket, {AGGREGATED}
    FROM measurement
    WHERE datastream_id = $1 AND time >= $2 AND time < $3
      AND (time - $4 >= $5 OR date_trunc('hour', time - $4, 'UTC') = ANY($6::timestamptz[]))
    GROUP BY 1
"""
# $7: the first bucket.
HOURS = f"""
SELECT bucket AS since, bucket + interval '1 hour' AS until, n AS readings, suspects,
       min AS minimum, max AS maximum, sum / nullif(n, 0) AS mean, first, last
FROM (
    SELECT bucket, n, suspects, sum, min, max, first, last FROM rollup_hour
    WHERE datastream_id = $1 AND bucket >= $7 AND bucket < $5 AND bucket <> ALL($6)
    UNION ALL {RAW_HOURS}
) AS hour ORDER BY bucket
"""
# $8: time zone; $9: before it, days but those of $10 are ready made; $11: the first hour in none of these;
# $12: day, week, month or year.
DAYS = f"""
SELECT date_trunc($12, bucket, $8) AS since,
       date_add(date_trunc($12, bucket, $8), ('1 ' || $12)::interval, $8) AS until,
       sum(n)::int AS readings, sum(suspects)::int AS suspects, min(min) AS minimum, max(max) AS maximum,
       sum(sum) / nullif(sum(n), 0) AS mean,
       first(first, bucket) FILTER (WHERE n > 0) AS first, last(last, bucket) FILTER (WHERE n > 0) AS last
FROM (
    SELECT bucket, n, suspects, sum, min, max, first, last FROM rollup_day
    WHERE datastream_id = $1 AND bucket >= $7 AND bucket < $9 AND bucket <> ALL($10::timestamptz[])
    UNION ALL
    SELECT bucket, n, suspects, sum, min, max, first, last FROM rollup_hour
    WHERE datastream_id = $1 AND bucket >= $11 AND bucket < $5 AND bucket <> ALL($6)
      AND (bucket >= $9 OR date_trunc('day', bucket, $8) = ANY($10))
    UNION ALL {RAW_HOURS}
) AS piece GROUP BY 1, 2 ORDER BY 1
"""


# What buckets of $12 are put together from, in order: days that are ready made, else hours, each with the bucket
# that it belongs to and what a rollup holds of it. $13: how long a state is known after a reading.
PIECES = f"""
SELECT date_trunc($12, bucket, $8) AS of_since,
       date_add(date_trunc($12, bucket, $8), ('1 ' || $12)::interval, $8) AS of_until,
       bucket AS since, ends AS until, {ROLLED_UP}
FROM (
    SELECT bucket, date_add(bucket, interval '1 day', $8) AS ends, {ROLLED_UP} FROM rollup_day
    WHERE datastream_id = $1 AND bucket >= $7 AND bucket < $9 AND bucket <> ALL($10::timestamptz[])
    UNION ALL
    SELECT bucket, bucket + interval '1 hour', {ROLLED_UP} FROM rollup_hour
    WHERE datastream_id = $1 AND bucket >= $11 AND bucket < $5 AND bucket <> ALL($6)
      AND (bucket >= $9 OR date_trunc('day', bucket, $8) = ANY($10))
    UNION ALL
    SELECT bucket, bucket + interval '1 hour', (count(*) FILTER (WHERE sound))::int,
           (count(*) FILTER (WHERE NOT sound))::int,
           min(value) FILTER (WHERE sound), max(value) FILTER (WHERE sound),
           first(value, time) FILTER (WHERE sound), last(value, time) FILTER (WHERE sound),
           min(time) FILTER (WHERE sound), max(time) FILTER (WHERE sound),
           sum(seconds) FILTER (WHERE sound), sum(seconds * value) FILTER (WHERE sound),
           nullif(concat_arrays(ARRAY[former, value] ORDER BY time)
                  FILTER (WHERE sound AND value < former), '{{}}')
    FROM (
        SELECT bucket, time, value, sound, lag(value) OVER in_time AS former,
               greatest(0, extract(epoch FROM least(lead(time) OVER in_time, bucket + interval '1 hour',
                                                    time + $13::interval, now()) - time))::float8 AS seconds
        FROM (
            SELECT date_trunc('hour', time - $4::interval, $8) AS bucket, time, value, {SOUND} AS sound
            FROM measurement
            WHERE datastream_id = $1 AND time >= $2 AND time < $3
              AND (time - $4 >= $5 OR date_trunc('hour', time - $4, 'UTC') = ANY($6::timestamptz[]))
        ) AS raw
        WINDOW in_time AS (PARTITION BY bucket, sound ORDER BY time)
    ) AS reading GROUP BY bucket
) AS piece ORDER BY bucket
"""
# The last sound reading up to an edge, from whichever of the two has the later; of an old rollup nobody knows when
# in its hour. $7: before this hour; $8: hour, day...; $9: time zone.
READING_BEFORE = f"""
SELECT at, last, is_exact, date_trunc($8, at - $4, $9) AS of_since,
       date_add(date_trunc($8, at - $4, $9), ('1 ' || $8)::interval, $9) AS of_until
FROM (
    (SELECT bucket, coalesce(last_at, bucket + interval '1 hour') AS at, last, last_at IS NOT NULL AS is_exact
     FROM rollup_hour
     WHERE datastream_id = $1 AND bucket < least($7::timestamptz, $5) AND n > 0 AND bucket <> ALL($6)
     ORDER BY bucket DESC LIMIT 1)
    UNION ALL
    (SELECT date_trunc('hour', time - $4::interval, 'UTC'), time, value, true FROM measurement
     WHERE datastream_id = $1 AND time >= $2 AND time < $3 AND {SOUND}
       AND (time - $4 >= $5 OR date_trunc('hour', time - $4, 'UTC') = ANY($6::timestamptz[]))
     ORDER BY time DESC LIMIT 1)
) AS known ORDER BY bucket DESC LIMIT 1
"""
# For zones that are not whole hours from UTC, whose buckets cannot be put together from hours. date_trunc knows
# the local calendar for hours and days alike; time_bucket by a zone takes the two hours between 2 and 3 of an
# October night for one. $4: hour or day...; $5: time zone; $6: the edge's microsecond.
RAW_BUCKETS = f"""
SELECT bucket AS since, date_add(bucket, ('1 ' || $4)::interval, $5) AS until,
       (count(*) FILTER (WHERE sound))::int AS readings, (count(*) FILTER (WHERE NOT sound))::int AS suspects,
       min(value) FILTER (WHERE sound) AS minimum, max(value) FILTER (WHERE sound) AS maximum,
       avg(value) FILTER (WHERE sound) AS mean,
       first(value, time) FILTER (WHERE sound) AS first, last(value, time) FILTER (WHERE sound) AS last
FROM (
    SELECT date_trunc($4, time - $6::interval, $5) AS bucket, time, value, {SOUND} AS sound
    FROM measurement WHERE datastream_id = $1 AND time >= $2 AND time < $3
) AS readings
GROUP BY bucket ORDER BY bucket
"""
CHANGES = """
SELECT at, final_index, initial_index FROM meter_change WHERE datastream_id = $1 AND at <= $2 ORDER BY at
"""
PROFILES = "SELECT since, modulus, expected_interval FROM counter_profiles($1) ORDER BY since"
RAW_INDEXES = f"""
SELECT time, value FROM measurement
WHERE datastream_id = $1 AND time > $2 AND time <= $3 AND {SOUND} ORDER BY time
"""


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


@dataclass(frozen=True, slots=True)
class Aggregated:
    """Buckets; of an index also what was consumed over gaps."""

    buckets: list[Bucket]
    gaps: list[Amount] = field(default_factory=list[Amount])


class Piece(NamedTuple):
    """An hour or a day of a rollup, or what it would be, and the bucket that it belongs to."""

    of_since: datetime
    of_until: datetime
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


class _Before(NamedTuple):
    """The last sound reading before the first bucket, and the bucket that holds it."""

    at: datetime
    value: float
    is_exact: bool
    of_since: datetime
    of_until: datetime


@dataclass(frozen=True, slots=True)
class _BucketRange:
    """The buckets' range, and where rollups end: raw from `open` on, and in the `stale` hours before."""

    since: datetime
    until: datetime
    open: datetime
    open_day: datetime
    now: datetime
    is_own_calendar: bool
    is_on_the_hour: bool
    stale: list[datetime]
    stale_days: list[datetime]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A datastream's buckets."""

    datastream_id: int
    bucket: str
    timezone: str
    edge: timedelta


async def read_buckets(
    connection: Connection,
    datastream_id: int,
    since: datetime,
    until: datetime,
    *,
    bucket: str,
    timezone: str,
    kind: Kind,
) -> Aggregated:
    """The hours, days, weeks, months or years of the local calendar that touch the range and have readings.

    A reading of an index at an edge belongs to the bucket that it ends. The mean of a state is weighted by time,
    any other is that of the readings. Raises PostgresError (BAD_DATA) for an unknown time zone.
    """
    row = await connection.fetchrow(FRAME, since, until, bucket, timezone, datastream_id)
    assert row is not None  # noqa: S101 - One row of edges, always.
    frame = _BucketRange(**dict(row.items()))
    asked = _Asked(datastream_id, bucket, timezone, AT_THE_EDGE if kind is Kind.COUNTER else timedelta(0))
    if kind in IN_ORDER:
        return await _read_in_order(connection, asked, frame, kind)
    if not frame.is_on_the_hour:
        rows = await connection.fetch(
            RAW_BUCKETS, datastream_id, frame.since, frame.until, bucket, timezone, asked.edge
        )
    elif bucket == "hour":
        rows = await connection.fetch(HOURS, *_raw(asked, frame, frame.since, frame.until), frame.since)
    else:
        rows = await connection.fetch(DAYS, *_rolled_up(asked, frame), bucket)
    return Aggregated([Bucket(*row) for row in rows])


async def _read_in_order(connection: Connection, asked: _Asked, frame: _BucketRange, kind: Kind) -> Aggregated:
    profiles = await connection.fetch(PROFILES, asked.datastream_id)
    expected: timedelta = profiles[-1]["expected_interval"] if profiles else timedelta(hours=1)
    unknown_after = known_for(expected)
    rows = await connection.fetch(PIECES, *_rolled_up(asked, frame), asked.bucket, unknown_after)
    pieces = [Piece(*row) for row in rows]
    if not pieces:
        return Aggregated([])
    before = await _read_before(connection, asked, frame)
    buckets = _put_together(pieces)
    if kind is Kind.BOOLEAN:
        return Aggregated(_with_means(buckets, pieces, before, unknown_after, min(frame.until, frame.now)))
    changes = [MeterChange(*row) for row in await connection.fetch(CHANGES, asked.datastream_id, frame.until)]
    moduli = [Modulus(finite(row["since"]), row["modulus"]) for row in profiles]
    return await _consumed(connection, asked, buckets, pieces, before, changes, moduli, unknown_after)


async def _read_before(connection: Connection, asked: _Asked, frame: _BucketRange) -> _Before | None:
    beginning = datetime.min.replace(tzinfo=frame.since.tzinfo)
    raw = _raw(asked, frame, beginning, frame.since)
    row = await connection.fetchrow(READING_BEFORE, *raw, frame.since, asked.bucket, asked.timezone)
    return None if row is None else _Before(*row)


def _put_together(pieces: Sequence[Piece]) -> list[Bucket]:
    """The buckets of pieces, but for means and differences."""
    buckets: list[Bucket] = []
    for piece in pieces:
        if not buckets or buckets[-1].since != piece.of_since:
            buckets.append(Bucket(piece.of_since, piece.of_until, 0, 0, None, None, None, None, None))
        former = buckets[-1]
        buckets[-1] = Bucket(
            former.since,
            former.until,
            former.readings + piece.readings,
            former.suspects + piece.suspects,
            min(_known(former.minimum, piece.minimum), default=None),
            max(_known(former.maximum, piece.maximum), default=None),
            None,
            piece.first if former.first is None else former.first,
            former.last if piece.last is None else piece.last,
        )
    return buckets


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _with_means(
    buckets: list[Bucket], pieces: Sequence[Piece], before: _Before | None, held_for: timedelta, until: datetime
) -> list[Bucket]:
    state = None if before is None or not before.is_exact else StateReading(before.at, before.value)
    read = [
        StatePiece(one.until, one.first_at, one.last_at, one.last, one.seconds, one.weighted)
        for one in pieces
        if one.last is not None
    ]
    spans = [consumption.Bucket(bucket.since, bucket.until) for bucket in buckets]
    means = state_means(spans, read, state, held_for, until)
    return [bucket._replace(mean=mean) for bucket, mean in zip(buckets, means, strict=True)]


async def _consumed(
    connection: Connection,
    asked: _Asked,
    buckets: list[Bucket],
    pieces: Sequence[Piece],
    before: _Before | None,
    changes: list[MeterChange],
    moduli: list[Modulus],
    unknown_after: timedelta,
) -> Aggregated:
    """The buckets with what was consumed in each, and what was consumed over gaps."""
    spans = [consumption.Bucket(bucket.since, bucket.until) for bucket in buckets]
    readings: list[IndexReading] = []
    if before is not None:
        spans.insert(0, consumption.Bucket(before.of_since, before.of_until))
        readings.append(IndexReading(before.at, before.value))
        changes = [change for change in changes if change.at > before.at]
    for piece in pieces:
        if piece.readings:
            inside = [change for change in changes if piece.since < change.at <= piece.until]
            readings += await _raw_indexes(connection, asked, piece, inside) if inside else indexes_of(piece)
    consumed = consumption.consumption(spans, readings, changes, moduli, unknown_after)
    of_buckets = consumed.by_bucket if before is None else consumed.by_bucket[1:]
    return Aggregated(
        [bucket._replace(difference=one) for bucket, one in zip(buckets, of_buckets, strict=True)], consumed.gaps
    )


async def _raw_indexes(
    connection: Connection, asked: _Asked, piece: Piece, changes: Sequence[MeterChange]
) -> list[IndexReading]:
    """The very readings of a piece in which a meter was changed; what its rollup knows where they are gone."""
    rows = await connection.fetch(RAW_INDEXES, asked.datastream_id, piece.since, piece.until)
    return [IndexReading(*row) for row in rows] if len(rows) == piece.readings else indexes_of(piece, changes)


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


def _rolled_up(asked: _Asked, frame: _BucketRange) -> tuple[object, ...]:
    """The first eleven parameters: which days are ready made, which hours are rolled up, and which are raw."""
    ready = frame.since
    if asked.bucket != "hour" and frame.is_own_calendar and frame.is_on_the_hour:
        ready = max(min(frame.open_day, frame.until), frame.since)
    torn = [day for day in frame.stale_days if frame.since <= day < ready]
    raw = _raw(asked, frame, frame.since, frame.until)
    return (*raw, frame.since, asked.timezone, ready, torn, min([ready, *torn]))


def _raw(
    asked: _Asked, frame: _BucketRange, since: datetime, until: datetime
) -> tuple[int, datetime, datetime, timedelta, datetime, Sequence[datetime]]:
    """The first six parameters: which hours from `since` to before `until` are to be read from raw.

    Its instants are bounded as narrowly as can be, so that few chunks are planned for.
    """
    boundary = asked.edge
    if not frame.is_on_the_hour:
        return asked.datastream_id, since + boundary, until + boundary, boundary, since, []
    stale = [hour for hour in frame.stale if since <= hour < until]
    closed = min(max(frame.open, since), until)
    ranges = [(stale[0], stale[-1] + HOUR)] if stale else []
    if closed < until or not ranges:
        ranges.append((closed, until))
    begin, end = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    return asked.datastream_id, begin + boundary, end + boundary, boundary, closed, stale
