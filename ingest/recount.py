"""Compares rollups and last values with raw measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.messages.measurements import SOUND
from core.runtime.postgres import Pool, Record
from ingest.rollups import COUNTERS, HELD_FOR, STATES
from lorawan.instants import EPOCH

# Sums are added up in another order than in the rollups, so they differ by rounding.
TOLERANCE = 1e-9


def _of_closed_hours(table: str, bucket: str) -> str:
    # $1: counters; $2: the first instant looked at; $3: how many differences to show; $4: the tolerance.
    return f"""
WITH reading AS (
    SELECT m.datastream_id, m.time, m.value, m.{SOUND} AS sound,
           m.time - CASE WHEN d.quantity = ANY($1::text[])
                    THEN interval '1 microsecond' ELSE interval '0' END AS at
    FROM observation.measurement m LEFT JOIN datastream d ON d.id = m.datastream_id
    WHERE m.time >= $2::timestamptz AND m.time <= date_trunc('hour', now(), 'UTC')
), forgotten AS (
    SELECT f.id, f.before FROM observation.forgotten f WHERE f.hypertable = 'measurement'
), raw AS (
    SELECT datastream_id, {bucket} AS bucket,
           count(*) FILTER (WHERE sound)::int AS n, count(*) FILTER (WHERE NOT sound)::int AS suspects,
           sum(value) FILTER (WHERE sound) AS sum,
           min(value) FILTER (WHERE sound) AS min, max(value) FILTER (WHERE sound) AS max,
           first(value, time) FILTER (WHERE sound) AS first, last(value, time) FILTER (WHERE sound) AS last
    FROM reading WHERE at < date_trunc('hour', now(), 'UTC')
    GROUP BY 1, 2
), stored AS (
    SELECT datastream_id, bucket, n, suspects, sum, min, max, first, last
    FROM observation.{table} WHERE bucket >= $2 AND bucket < date_trunc('hour', now(), 'UTC')
)
SELECT datastream_id, bucket, to_jsonb(s) AS stored, to_jsonb(r) AS recounted
FROM raw r FULL JOIN stored s USING (datastream_id, bucket)
WHERE bucket >= $2
  AND ((r.n, r.suspects, r.min, r.max, r.first, r.last)
         IS DISTINCT FROM (s.n, s.suspects, s.min, s.max, s.first, s.last)
       OR abs(r.sum - s.sum) > $4 * greatest(abs(r.sum), r.n * greatest(abs(r.min), abs(r.max)))
       OR (r.sum IS NULL) <> (s.sum IS NULL))
  AND NOT EXISTS (SELECT FROM forgotten f WHERE f.id IN (0, datastream_id) AND bucket < f.before)
ORDER BY datastream_id, bucket LIMIT $3
"""


def _of_order(table: str, bucket: str, end: str) -> str:
    # As above; $5: states. How long a state lasted depends on what its profile expected when it was rolled up.
    return f"""
WITH ordered AS (
    SELECT d.id, d.quantity = ANY($5::text[]) AS is_state, {HELD_FOR} AS held_for
    FROM datastream d LEFT JOIN device v ON v.id = d.device_id
    LEFT JOIN device_profile p ON p.id = v.device_profile_id
    WHERE d.quantity = ANY($1::text[] || $5)
), placed AS (
    SELECT o.*, m.time, m.value, {bucket} AS bucket
    FROM ordered o JOIN observation.measurement m ON m.datastream_id = o.id
    CROSS JOIN LATERAL (
        SELECT m.time - CASE WHEN o.is_state THEN interval '0' ELSE interval '1 microsecond' END AS at
    ) AS edge
    WHERE m.time >= $2::timestamptz AND m.time <= date_trunc('hour', now(), 'UTC') AND m.{SOUND}
      AND at < date_trunc('hour', now(), 'UTC')
), reading AS (
    SELECT *, lag(value) OVER in_time AS former,
           extract(epoch FROM least(lead(time) OVER in_time, {end}, time + held_for) - time)::float8 AS seconds
    FROM placed WINDOW in_time AS (PARTITION BY id, bucket ORDER BY time)
), raw AS (
    SELECT id AS datastream_id, bucket, min(time) AS first_at, max(time) AS last_at,
           sum(seconds) FILTER (WHERE is_state) AS seconds,
           sum(seconds * value) FILTER (WHERE is_state) AS weighted,
           nullif(concat_arrays(ARRAY[former, value] ORDER BY time)
                  FILTER (WHERE value < former AND NOT is_state), '{{}}') AS falls
    FROM reading GROUP BY id, bucket
), stored AS (
    SELECT datastream_id, bucket, first_at, last_at, seconds, weighted, falls
    FROM observation.{table}
    WHERE bucket >= $2 AND bucket < date_trunc('hour', now(), 'UTC') AND first_at IS NOT NULL
)
SELECT datastream_id, bucket, to_jsonb(s) AS stored, to_jsonb(r) AS recounted
FROM raw r JOIN stored s USING (datastream_id, bucket)
WHERE bucket >= $2
  AND ((r.first_at, r.last_at, r.falls) IS DISTINCT FROM (s.first_at, s.last_at, s.falls)
       OR (r.seconds IS NULL) <> (s.seconds IS NULL) OR abs(r.seconds - s.seconds) > $4 * r.seconds + $4
       OR (r.weighted IS NULL) <> (s.weighted IS NULL) OR abs(r.weighted - s.weighted) > $4 * abs(r.seconds) + $4)
  AND NOT EXISTS (
      SELECT FROM observation.forgotten f
      WHERE f.hypertable = 'measurement' AND f.id IN (0, datastream_id) AND bucket < f.before)
