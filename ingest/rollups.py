"""Computes hourly and daily rollups from raw measurements (docs/architecture.md, "Rollups and retention").

Buckets are replaced, never added to: a batch may be repeated, and late data is right by construction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from core.messages.measurements import SOUND, UNSOUND
from core.model.quantities import QUANTITIES, Kind
from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection, Pool

# Arbitrary, ours: the advisory lock of rollups. It ends with the transaction, so it works through any pooler.
LOCK = 0x7E44170
# A transaction that measured in an hour has committed by then, and is not marking it through an earlier mark.
GRACE = timedelta(minutes=2)
# Datastream-hours made in one transaction: a quarter of a second at 12 readings an hour.
MOST_AT_ONCE = 5_000
HOUR = timedelta(hours=1)
# Of local days, with room.
LONGEST_DAY = timedelta(hours=26)
MICROSECOND = timedelta(microseconds=1)
# Chunks are seven days from the epoch: hours of one week are looked for in one chunk.
CHUNK_S = 7 * 86_400
COUNTERS = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.COUNTER)
STATES = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.BOOLEAN)

TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"
WAIT_FOR_LOCK = "SELECT pg_advisory_xact_lock($1)"
# A plan for the very arrays and bounds at hand: only chunks within the bounds are looked at.
PLAN_ANEW = "SET LOCAL plan_cache_mode = force_custom_plan"
READ_TIMEZONE = """
SELECT timezone,
       bool_and(extract(epoch FROM date_trunc('day', day, timezone))::bigint % 3600 = 0) AS on_the_hour
FROM deployment, generate_series(now() - interval '1 year', now(), interval '1 month') AS day
GROUP BY timezone
"""
# $1: how long ago an hour must have ended; $2: how many datastream-hours, beyond which no further row is taken.
TAKE_DIRTY = """
WITH oldest AS MATERIALIZED (
    SELECT ctid AS row, hour, cardinality(datastream_ids) AS size FROM observation.dirty
    WHERE hour < date_trunc('hour', now() - $1::interval, 'UTC')
    ORDER BY hour LIMIT 5000
), chosen AS (
    SELECT row FROM (SELECT row, size, sum(size) OVER (ORDER BY hour, row) AS reached FROM oldest) AS counted
    WHERE reached - size < $2
), taken AS (
    DELETE FROM observation.dirty WHERE ctid = ANY(ARRAY(SELECT row FROM chosen)) RETURNING hour, datastream_ids
), pair AS (
    SELECT DISTINCT u.id, date_trunc('hour', t.hour, 'UTC') AS hour
    FROM taken t CROSS JOIN LATERAL unnest(t.datastream_ids) AS u (id)
)
SELECT p.id, p.hour, EXISTS (
    SELECT FROM observation.forgotten f
    WHERE f.hypertable = 'measurement' AND f.id IN (0, p.id) AND p.hour < f.before
) AS forgotten, EXISTS (
    SELECT FROM observation.forgotten f
    WHERE f.hypertable = 'rollup_hour' AND f.id = p.id AND p.hour < f.before
) AS closed
FROM pair p ORDER BY p.hour, p.id
"""


FORGET_CORRECTIONS_AGAIN = """
DELETE FROM observation.correction c USING unnest($1::int[], $2::timestamptz[]) AS w (id, hour)
WHERE c.datastream_id = w.id AND c.time >= w.hour AND c.time < w.hour + interval '1 hour'
"""
# How long a state is known after a reading, at most.
HELD_FOR = f"{UNKNOWN_AFTER_INTERVALS} * p.expected_interval"
COLUMNS = "n, suspects, sum, min, max, first, last, first_at, last_at, seconds, weighted, falls"
SET = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS.split(", "))


def _from_raw(then: str) -> str:
    # $1, $2: datastreams and hours; $3: the quantities that are counters; $4, $5: between which all of it lies;
    # $6: the quantities that are states. Of anything else the order of readings does not matter: it costs less.
    return f"""
