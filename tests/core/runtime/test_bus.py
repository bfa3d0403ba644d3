import asyncio

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.errors import FetchTimeoutError

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus, NoResponders, ShardReader, connect_bus
from core.runtime.bus_connection import Denials
from core.runtime.pull import Pull


async def test_a_taken_shard_gives_everything_unacknowledged_again_in_order(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        for number in range(20):
            await bus.publish(topics.frames(0), bytes([number]))
        first = await bus.read_shard(topics.FRAMES, topics.frames(0), "network-0-1")
        held = await first.fetch(10)
        await held[0].ack()
        await bus.publish(topics.frames(0), b"new")

        second = await bus.read_shard(topics.FRAMES, topics.frames(0), "network-0-2")
        read = await second.fetch(100)

        assert [message.data for message in read] == [*(bytes([number]) for number in range(1, 20)), b"new"]
        assert [message.sequence for message in read] == sorted(message.sequence for message in read)


async def test_queues_are_read_up_to_a_position_once_that_is_acknowledged_and_measurements_are_dropped(
    nats_url: str,
) -> None:
    async with connect_bus(nats_url, "territoire-tests") as bus:
        await bus.ensure_streams()
        await bus.ensure_measurements_stream()
        for subject in (topics.frames(0), topics.measurements(0)):
            await bus.publish(subject, b"before")
        positions = await bus.positions()
        for subject in (topics.frames(0), topics.measurements(0)):
            await bus.publish(subject, b"after")
        unread = await bus.is_read_up_to(positions)
        reader = await bus.read_shard(topics.FRAMES, topics.frames(0), "network-0-1")
        await (await reader.fetch(1))[0].ack()
        async with asyncio.timeout(30):
            while not await bus.is_read_up_to(positions):  # noqa: ASYNC110 - An acknowledgement is not answered.
                await asyncio.sleep(0.02)

        assert not unread
        assert await bus.stream_messages(topics.MEASUREMENTS) == 1


async def test_a_late_acknowledgement_of_a_former_owner_removes_nothing(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.frames(1), b"one")
        former = await bus.read_shard(topics.FRAMES, topics.frames(1), "network-1-1")
        held = await former.fetch(1)
        owner = await bus.read_shard(topics.FRAMES, topics.frames(1), "network-1-2")

        await held[0].ack()

        assert [message.data for message in await owner.fetch(1)] == [b"one"]


async def test_a_publish_with_the_same_id_is_stored_once(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.frames(0), b"x", "id-1")
        await bus.publish(topics.frames(0), b"x", "id-1")

        assert await bus.stream_messages(topics.FRAMES) == 1


async def test_an_empty_shard_gives_an_empty_list(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        reader = await bus.read_shard(topics.FRAMES, topics.frames(0), "network-0-1")

        assert await reader.fetch(10, 0.1) == []


async def test_a_request_without_a_responder_fails_at_once(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        with pytest.raises(NoResponders):
            await bus.request("territoire.gateway.none.down", b"", 5)


async def test_one_member_of_a_queue_group_answers(nats_url: str) -> None:
    answers: list[str] = []

    def member(name: str):
        async def answer(data: bytes) -> bytes:
            answers.append(name)
            return data

        return answer

    async with connect_bus(nats_url, "one") as one, connect_bus(nats_url, "two") as two:
        await one.respond("ask", member("one"), queue="q")
        await two.respond("ask", member("two"), queue="q")
        await asyncio.gather(one.request("flush.one", b"", 0.1), return_exceptions=True)

        replies = [await two.request("ask", bytes([number]), 2) for number in range(10)]

        assert replies == [bytes([number]) for number in range(10)]
        assert len(answers) == 10


async def test_publishing_without_a_stream_is_an_error_that_can_be_retried(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        with pytest.raises(BUS_AWAY):
            await bus.publish_once(topics.frames(0), b"x")


@pytest.mark.parametrize("answered", [None, NoRespondersError(), FetchTimeoutError()], ids=repr)
@pytest.mark.parametrize("call", ["request", "publish_once", "stream_info", "fetch"])
async def test_a_cancellation_that_comes_together_with_an_answer_is_not_forgotten(
    call: str, answered: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(*_: object, **_also: object) -> list[object]:
        await asyncio.wait_for(answer, 10)  # As the driver awaits it, then looks at what it is.
        if answered is not None:
            raise answered
        return []

    for of in (Client, JetStreamContext, Pull):
        for name in ("request", "publish", "stream_info", "fetch"):
            monkeypatch.setattr(of, name, ask, raising=False)
    bus = Bus(Client(), Denials())
    reader = ShardReader(object.__new__(Pull), lambda: 0, 0, Denials())
    asking = asyncio.create_task(
        {
            "request": lambda: bus.request("subject", b"", 10),
            "publish_once": lambda: bus.publish_once("subject", b""),
            "stream_info": lambda: bus.room("stream"),
            "fetch": reader.fetch,
        }[call]()
    )
    await asyncio.sleep(0)
    answer.set_result(None)
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_closing_a_connection_that_was_lost_with_data_pending_is_no_failure(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Client.close

    async def close_on_a_lost_transport(client: Client) -> None:
        await close(client)
        raise TypeError("'NoneType' object is not callable")  # As asyncio's writelines does in CPython 3.13.

    monkeypatch.setattr(Client, "close", close_on_a_lost_transport)

    async with connect_bus(nats_url, "closing") as bus:
        assert await bus.answers(5)
