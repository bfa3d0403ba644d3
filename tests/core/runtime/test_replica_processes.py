"""Replicas that are real processes: killed, frozen, and ended again and again by one item."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from core.messages import topics
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, connect
from services.supervisor.forking import ForkedProcess
from tests.conftest import Database
from tests.core.runtime.small_service import POISON, TABLE
from tests.forked_programs import start_program

PATIENCE_S = 30
SHARDS = 4


@dataclass
class Stage:
    """Processes that share the shards of UPLINKS, and what they wrote."""

    pool: Pool
    bus: Bus
    urls: tuple[str, str]
    processes: list[ForkedProcess] = field(default_factory=list[ForkedProcess])
    published: int = 0

    async def start(self, instance: str) -> ForkedProcess:
        database_url, nats_url = self.urls
        environment = {"DATABASE_URL": database_url, "NATS_URL": nats_url, "INSTANCE": instance}
        process = await start_program("tests.core.runtime.small_service", os.environ | environment)
        self.processes.append(process)
        return process

    async def publish(self, *lines: str, shard: int = 0) -> None:
        await self.bus.publish(topics.uplinks(shard), "\n".join(lines).encode())

    async def publish_steadily(self) -> None:
        """A numbered line for every shard, again and again."""
        while True:
            for shard in range(SHARDS):
                await self.publish(f"{shard} {self.published:06}", shard=shard)
            self.published += 1
            await asyncio.sleep(0.02)

    async def owners(self) -> dict[int, str]:
        rows = await self.pool.fetch(
            "SELECT shard, owner FROM shard_lease WHERE expires_at > now() AND NOT released ORDER BY shard"
        )
        return {row["shard"]: row["owner"] for row in rows}

    async def everything_written(self) -> bool:
        return await self.bus.stream_messages(topics.UPLINKS) == 0

    async def lines(self, shard: int) -> list[str]:
        rows = await self.pool.fetch("SELECT line FROM written WHERE shard = $1 ORDER BY id", shard)
        return [row["line"] for row in rows]


async def eventually(check: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not await check():  # noqa: ASYNC110 - rows and streams have no event to wait for.
            await asyncio.sleep(0.05)


@asynccontextmanager
async def publishing(stage: Stage) -> AsyncGenerator[None]:
    task = asyncio.create_task(stage.publish_steadily())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def stage(pool: Pool, database: Database, nats_url: str) -> AsyncGenerator[Stage]:
    admin = await connect(database.admin_url)
    await admin.execute(TABLE)
    await admin.close()
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        stage = Stage(pool, bus, (database.service_url, nats_url))
        yield stage
        for process in stage.processes:
            process.send_signal(signal.SIGKILL)
            await process.wait()


def shared_by(*instances: str, stage: Stage) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        owners = await stage.owners()
        return len(owners) == SHARDS and set(owners.values()) == set(instances)

    return check


async def test_the_shards_of_a_killed_replica_are_read_on_in_order_within_ten_seconds(stage: Stage) -> None:
    killed = await stage.start("a")
    await stage.start("b")
    async with publishing(stage):
        await eventually(shared_by("a", "b", stage=stage))

        killed.send_signal(signal.SIGKILL)

        await eventually(shared_by("b", stage=stage), within_s=10)
    await eventually(stage.everything_written)
    expected = [[f"{shard} {number:06}" for number in range(stage.published)] for shard in range(SHARDS)]
    written = [await stage.lines(shard) for shard in range(SHARDS)]
    assert [lines[: stage.published] for lines in written] == expected


async def test_an_owner_that_was_frozen_writes_nothing_once_another_has_its_shards(stage: Stage) -> None:
    frozen = await stage.start("a")
    async with publishing(stage):
        await eventually(shared_by("a", stage=stage))
        await stage.start("b")
        await eventually(shared_by("a", "b", stage=stage))

        frozen.send_signal(signal.SIGSTOP)
        await eventually(shared_by("b", stage=stage))
        frozen.send_signal(signal.SIGCONT)

        await eventually(shared_by("a", "b", stage=stage))
    await eventually(stage.everything_written)
    for shard in range(SHARDS):
        epochs = [
            r["epoch"]
            for r in await stage.pool.fetch("SELECT epoch FROM written WHERE shard = $1 ORDER BY id", shard)
        ]
        assert epochs == sorted(epochs)
        lines = await stage.lines(shard)
        assert lines[: stage.published] == [f"{shard} {number:06}" for number in range(stage.published)]


async def test_an_item_that_ends_its_owner_three_times_is_quarantined_and_its_neighbours_are_not(
    stage: Stage,
) -> None:
    await stage.publish("1", "2")
    await stage.publish("3", POISON, "4")
    await stage.publish("5")
    await stage.publish("elsewhere", shard=1)

    ends = 0
    while ends < 5:
        process = await stage.start("a")
        ended = asyncio.create_task(process.wait())
        done = asyncio.create_task(eventually(stage.everything_written))
        await asyncio.wait((ended, done), return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            ended.cancel()
            break
        done.cancel()
        assert await ended == 9
        ends += 1

    assert ends == 3
    rows = await stage.pool.fetch("SELECT line, was_quarantined FROM written WHERE shard = 0 ORDER BY id")
    assert [row["line"] for row in rows] == ["1", "2", "3", POISON, "4", "5"]
    assert [row["line"] for row in rows if row["was_quarantined"]] == [POISON]
    assert await stage.lines(1) == ["elsewhere"]


async def test_a_healthy_owner_that_is_killed_leaves_one_crash_and_the_next_batch_none(stage: Stage) -> None:
    async def crashes() -> int | None:
        return await stage.pool.fetchval("SELECT crashes FROM shard_lease WHERE shard = 0 AND NOT released")

    async def is_writing() -> bool:
        return await stage.pool.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'written'::regclass AND NOT granted)"
        )

    async with stage.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute("LOCK TABLE written")
        first = await stage.start("a")
        await stage.publish("in hand")
        await eventually(is_writing)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        second = await stage.start("a")
        await eventually(lambda: _is(crashes, 1))
    await eventually(stage.everything_written)
    second.send_signal(signal.SIGKILL)
    await second.wait()
    await stage.start("a")
    await stage.publish("next")
    await eventually(stage.everything_written)

    assert await crashes() == 0
    assert await stage.lines(0) == ["in hand", "next"]


async def _is(read: Callable[[], Awaitable[int | None]], value: int) -> bool:
    return await read() == value
