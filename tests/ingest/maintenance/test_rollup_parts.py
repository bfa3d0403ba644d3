"""The months of rollups have their parts before they come, and what comes without one is kept and moved there."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.runtime.postgres import Pool, PostgresError, Record, connect
from ingest.maintenance.rollup_parts import make_rollup_parts
from tests.conftest import Database

HOUR = timedelta(hours=1)
PARTS = """
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass ORDER BY 1
"""
ADD = """
INSERT INTO observation.{table} (datastream_id, bucket, n, suspects, sum) VALUES ($1, $2, 1, 0, 20)
ON CONFLICT (datastream_id, bucket) DO UPDATE SET sum = excluded.sum
"""
ROWS = "SELECT datastream_id, bucket, sum, tableoid::regclass::text AS part FROM observation.{} ORDER BY 2"


async def last_end(database: Database, table: str) -> datetime:
    connection = await connect(database.admin_url)
    ends = [row[1].split("TO ('")[1][:10] for row in await connection.fetch(PARTS, table) if "TO (" in row[1]]
    await connection.close()
    return datetime.fromisoformat(max(ends)).replace(tzinfo=UTC)


@pytest.mark.parametrize("table", ["rollup_hour", "rollup_day"])
async def test_three_months_ahead_have_their_parts_which_are_made_once(
    pool: Pool, database: Database, table: str
) -> None:
    connection = await connect(database.admin_url)
    # As if the last parts had not come yet.
    parts = [row[0] for row in await connection.fetch(PARTS, f"observation.{table}") if row[0][-1].isdecimal()]
    for part in parts:
        await connection.execute(f"DROP TABLE observation_part.{part}")

    made, again = await make_rollup_parts(pool), await make_rollup_parts(pool)
    found = [row[0] for row in await connection.fetch(PARTS, f"observation.{table}")]
    planned = await connection.fetchval(
        "SELECT count(*) FROM pg_statistic WHERE starelid = $1::text::regclass AND stainherit",
        f"observation.{table}",
    )
    await connection.close()

    assert (made, again) == (len(parts), 0)
    assert found == sorted([table, f"{table}_beyond", *parts])
    assert await last_end(database, f"observation.{table}") >= datetime.now(UTC) + timedelta(days=91)
    assert planned == 0  # Nothing is in it; what there is, is counted below.


async def test_what_lies_beyond_the_last_part_is_kept_counted_and_moved_into_its_month(
    pool: Pool, database: Database
) -> None:
    ends = {table: await last_end(database, f"observation.{table}") for table in ("rollup_hour", "rollup_day")}
    end = ends["rollup_hour"]
    for table, last in ends.items():
        for at in (datetime(2011, 5, 1, tzinfo=UTC), last - HOUR, last, last + timedelta(days=40)):
            for _ in range(2):  # Again, as a pass that was cut short.
                await pool.execute(ADD.format(table=table), 1, at)
    with capture_logs() as lines:
        await make_rollup_parts(pool)
    before = {table: await pool.fetch(ROWS.format(table)) for table in ends}
    beyond = REGISTRY.get_sample_value("territoire_maintenance_rollups_beyond_parts")

    until = end + timedelta(days=20)
    parts = await pool.fetchrow("SELECT * FROM observation.make_rollup_parts($1)", until)
    await pool.execute("SELECT observation.analyze_rollups()")
    after = {table: await pool.fetch(ROWS.format(table)) for table in ends}
    connection = await connect(database.admin_url)
    known = await connection.fetchval(
        "SELECT count(*) FROM pg_statistic WHERE starelid = 'observation.rollup_hour'::regclass AND stainherit"
    )
    await connection.close()

    def places(rows: list[Record]) -> list[str]:
        return [row["part"].removeprefix("observation_part.") for row in rows]

    # A part of days is a year, which has come or has not.
    is_new_year = ends["rollup_day"] < until
    assert places(before["rollup_hour"])[0] == "rollup_hour"
    assert places(before["rollup_hour"])[2:] == ["rollup_hour_beyond"] * 2
    assert beyond == 4
    assert [line["event"] for line in lines] == ["rollups_beyond_all_parts"]
    assert parts is not None
    assert tuple(parts) == ((2, 1) if is_new_year else (1, 3))
    assert places(after["rollup_hour"])[2:] == [f"rollup_hour_{end.year}_{end.month:02}", "rollup_hour_beyond"]
    for table, rows in before.items():
        assert [tuple(row)[:3] for row in after[table]] == [tuple(row)[:3] for row in rows]
    assert known > 0


async def test_parts_of_years_ahead_are_not_made(pool: Pool) -> None:
    with pytest.raises(PostgresError, match="are not made now"):
        await pool.execute("SELECT observation.make_rollup_parts(now() + interval '2 years')")


async def test_nobody_enters_a_part_but_through_its_table(pool: Pool, api_pool: Pool) -> None:
    for anybody in (pool, api_pool):
        with pytest.raises(PostgresError, match="permission denied for schema observation_part"):
            await anybody.fetch("SELECT * FROM observation_part.rollup_hour")
    with pytest.raises(PostgresError, match="permission denied"):
        await api_pool.fetch("SELECT observation.make_rollup_parts(now())")
