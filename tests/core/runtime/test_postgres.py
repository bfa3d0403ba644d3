"""What counts as the database being away, on a real server."""

import asyncio

import pytest

from core.runtime.postgres import DATABASE_AWAY, Pool

TAKE = "SELECT FROM tenant WHERE slug = $1 FOR UPDATE"


async def test_of_two_transactions_that_wait_for_each_other_one_may_be_tried_again(pool: Pool) -> None:
    await pool.execute("INSERT INTO tenant (slug, name) VALUES ('a', 'A'), ('b', 'B')")
    both_hold = asyncio.Barrier(2)

    async def take(first: str, second: str) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetch(TAKE, first)
            await both_hold.wait()
            await connection.fetch(TAKE, second)

    came_of_it = await asyncio.gather(take("a", "b"), take("b", "a"), return_exceptions=True)

    refused = [outcome for outcome in came_of_it if outcome is not None]
    assert len(refused) == 1
    with pytest.raises(DATABASE_AWAY):
        raise refused[0]
