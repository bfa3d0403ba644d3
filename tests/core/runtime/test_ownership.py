import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from core.messages import topics
from core.runtime.bus import Bus, Message, ShardReader, connect_bus
from core.runtime.lease import Lease, take_lease
from core.runtime.ownership import Sharded, ShardOwner, batches
from core.runtime.postgres import Pool

EXPIRE = "UPDATE shard_lease SET expires_at = now() - interval '1 second'"
SHARDED = Sharded("ingest", topics.UPLINKS, topics.uplinks, 4)


@asynccontextmanager
async def owning(
    pool: Pool, bus: Bus, instance: str, serve: Callable[[Lease, ShardReader], Awaitable[None]]
) -> AsyncGenerator[ShardOwner]:
    owner = ShardOwner(pool, bus, SHARDED, instance, serve)
    running = asyncio.create_task(owner.run())
    try:
        yield owner
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def idle(_lease: Lease, _reader: ShardReader) -> None:
    await asyncio.Event().wait()


async def settled(owners: list[ShardOwner], shares: list[int]) -> None:
    """Wait until each owner holds as many as this, of four; it fails when they do not come to that."""
    async with asyncio.timeout(60):
        while [len(owner.leases) for owner in owners] != shares:  # noqa: ASYNC110 - there is no event.
            await asyncio.sleep(0.02)


async def test_a_replica_takes_what_is_free_and_leaves_what_is_held(pool: Pool, nats_url: str) -> None:
    await take_lease(pool, "ingest", 2, "somebody else")

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", idle) as owner:
            await settled([owner], [3])

            assert [lease.shard for lease in owner.leases] == [0, 1, 3]
            assert await owner.check_share() == "reads 0 of 4 shards"


async def test_a_shard_that_becomes_free_is_taken_within_seconds(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.01)
    await take_lease(pool, "ingest", 2, "somebody else")
    taken = asyncio.Event()

    async def serve(lease: Lease, _reader: ShardReader) -> None:
        if lease.shard == 2:
            taken.set()
        await asyncio.Event().wait()

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", serve):
            await pool.execute(EXPIRE + " WHERE shard = 2")

            await asyncio.wait_for(taken.wait(), 10)


