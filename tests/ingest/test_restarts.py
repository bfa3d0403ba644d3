"""Servers that die by kill -9 in the middle: nothing is lost, nothing is there twice."""

import asyncio
import secrets
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import open_pool
from registry.schema import migrate
from services.supervisor.launch import Launch
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres

UPLINKS = 400
AT_ONCE = 20


class Killable:
    """A private server that may be killed and started again on the same folder."""

    def __init__(self, launch: Launch, ready: Callable[[], Awaitable[bool]], log: Path) -> None:
        self._launch = launch
        self._ready = ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        async with asyncio.timeout(60):
            while True:
                self._spawn()
                while self._process is not None and self._process.poll() is None:
                    if await self._ready():
                        return
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.1)  # The children of a killed PostgreSQL still hold its memory.

    def _spawn(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._launch.argv, **self._launch.arguments(output))

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[tuple[PrivatePostgres, Killable]]:
    name = secrets.token_hex(4)
    server = PrivatePostgres(
        server_folder / f"pg-{name}", free_tcp_port(), secrets.token_hex(16), {"shared_buffers": "64MB"}
    )
    server.prepare()
    process = Killable(server.launch(), server.ready, server_folder / f"pg-{name}.log")
    yield server, process
    process.kill(signal.SIGINT)


@pytest.fixture
def own_nats(server_folder: Path) -> Iterator[tuple[PrivateNats, Killable]]:
    name = secrets.token_hex(4)
    server = PrivateNats(server_folder / f"nats-{name}", free_tcp_port(), secrets.token_hex(16), f"test-{name}")
    server.prepare()
    process = Killable(server.launch(), server.ready, server_folder / f"nats-{name}.log")
    yield server, process
    process.kill(signal.SIGTERM)


async def some_stored(planted: Any) -> None:
    """Return once the service is at work."""
    async with asyncio.timeout(30):
        while not await planted.count("uplink"):  # noqa: ASYNC110 - The table has no event for it.
            await asyncio.sleep(0.01)


async def send_all(bus: Bus, uplinks: list[Uplink], halfway: Callable[[], Awaitable[None]]) -> None:
    """Publish in messages of AT_ONCE over the four shards, with `halfway` in the middle."""
    for start in range(0, len(uplinks), AT_ONCE):
        if start == len(uplinks) // 2:
            await halfway()
        shard = start // AT_ONCE % 4
        await bus.publish(topics.uplinks(shard), encode_batch(uplinks[start : start + AT_ONCE]), f"test-{start}")


async def test_a_database_that_is_killed_in_between_loses_and_repeats_nothing(
    own_postgres: tuple[PrivatePostgres, Killable],
    bus: Bus,
    planted_in: Callable[..., Awaitable[Any]],
    make_uplink: Callable[..., Uplink],
    ingesting: Callable[..., AbstractAsyncContextManager[None]],
    until_drained: Callable[[], Awaitable[None]],
) -> None:
    server, process = own_postgres
    await process.start()
    await server.create_database()
    await migrate(server.url(), shards=4, passwords={"territoire_service": "secret"})
    url = server.url(user="territoire_service", password="secret")

    async with open_pool(url, "test") as pool:
        planted = await planted_in(pool)
        device_id = await planted.device(await planted.profile("milesight.em400"))
        uplinks = [make_uplink(device_id, f_cnt) for f_cnt in range(UPLINKS)]

        async def kill_the_database() -> None:
            await some_stored(planted)
            process.kill()

        async with ingesting(url):
            await send_all(bus, uplinks, kill_the_database)
            await process.start()
            await until_drained()
        async with open_pool(url, "test-after") as after:
            counts = await after.fetchrow(
                "SELECT (SELECT count(*) FROM observation.uplink) AS uplinks, "
                "(SELECT count(*) FROM observation.measurement) AS measurements, "
                "(SELECT count(*) FROM observation.reception) AS receptions, "
                "(SELECT sum(n) FROM observation.feed) AS changes, "
                "(SELECT count(DISTINCT (u.id, u.at)) FROM observation.feed f "
                "CROSS JOIN LATERAL unnest(f.datastream_ids, f.times) AS u (id, at) "
                "JOIN observation.measurement m ON m.datastream_id = u.id AND m.time = u.at) AS changed"
            )

    assert counts is not None
    assert tuple(counts) == (UPLINKS, 4 * UPLINKS, UPLINKS, 4 * UPLINKS, 4 * UPLINKS)


async def test_a_bus_that_is_killed_in_between_loses_and_repeats_nothing(
    own_nats: tuple[PrivateNats, Killable],
    planted: Any,
    make_uplink: Callable[..., Uplink],
    ingesting: Callable[..., AbstractAsyncContextManager[None]],
) -> None:
    server, process = own_nats
    await process.start()
    device_id = await planted.device(await planted.profile("milesight.em400"))
    uplinks = [make_uplink(device_id, f_cnt) for f_cnt in range(UPLINKS)]

    async def restart_the_bus() -> None:
        await some_stored(planted)
        process.kill()
        await process.start()

    async with connect_bus(server.url, "test") as bus:
        await bus.ensure_streams()
        async with ingesting(nats=server.url):
            await send_all(bus, uplinks, restart_the_bus)
            async with asyncio.timeout(60):
                while await bus.stream_messages(topics.UPLINKS):  # noqa: ASYNC110 - The server has no event for it.
                    await asyncio.sleep(0.05)
        measurements = await bus.stream_messages(topics.MEASUREMENTS)

    assert await planted.count("uplink") == UPLINKS
    assert await planted.count("measurement") == 4 * UPLINKS
    assert measurements
