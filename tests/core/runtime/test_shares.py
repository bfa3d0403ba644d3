"""Replicas of a service divide its shards: each has its share, reads it, and gives away what is another's."""

import asyncio

import pytest

from core.messages import topics
from core.runtime.bus import Message, ShardReader, connect_bus
from core.runtime.lease import Lease
from core.runtime.ownership import ShardOwner, batches
from core.runtime.postgres import Pool
from lab.chaos.stack.proxy import open_proxy
from tests.core.runtime.test_ownership import idle, owning, settled


async def read_on(_lease: Lease, reader: ShardReader) -> None:
    """Serves a shard, whose messages are nothing."""
    async for _ in batches(reader, 10):
        pass


async def test_a_replica_that_the_bus_does_not_answer_leaves_its_shards_to_another_until_it_does(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("RETRY_EVERY_S", 0.05), ("ASK_BUS_EVERY_S", 0.1), ("BUS_SILENT_AFTER_S", 0.5)):
        monkeypatch.setattr(f"core.runtime.ownership.{name}", seconds)

    async with (
        open_proxy(nats_url) as way,
        connect_bus(nats_url, "there") as bus,
        connect_bus(way.url_of(nats_url), "cut") as cut,
    ):
        await bus.ensure_streams()
        async with owning(pool, cut, "a", read_on) as a, owning(pool, bus, "b", read_on) as b:
            await settled([a, b], [2, 2])
            way.cut()
            await settled([a, b], [0, 4])
            crashes = await pool.fetchval("SELECT max(crashes) FROM shard_lease")
            way.mend()
            await settled([a, b], [2, 2])

    assert crashes == 0


async def test_replicas_share_the_shards_and_take_over_what_one_leaves(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.05)

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", read_on) as a:
            await settled([a], [4])
            async with owning(pool, bus, "b", read_on) as b:
                await settled([a, b], [2, 2])
                async with owning(pool, bus, "c", read_on) as c:
                    await settled([a, b, c], [2, 1, 1])
                    epochs = await pool.fetchval("SELECT sum(epoch) FROM shard_lease")
                    await asyncio.sleep(0.5)  # Ten rounds: nothing moves any more.
                    still = await pool.fetchval("SELECT sum(epoch) FROM shard_lease")
                await settled([a, b], [2, 2])
            await settled([a], [4])
        left = await pool.fetchval("SELECT count(*) FROM service_replica")

    assert still == epochs
    assert left == 0


async def test_shards_move_at_once_when_a_replica_comes_and_when_it_goes_without_waiting_for_the_next_round(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 3_600.0)

    async with connect_bus(nats_url, "test") as bus, connect_bus(nats_url, "others") as others:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", read_on) as a:
            await settled([a], [4])
            async with owning(pool, others, "b", read_on) as b:
                await settled([a, b], [2, 2])
                async with owning(pool, others, "c", read_on) as c:
                    await settled([a, b, c], [2, 1, 1])
                await settled([a, b], [2, 2])
            await settled([a], [4])


async def test_a_replica_is_ready_once_its_share_is_its_own_or_another_has_not_given_it_for_long(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until_ready(owner: ShardOwner) -> None:
        async with asyncio.timeout(60):
            while await owner.check_share() is not None:  # noqa: ASYNC110 - there is no event.
                await asyncio.sleep(0.02)

    monkeypatch.setattr("core.runtime.ownership.SHARE_WITHIN_S", 3_600.0)  # However slow the machine is.
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", read_on) as a:
            await until_ready(a)
            async with owning(pool, bus, "b", read_on) as b:
                await until_ready(b)
                shared = b.leases
            await settled([a], [4])

            async with owning(pool, bus, "c", idle):  # It gives nothing away.
                await settled([a], [2])
                monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.02)
                async with owning(pool, bus, "d", read_on) as d:
                    await asyncio.sleep(0.5)
                    before = await d.check_share()
                    monkeypatch.setattr("core.runtime.ownership.SHARE_WITHIN_S", 0.1)
                    await until_ready(d)

    assert [lease.shard for lease in shared] == [2, 3]
    assert before is not None


async def test_a_shard_is_given_away_only_when_all_that_was_read_of_it_is_acknowledged(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.05)
    read: list[bytes] = []
    in_hand, finish, both = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(message: Message) -> None:
        in_hand.set()
        await finish.wait()
        read.append(message.data)
        await message.ack()
        if len(read) == 2:
            both.set()

    async def serve(_lease: Lease, reader: ShardReader) -> None:
        async with asyncio.TaskGroup() as tasks:  # As a service does that reads ahead of its batch.
            async for messages in batches(reader, 10):
                for message in messages:
                    tasks.create_task(work(message))

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(3), b"first")
        async with owning(pool, bus, "a", serve) as a:
            await asyncio.wait_for(in_hand.wait(), 10)
            async with owning(pool, bus, "b", serve) as b:
                async with asyncio.timeout(30):
                    while not a.leases[-1].draining.is_set():  # noqa: ASYNC110 - nobody else is to wait for it.
                        await asyncio.sleep(0.02)
                await bus.publish(topics.uplinks(3), b"second")
                await asyncio.sleep(1)  # Longer than a fetch: a drain that does not wait would be over.
                while_in_hand = [lease.shard for lease in a.leases], [lease.shard for lease in b.leases]
                finish.set()
                await asyncio.wait_for(both.wait(), 20)
                await settled([a, b], [2, 2])

    assert while_in_hand == ([0, 1, 2, 3], [])
    assert read == [b"first", b"second"]


async def test_who_owns_every_shard_asks_for_its_share_half_as_often(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []

    async def record(_pool: Pool, _service: str, instance: str) -> list[str]:
        announced.append(instance)
        return others

    async def serve(_lease: Lease, reader: ShardReader) -> None:
        await reader.draining.wait()

    others = list[str]()
    monkeypatch.setattr("core.runtime.ownership.announce", record)
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.05)
    monkeypatch.setattr("core.runtime.ownership.ALONE_EVERY_S", 0.5)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", serve) as owner:
            await settled([owner], [4])
            await asyncio.sleep(0.4)
            alone = len(announced)
            others.append("b")
            async with asyncio.timeout(30):
                while len(owner.leases) > 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            announced.clear()
            await asyncio.sleep(1.0)

    assert alone == 1
    assert len(announced) > 4