WITH wanted AS (
    SELECT w.id, w.hour + CASE WHEN d.quantity = ANY($3::text[])
                          THEN interval '1 microsecond' ELSE interval '0' END AS since, w.hour,
           coalesce(d.quantity = ANY($3 || $6::text[]), false) AS in_order, d.quantity = ANY($6) AS is_state,
           {HELD_FOR} AS held_for
    FROM unnest($1::int[], $2::timestamptz[]) AS w (id, hour) LEFT JOIN datastream d ON d.id = w.id
    LEFT JOIN device v ON v.id = d.device_id LEFT JOIN device_profile p ON p.id = v.device_profile_id
), made AS MATERIALIZED (
    SELECT w.id, w.hour AS bucket, a.*
    FROM wanted w CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE {SOUND})::int AS n,
               count(*) FILTER (WHERE {UNSOUND})::int AS suspects,
               sum(value) FILTER (WHERE {SOUND}) AS sum,
               min(value) FILTER (WHERE {SOUND}) AS min, max(value) FILTER (WHERE {SOUND}) AS max,
               first(value, time) FILTER (WHERE {SOUND}) AS first,
               last(value, time) FILTER (WHERE {SOUND}) AS last,
               NULL::timestamptz AS first_at, NULL::timestamptz AS last_at,
               NULL::float8 AS seconds, NULL::float8 AS weighted, NULL::float8[] AS falls
        FROM observation.measurement m
        WHERE m.datastream_id = w.id AND m.time >= w.since AND m.time < w.since + interval '1 hour'
          AND m.time >= $4::timestamptz AND m.time < $5::timestamptz AND NOT w.in_order
        HAVING NOT w.in_order
        UNION ALL
        SELECT count(*) FILTER (WHERE sound)::int, count(*) FILTER (WHERE NOT sound)::int,
               sum(value) FILTER (WHERE sound), min(value) FILTER (WHERE sound), max(value) FILTER (WHERE sound),
               first(value, time) FILTER (WHERE sound), last(value, time) FILTER (WHERE sound),
               min(time) FILTER (WHERE sound), max(time) FILTER (WHERE sound),
               sum(seconds) FILTER (WHERE sound AND w.is_state),
               sum(seconds * value) FILTER (WHERE sound AND w.is_state),
               nullif(concat_arrays(ARRAY[former, value] ORDER BY time)
                      FILTER (WHERE sound AND value < former AND NOT w.is_state), '{{}}')
        FROM (
            SELECT time, value, {SOUND} AS sound, lag(value) OVER in_time AS former,
                   extract(epoch FROM least(lead(time) OVER in_time, w.hour + interval '1 hour', time + w.held_for)
                                      - time)::float8 AS seconds
            FROM observation.measurement m
            WHERE m.datastream_id = w.id AND m.time >= w.since AND m.time < w.since + interval '1 hour'
              AND m.time >= $4 AND m.time < $5 AND w.in_order
            WINDOW in_time AS (PARTITION BY {SOUND} ORDER BY time)
        ) AS reading
        HAVING w.in_order
    ) AS a
), {then}
SELECT coalesce(sum(n + suspects), 0)::bigint FROM made
"""


REPLACE_HOURS = _from_raw(f"""gone AS (
    DELETE FROM observation.rollup_hour r USING made m
    WHERE m.n + m.suspects = 0 AND r.datastream_id = m.id AND r.bucket = m.bucket
      AND r.bucket >= $4 AND r.bucket < $5
), kept AS (
    INSERT INTO observation.rollup_hour AS r (datastream_id, bucket, {COLUMNS})
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO UPDATE SET {SET}
)""")
# The raw of these hours was dropped: a rollup that is there knows more than what came in since, which goes too.
ADD_HOURS = _from_raw(f"""kept AS (
    INSERT INTO observation.rollup_hour AS r (datastream_id, bucket, {COLUMNS})
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO NOTHING
)""")
FORGET_AGAIN = """
DELETE FROM observation.measurement m USING unnest($1::int[], $2::timestamptz[]) AS w (id, hour)
WHERE m.datastream_id = w.id AND m.time >= w.hour AND m.time < w.hour + interval '1 hour'
  AND m.time >= $3::timestamptz AND m.time < $4::timestamptz
