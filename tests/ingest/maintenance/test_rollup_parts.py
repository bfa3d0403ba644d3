"""The months of rollups have their parts before they come, and what comes without one is kept and moved there."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.runtime.postgres import Pool, PostgresError, Record, connect
from ingest.maintenance.rollup_parts import make_rollup_parts
from tests.conftest import Database

PARTS = """
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass ORDER BY 1
"""
ADD = """
INSERT INTO observation.{table} (datastream_id, bucket, n, suspects, sum) VALUES ($1, $2, 1, 0, 20)
ON CONFLICT (datastream_id, bucket) DO UPDATE SET sum = excluded.sum
"""
ROWS = "SELECT datastream_id, bucket, sum, tableoid::regclass::text AS part FROM observation.{} ORDER BY 2"


def months_after(month: datetime, count: int) -> list[str]:
    """Their names, by the calendar alone."""
    numbers = [month.year * 12 + month.month - 1 + n for n in range(count)]
    return [f"{number // 12}_{number % 12 + 1:02}" for number in numbers]


async def last_end(database: Database, table: str) -> datetime:
    connection = await connect(database.admin_url)
    ends = [row[1].split("TO ('")[1][:10] for row in await connection.fetch(PARTS, table) if "TO (" in row[1]]
    await connection.close()
    return datetime.fromisoformat(max(ends)).replace(tzinfo=UTC)


@pytest.mark.parametrize("table", ["rollup_hour", "rollup_day"])
async def test_three_months_ahead_have_their_parts_and_are_made_once(
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
    end = await last_end(database, "observation.rollup_hour")
    late = datetime(2011, 5, 1, tzinfo=UTC)
    for table in ("rollup_hour", "rollup_day"):
        for at in (late, end - timedelta(hours=1), end, end + timedelta(days=40)):
            for _ in range(2):  # Again, as a pass that was cut short.
                await pool.execute(ADD.format(table=table), 1, at)
    with capture_logs() as lines:
        await make_rollup_parts(pool)
    before = await pool.fetch(ROWS.format("rollup_hour"))
    beyond = REGISTRY.get_sample_value("territoire_maintenance_rollups_beyond_parts")

    parts = await pool.fetchrow("SELECT * FROM observation.make_rollup_parts($1)", end + timedelta(days=20))
    await pool.execute("SELECT observation.analyze_rollups()")
    after = await pool.fetch(ROWS.format("rollup_hour"))
    connection = await connect(database.admin_url)
    known = await connection.fetchval(
        "SELECT count(*) FROM pg_statistic WHERE starelid = 'observation.rollup_hour'::regclass AND stainherit"
    )
    await connection.close()

    def places(rows: list[Record]) -> list[str]:
        return [row["part"].removeprefix("observation_part.") for row in rows]

    following = months_after(end, 1)[0]
    assert places(before)[0] == "rollup_hour"
    assert places(before)[2:] == ["rollup_hour_beyond"] * 2
    assert beyond == 4
    assert [line["event"] for line in lines] == ["rollups_beyond_all_parts"]
    assert parts is not None
    assert tuple(parts) == (2, 2)
    assert places(after)[2:] == [f"rollup_hour_{following}", "rollup_hour_beyond"]
    assert [tuple(row)[:3] for row in after] == [tuple(row)[:3] for row in before]
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
