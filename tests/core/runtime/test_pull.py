"""A reader's request waits at the bus, for many messages or for seconds."""

import asyncio
from contextlib import suppress

import pytest

from core.messages import topics
from core.runtime import pull
from core.runtime.bus import BUS_AWAY, Bus, ShardReader, connect_bus


async def opened(bus: Bus) -> ShardReader:
    await bus.ensure_streams()
    return await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-1")


def sent_by(bus: Bus) -> int:
    return bus._client.stats["out_msgs"]  # pyright: ignore[reportPrivateUsage]


async def test_what_comes_bit_by_bit_needs_no_request_more(nats_url: str) -> None:
    async with connect_bus(nats_url, "reader") as bus, connect_bus(nats_url, "publisher") as publisher:
        reader = await opened(bus)
        before, read = sent_by(bus), list[bytes]()

        for number in range(20):
            await publisher.publish(topics.uplinks(0), bytes([number]))
            read += [message.data for message in await reader.fetch(100, 5)]

        assert read == [bytes([number]) for number in range(20)]
        assert sent_by(bus) - before <= 2  # Twenty fetches of the driver's are forty requests.


async def test_a_request_that_is_used_up_is_followed_by_another_in_order(nats_url: str) -> None:
    async with connect_bus(nats_url, "reader") as bus, connect_bus(nats_url, "publisher") as publisher:
        reader = await opened(bus)
        for number in range(25):
            await publisher.publish(topics.uplinks(0), bytes([number]))

        fetches = [[message.data[0] for message in await reader.fetch(10, 5)] for _ in range(3)]

        assert fetches == [list(range(10)), list(range(10, 20)), list(range(20, 25))]


async def test_a_request_that_ends_with_nothing_shows_that_the_consumer_exists(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "WAITS_S", 0.2)
    async with connect_bus(nats_url, "reader") as bus:
        reader = await opened(bus)

        assert reader.answered_at == 0.0
        assert await reader.fetch(10, 0.6) == []
        assert reader.answered_at > asyncio.get_running_loop().time() - 0.5


async def test_a_request_of_which_nothing_is_heard_is_sent_again(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "WAITS_S", 0.1)
    monkeypatch.setattr(pull, "LOST_AFTER_S", 0.1)
    async with connect_bus(nats_url, "reader") as bus, connect_bus(nats_url, "publisher") as publisher:
        reader = await opened(bus)
        swallowed, publish = list[str](), bus._client.publish  # pyright: ignore[reportPrivateUsage]

        async def lose_the_first(subject: str, *rest: bytes, reply: str = "") -> None:
            if "MSG.NEXT" in subject and not swallowed:
                swallowed.append(subject)  # As a server that dies with it.
            else:
                await publish(subject, *rest, reply=reply)

        monkeypatch.setattr(bus._client, "publish", lose_the_first)  # pyright: ignore[reportPrivateUsage]
        await publisher.publish(topics.uplinks(0), b"kept")
        first = await reader.fetch(10, 0.25)

        assert first == []
        assert [message.data for message in await reader.fetch(10, 5)] == [b"kept"]


async def test_a_reader_without_its_consumer_is_told_so_at_once(nats_url: str) -> None:
    async with connect_bus(nats_url, "reader") as bus:
        reader = await opened(bus)
        with suppress(TimeoutError):
            await reader.fetch(10, 0.1)  # Its request waits when the consumer goes.
        await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-2")

        for _ in range(2):
            with pytest.raises(BUS_AWAY):
                await reader.fetch(10, 10)
        assert reader.answered_at == 0.0
