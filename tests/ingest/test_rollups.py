"""Rollups are what a recount from raw gives, whatever the order in which things came."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.runtime.postgres import Pool, connect
from ingest.recount import recount
from ingest.rollups import LOCK, UnevenTimezone, roll_up
from registry.schema import migrations

HOUR = timedelta(hours=1)
PARIS = ZoneInfo("Europe/Paris")


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


async def stored(pool: Pool, table: str = "rollup_hour") -> list[tuple]:
    columns = "datastream_id, bucket, n, suspects, sum, min, max, first, last"
    return [tuple(row) for row in await pool.fetch(f"SELECT {columns} FROM observation.{table} ORDER BY 1, 2")]


async def test_an_hour_is_summed_up_and_a_suspect_counted_and_left_out(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature")
    hour = datetime(2026, 10, 3, 9, tzinfo=UTC)
    minute = timedelta(minutes=1)
    await measuring.write(
        (datastream, hour, 3, 0), (datastream, hour + minute, 5, 4), (datastream, hour + HOUR, 9, 0)
    )
    await measuring.write((datastream, hour + 2 * minute, 900, 1), (datastream, hour + 3 * minute, 1, 0))

    made = await roll_up(pool)

    assert await stored(pool) == [
        (datastream, hour, 3, 1, 9, 1, 5, 3, 1),
        (datastream, hour + HOUR, 1, 0, 9, 9, 9, 9, 9),
    ]
    midnight = datetime(2026, 10, 3, tzinfo=PARIS)
    assert await stored(pool, "rollup_day") == [(datastream, midnight, 4, 1, 18, 1, 9, 3, 9)]
    # The hour before nine has nothing; it was marked for the sake of counters.
    assert (made.hours, made.days, made.readings) == (3, 1, 5)
    assert await pool.fetchval("SELECT count(*) FROM observation.dirty") == 0


async def test_an_index_at_an_edge_ends_the_hour_and_the_day_before(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("water_volume")
    midnight = datetime(2026, 3, 29, tzinfo=PARIS).astimezone(UTC)
    await measuring.write((datastream, midnight, 100, 0), (datastream, midnight + HOUR, 110, 0))

    await roll_up(pool)

    assert [row[1] for row in await stored(pool)] == [midnight - HOUR, midnight]
    assert [row[1] for row in await stored(pool, "rollup_day")] == [
        datetime(2026, 3, 28, tzinfo=PARIS),
        datetime(2026, 3, 29, tzinfo=PARIS),
    ]


async def test_an_hour_that_goes_on_is_left_and_one_just_over_waits_unless_forced(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature")
    now, over = this_hour(), this_hour() - HOUR
    await measuring.write((datastream, now, 1, 0), (datastream, over - HOUR + HOUR / 2, 2, 0))

    made = await roll_up(pool)
    await measuring.write((datastream, over + HOUR / 2, 3, 0))
    await roll_up(pool, force=True)

    assert made.hours == 1 + (datetime.now(UTC) - now > timedelta(minutes=2))
    assert [row[1] for row in await stored(pool)] == [over - HOUR, over]
    assert await pool.fetchval("SELECT array_agg(DISTINCT hour) FROM observation.dirty") == [now]


async def test_an_hour_whose_readings_are_gone_has_no_rollup(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature")
    at = datetime(2026, 10, 3, 9, 30, tzinfo=UTC)
    await measuring.write((datastream, at, 3, 0))
    await roll_up(pool)
    await pool.execute("DELETE FROM observation.measurement")
    await pool.execute("INSERT INTO observation.dirty VALUES ($1, $2)", at.replace(minute=0), [datastream])

    await roll_up(pool)

    assert await stored(pool) == await stored(pool, "rollup_day") == []


async def test_what_comes_late_to_an_hour_that_was_dropped_leaves_its_rollup(pool: Pool, measuring) -> None:
    whole, personal = await measuring.datastreams("temperature", 2)
    at = datetime(2024, 10, 3, 9, 30, tzinfo=UTC)
    await measuring.write((whole, at, 3, 0), (personal, at, 4, 0))
    await roll_up(pool)
    before = await stored(pool), await stored(pool, "rollup_day")
    await pool.execute("DELETE FROM observation.measurement")
    await pool.executemany(
        "INSERT INTO observation.forgotten VALUES ('measurement', $1, $2)",
        [(0, at + HOUR), (personal, at + HOUR)],
    )

    await measuring.write(
        (whole, at + HOUR / 4, 30, 0), (personal, at + HOUR / 4, 40, 0), (whole, at - HOUR, 7, 0)
    )
    made = await roll_up(pool)

    assert made.forgotten == 3
    assert await pool.fetchval("SELECT count(*) FROM observation.measurement") == 0
    assert (await stored(pool))[1:] == before[0]
    assert (await stored(pool))[0][:3] == (whole, at.replace(hour=8, minute=0), 1)
    assert [row[2] for row in await stored(pool, "rollup_day")] == [2, 1]


async def test_only_one_makes_rollups_and_the_other_says_so(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature")
    await measuring.write((datastream, datetime(2026, 10, 3, 9, 30, tzinfo=UTC), 3, 0))
    async with pool.acquire() as leader, leader.transaction():
        await leader.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        elsewhere = await roll_up(pool)

    made = await roll_up(pool)

    assert (elsewhere.is_leader, elsewhere.hours) == (False, 0)
    assert (made.is_leader, made.hours) == (True, 1)


async def test_days_that_do_not_begin_on_an_hour_are_rejected(database, pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature")
    await measuring.write((datastream, datetime(2026, 10, 3, 9, 30, tzinfo=UTC), 3, 0))
    owner = await connect(database.admin_url)
    await owner.execute("UPDATE deployment SET timezone = 'Pacific/Marquesas'")
    await owner.close()

    with pytest.raises(UnevenTimezone, match="Marquesas"):
        await roll_up(pool)


@pytest.mark.parametrize("seed", range(4))
async def test_many_small_transactions_give_what_a_recount_gives(pool: Pool, measuring, seed: int) -> None:
    """Two nights on which the clock changes, edges, suspects, and readings that come late, in any order."""
    chance = random.Random(seed)
    datastreams = await measuring.datastreams("temperature", 3) + await measuring.datastreams("water_volume", 3)
    rows: dict[tuple[int, datetime], tuple[int, datetime, float, int]] = {}
    for start in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        for _ in range(300):
            at = start + chance.choice((HOUR, HOUR / 4, HOUR / 7)) * chance.randrange(60)
            datastream = chance.choice(datastreams)
            row = (datastream, at, chance.uniform(-5, 5), chance.choice((0, 0, 0, 1, 2, 5)))
            rows[datastream, at] = row
    shuffled = list(rows.values())
    chance.shuffle(shuffled)
    steps = []
    for place in range(0, len(shuffled), 100):
        await measuring.write(*shuffled[place : place + 100])
        await roll_up(pool, most_at_once=chance.randrange(1, 60), progress=steps.append)

    assert await recount(pool) == []
    assert len(steps) > 6


async def test_what_was_measured_before_there_were_rollups_is_marked(empty_database_url: str) -> None:
    at = datetime(2026, 10, 3, 9, tzinfo=UTC)
    connection = await connect(empty_database_url)
    rollups = next(migration for migration in migrations() if migration.name == "0008_rollups.sql")
    for migration in migrations():
        if migration.number < rollups.number:
            await connection.execute(migration.sql.replace("{shards}", "4"))
    rows = [(1, at, 5.0, 0), (2, at + timedelta(minutes=1), 5.0, 0)]
    await connection.executemany("INSERT INTO observation.measurement VALUES ($1, $2, $3, $4)", rows)
    await connection.execute(rollups.sql)
    marked = await connection.fetch("SELECT hour, datastream_ids FROM observation.dirty ORDER BY hour")
    await connection.close()

    assert [(row["hour"], sorted(row["datastream_ids"])) for row in marked] == [(at - HOUR, [1]), (at, [1, 2])]