async def test_work_on_a_lost_shard_is_cancelled(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.lease.RENEW_EVERY_S", 0.01)
    lost = asyncio.Event()

    async def serve(lease: Lease, _reader: ShardReader) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if lease.shard == 1:
                lost.set()

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", serve) as owner:
            await settled([owner], [4])
            await pool.execute(
                "UPDATE shard_lease SET epoch = epoch + 1, owner = 'b', expires_at = now() + interval '1 minute' "
                "WHERE shard = 1"
            )

            await asyncio.wait_for(lost.wait(), 10)


async def test_a_clean_stop_frees_every_shard_at_once(pool: Pool, nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", idle) as owner:
            await settled([owner], [4])

        leases = [await take_lease(pool, "ingest", shard, "b") for shard in range(4)]

    assert all(leases)


async def test_a_shard_whose_service_returns_is_taken_anew_with_what_was_not_acknowledged(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.01)
    read: list[tuple[int, bytes]] = []
    twice = asyncio.Event()

    async def serve(lease: Lease, reader: ShardReader) -> None:
        if lease.shard != 0:
            await asyncio.Event().wait()
        async for messages in batches(reader, 10):
            read.append((lease.epoch, messages[0].data))
            if len(read) == 2:
                twice.set()
            return

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(0), b"kept")
        async with owning(pool, bus, "a", serve):
            await asyncio.wait_for(twice.wait(), 10)

    assert read[0][1] == read[1][1] == b"kept"
    assert read[1][0] > read[0][0]


async def test_reading_ends_when_the_consumer_was_taken_away(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.PROBE_EVERY_S", 0.05)

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-1")
        await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-2")

        with pytest.raises(Exception, match=r"(?i)consumer|responders|unavailable|404"):
            await asyncio.wait_for(anext(batches(reader, 10)), 20)


async def test_an_idle_reader_asks_the_bus_once_in_seconds_and_ends_at_once_when_its_shard_is_to_go(
    nats_url: str,
) -> None:
    async with connect_bus(nats_url, "test") as bus, connect_bus(nats_url, "publisher") as publisher:
        await bus.ensure_streams()
        reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-1")
        read: asyncio.Queue[list[Message]] = asyncio.Queue()

        async def read_all() -> None:
            async for messages in batches(reader, 10):
                await read.put(messages)

        sent = bus._client.stats  # pyright: ignore[reportPrivateUsage]
        before = sent["out_msgs"]
        reading = asyncio.create_task(read_all())
        await asyncio.sleep(2.5)
        assert sent["out_msgs"] - before == 1

        await publisher.publish(topics.uplinks(0), b"comes while it waits")
        (message,) = await asyncio.wait_for(read.get(), 2)
        assert message.data == b"comes while it waits"
        await message.ack()
        reader.draining.set()

        await asyncio.wait_for(reading, 3)


async def test_a_message_that_a_broken_connection_swallowed_is_read_before_those_that_follow(
    pool: Pool, nats_url: str
) -> None:
    read: list[bytes] = []
    both = asyncio.Event()
    swallowed = asyncio.Event()

    async def serve(lease: Lease, reader: ShardReader) -> None:
        if lease.shard != 0:
            await asyncio.Event().wait()
        if not swallowed.is_set():  # As the server sees it: handed out, not acknowledged.
            assert [message.data for message in await reader.fetch(10)] == [b"first"]
            swallowed.set()
            await again.wait()
        async for messages in batches(reader, 10):
            read.extend(message.data for message in messages)
            if len(read) >= 2:
                both.set()

    async with connect_bus(nats_url, "test") as bus, connect_bus(nats_url, "publisher") as publisher:
        again = asyncio.Event()
        await bus.ensure_streams()
        await publisher.publish(topics.uplinks(0), b"first")
        async with owning(pool, bus, "a", serve):
            await asyncio.wait_for(swallowed.wait(), 10)
            await bus._client.force_reconnect()  # pyright: ignore[reportPrivateUsage] - As a server that restarts.
            await publisher.publish(topics.uplinks(0), b"second")
            again.set()
            await asyncio.wait_for(both.wait(), 20)

    assert read[:2] == [b"first", b"second"]


async def test_a_shard_that_is_taken_again_and_again_leaves_no_subscription_behind(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.01)
    often = asyncio.Event()

    async def serve(lease: Lease, _reader: ShardReader) -> None:
        if lease.epoch > 5:
            often.set()
            await asyncio.Event().wait()

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", serve):
            await asyncio.wait_for(often.wait(), 20)

        # Those of requests' answers and of our own echo.
        assert len(bus._client._subs) <= 2  # pyright: ignore[reportPrivateUsage]


async def test_a_shard_whose_service_keeps_returning_is_taken_anew_no_sooner_than_the_next_round(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 3_600.0)
    taken: list[int] = []

    async def serve(lease: Lease, _reader: ShardReader) -> None:
        taken.append(lease.shard)

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with owning(pool, bus, "a", serve):
            async with asyncio.timeout(20):
                while len(taken) < 4:  # noqa: ASYNC110 - there is no event.
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)

    assert sorted(taken) == [0, 1, 2, 3]


async def test_an_owner_that_was_frozen_since_the_taking_leaves_the_next_ones_consumer_alone(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = asyncio.Event()

    async def serve(_lease: Lease, _reader: ShardReader) -> None:
        served.set()

    async def take_and_freeze(*arguments: Any) -> Lease | None:
        lease = await take_lease(*arguments)
        if lease is not None:
            lease.renewed_at -= 60
        return lease

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        theirs = await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-100")
        monkeypatch.setattr("core.runtime.ownership.take_lease", take_and_freeze)
        async with owning(pool, bus, "a", serve) as owner:
            async with asyncio.timeout(30):
                while await pool.fetchval("SELECT count(*) FROM shard_lease") < 4:  # noqa: ASYNC110 - there is no event.
                    await asyncio.sleep(0.02)
                while owner.leases:  # noqa: ASYNC110 - they are let go without an event.
                    await asyncio.sleep(0.02)

        assert (await theirs.backlog()).waiting == 0
    assert not served.is_set()


async def test_a_service_that_fails_leaves_a_crash_and_one_that_is_stopped_does_not(
    pool: Pool, nats_url: str
) -> None:
    stopping, serving = asyncio.Event(), asyncio.Event()

    async def fail(_lease: Lease, reader: ShardReader) -> None:
        async for _ in batches(reader, 10):
            raise ValueError("cannot")

    async def serve(_lease: Lease, reader: ShardReader) -> None:
        async for _ in batches(reader, 10):
            serving.set()

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(0), b"poison")
        with pytest.raises(ExceptionGroup):
            await ShardOwner(pool, bus, SHARDED, "a", fail, stopping).run()
        failed = await pool.fetchval("SELECT NOT released FROM shard_lease WHERE shard = 0")
        running = asyncio.create_task(ShardOwner(pool, bus, SHARDED, "a", serve, stopping).run())
        await asyncio.wait_for(serving.wait(), 10)
        crashes = await pool.fetchval("SELECT crashes FROM shard_lease WHERE shard = 0")
        stopping.set()
        running.cancel()
        await asyncio.wait((running,))
        released = await pool.fetchval("SELECT released FROM shard_lease WHERE shard = 0")

    assert (failed, crashes, released) == (True, 1, True)


async def test_letting_go_while_the_database_is_away_is_no_crash(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.01)
    crashes: list[int] = []
    often = asyncio.Event()

    async def serve(lease: Lease, reader: ShardReader) -> None:
        if lease.shard != 0 or often.is_set():
            await asyncio.Event().wait()
        async for _ in batches(reader, 10):
            crashes.append(lease.crashes)
            if len(crashes) == 4:
                often.set()
            return  # With the message un-acknowledged, as when the bus was away.

    async def fail_to_write(_pool: Pool, lease: Lease, *, cleanly: bool) -> None:
        assert cleanly
        lease.renewed_at = -math.inf

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(0), b"kept")
        monkeypatch.setattr("core.runtime.ownership.release_lease", fail_to_write)
        async with owning(pool, bus, "a", serve):
            await asyncio.wait_for(often.wait(), 20)

    assert crashes == [0, 0, 0, 0]
