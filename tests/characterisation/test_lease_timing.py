"""When a shard's lease is renewed, when its owner stops acting, when another may take it.

Two clocks: the owner's own, which these tests move by hand, and the database's, which alone decides that a lease
has expired.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import pytest

from core.runtime.lease import Lease, LeaseLost, keep_lease, take_lease
from core.runtime.postgres import Pool, open_pool
from tests.characterisation.hand_clock import clock, eventually, machine_time_passes, run_on_hand_clock

LEASE = timedelta(seconds=6)
RENEWED_EVERY_S = 2.0
STOPS_AFTER_S = 5.0
FAR_AHEAD = "UPDATE shard_lease SET expires_at = '2100-01-01'"
EXPIRES_AT = "SELECT expires_at FROM shard_lease"
IS_FAR_AHEAD = "SELECT expires_at = '2100-01-01' FROM shard_lease"
A_STATEMENT_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


async def database_time(pool: Pool) -> datetime:
    return await pool.fetchval("SELECT clock_timestamp()")


async def taken(pool: Pool, owner: str = "a") -> Lease:
    lease = await take_lease(pool, "network", 0, owner)
    assert lease is not None
    return lease


@asynccontextmanager
async def kept(pool: Pool, lease: Lease) -> AsyncGenerator[asyncio.Task[None]]:
    """The lease is renewed beside the block, from now on."""
    keeping = asyncio.create_task(keep_lease(pool, lease))
    await asyncio.sleep(0)  # It has looked at the clock.
    try:
        yield keeping
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await keeping


@asynccontextmanager
async def row_locked(pool: Pool) -> AsyncGenerator[None]:
    """What is sent to the lease's row within the block is answered after it."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM shard_lease FOR UPDATE")
        yield


async def sent_and_waiting(pool: Pool) -> None:
    await eventually(lambda: pool.fetchval(A_STATEMENT_WAITS), "a statement waits for the lease's row")


def acts(lease: Lease) -> bool:
    """Whether its owner may publish, or ask a gateway to transmit."""
    try:
        lease.check()
    except LeaseLost:
        return False
    return True


def test_lease_is_taken_for_six_seconds_of_the_database(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=4) as pool:
            before = await database_time(pool)
            await taken(pool)
            after = await database_time(pool)

            assert before <= await pool.fetchval(EXPIRES_AT) - LEASE <= after

    run_on_hand_clock(main)


def test_lease_is_renewed_every_two_seconds_for_six(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=4) as pool:
            lease = await taken(pool)
            async with kept(pool, lease):
                for _ in range(4):
                    await pool.execute(FAR_AHEAD)
                    clock().advance(RENEWED_EVERY_S - 0.01)
                    await machine_time_passes(0.1)
                    assert await pool.fetchval(IS_FAR_AHEAD)
                    before = await database_time(pool)
                    clock().advance(0.01)

                    async def is_renewed() -> bool:
                        return not await pool.fetchval(IS_FAR_AHEAD)

                    await eventually(is_renewed, "renewed after two seconds")
                    after = await database_time(pool)

                    assert before <= await pool.fetchval(EXPIRES_AT) - LEASE <= after
                    assert acts(lease)

    run_on_hand_clock(main)


def test_owner_stops_acting_five_seconds_after_its_last_renewal_was_sent(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=6) as pool:
            lease = await taken(pool)
            async with kept(pool, lease) as keeping:
                async with row_locked(pool):
                    clock().advance(RENEWED_EVERY_S)
                    await sent_and_waiting(pool)
                    sent_at = clock().time()
                    clock().advance(1.5)
                    await machine_time_passes(0.1)
                    was_far_ahead = await pool.fetchval(EXPIRES_AT)

                async def is_answered() -> bool:
                    return await pool.fetchval(EXPIRES_AT) > was_far_ahead

                await eventually(is_answered, "the renewal is answered")
                await machine_time_passes(0.1)  # And its answer has arrived.
                async with row_locked(pool):  # No renewal succeeds any more.
                    clock().advance(sent_at + STOPS_AFTER_S - clock().time())
                    assert clock().time() - sent_at == pytest.approx(STOPS_AFTER_S)
                    clock().advance(-0.01)
                    acted_before = acts(lease)
                    clock().advance(0.02)
                    acted_after = acts(lease)
                keeping.cancel()

        assert (acted_before, acted_after) == (True, False)

    run_on_hand_clock(main)


def test_owner_without_a_renewal_stops_acting_five_seconds_after_it_asked_for_the_lease(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=6) as pool:
            await taken(pool, "former")
            await pool.execute("UPDATE shard_lease SET expires_at = '-infinity'")
            asked_at = clock().time()
            async with row_locked(pool):
                taking = asyncio.create_task(taken(pool, "next"))
                await sent_and_waiting(pool)
                clock().advance(3)
            lease = await taking
            clock().advance(asked_at + STOPS_AFTER_S - 0.01 - clock().time())
            acted_before = acts(lease)
            clock().advance(0.02)
            acted_after = acts(lease)

        assert (acted_before, acted_after) == (True, False)

    run_on_hand_clock(main)


def test_lease_is_another_s_only_when_it_has_expired_by_the_database_s_time(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=4) as pool:
            await taken(pool)
            clock().advance(3600)  # What the replica's own clock says is nothing to the database.
            while True:
                await pool.execute("UPDATE shard_lease SET expires_at = clock_timestamp() + interval '2 seconds'")
                early = await take_lease(pool, "network", 0, "b")
                if await pool.fetchval("SELECT expires_at > clock_timestamp() FROM shard_lease"):
                    break  # On a machine so slow that it had expired, once more.
            await pool.execute("UPDATE shard_lease SET expires_at = clock_timestamp()")
            late = await take_lease(pool, "network", 0, "b")

        assert early is None
        assert late is not None
        assert late.epoch == 2

    run_on_hand_clock(main)


def test_owner_whose_lease_another_has_taken_stops_at_its_next_renewal(database_url: str) -> None:
    async def main() -> None:
        async with open_pool(database_url, "test", size=4) as pool:
            lease = await taken(pool)
            async with kept(pool, lease) as keeping:
                await pool.execute("UPDATE shard_lease SET epoch = epoch + 1, owner = 'b'")
                clock().advance(RENEWED_EVERY_S)

                async def has_ended() -> bool:
                    return keeping.done()

                await eventually(has_ended, "the owner stops renewing")

            with pytest.raises(LeaseLost):
                keeping.result()

    run_on_hand_clock(main)
