import math

from hypothesis import given
from hypothesis import strategies as st

from core.runtime.postgres import Pool
from core.runtime.replicas import announce, forget_the_dead, share_of, withdraw

SHARDS = st.sampled_from([1, 2, 4, 8, 16])
NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=20, unique=True)


@given(SHARDS, NAMES)
def test_all_shares_together_are_all_shards_and_none_is_more_than_the_ceiling(
    shards: int, names: list[str]
) -> None:
    shares = [share_of(shards, name, [other for other in names if other != name]) for name in names]

    assert sum(shares) == shards
    assert max(shares) <= math.ceil(shards / len(names))


async def test_a_replica_receives_of_the_others_until_they_withdraw_or_are_silent(pool: Pool) -> None:
    alone = await announce(pool, "ingest", "a")
    await announce(pool, "network", "c")
    second = await announce(pool, "ingest", "b")
    both = await announce(pool, "ingest", "a")
    await pool.execute("UPDATE service_replica SET seen_at = now() - interval '7 seconds' WHERE instance = 'b'")
    silent = await announce(pool, "ingest", "a")
    await withdraw(pool, "ingest", "a")
    withdrawn = await announce(pool, "ingest", "b")

    assert (alone, second, both, silent, withdrawn) == ([], ["a"], ["b"], [], [])


async def test_replicas_that_were_killed_long_ago_are_forgotten(pool: Pool) -> None:
    for instance in "ab":
        await announce(pool, "ingest", instance)
    await pool.execute("UPDATE service_replica SET seen_at = now() - interval '1 hour' WHERE instance = 'b'")

    await forget_the_dead(pool, "ingest")

    assert await pool.fetchval("SELECT array_agg(instance) FROM service_replica") == ["a"]
