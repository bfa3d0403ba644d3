"""Computes hourly and daily rollups from raw measurements (docs/architecture.md, "Rollups and retention").

Buckets are replaced, never added to: a batch may be repeated, and late data is right by construction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from core.model.quantities import QUANTITIES, Kind
from core.runtime.postgres import Connection, Pool

# Arbitrary, ours: the advisory lock of rollups. It ends with the transaction, so it works through any pooler.
LOCK = 0x7E44170
# A transaction that measured in an hour has committed by then, and is not marking it through an earlier mark.
GRACE = timedelta(minutes=2)
# Datastream-hours made in one transaction: a quarter of a second at 12 readings an hour.
MOST_AT_ONCE = 5_000
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
# Chunks are seven days from the epoch: hours of one week are looked for in one chunk.
CHUNK_S = 7 * 86_400
COUNTERS = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.COUNTER)

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
) AS forgotten
FROM pair p ORDER BY p.hour, p.id
"""


def _from_raw(then: str) -> str:
    # $1, $2: datastreams and hours; $3: the quantities that are counters; $4, $5: between which all of it lies.
    return f"""
WITH wanted AS (
    SELECT w.id, w.hour + CASE WHEN d.quantity = ANY($3::text[])
                          THEN interval '1 microsecond' ELSE interval '0' END AS since, w.hour
    FROM unnest($1::int[], $2::timestamptz[]) AS w (id, hour) LEFT JOIN datastream d ON d.id = w.id
), made AS MATERIALIZED (
    SELECT w.id, w.hour AS bucket, a.*
    FROM wanted w CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE flags & 1 = 0)::int AS n,
               count(*) FILTER (WHERE flags & 1 = 1)::int AS suspects,
               sum(value) FILTER (WHERE flags & 1 = 0) AS sum,
               min(value) FILTER (WHERE flags & 1 = 0) AS min, max(value) FILTER (WHERE flags & 1 = 0) AS max,
               first(value, time) FILTER (WHERE flags & 1 = 0) AS first,
               last(value, time) FILTER (WHERE flags & 1 = 0) AS last
        FROM observation.measurement m
        WHERE m.datastream_id = w.id AND m.time >= w.since AND m.time < w.since + interval '1 hour'
          AND m.time >= $4::timestamptz AND m.time < $5::timestamptz
    ) AS a
), {then}
SELECT coalesce(sum(n + suspects), 0)::bigint FROM made
"""


REPLACE_HOURS = _from_raw("""gone AS (
    DELETE FROM observation.rollup_hour r USING made m
    WHERE m.n + m.suspects = 0 AND r.datastream_id = m.id AND r.bucket = m.bucket
), kept AS (
    INSERT INTO observation.rollup_hour AS r (datastream_id, bucket, n, suspects, sum, min, max, first, last)
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO UPDATE
    SET n = excluded.n, suspects = excluded.suspects, sum = excluded.sum, min = excluded.min, max = excluded.max,
        first = excluded.first, last = excluded.last
)""")
# The raw of these hours was dropped: a rollup that is there knows more than what came in since, which goes too.
ADD_HOURS = _from_raw("""kept AS (
    INSERT INTO observation.rollup_hour AS r (datastream_id, bucket, n, suspects, sum, min, max, first, last)
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO NOTHING
)""")
FORGET_AGAIN = """
DELETE FROM observation.measurement m USING unnest($1::int[], $2::timestamptz[]) AS w (id, hour)
WHERE m.datastream_id = w.id AND m.time >= w.hour AND m.time < w.hour + interval '1 hour'
  AND m.time >= $3::timestamptz AND m.time < $4::timestamptz
"""
# $3: the deployment's time zone.
REPLACE_DAYS = """
WITH wanted AS (
    SELECT DISTINCT w.id, date_trunc('day', w.hour, $3) AS day
    FROM unnest($1::int[], $2::timestamptz[]) AS w (id, hour)
), made AS MATERIALIZED (
    SELECT w.id, w.day AS bucket, a.*
    FROM wanted w CROSS JOIN LATERAL (
        SELECT coalesce(sum(n), 0)::int AS n, coalesce(sum(suspects), 0)::int AS suspects, sum(sum) AS sum,
               min(min) AS min, max(max) AS max,
               first(first, bucket) FILTER (WHERE n > 0) AS first, last(last, bucket) FILTER (WHERE n > 0) AS last
        FROM observation.rollup_hour h
        WHERE h.datastream_id = w.id AND h.bucket >= w.day AND h.bucket < date_add(w.day, interval '1 day', $3)
    ) AS a
), gone AS (
    DELETE FROM observation.rollup_day r USING made m
    WHERE m.n + m.suspects = 0 AND r.datastream_id = m.id AND r.bucket = m.bucket
), kept AS (
    INSERT INTO observation.rollup_day AS r (datastream_id, bucket, n, suspects, sum, min, max, first, last)
    SELECT * FROM made WHERE n + suspects > 0
    ON CONFLICT (datastream_id, bucket) DO UPDATE
    SET n = excluded.n, suspects = excluded.suspects, sum = excluded.sum, min = excluded.min, max = excluded.max,
        first = excluded.first, last = excluded.last
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
        pairs = [_Pair(row["id"], row["hour"]) for row in taken if not row["forgotten"]]
        forgotten = [_Pair(row["id"], row["hour"]) for row in taken if row["forgotten"]]
        days, readings = 0, 0
        for week in _weeks(pairs):
            readings += await connection.fetchval(REPLACE_HOURS, *week.pairs, COUNTERS, *week.bounds)
        for week in _weeks(forgotten):
            readings += await connection.fetchval(ADD_HOURS, *week.pairs, COUNTERS, *week.bounds)
            await connection.execute(FORGET_AGAIN, *week.pairs, *week.bounds)
        if taken:
            days = await _make_days(connection, pairs + forgotten)
        return Made(hours=len(pairs), days=days, readings=readings, forgotten=len(forgotten))


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
    return await connection.fetchval(REPLACE_DAYS, *_columns(pairs), zone["timezone"])
