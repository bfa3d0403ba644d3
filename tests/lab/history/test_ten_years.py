"""After ten years a year's questions look at the same parts of the tables as after one."""

import re
from datetime import UTC, datetime, timedelta

from rich.console import Console

from core.runtime.postgres import Connection, Pool, connect
from ingest.recount import recount
from lab.bench.queries import plan_queries
from lab.history.load import load_history
from lab.history.parts import divide
from services.supervisor.run_info import RunInfo
from tests.entering import tenant_transaction

# A part that is planned for is locked, whichever function or view asks for it.
LOCKED = """
SELECT DISTINCT c.relname::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'observation_part'::regnamespace AND c.relkind = 'r'
"""
PARTS = """
SELECT count(*)::int FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'observation.rollup_hour'::regclass
"""
RELATION = re.compile(r" on (rollup_(?:hour|day)\w*) ")
# Those that read rollups.
ASKED = ("year_by_hour", "month_by_day")


def only(parts: set[str], table: str) -> set[str]:
    return {part for part in parts if part.startswith(table)}


async def looked_at(pool: Pool, api_pool: Pool) -> dict[str, tuple[set[str], set[str]]]:
    """Of each question the parts that its answer locks, and those in its heaviest statement's plan."""
    tenant_id, queries = await plan_queries(pool)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for query in queries:
        if query.name not in ASKED:
            continue
        async with tenant_transaction(api_pool, tenant_id) as connection:
            # After five times a plan for any arguments is weighed, which would look at all there is.
            for _ in range(7):
                assert await query.read(connection) > 0
            locked = {row[0] for row in await connection.fetch(LOCKED)}
            planned = await plan_of(connection, f"EXPLAIN {query.statement}", query.arguments)
        found[query.name] = locked, planned
    return found


async def plan_of(connection: Connection, statement: str, arguments: tuple[object, ...]) -> set[str]:
    lines = await connection.fetch(statement, *arguments)
    return {name for line in lines for name in RELATION.findall(line[0])}


async def test_a_year_looks_at_the_same_parts_after_ten_years_as_after_one(
    run: RunInfo, pool: Pool, api_pool: Pool
) -> None:
    now = datetime.now(UTC)
    since = now.date() - timedelta(days=40)
    await load_history(run, measurements=50_000, workers=1, since=since, console=Console(quiet=True))
    admin = await connect(run.database_admin_url)
    # Sums of the days before are in it, too: what is divided has nothing in it.
    await divide(admin, now - timedelta(days=366))
    after_one = await looked_at(pool, api_pool)
    parts_of_one = await admin.fetchval(PARTS)
    await divide(admin, now - timedelta(days=3653))
    after_ten = await looked_at(pool, api_pool)
    parts_of_ten = await admin.fetchval(PARTS)
    await admin.close()

    assert parts_of_ten >= parts_of_one + 108
    assert after_ten == after_one
    # 365 days touch 12 to 14 months, 30 one or two years; the oldest part and what is beyond are in neither.
    year_locked, year_planned = (only(parts, "rollup_hour") for parts in after_ten["year_by_hour"])
    month_locked, month_planned = (only(parts, "rollup_day") for parts in after_ten["month_by_day"])
    assert 12 <= len(year_planned) <= 14
    assert year_planned <= year_locked
    assert len(year_locked) <= 14
    assert 1 <= len(month_planned) <= 2
    assert len(month_locked) <= 2
    # Of indexes the reading before is looked for in two months more.
    assert len(only(after_ten["month_by_day"][0], "rollup_hour")) <= 6
    for locked, planned in after_ten.values():
        assert not {"rollup_hour", "rollup_day", "rollup_hour_beyond", "rollup_day_beyond"} & (locked | planned)
    assert await recount(pool) == []


async def test_what_has_rollups_is_not_divided(run: RunInfo, pool: Pool) -> None:
    admin = await connect(run.database_admin_url)
    late = datetime(2020, 1, 1, tzinfo=UTC)
    await pool.execute(
        "INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects) VALUES (1, $1, 1, 0)", late
    )
    before = await admin.fetchval(PARTS)

    await divide(admin, late)

    assert await admin.fetchval(PARTS) == before
    await admin.close()
