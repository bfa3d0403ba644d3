"""Hours and local days of one datastream: from rollups where they are up to date, elsewhere from raw measurements.

Everything goes through the views that row security bounds. An hour is read from raw while it goes on and while the
dirty log names it; what is asked first and read afterwards may be behind what is written meanwhile, never wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from core.runtime.postgres import Connection

HOUR = timedelta(hours=1)
# An instant on an edge begins a bucket; an index there ends one.
AT_THE_EDGE = timedelta(microseconds=1)

# The whole buckets that touch the range, their calendar, and which of their hours are to be read from raw.
# $1 to $2: the range; $3: hour or day; $4: time zone; $5: the datastream.
FRAME = """
SELECT edge.since, edge.until, clock.open, date_trunc('day', clock.open, $4) AS open_day,
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
AGGREGATED = """
           (count(*) FILTER (WHERE flags & 3 = 0))::int AS n,
           (count(*) FILTER (WHERE flags & 3 <> 0))::int AS suspects,
           sum(value) FILTER (WHERE flags & 3 = 0) AS sum,
           min(value) FILTER (WHERE flags & 3 = 0) AS min, max(value) FILTER (WHERE flags & 3 = 0) AS max,
           first(value, time) FILTER (WHERE flags & 3 = 0) AS first,
           last(value, time) FILTER (WHERE flags & 3 = 0) AS last
"""
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
# $8: time zone; $9: before it, days but those of $10 are ready made; $11: the first hour in none of these.
DAYS = f"""
SELECT date_trunc('day', bucket, $8) AS since,
       date_add(date_trunc('day', bucket, $8), interval '1 day', $8) AS until,
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
) AS piece GROUP BY 1 ORDER BY 1
"""
# The last index up to an hour's edge, from whichever of the two has the later. $7: before this hour.
INDEX_BEFORE = """
SELECT last FROM (
    (SELECT bucket, last FROM rollup_hour
     WHERE datastream_id = $1 AND bucket < least($7::timestamptz, $5) AND n > 0 AND bucket <> ALL($6)
     ORDER BY bucket DESC LIMIT 1)
    UNION ALL
    (SELECT date_trunc('hour', time - $4::interval, 'UTC'), value FROM measurement
     WHERE datastream_id = $1 AND time >= $2 AND time < $3 AND flags & 3 = 0
       AND (time - $4 >= $5 OR date_trunc('hour', time - $4, 'UTC') = ANY($6::timestamptz[]))
     ORDER BY time DESC LIMIT 1)
) AS known ORDER BY bucket DESC LIMIT 1
"""
# For zones that are not whole hours from UTC, whose buckets cannot be put together from hours. date_trunc knows
# the local calendar for hours and days alike; time_bucket by a zone takes the two hours between 2 and 3 of an
# October night for one. $4: hour or day; $5: time zone; $6: the edge's microsecond.
RAW_BUCKETS = """
SELECT bucket AS since, date_add(bucket, ('1 ' || $4)::interval, $5) AS until,
       (count(*) FILTER (WHERE sound))::int AS readings, (count(*) FILTER (WHERE NOT sound))::int AS suspects,
       min(value) FILTER (WHERE sound) AS minimum, max(value) FILTER (WHERE sound) AS maximum,
       avg(value) FILTER (WHERE sound) AS mean,
       first(value, time) FILTER (WHERE sound) AS first, last(value, time) FILTER (WHERE sound) AS last
FROM (
    SELECT date_trunc($4, time - $6::interval, $5) AS bucket, time, value, flags & 3 = 0 AS sound
    FROM measurement WHERE datastream_id = $1 AND time >= $2 AND time < $3
) AS readings
GROUP BY bucket ORDER BY bucket
"""
RAW_INDEX_BEFORE = """
SELECT value FROM measurement
WHERE datastream_id = $1 AND time < $2 AND flags & 3 = 0 ORDER BY time DESC LIMIT 1
"""


class Bucket(NamedTuple):
    """Readings of one hour or day; suspects are counted and left out of the rest."""

    since: datetime
    until: datetime
    readings: int
    suspects: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class _BucketRange:
    """The buckets' range, and where rollups end: raw from `open` on, and in the `stale` hours before."""

    since: datetime
    until: datetime
    open: datetime
    open_day: datetime
    is_own_calendar: bool
    is_on_the_hour: bool
    stale: list[datetime]
    stale_days: list[datetime]


async def read_buckets(
    connection: Connection,
    datastream_id: int,
    since: datetime,
    until: datetime,
    *,
    bucket: str,
    timezone: str,
    is_index: bool,
) -> tuple[list[Bucket], float | None]:
    """The hours or local days that touch the range and have readings, and the last index before them.

    `is_index`: a reading at an edge belongs to the bucket that it ends, so that differences of indexes are those
    of the edges. Raises PostgresError (BAD_DATA) for an unknown time zone.
    """
    row = await connection.fetchrow(FRAME, since, until, bucket, timezone, datastream_id)
    assert row is not None  # noqa: S101 - One row of edges, always.
    frame = _BucketRange(**dict(row.items()))
    edge = AT_THE_EDGE if is_index else timedelta(0)
    if not frame.is_on_the_hour:
        begin, end = frame.since + edge, frame.until + edge
        rows = await connection.fetch(RAW_BUCKETS, datastream_id, begin, end, bucket, timezone, edge)
        before = await connection.fetchval(RAW_INDEX_BEFORE, datastream_id, begin) if is_index and rows else None
        return [Bucket(*row) for row in rows], before
    raw = _raw(datastream_id, frame, frame.since, frame.until, edge)
    if bucket == "hour":
        rows = await connection.fetch(HOURS, *raw, frame.since)
    else:
        ready = min(frame.open_day, frame.until) if frame.is_own_calendar else frame.since
        ready = max(ready, frame.since)
        torn = [day for day in frame.stale_days if frame.since <= day < ready]
        rows = await connection.fetch(DAYS, *raw, frame.since, timezone, ready, torn, min([ready, *torn]))
    before = None
    if is_index and rows:
        raw = _raw(datastream_id, frame, datetime.min.replace(tzinfo=frame.since.tzinfo), frame.since, edge)
        before = await connection.fetchval(INDEX_BEFORE, *raw, frame.since)
    return [Bucket(*row) for row in rows], before


def _raw(
    datastream_id: int, frame: _BucketRange, since: datetime, until: datetime, boundary: timedelta
) -> tuple[int, datetime, datetime, timedelta, datetime, Sequence[datetime]]:
    """The first six parameters: which hours from `since` to before `until` are to be read from raw.

    Its instants are bounded as narrowly as can be, so that few chunks are planned for.
    """
    stale = [hour for hour in frame.stale if since <= hour < until]
    closed = min(max(frame.open, since), until)
    ranges = [(stale[0], stale[-1] + HOUR)] if stale else []
    if closed < until or not ranges:
        ranges.append((closed, until))
    begin, end = min(start for start, _ in ranges), max(stop for _, stop in ranges)
    return datastream_id, begin + boundary, end + boundary, boundary, closed, stale
