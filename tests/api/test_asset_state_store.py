"""How the statement of all states is run."""

import pytest

from api import asset_state_store as store
from core.runtime.postgres import Pool
from tests.entering import enter_tenant

PLANS = """
SELECT sum(generic_plans)::int AS kept, sum(custom_plans)::int AS made
FROM pg_prepared_statements WHERE statement LIKE '%WITH alarmed' || ' AS%'
"""


async def test_states_of_assets_are_planned_each_time_for_what_is_asked(api_pool: Pool) -> None:
    async with api_pool.acquire() as connection:
        for _ in range(8):  # PostgreSQL may keep a plan from the sixth time on.
            async with connection.transaction():
                await store.list_states(connection, store.EVERYTHING)
                await store.count_states(connection)
        plans = await connection.fetchrow(PLANS)
        after = await connection.fetchval("SHOW plan_cache_mode")

    assert dict(plans) == {"kept": 0, "made": 16}
    assert after == "auto"  # What else the connection runs is planned as before.


MEMBERS = """
WITH syndicat AS (INSERT INTO tenant (slug, name) VALUES ('syndicat', 'Syndicat') RETURNING id),
commune AS (INSERT INTO tenant (slug, name, member_of) SELECT 'commune', 'Commune', id FROM syndicat RETURNING id),
stranger AS (INSERT INTO tenant (slug, name) VALUES ('ailleurs', 'Ailleurs') RETURNING id),
made AS (
    INSERT INTO asset (tenant_id, kind, name, privacy_class, archived_at)
    SELECT s.id, kind, kind || n, class, CASE WHEN archived THEN now() END
    FROM (VALUES ('syndicat', 'room', 0, false), ('syndicat', 'bench', 0, true), ('commune', 'room', 0, false),
                 ('commune', 'bin', 0, false), ('commune', 'dwelling', 2, false),
                 ('ailleurs', 'gauge', 0, false)) AS a (slug, kind, class, archived)
    JOIN (SELECT 'syndicat' AS slug, id FROM syndicat UNION ALL SELECT 'commune', id FROM commune
          UNION ALL SELECT 'ailleurs', id FROM stranger) AS s USING (slug), generate_series(1, 3) n
    RETURNING id
)
SELECT syndicat.id AS syndicat, commune.id AS commune FROM syndicat, commune WHERE (SELECT count(*) FROM made) > 0
"""
DISTINCT = "SELECT array_agg(DISTINCT kind ORDER BY kind) FROM asset WHERE archived_at IS NULL"


async def test_kinds_and_states_of_a_few_are_those_of_all_that_is_visible(
    pool: Pool, api_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await pool.fetchrow(MEMBERS)
    assert made is not None
    for tenant, expected in ((made["syndicat"], ["bin", "room"]), (made["commune"], ["bin", "dwelling", "room"])):
        async with api_pool.acquire() as connection, connection.transaction():
            await enter_tenant(connection, tenant)
            assert await store.list_kinds(connection) == expected == await connection.fetchval(DISTINCT)
            of_all = await store.list_states(connection, store.EVERYTHING, most=store.FEW + 1)
            assert len(of_all) == 3 * (len(expected) + (tenant == made["syndicat"]))
            few = await store.list_states(connection, store.EVERYTHING, after=of_all[0].id, most=4)
            assert few == of_all[1:5]
            # There are more than so many: they are sorted where they are.
            ok_or_not = ["ok", "unknown"]
            sorted_here = await store.list_states(connection, store.EVERYTHING, ok_or_not, of_all[0].id, 4)
            with monkeypatch.context() as patched:
                patched.setattr(store, "SORTED_HERE", -1)
                there = await store.list_states(connection, store.EVERYTHING, ok_or_not, of_all[0].id, 4)
                assert await store.list_states(connection, store.EVERYTHING, most=store.FEW + 1) == of_all
            assert there == sorted_here == of_all[1:5]
