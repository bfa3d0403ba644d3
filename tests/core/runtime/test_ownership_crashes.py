"""Which ends of an owner count as crashes of its shard, and which are clean."""

import asyncio

import pytest

from core.messages import topics
from core.runtime.bus import ShardReader, connect_bus
from core.runtime.lease import Lease, record_first_unacknowledged, take_lease
from core.runtime.ownership import Sharded, ShardOwner, batches
from core.runtime.postgres import Pool

SHARDED = Sharded("ingest", topics.UPLINKS, topics.uplinks, 4)


@pytest.mark.parametrize(("is_asked_to_stop", "crashes"), [(True, 0), (False, 1)])
async def test_an_owner_that_is_cancelled_leaves_a_crash_unless_it_was_asked_to_stop(
    pool: Pool, nats_url: str, is_asked_to_stop: bool, crashes: int
) -> None:
    stopping, serving = asyncio.Event(), asyncio.Event()

    async def serve(_lease: Lease, reader: ShardReader) -> None:
        async for _ in batches(reader, 10):
            serving.set()

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(0), b"in hand")
        running = asyncio.create_task(ShardOwner(pool, bus, SHARDED, "a", serve, stopping).run())
        await asyncio.wait_for(serving.wait(), 10)
        if is_asked_to_stop:
            stopping.set()
        running.cancel()
        await asyncio.wait((running,))

    following = await take_lease(pool, "ingest", 0, "b")
    assert following is not None
    await record_first_unacknowledged(pool, following, 1, 1)
    assert following.crashes == crashes


async def test_a_shard_that_its_service_gives_back_while_nobody_stops_it_has_not_crashed(
    pool: Pool, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.ownership.RETRY_EVERY_S", 0.01)
    stopping, often = asyncio.Event(), asyncio.Event()
    crashes: list[int] = []

    async def serve(lease: Lease, reader: ShardReader) -> None:
        if lease.shard != 0 or often.is_set():
            await asyncio.Event().wait()
        async for _ in batches(reader, 10):
            crashes.append(lease.crashes)
            if len(crashes) == 3:
                often.set()
            return  # With the message un-acknowledged, as when the bus was away.

    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.uplinks(0), b"kept")
        running = asyncio.create_task(ShardOwner(pool, bus, SHARDED, "a", serve, stopping).run())
        await asyncio.wait_for(often.wait(), 20)
        stopping.set()
        running.cancel()
        await asyncio.wait((running,))

    assert crashes == [0, 0, 0]
