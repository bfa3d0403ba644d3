import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from core.runtime import poison_guard
from core.runtime.lease import (
    Former,
    Lease,
    LeaseLost,
    fence_all,
    keep_lease,
    keep_leases,
    record_first_unacknowledged,
    release_lease,
    renew_leases,
    take_lease,
)
from core.runtime.postgres import LockNotAvailableError, Pool

EXPIRE = "UPDATE shard_lease SET expires_at = now() - interval '1 second'"
SIX_SECONDS = timedelta(seconds=6)


class LatePool:
    """A pool whose answers arrive late. Only the first question is put to the database: to others it says None."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.asked_at: float | None = None

    async def fetchval(self, *arguments: Any) -> Any:
        return await self._ask("fetchval", arguments)

    async def fetch(self, *arguments: Any) -> Any:
        return await self._ask("fetch", arguments) or []

    async def fetchrow(self, *arguments: Any) -> Any:
        return await self._ask("fetchrow", arguments)

    async def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if self.asked_at is not None:
            return None
        asked_at = asyncio.get_running_loop().time()
        answer = await getattr(self._pool, method)(*arguments)
        await asyncio.sleep(0.02)
        self.asked_at = asked_at
        return answer


class CountingPool:
    """How many questions are put to the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.count = 0

    async def fetch(self, *arguments: Any) -> Any:
        self.count += 1
        return await self._pool.fetch(*arguments)


class AwayPool:
    """The database is away."""

    async def fetch(self, *_arguments: Any) -> Any:
        raise ConnectionRefusedError


class LateFetch:
    """A question reaches the database late, or its answer comes late."""

    def __init__(self, pool: Pool, *, before: bool) -> None:
        self._pool, self._before = pool, before
        self.asked, self.go, self.answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fetch(self, *arguments: Any) -> Any:
        answer = None if self._before else await self._pool.fetch(*arguments)
        self.asked.set()
        await self.go.wait()
        answer = await self._pool.fetch(*arguments) if self._before else answer
        self.answered.set()
        return answer


async def test_a_held_shard_is_rejected_to_another_replica(pool: Pool) -> None:
    first = await take_lease(pool, "network", 0, "a")
    second = await take_lease(pool, "network", 0, "b")

    assert first is not None
    assert second is None


