import asyncio

from core.runtime.postgres import DATABASE_AWAY, Pool


async def test_of_two_transactions_in_a_deadlock_one_is_to_be_tried_again(pool: Pool) -> None:
    first = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('a', 'A') RETURNING id")
    second = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('b', 'B') RETURNING id")
    both_hold_one = asyncio.Barrier(2)

    async def update(*tenant_ids: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE tenant SET name = 'x' WHERE id = $1", tenant_ids[0])
            await both_hold_one.wait()
            await connection.execute("UPDATE tenant SET name = 'x' WHERE id = $1", tenant_ids[1])

    outcomes = await asyncio.gather(update(first, second), update(second, first), return_exceptions=True)

    (victim,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(victim, DATABASE_AWAY)
