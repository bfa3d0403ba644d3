"""Measurements of before schema 51 whose instant was replaced: no last value, and their rollups are made anew."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

AT = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


async def test_suspect_instants_are_no_last_values_after_the_upgrade_and_count_for_no_rollup(
    empty_database_url: str,
) -> None:
    await migrate_up_to(50, empty_database_url)
    connection = await connect(empty_database_url)
    rows = [(1, AT, 5.0, 0), (1, AT + timedelta(hours=2), 6.0, 2), (2, AT, 7.0, 2), (3, AT, 8.0, 0)]
    await connection.executemany("INSERT INTO observation.measurement VALUES ($1, $2, $3, $4)", rows)
    await connection.executemany("INSERT INTO observation.latest VALUES ($1, $2, $3, $4)", rows[1:])
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        latest = await pool.fetch("SELECT datastream_id, time, value FROM observation.latest ORDER BY 1")
        dirty = await pool.fetch("SELECT hour, datastream_ids FROM observation.dirty ORDER BY hour")
    hour = AT.replace(minute=0)
    assert [tuple(row) for row in latest] == [(1, AT, 5.0), (3, AT, 8.0)]
    assert [tuple(row) for row in dirty] == [(hour, [2]), (hour + timedelta(hours=2), [1])]
