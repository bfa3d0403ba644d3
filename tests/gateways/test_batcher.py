"""Batches on a real JetStream."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from core.messages import topics
from core.messages.frames import FRAME_BATCHES, GatewayFrame
from core.messages.topics import shard_of_slot
from core.model.identities import limit_of
from core.runtime.bus import Bus, connect_bus
from core.runtime.tracing import TRACES
from gateways.batcher import MAX_ITEMS, Batcher, Ticks
from gateways.telemetry import FRAMES
from lorawan.frame import routing_slot
from tests.gateways.stations import JOIN_REQUEST, UPLINK
from tests.receptions import reception

CONFIRMED = b"\x80" + UPLINK[1:]


def uplink_of(octet: int) -> bytes:
    """Of a device whose address ends so."""
    return UPLINK[:1] + bytes([octet]) + UPLINK[2:]


def frame(phy_payload: bytes, channel: int = 0) -> GatewayFrame:
    return reception(phy_payload, bytes(8), 1, channel=channel)


@asynccontextmanager
async def batching(nats_url: str, *, max_waiting: int = 50_000) -> AsyncGenerator[tuple[Bus, Batcher]]:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        batcher = Batcher(bus, 1, max_waiting=max_waiting)
        running = asyncio.create_task(batcher.run())
        try:
            yield bus, batcher
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def batches(bus: Bus, count: int) -> list[list[GatewayFrame]]:
    reader = await bus.read_shard(topics.FRAMES, topics.frames(0), "test")
    found: list[list[GatewayFrame]] = []
    async with asyncio.timeout(30):
        while sum(map(len, found)) < count:
            found += [FRAME_BATCHES.decode(message.data) for message in await reader.fetch(100, 0.2)]
    return found


async def test_frames_of_one_linger_are_one_message_in_their_order(nats_url: str) -> None:
    async with batching(nats_url) as (bus, batcher):
        for channel in range(10):
            batcher.submit_frame(frame(UPLINK, channel))

        found = await batches(bus, 10)

    assert [[item.channel for item in batch] for batch in found] == [list(range(10))]


async def test_a_traced_frame_has_its_step_once_the_bus_has_it_and_no_other_has(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, other = structs.replace(frame(UPLINK), trace_id=bytes(15) + b"\1"), frame(UPLINK, 1)
    passed_over = structs.replace(other, trace_id=b"\xff" * 16)
    monkeypatch.setattr(TRACES, "_limit", limit_of(0.5))

    with capture_logs() as told:
        async with batching(nats_url) as (bus, batcher):
            for one in (traced, other, passed_over):
                batcher.submit_frame(one)
            found = await batches(bus, 3)
            async with asyncio.timeout(10):
                while not told:  # noqa: ASYNC110 - The line comes with the bus's acknowledgement.
                    await asyncio.sleep(0.01)

    assert [item for batch in found for item in batch] == [traced, other, passed_over]
    [line] = [line for line in told if "trace_id" in line]
    assert (line["event"], line["trace_id"], line["gw_eui"]) == ("frame_forwarded", "0" * 31 + "1", "0" * 16)


async def test_no_message_holds_more_than_500_frames(nats_url: str) -> None:
    async with batching(nats_url) as (bus, batcher):
        for channel in range(2 * MAX_ITEMS + 1):
            batcher.submit_frame(frame(UPLINK, channel))

        found = await batches(bus, 2 * MAX_ITEMS + 1)

    assert [len(batch) for batch in found] == [500, 500, 1]
    assert [item.channel for batch in found for item in batch] == list(range(2 * MAX_ITEMS + 1))


async def test_no_message_is_much_larger_than_256_kb(nats_url: str) -> None:
    large = frame(UPLINK + bytes(238))
    async with batching(nats_url) as (bus, batcher):
        for _ in range(800):
            batcher.submit_frame(large)

        found = await batches(bus, 800)

    assert all(len(batch) * 351 < 257 * 1024 for batch in found)


@pytest.mark.parametrize(
    ("per_second", "period_s"),
    [(10, 0.025), (400, 0.025), (1_000, 0.05), (2_000, 0.1), (4_000, 0.104), (15_000, 0.104)],
)
def test_batches_are_as_long_as_there_are_many_frames(per_second: int, period_s: float) -> None:
    ticks, at = Ticks(), list[float]()
    for number in range(per_second):
        ticks.frames += 1
        at.append(ticks.next_at(1000 + number / per_second))

    ends = sorted(set(at))[len(set(at)) // 2 :]
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    waits = [end - (1000 + number / per_second) for number, end in enumerate(at)]

    assert max(waits) <= 0.105
    assert sum(gaps) / len(gaps) == pytest.approx(max(period_s, 1 / per_second), rel=0.1)


async def test_the_batches_of_all_shards_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.batcher.LINGER_S", 3600)
    nobody: Any = None
    batcher = Batcher(nobody, 4)
    of_shards = {shard_of_slot(routing_slot(one) or 0, 4): one for one in map(uplink_of, range(256))}

    for shard in range(4):
        batcher.submit_frame(frame(of_shards[shard]))
        await asyncio.sleep(0.01)  # They are opened at four instants.

    assert [batcher.waiting(shard) for shard in range(4)] == [1, 1, 1, 1]
    assert len({lane.due_at for lane in batcher._lanes}) == 1


@pytest.mark.parametrize("urgent", [JOIN_REQUEST, CONFIRMED])
async def test_an_urgent_frame_closes_its_batch_at_once(
    nats_url: str, monkeypatch: pytest.MonkeyPatch, urgent: bytes
) -> None:
    monkeypatch.setattr("gateways.batcher.LINGER_S", 60)
    async with batching(nats_url) as (bus, batcher):
        batcher.submit_frame(frame(UPLINK))
        batcher.submit_frame(frame(urgent))

        ((first, second),) = await batches(bus, 2)

    assert (first.phy_payload, second.phy_payload) == (UPLINK, urgent)


async def test_done_is_called_once_the_frame_is_in_the_stream_and_not_before(nats_url: str) -> None:
    seen: list[int] = []
    async with connect_bus(nats_url, "test") as bus:  # Without a stream: the bus rejects.
        batcher = Batcher(bus, 1)
        running = asyncio.create_task(batcher.run())
        stored = asyncio.Event()
        batcher.submit_frame(frame(UPLINK, 1), stored.set)
        batcher.submit_frame(frame(JOIN_REQUEST, 2), lambda: seen.append(2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await stored.wait()
        before = stored.is_set()

        await bus.ensure_streams()
        async with asyncio.timeout(30):
            await stored.wait()
        batcher.close()
        await running

        assert (before, seen) == (False, [2])
        assert await bus.stream_messages(topics.FRAMES) == 1


async def test_a_full_queue_drops_what_nobody_can_hold_back_and_nothing_else(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        batcher = Batcher(bus, 1, max_waiting=3)
        told: list[int] = []
        for channel in range(5):
            batcher.submit_frame(frame(UPLINK, channel))
        batcher.submit_frame(frame(UPLINK, 9), lambda: told.append(9))
        batcher.close()
        await batcher.run()

        found = await batches(bus, 4)

    assert [item.channel for batch in found for item in batch] == [0, 1, 2, 9]
    assert told == [9]


async def test_a_full_stream_pushes_back_to_the_queue_which_drops_and_counts_and_loses_nothing_it_took(
    nats_url: str,
) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        jetstream = bus._jetstream
        full = (await jetstream.stream_info(topics.FRAMES)).config
        await jetstream.update_stream(full.evolve(max_bytes=1_000))
        dropped_before = FRAMES.labels("queue_full")._value.get()
        batcher = Batcher(bus, 1, max_waiting=MAX_ITEMS)
        running = asyncio.create_task(batcher.run())
        for channel in range(MAX_ITEMS):  # One message, larger than the stream: rejected, and kept.
            batcher.submit_frame(frame(UPLINK, channel))
        await asyncio.sleep(0)  # The lane takes its batch.
        async with asyncio.timeout(30):
            while batcher.waiting(0) == MAX_ITEMS:  # noqa: ASYNC110 - A queue has no event for what left it.
                await asyncio.sleep(0.01)
        for channel in range(MAX_ITEMS + 7):
            batcher.submit_frame(frame(UPLINK, channel))
        refused = await bus.stream_messages(topics.FRAMES)
        dropped = FRAMES.labels("queue_full")._value.get() - dropped_before

        await jetstream.update_stream(full)
        batcher.close()
        await running

        found = await batches(bus, 2 * MAX_ITEMS)

    assert (refused, dropped) == (0, 7)
    assert [item.channel for batch in found for item in batch] == [*range(MAX_ITEMS), *range(MAX_ITEMS)]


async def test_a_frame_that_goes_nowhere_is_done_at_once(nats_url: str) -> None:
    told: list[bool] = []
    async with batching(nats_url) as (bus, batcher):
        batcher.submit_frame(frame(b"\xff" * 20), lambda: told.append(True))

        assert told == [True]
        assert await bus.stream_messages(topics.FRAMES) == 0


async def test_a_frame_goes_to_the_shard_of_its_slot(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        batcher = Batcher(bus, 4)
        batcher.submit_frame(frame(UPLINK))
        batcher.close()
        await batcher.run()
        slot = routing_slot(UPLINK)
        assert slot is not None
        reader = await bus.read_shard(topics.FRAMES, topics.frames(shard_of_slot(slot, 4)), "test")

        assert len(await reader.fetch(1)) == 1
