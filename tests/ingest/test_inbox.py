"""What is read ahead of the passes is bounded, and reading goes on whichever way messages are taken."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from core.messages import topics
from core.runtime.bus import Bus
from core.runtime.lease import CAREFUL_AFTER, Lease
from ingest.inbox import Inbox, Inboxes, Taken
from services.ingest.settings import IngestSettings

PASS_UPLINKS, FETCH_MESSAGES = 2, 5


@asynccontextmanager
async def reading(
    bus: Bus, shards: int, change: Callable[[Lease], None] = lambda _: None
) -> AsyncGenerator[Inboxes]:
    settings = IngestSettings.model_construct(
        pass_uplinks=PASS_UPLINKS, fetch_messages=FETCH_MESSAGES, linger_ms=0
    )
    inboxes = Inboxes(settings)
    serving: list[asyncio.Task[None]] = []
    for shard in range(shards):
        reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(shard), f"ingest-{shard}-1")
        lease = Lease("ingest", shard, 1, asyncio.get_running_loop().time())
        change(lease)
        serving.append(asyncio.create_task(inboxes.serve(lease, reader)))
    try:
        yield inboxes
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def arrived(inboxes: Inboxes) -> None:
    async with asyncio.timeout(30):
        await inboxes.arrived.wait()


async def test_a_shard_whose_turn_it_is_not_is_read_no_further_than_a_pass_ahead(bus, send, make_uplink) -> None:
    messages = 20
    for f_cnt in range(messages):
        for slot in range(2):
            await send(make_uplink(1 + slot, f_cnt), slot=slot)
    most, taken = 0, 0

    async with reading(bus, 2) as inboxes:
        while taken < 2 * messages:
            await arrived(inboxes)
            for _ in range(5):  # The readers of the other shards have their turn, too.
                await bus.unacknowledged(topics.UPLINKS)
            most = max(most, *(inbox.uplinks_waiting for inbox in inboxes._inboxes))
            for shard in inboxes.take():
                taken += len(shard.messages)
                await shard.inbox.acknowledge(shard.messages)

    assert most < PASS_UPLINKS + FETCH_MESSAGES


async def test_a_shard_that_is_taken_carefully_is_read_to_its_end(bus, send, make_uplink) -> None:
    messages = 20
    for f_cnt in range(messages):
        await send(make_uplink(1, f_cnt))

    def crashed(lease: Lease) -> None:
        lease.crashes, lease.has_passed = CAREFUL_AFTER, lambda: False

    def careful(inboxes: Inboxes) -> Inbox | None:
        inboxes.take()  # As before every pass: nothing of this shard.
        return inboxes.careful()

    done = 0
    async with reading(bus, 1, crashed) as inboxes, asyncio.timeout(30):
        while done < messages:
            inbox = careful(inboxes)
            if inbox is None:
                await inboxes.arrived.wait()
                continue
            shard = Taken(inbox)
            shard.add_oldest()
            await inbox.acknowledge(shard.messages)
            done += 1
            assert inbox.uplinks_waiting < PASS_UPLINKS + FETCH_MESSAGES
