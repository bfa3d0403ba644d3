import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import REGISTRY

from core.messages import topics
from core.runtime.backlog import shown
from core.runtime.bus import BUS_AWAY, connect_bus

NAMES = ("pending", "ack_pending", "redelivered")


def shows() -> list[float | None]:
    labels = {"stream": topics.UPLINKS, "shard": "3"}
    return [REGISTRY.get_sample_value(f"territoire_bus_{name}_messages", labels) for name in NAMES]


async def until(expected: list[float | None], ask_again: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(10):
        while shows() != expected:
            await ask_again()


async def test_a_shards_backlog_is_shown_while_it_is_ours_and_not_afterwards(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        for _ in range(5):
            await bus.publish_once(topics.uplinks(3), b"x")
        reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(3), "ingest-3-1")
        taken = await reader.fetch(2)

        async with shown(reader.backlog, topics.UPLINKS, 3, BUS_AWAY, every_s=0.01):
            await until([3, 2, 0], lambda: asyncio.sleep(0.01))
            for message in taken:
                await message.ack()
            await until([3, 0, 0], lambda: asyncio.sleep(0.01))
            for message in await reader.fetch(3):
                await message.ack()
            await until([0, 0, 0], lambda: asyncio.sleep(0.01))

        assert shows() == [None, None, None]


async def test_a_bus_that_does_not_answer_costs_the_figure_and_nothing_else() -> None:
    asked = asyncio.Event()

    async def away() -> object:
        asked.set()
        raise ConnectionError("the server is gone")

    async with shown(away, topics.UPLINKS, 3, BUS_AWAY, every_s=0.01):  # type: ignore[arg-type]
        await asyncio.wait_for(asked.wait(), 5)
        await asyncio.sleep(0)

    assert shows() == [None, None, None]
