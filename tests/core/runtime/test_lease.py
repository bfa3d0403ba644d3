import asyncio

import pytest

from core.runtime.lease import LeaseLost, fence_all, keep_lease, release_lease, take_lease
from core.runtime.postgres import Pool

EXPIRE = "UPDATE shard_lease SET expires_at = now() - interval '1 second'"


async def test_a_held_shard_is_refused_to_another_replica(pool: Pool) -> None:
    first = await take_lease(pool, "network", 0, "a")
    second = await take_lease(pool, "network", 0, "b")

    assert first is not None
    assert second is None


async def test_of_replicas_that_start_together_one_takes_each_shard(pool: Pool) -> None:
    asked = [take_lease(pool, "network", shard, owner) for shard in range(25) for owner in "abcd"]

    leases = await asyncio.gather(*asked)

    assert sorted(lease.shard for lease in leases if lease is not None) == list(range(25))


async def test_a_restart_under_the_same_name_takes_the_shard_back_at_once_with_a_new_epoch(pool: Pool) -> None:
    before = await take_lease(pool, "network", 0, "a")
    after = await take_lease(pool, "network", 0, "a")

    assert before is not None
    assert after is not None
    assert after.epoch == before.epoch + 1


async def test_an_expired_shard_is_taken_over_and_the_former_owner_is_fenced(pool: Pool) -> None:
    former = await take_lease(pool, "network", 0, "a")
    assert former is not None
    await pool.execute(EXPIRE)

    owner = await take_lease(pool, "network", 0, "b")

    assert owner is not None
    async with pool.acquire() as connection, connection.transaction():
        await owner.fence(connection)
    with pytest.raises(LeaseLost):
        async with pool.acquire() as connection, connection.transaction():
            await former.fence(connection)


async def test_a_take_over_waits_for_a_transaction_that_holds_the_fence(pool: Pool) -> None:
    former = await take_lease(pool, "network", 0, "a")
    assert former is not None
    await pool.execute(EXPIRE)

    async with pool.acquire() as connection, connection.transaction():
        await former.fence(connection)
        taking = asyncio.create_task(take_lease(pool, "network", 0, "b"))
        done, _ = await asyncio.wait((taking,), timeout=0.3)
        assert not done

    assert (await taking) is not None


async def test_an_owner_that_was_taken_over_stops_renewing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 0.01)
    former = await take_lease(pool, "network", 0, "a")
    assert former is not None
    await pool.execute(EXPIRE)
    await take_lease(pool, "network", 0, "b")

    with pytest.raises(LeaseLost, match="taken over"):
        await keep_lease(pool, former)


async def test_a_released_shard_is_free_at_once(pool: Pool) -> None:
    lease = await take_lease(pool, "network", 0, "a")
    assert lease is not None
    await release_lease(pool, lease)

    assert await take_lease(pool, "network", 0, "b") is not None


async def test_fencing_several_shards_names_those_that_are_lost(pool: Pool) -> None:
    leases = [await take_lease(pool, "network", shard, "a") for shard in (0, 1, 2)]
    await pool.execute(EXPIRE + " WHERE shard = 1")
    await take_lease(pool, "network", 1, "b")

    async with pool.acquire() as connection, connection.transaction():
        lost = await fence_all(connection, [lease for lease in leases if lease is not None])

    assert [lease.shard for lease in lost] == [1]


async def test_whatever_is_under_way_is_refused_from_the_moment_that_a_lease_is_let_go(pool: Pool) -> None:
    lease = await take_lease(pool, "network", 0, "a")
    assert lease is not None
    lease.check()

    await release_lease(pool, lease)

    with pytest.raises(LeaseLost):
        lease.check()