ORDER BY datastream_id, bucket LIMIT $3
"""


HOUR = "date_trunc('hour', at, 'UTC')"
DAY = "date_trunc('day', at, (SELECT timezone FROM deployment))"
COMPARE_HOURS = _of_closed_hours("rollup_hour", HOUR)
COMPARE_DAYS = _of_closed_hours("rollup_day", DAY)
# What only indexes and states have, since it was added: rollups of before are no difference.
COMPARE_ORDER_OF_HOURS = _of_order("rollup_hour", HOUR, "bucket + interval '1 hour'")
COMPARE_ORDER_OF_DAYS = _of_order(
    "rollup_day", DAY, "date_add(bucket, interval '1 day', (SELECT timezone FROM deployment))"
)
COMPARE_LATEST = """
WITH raw AS (
    SELECT DISTINCT ON (datastream_id) datastream_id, time, value, flags
    FROM observation.measurement WHERE time >= $1::timestamptz AND flags & 2 = 0 ORDER BY datastream_id, time DESC
), stored AS (
    SELECT datastream_id, time, value, flags FROM observation.latest WHERE time >= $1
)
SELECT datastream_id, coalesce(r.time, s.time) AS bucket, to_jsonb(s) AS stored, to_jsonb(r) AS recounted
FROM raw r FULL JOIN stored s USING (datastream_id)
WHERE (r.time, r.value, r.flags) IS DISTINCT FROM (s.time, s.value, s.flags)
  AND NOT EXISTS (
      SELECT FROM observation.forgotten f
      WHERE f.hypertable = 'measurement' AND f.id IN (0, datastream_id) AND coalesce(s.time, r.time) < f.before)
ORDER BY datastream_id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not what raw measurements give; None: there is none on that side."""

    table: str
    datastream_id: int
    bucket: datetime  # Of `latest`: the instant of the last reading.
    stored: dict[str, Any] | None
    recounted: dict[str, Any] | None


async def recount(pool: Pool, since: datetime = EPOCH, *, most: int = 20) -> list[Difference]:
    """Differences between raw measurements and rollup_hour, rollup_day (of hours that are over) and latest.

    At most twice `most` of each table, empty when all is well. Looks at buckets from `since` on, best a local
    day's beginning; what was dropped from raw cannot be compared and is skipped. Make rollups by force before.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        hours = await connection.fetch(COMPARE_HOURS, COUNTERS, since, most, TOLERANCE, timeout=600)
        days = await connection.fetch(COMPARE_DAYS, COUNTERS, since, most, TOLERANCE, timeout=600)
        of_order = (COUNTERS, since, most, TOLERANCE, STATES)
        hours += await connection.fetch(COMPARE_ORDER_OF_HOURS, *of_order, timeout=600)
        days += await connection.fetch(COMPARE_ORDER_OF_DAYS, *of_order, timeout=600)
        latest = await connection.fetch(COMPARE_LATEST, since, most, timeout=600)
    return [
        *_differences("rollup_hour", hours),
        *_differences("rollup_day", days),
        *_differences("latest", latest),
    ]


def _differences(table: str, rows: Sequence[Record]) -> list[Difference]:
    return [
        Difference(table, row["datastream_id"], row["bucket"], row["stored"], row["recounted"]) for row in rows
    ]
