"""How the statement of all states is run."""

from api import asset_state_store as store
from core.runtime.postgres import Pool

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