"""
# $3: the deployment's time zone; $4, $5: the quantities that are counters, and states; $6, $7: between which these
# days lie, so that no other part of the tables is looked at.
REPLACE_DAYS = f"""
WITH wanted AS (
    SELECT w.id, w.day, date_add(w.day, interval '1 day', $3) AS until,
           coalesce(d.quantity = ANY($4::text[] || $5::text[]), false) AS in_order,
           d.quantity = ANY($5) AS is_state, {HELD_FOR} AS held_for
    FROM (
        SELECT DISTINCT id, date_trunc('day', hour, $3) AS day
        FROM unnest($1::int[], $2::timestamptz[]) AS u (id, hour)
    ) AS w LEFT JOIN datastream d ON d.id = w.id
    LEFT JOIN device v ON v.id = d.device_id LEFT JOIN device_profile p ON p.id = v.device_profile_id
), made AS MATERIALIZED (
    SELECT w.id, w.day AS bucket, a.*
    FROM wanted w CROSS JOIN LATERAL (
        SELECT coalesce(sum(n), 0)::int AS n, coalesce(sum(suspects), 0)::int AS suspects, sum(sum) AS sum,
               min(min) AS min, max(max) AS max,
               first(first, bucket) FILTER (WHERE n > 0) AS first, last(last, bucket) FILTER (WHERE n > 0) AS last,
               NULL::timestamptz AS first_at, NULL::timestamptz AS last_at,
               NULL::float8 AS seconds, NULL::float8 AS weighted, NULL::float8[] AS falls
        FROM observation.rollup_hour h
        WHERE h.datastream_id = w.id AND h.bucket >= w.day AND h.bucket < w.until AND NOT w.in_order
          AND h.bucket >= $6::timestamptz AND h.bucket < $7::timestamptz
        HAVING NOT w.in_order
        UNION ALL
        SELECT coalesce(sum(n), 0)::int, coalesce(sum(suspects), 0)::int, sum(sum), min(min), max(max),
               first(first, bucket) FILTER (WHERE n > 0), last(last, bucket) FILTER (WHERE n > 0),
               -- Of an hour that was rolled up before these were: not known, so not known of the day either.
               CASE WHEN bool_and(first_at IS NOT NULL OR n = 0) THEN min(first_at) END,
               CASE WHEN bool_and(first_at IS NOT NULL OR n = 0) THEN max(last_at) END,
               CASE WHEN bool_and(seconds IS NOT NULL OR n = 0) AND w.is_state
                    THEN sum(seconds + carried) FILTER (WHERE n > 0) END,
               CASE WHEN bool_and(seconds IS NOT NULL OR n = 0) AND w.is_state
                    THEN sum(weighted + carried * last) FILTER (WHERE n > 0) END,
               CASE WHEN NOT w.is_state THEN nullif(concat_arrays(
                   CASE WHEN first < former THEN ARRAY[former, first] ELSE '{{}}' END || coalesce(falls, '{{}}')
                   ORDER BY bucket), '{{}}') END
        FROM (
            SELECT h.*, lag(last) OVER in_time AS former,
                   -- The state lasts until the next hour that has a reading.
                   greatest(0, extract(epoch FROM least(lead(first_at) OVER in_time, w.until, last_at + w.held_for)
                                                  - bucket - interval '1 hour'))::float8 AS carried
            FROM observation.rollup_hour h
            WHERE h.datastream_id = w.id AND h.bucket >= w.day AND h.bucket < w.until AND w.in_order
              AND h.bucket >= $6 AND h.bucket < $7
            WINDOW in_time AS (PARTITION BY n > 0 ORDER BY bucket)
        ) AS hour
        HAVING w.in_order
    ) AS a
), gone AS (
    DELETE FROM observation.rollup_day r USING made m
    WHERE m.n + m.suspects = 0 AND r.datastream_id = m.id AND r.bucket = m.bucket
      AND r.bucket >= $6 AND r.bucket < $7
), kept AS (
    INSERT INTO observation.rollup_day AS r (datastream_id, bucket, {COLUMNS})
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO UPDATE SET {SET}
)
SELECT count(*) FROM made
"""


class UnevenTimezone(Exception):
    """The deployment's days do not begin on an hour of UTC: they cannot be made from hours."""