async def test_a_held_shard_is_free_once_its_lease_has_expired_and_no_sooner(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():  # In which now() stands still.
        at_that_instant = cast("Pool", connection)
        await take_lease(at_that_instant, "network", 0, "a")
        lasts = await connection.fetchval("SELECT expires_at - now() FROM shard_lease")
        await connection.execute("UPDATE shard_lease SET expires_at = now()")
        before = await take_lease(at_that_instant, "network", 0, "b")
        await connection.execute("UPDATE shard_lease SET expires_at = now() - interval '1 microsecond'")
        after = await take_lease(at_that_instant, "network", 0, "b")

    assert lasts == SIX_SECONDS
    assert before is None
    assert after is not None


async def test_a_lease_counts_from_the_question_and_not_from_its_late_answer(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 0.25)
    at_taking, at_renewal = LatePool(pool), LatePool(pool)
    lease = await take_lease(cast("Pool", at_taking), "network", 0, "a")
    assert lease is not None
    taken_at = lease.renewed_at
    before = await pool.fetchval("SELECT now()")

    with pytest.raises(LeaseLost, match="taken over"):  # By the second renewal.
        await keep_lease(cast("Pool", at_renewal), lease)

    after = await pool.fetchval("SELECT now()")
    expires_at = await pool.fetchval("SELECT expires_at FROM shard_lease")
    assert at_taking.asked_at is not None
    assert at_renewal.asked_at is not None
    assert taken_at <= at_taking.asked_at
    assert taken_at < lease.renewed_at <= at_renewal.asked_at
    assert before + SIX_SECONDS <= expires_at <= after + SIX_SECONDS


@pytest.mark.parametrize(("seconds", "is_held"), [(4.99, True), (5.01, False)])
async def test_an_owner_that_cannot_renew_stops_a_second_before_its_lease_expires(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_held: bool
) -> None:
    lease = Lease("network", 0, 1, renewed_at=100.0)
    stopped = False

    with monkeypatch.context() as clock:
        clock.setattr(asyncio.get_running_loop(), "time", lambda: 100.0 + seconds)
        try:
            lease.check()
        except LeaseLost:
            stopped = True

    assert stopped is not is_held


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


async def test_a_take_over_waits_for_a_transaction_that_fences_several_shards(pool: Pool) -> None:
    leases = [await take_lease(pool, "network", shard, "a") for shard in (0, 1, 2)]
    await pool.execute(EXPIRE)

    async with pool.acquire() as connection, pool.acquire() as other:
        await other.execute("SET lock_timeout = '100ms'")
        async with connection.transaction():
            assert await fence_all(connection, [lease for lease in leases if lease is not None]) == []
            with pytest.raises(LockNotAvailableError):
                await take_lease(cast("Pool", other), "network", 1, "b")
        taken = await take_lease(cast("Pool", other), "network", 1, "b")

    assert taken is not None


async def test_whatever_is_under_way_is_rejected_from_the_moment_that_a_lease_is_let_go(pool: Pool) -> None:
    lease = await take_lease(pool, "network", 0, "a")
    assert lease is not None
    lease.check()

    await release_lease(pool, lease)

    with pytest.raises(LeaseLost):
        lease.check()


UNTOUCHED = Former(released=False, first_sequence=100, crashes=0)
ONCE = Former(released=False, first_sequence=100, crashes=1)
TWICE = Former(released=False, first_sequence=100, crashes=2)
CAREFUL = Former(released=False, first_sequence=100, crashes=2, in_hand=(105, 3))


@pytest.mark.parametrize(
    ("former", "first", "handed_out", "crashes"),
    [
        (Former(released=True, first_sequence=100, crashes=2), 100, 120, 0),
        (UNTOUCHED, 100, 120, 1),
        (ONCE, 100, 120, 2),
        (ONCE, 110, 120, 1),  # It got further: another batch.
        (ONCE, 100, 99, 1),  # The last one was given nothing, so it did not end by that.
        (ONCE, 130, 120, 0),  # All that it was given is done.
        (TWICE, 104, 120, 1),
        (CAREFUL, 104, 120, 3),  # A guarded owner finishes the messages before the one that ends it.
        (CAREFUL, 105, 120, 3),
        (CAREFUL, 106, 120, 1),
    ],
)
def test_owners_that_end_with_the_same_batch_in_hand_are_counted(
    former: Former, first: int, handed_out: int, crashes: int
) -> None:
    assert former.crashes_on(first, handed_out) == crashes


async def test_the_third_owner_is_guarded_and_the_fourth_knows_what_was_in_hand(pool: Pool) -> None:
    seen: list[tuple[int, bool, bool]] = []
    for _ in range(4):
        lease = await take_lease(pool, "network", 0, "a")
        assert lease is not None
        await record_first_unacknowledged(pool, lease, 100, 120)
        seen.append((lease.crashes, lease.is_guarded, lease.is_poison(105, 3)))
        if lease.is_guarded:
            await poison_guard.begin(pool, lease, 105, 3)

    assert seen == [(0, False, False), (1, False, False), (2, True, False), (3, True, True)]


async def test_what_was_done_when_its_owner_ended_is_not_blamed(pool: Pool) -> None:
    for _ in range(3):
        lease = await take_lease(pool, "network", 0, "a")
        assert lease is not None
        await record_first_unacknowledged(pool, lease, 100, 120)
        await poison_guard.begin(pool, lease, 105, 3)
        await poison_guard.commit(pool, lease)

    after = await take_lease(pool, "network", 0, "a")

    assert after is not None
    await record_first_unacknowledged(pool, after, 100, 120)
    assert after.crashes == 3
    assert after.is_guarded
    assert after.in_hand is None


@pytest.mark.parametrize(("cleanly", "crashes"), [(True, 0), (False, 1)])
async def test_letting_go_is_a_crash_only_when_the_service_failed(pool: Pool, cleanly: bool, crashes: int) -> None:
    former = await take_lease(pool, "network", 0, "a")
    assert former is not None
    await record_first_unacknowledged(pool, former, 100, 0)
    await release_lease(pool, former, cleanly=cleanly)

    lease = await take_lease(pool, "network", 0, "b")

    assert lease is not None
    await record_first_unacknowledged(pool, lease, 100, 120)
    assert lease.crashes == crashes


async def test_a_former_owner_notes_nothing(pool: Pool) -> None:
    former = await take_lease(pool, "network", 0, "a")
    assert former is not None
    await pool.execute(EXPIRE)
    await take_lease(pool, "network", 0, "b")

    with pytest.raises(LeaseLost):
        await record_first_unacknowledged(pool, former, 100, 0)
    with pytest.raises(LeaseLost):
        await poison_guard.begin(pool, former, 100, 0)


async def test_guard_ends_and_crashes_are_reset_once_the_dead_owners_messages_are_done(pool: Pool) -> None:
    lease = await take_lease(pool, "network", 0, "a")
    assert lease is not None
    done = False
    lease.crashes, lease.in_hand, lease.has_passed = 3, (100, 0), lambda: done
    before = lease.is_guarded, lease.is_poison(100, 0)

    done = True

    assert before == (True, True)
    assert not lease.is_guarded
    assert not lease.is_poison(100, 0)
    assert lease.crashes == 0


async def test_all_leases_of_a_service_are_renewed_by_one_statement_and_a_lost_one_is_ended_alone(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 0.05)
    held = [await take_lease(pool, "network", shard, "a") for shard in range(4)]
    other = await take_lease(pool, "ingest", 0, "a")
    leases = [lease for lease in held if lease is not None]
    before = [lease.renewed_at for lease in leases]
    await pool.execute("UPDATE shard_lease SET epoch = epoch + 1 WHERE service = 'network' AND shard = 2")
    await pool.execute("UPDATE shard_lease SET expires_at = now()")
    asked = CountingPool(pool)

    keeping = asyncio.create_task(keep_leases(cast("Pool", asked), lambda: leases))
    with pytest.raises(LeaseLost, match="shard 2 epoch 1: taken over"):
        await asyncio.wait_for(leases[2].until_ended(), 10)
    keeping.cancel()

    assert asked.count == 1
    assert [lease.ended.is_set() for lease in leases] == [False, False, True, False]
    assert [now > then for now, then in zip([lease.renewed_at for lease in leases], before, strict=True)] == [
        True,
        True,
        False,
        True,
    ]
    still = await pool.fetch("SELECT service, shard FROM shard_lease WHERE expires_at > now() ORDER BY shard")
    assert other is not None
    assert [(row["service"], row["shard"]) for row in still] == [("network", 0), ("network", 1), ("network", 3)]


async def test_a_lease_that_cannot_be_renewed_is_ended_when_it_is_too_old_to_act_under(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 0.02)
    now = asyncio.get_running_loop().time()
    old, fresh = Lease("network", 0, 1, now - 5.5), Lease("network", 1, 1, now)

    keeping = asyncio.create_task(keep_leases(cast("Pool", AwayPool()), lambda: [old, fresh]))
    with pytest.raises(LeaseLost, match="not renewed in time"):
        await asyncio.wait_for(old.until_ended(), 10)
    keeping.cancel()

    assert not fresh.ended.is_set()


@pytest.mark.parametrize("before", [True, False])
async def test_a_lease_that_was_let_go_stays_so_whenever_its_renewal_comes(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 5.0)
    lease = await take_lease(pool, "network", 0, "a")
    assert lease is not None
    late = LateFetch(pool, before=before)

    renewing = asyncio.create_task(renew_leases(cast("Pool", late), [lease]))
    await late.asked.wait()
    await release_lease(pool, lease)
    late.go.set()
    await renewing

    with pytest.raises(LeaseLost):
        lease.check()
    assert await take_lease(pool, "network", 0, "b") is not None
