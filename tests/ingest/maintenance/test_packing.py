from core.runtime.postgres import Pool
from ingest.maintenance.packing import pack_hours

# Two weeks of hours as maintenance writes them: all datastreams of an hour together.
HOURS = """
INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects, sum, min, max, first, last)
SELECT id, hour, 2, 1, random(), 1, 2, 1, 2
FROM generate_series(date_trunc('week', now() - interval '9 days', 'UTC') - interval '7 days',
                     date_trunc('hour', now()), interval '1 hour') AS hour, datastream ORDER BY hour, id
"""
ROWS = "SELECT array_agg(r ORDER BY datastream_id, bucket) FROM observation.rollup_hour r"
# On how many pages lies a packed week of a datastream, at most?
PAGES = """
SELECT max(pages) FROM (
    SELECT count(DISTINCT (r.ctid::text::point)[0]) AS pages
    FROM observation.rollup_hour r JOIN observation.packed p
      ON r.bucket >= p.week AND r.bucket < p.week + interval '7 days'
    GROUP BY datastream_id, p.week
) AS counted
"""


async def test_a_week_of_a_datastream_lies_together_and_says_what_it_said(pool: Pool, measuring) -> None:
    await measuring.datastreams("temperature", 30)
    await pool.execute(HOURS)
    before = await pool.fetchval(ROWS)

    moved = await pack_hours(pool, at_once=7)

    assert moved == 30 * 168
    assert await pool.fetchval(ROWS) == before
    assert await pool.fetchval(PAGES) <= 4


async def test_a_week_is_packed_once_and_one_that_was_missed_later(pool: Pool, measuring) -> None:
    await measuring.datastreams("temperature")
    await pool.execute(HOURS)
    await pack_hours(pool)

    again = await pack_hours(pool)
    await pool.execute("UPDATE observation.packed SET week = week - interval '7 days'")

    assert again == 0
    assert await pack_hours(pool) == 168
    assert await pool.fetchval("SELECT count(*) FROM observation.packed") == 2
