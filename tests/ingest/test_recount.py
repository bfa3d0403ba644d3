from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from ingest.recount import recount
from ingest.rollups import roll_up

AT = datetime(2026, 10, 3, 9, 30, tzinfo=UTC)


@pytest.fixture
async def rolled_up(pool: Pool, measuring) -> int:
    """A datastream with an hour's reading, and rollups of it."""
    [datastream] = await measuring.datastreams("temperature")
    await measuring.write((datastream, AT, 20.0, 0))
    await roll_up(pool)
    return datastream


async def test_nothing_differs_when_all_is_well(pool: Pool, rolled_up: int) -> None:
    assert await recount(pool) == []


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("UPDATE observation.rollup_hour SET sum = sum + 1", {"rollup_hour"}),
        ("UPDATE observation.rollup_day SET n = 2", {"rollup_day"}),
        ("DELETE FROM observation.rollup_day", {"rollup_day"}),
        ("UPDATE observation.latest SET value = 21", {"latest"}),
        ("DELETE FROM observation.latest", {"latest"}),
        ("DELETE FROM observation.measurement", {"rollup_hour", "rollup_day", "latest"}),
    ],
)
async def test_a_row_that_is_not_what_raw_gives_is_shown(
    pool: Pool, rolled_up: int, statement: str, tables: set[str]
) -> None:
    await pool.execute(statement)

    found = await recount(pool)

    assert {difference.table for difference in found} == tables
    assert {difference.datastream_id for difference in found} == {rolled_up}
    assert all(difference.stored != difference.recounted for difference in found)


async def test_what_rollups_know_of_the_order_of_indexes_and_states_is_compared(pool: Pool, measuring) -> None:
    """An index that falls within an hour and between two, a state through hours without a reading."""
    [index], [door] = await measuring.datastreams("water_volume"), await measuring.datastreams("open")
    hour, minute = AT - timedelta(minutes=30), timedelta(minutes=1)
    indexes = {0: 90.0, 10: 95.0, 20: 3.0, 60: 4.0, 130: 1.0, 140: 0.5}
    states = {0: 1.0, 15: 0.0, 50: 1.0, 200: 0.0, 600: 1.0}
    await measuring.write(
        *((index, hour + at * minute, value, 0) for at, value in indexes.items()),
        *((door, hour + at * minute, value, 0) for at, value in states.items()),
        (index, hour + 30 * minute, 1_000.0, 1),
    )
    await roll_up(pool)
    assert await recount(pool) == []

    for column in ("first_at = first_at + interval '1 s'", "last_at = bucket", "falls = '{9, 1}'"):
        await pool.execute(f"UPDATE observation.rollup_day SET {column} WHERE datastream_id = $1", index)
        assert [one.table for one in await recount(pool)] == ["rollup_day"]
    for column in ("seconds = seconds + 1", "weighted = 0"):
        await pool.execute(f"UPDATE observation.rollup_hour SET {column} WHERE datastream_id = $1", door)
        assert {one.table for one in await recount(pool) if one.datastream_id == door} == {"rollup_hour"}


async def test_a_lost_mark_is_found(pool: Pool, measuring, rolled_up: int) -> None:
    await measuring.write((rolled_up, AT + timedelta(minutes=1), 30.0, 0))
    await pool.execute("DELETE FROM observation.dirty")
    await roll_up(pool)

    assert [difference.table for difference in await recount(pool)] == ["rollup_hour", "rollup_day"]


async def test_what_was_dropped_from_raw_cannot_be_compared(pool: Pool, rolled_up: int) -> None:
    await pool.execute("DELETE FROM observation.measurement")
    await pool.execute("INSERT INTO observation.forgotten VALUES ('measurement', $1, now())", rolled_up)

    assert await recount(pool) == []
