"""Batches over a stream: in its order, shared among replicas, not held up by the stream of measurements."""

import nats

from core.messages import topics
from core.messages.topics import shard_of_slot, slot_of_asset
from core.runtime.bus import Bus
from tests.ingest.test_app import (
    NOW_US,
    Ingesting,
    MakeUplink,
    Planted,
    Send,
    UntilDrained,
    published,
)


async def test_a_missing_measurements_stream_is_made_again_and_holds_nothing_up(
    planted: Planted,
    bus: Bus,
    nats_url: str,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting():
        await send(make_uplink(device_id, 1))
        await until_drained()
        connection = await nats.connect(nats_url)
        await connection.jetstream().delete_stream(topics.MEASUREMENTS)
        await connection.close()
        await send(make_uplink(device_id, 2))
        await until_drained()

    found = await published(bus, shard_of_slot(slot_of_asset(device_id), 4))
    assert len(found) == 4


async def test_batches_that_overlap_commit_publish_and_acknowledge_in_the_order_of_the_stream(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    for f_cnt in range(1, 61):
        await send(make_uplink(device_id, f_cnt))

    async with ingesting(pass_uplinks=3, fetch_messages=10):
        await until_drained()

    found = await published(bus, shard_of_slot(slot_of_asset(device_id), 4))
    assert await planted.count("uplink") == 60
    assert [m.time_us for m in found[::4]] == [NOW_US + f_cnt * 1_000_000 for f_cnt in range(1, 61)]


async def test_two_replicas_share_the_work_and_write_everything_once(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting(instance="a"):
        async with ingesting(instance="b"):
            for f_cnt in range(1, 41):
                await send(make_uplink(device_id, f_cnt), slot=f_cnt)
            await until_drained()
        await send(make_uplink(device_id, 41))
        await until_drained()

    assert await planted.count("uplink") == 41
    assert await planted.count("measurement") == 164
