"""Rollups of schema 142 are all there in parts of months, and the program before goes on with its statements."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncpg.exceptions import CheckViolationError

from core.runtime.postgres import Connection, connect, open_pool
from ingest.recount import recount
from ingest.rollups import COUNTERS, STATES
from registry.schema import apply_step, migrations
from tests.core.runtime.versions import migrate_up_to
from tests.registry.test_upgrade_counters import PLANT

BEFORE, AFTER = 142, 143
# So many steps are done before the table changes places.
PROVED = 3
HOUR = timedelta(hours=1)
AT = datetime(2026, 3, 31, 20, tzinfo=UTC)
# Of the release before, word for word.
STATEMENTS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "rollup_statements_before_0143.json").read_bytes()
)
# Twelve readings an hour over the turn of a month.
READ = """
INSERT INTO observation.measurement
SELECT id, $1::timestamptz + n * interval '5 minutes', n % 2, 0 FROM datastream, generate_series(1, 480) n
WHERE quantity <> 'water_volume'
UNION ALL
SELECT id, $1 + n * interval '5 minutes', n, 0 FROM datastream, generate_series(1, 480) n
WHERE quantity = 'water_volume'
"""
BEYOND_EVERY_MONTH = """
INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects) VALUES (1, '2099-01-01', 1, 0)
"""
ROWS = "SELECT to_jsonb(r) FROM {} r ORDER BY r.datastream_id, r.bucket"
RIGHTS = """
SELECT r.rolname::text, p.privilege, t.name
FROM pg_roles r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege),
     unnest(ARRAY['observation.rollup_hour', 'observation.rollup_day', 'rollup_hour', 'rollup_day']) AS t (name)
WHERE r.rolname LIKE 'territoire%' AND has_table_privilege(r.oid, t.name, p.privilege) ORDER BY 1, 2, 3
"""
VIEWS = """
SELECT c.relname::text, pg_get_viewdef(c.oid), c.relowner::regrole::text, c.reloptions FROM pg_class c
WHERE c.oid IN ('public.rollup_hour'::regclass, 'public.rollup_day'::regclass) ORDER BY 1
"""


async def roll_up_as_before(connection: Connection) -> None:
    """Every hour and day that has readings, by the statements of the release before."""
    pairs = await connection.fetch(
        "SELECT DISTINCT datastream_id, date_trunc('hour', time - edge, 'UTC') AS hour "
        "FROM observation.measurement, unnest(ARRAY[interval '0', interval '1 microsecond']) AS edge ORDER BY 2, 1"
    )
    ids, hours = [row["datastream_id"] for row in pairs], [row["hour"] for row in pairs]
    bounds = min(hours), max(hours) + HOUR + timedelta(microseconds=1)
    await connection.fetchval(STATEMENTS["REPLACE_HOURS"], ids, hours, COUNTERS, *bounds, STATES)
    await connection.fetchval(STATEMENTS["REPLACE_DAYS"], ids, hours, "Europe/Paris", COUNTERS, STATES)


async def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [row[0] for row in await connection.fetch(ROWS.format(name))]
        for name in ("observation.rollup_hour", "observation.rollup_day")
    }


async def installation(url: str) -> Connection:
    """Of the release before, with readings and their rollups."""
    await migrate_up_to(BEFORE, url)
    connection = await connect(url)
    await connection.execute("GRANT SELECT ON observation.rollup_day TO territoire_alerting")
    await connection.fetch(PLANT)
    await connection.execute(READ, AT)
    await roll_up_as_before(connection)
    return connection


async def test_all_rows_are_there_and_the_program_before_goes_on(empty_database_url: str) -> None:
    connection = await installation(empty_database_url)
    before, rights, views = await read(connection), await connection.fetch(RIGHTS), await connection.fetch(VIEWS)
    assert len(before["observation.rollup_hour"]) > 100
    # No program writes such a one: a reading's instant is five minutes ahead at most. The check names it.
    await connection.execute(BEYOND_EVERY_MONTH)
    with pytest.raises(CheckViolationError, match="rollup_hour_before"):
        await migrate_up_to(AFTER, empty_database_url, after=BEFORE)
    await connection.execute("DELETE FROM observation.rollup_hour WHERE bucket > '2098-01-01'")

    await migrate_up_to(AFTER, empty_database_url, after=BEFORE)

    assert await read(connection) == before
    assert await connection.fetch(RIGHTS) == rights
    assert await connection.fetch(VIEWS) == views
    # On a connection that has them prepared since before: written anew, then packed, then forgotten.
    await roll_up_as_before(connection)
    assert await read(connection) == before
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM datastream")]
    await connection.execute(STATEMENTS["PACK"], ids, AT - 48 * HOUR, AT + 480 * HOUR)
    assert await read(connection) == before
    async with open_pool(empty_database_url, "test", size=2) as pool:
        assert [one for one in await recount(pool) if one.table != "latest"] == []
    await connection.execute(STATEMENTS["FORGET_HOURS"], ids[:1], [AT + 1000 * HOUR])
    await connection.execute(STATEMENTS["FORGET_DAYS"], ids[:1], [AT + 1000 * HOUR])
    left = await read(connection)
    await connection.close()
    of_others = {name: [row for row in rows if row["datastream_id"] != ids[0]] for name, rows in before.items()}
    assert left == of_others


async def test_steps_that_were_cut_short_are_done_again(empty_database_url: str) -> None:
    connection = await installation(empty_database_url)
    before = await read(connection)
    steps = migrations()[BEFORE].steps

    for reached in range(1, len(steps) + 1):
        for step in steps[:reached]:
            await apply_step(connection, step)
        assert await read(connection) == before, reached
    await connection.close()


async def test_a_reader_is_waited_for_and_keeps_nobody_waiting(empty_database_url: str) -> None:
    connection = await installation(empty_database_url)
    for step in migrations()[BEFORE].steps[:PROVED]:
        await apply_step(connection, step)
    reader, other = await connect(empty_database_url), await connect(empty_database_url)
    count = "SELECT count(*) FROM rollup_hour"
    transaction = reader.transaction()
    await transaction.start()
    await reader.fetchval(count)

    async def change_places() -> None:
        for step in migrations()[BEFORE].steps[PROVED:]:
            await apply_step(connection, step)

    running = asyncio.create_task(change_places())
    while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        seen = await other.fetchval(count)
    assert not running.done()
    await transaction.rollback()

    await running
    assert await connection.fetchval(
        "SELECT relkind = 'p' FROM pg_class WHERE oid = 'observation.rollup_day'::regclass"
    )
    assert seen == await other.fetchval(count) == await reader.fetchval(count)
    for one in (connection, reader, other):
        await one.close()