@dataclass(frozen=True, slots=True)
class Made:
    """What one call did: buckets made anew, and the readings that they were made from."""

    is_leader: bool = True  # False: somebody else is making rollups at this moment; nothing was done.
    hours: int = 0
    days: int = 0
    readings: int = 0
    forgotten: int = 0  # Hours that stay as they are: their raw was dropped, and what came in late with it.

    def __add__(self, other: "Made") -> "Made":
        return Made(
            self.is_leader and other.is_leader,
            self.hours + other.hours,
            self.days + other.days,
            self.readings + other.readings,
            self.forgotten + other.forgotten,
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    datastream_id: int
    hour: datetime


async def roll_up(
    pool: Pool,
    *,
    force: bool = False,
    most_at_once: int = MOST_AT_ONCE,
    progress: Callable[[Made], None] = lambda _made: None,
) -> Made:
    """Make anew every hour that is marked dirty and ended two minutes ago, and the local days that hold them.

    In transactions of about `most_at_once` datastream-hours, oldest first; `progress` gets the sum so far after
    each. One caller at a time; to a second one, `is_leader` is False. `force` takes every hour that is over, and
    waits for the other caller: for a database that nobody writes to.

    Raises:
        UnevenTimezone: the deployment's time zone is not whole hours from UTC.
    """
    total = Made()
    while True:
        made = await _roll_up_some(pool, force, most_at_once)
        total += made
        if made.hours + made.forgotten == 0:
            return total
        progress(total)


async def _roll_up_some(pool: Pool, force: bool, most: int) -> Made:
    async with pool.acquire() as connection, connection.transaction():
        if force:
            await connection.execute(WAIT_FOR_LOCK, LOCK)
        elif not await connection.fetchval(TRY_LOCK, LOCK):
            return Made(is_leader=False)
        await connection.execute(PLAN_ANEW)
        taken = await connection.fetch(TAKE_DIRTY, timedelta(0) if force else GRACE, most)
        pairs = [_Pair(row["id"], row["hour"]) for row in taken if not row["forgotten"] and not row["closed"]]
        forgotten = [_Pair(row["id"], row["hour"]) for row in taken if row["forgotten"] and not row["closed"]]
        # Of a dwelling's day whose hours are gone: made of what came late, it would be wrong.
        closed = [_Pair(row["id"], row["hour"]) for row in taken if row["closed"]]
        days, readings = 0, 0
        for week in _weeks(pairs):
            readings += await connection.fetchval(REPLACE_HOURS, *week.pairs, COUNTERS, *week.bounds, STATES)
        for week in _weeks(forgotten):
            readings += await connection.fetchval(ADD_HOURS, *week.pairs, COUNTERS, *week.bounds, STATES)
        for week in _weeks(sorted(forgotten + closed, key=lambda pair: (pair.hour, pair.datastream_id))):
            await connection.execute(FORGET_AGAIN, *week.pairs, *week.bounds)
            await connection.execute(FORGET_CORRECTIONS_AGAIN, *week.pairs)
        if pairs or forgotten:
            days = await _make_days(connection, pairs + forgotten)
        return Made(hours=len(pairs), days=days, readings=readings, forgotten=len(forgotten + closed))


@dataclass(frozen=True, slots=True)
class _Week:
    """Datastream-hours of one chunk, as columns, and the instants between which their readings lie."""

    pairs: tuple[list[int], list[datetime]]
    bounds: tuple[datetime, datetime]


def _weeks(pairs: Sequence[_Pair]) -> Iterator[_Week]:
    for _, group in groupby(pairs, lambda pair: pair.hour.timestamp() // CHUNK_S):
        week = sorted(group, key=lambda pair: (pair.datastream_id, pair.hour))
        first, last = min(pair.hour for pair in week), max(pair.hour for pair in week)
        yield _Week(_columns(week), (first, last + HOUR + MICROSECOND))


def _columns(pairs: Sequence[_Pair]) -> tuple[list[int], list[datetime]]:
    return [pair.datastream_id for pair in pairs], [pair.hour for pair in pairs]


async def _make_days(connection: Connection, pairs: Sequence[_Pair]) -> int:
    zone = await connection.fetchrow(READ_TIMEZONE)
    if zone is None or not zone["on_the_hour"]:
        raise UnevenTimezone(f"deployment.timezone {zone and zone['timezone']!r} is not whole hours from UTC")
    ids, hours = _columns(pairs)
    return await connection.fetchval(
        REPLACE_DAYS, ids, hours, zone["timezone"], COUNTERS, STATES, *bounds_of_days(hours)
    )


def bounds_of_days(hours: Sequence[datetime]) -> tuple[datetime, datetime]:
    """Between which the local days lie that hold these hours, whole, in any zone."""
    return min(hours) - LONGEST_DAY, max(hours) + LONGEST_DAY
