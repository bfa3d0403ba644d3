"""A cluster of three real servers with TLS, as Kubernetes has: one of them dies, and nothing is lost."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus, ShardReader, connect_bus
from core.runtime.bus_connection import NoMajority
from lab.certificates import Authority
from services.supervisor.launch import Launch, program
from services.supervisor.ports import free_tcp_port

pytestmark = pytest.mark.starts_processes

CONFIGURATION = """
server_name: {name}
listen: "127.0.0.1:{port}"
tls {{ cert_file: "{certificate}", key_file: "{key}" }}
jetstream {{ store_dir: "{store}", sync_interval: always, max_memory_store: 512MB, max_file_store: 10GB }}
authorization {{ user: territoire, password: secret }}
cluster {{ name: territoire, listen: "127.0.0.1:{route}", routes: [{routes}] }}
"""


@dataclass
class Cluster:
    """Three servers; `url` names them all, with their authority."""

    ports: list[int]
    authority: Authority
    processes: list[subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        servers = ",".join(f"tls://territoire:secret@127.0.0.1:{port}" for port in self.ports)
        return f"{servers}?ca={self.authority.certificate}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("nats")
    ports, routes = [free_tcp_port() for _ in range(3)], [free_tcp_port() for _ in range(3)]
    processes: list[subprocess.Popen[bytes]] = []
    for number in range(3):
        configuration = tmp_path / f"nats-{number}.conf"
        configuration.write_text(
            CONFIGURATION.format(
                name=f"nats-{number}",
                port=ports[number],
                certificate=certificate,
                key=key,
                store=tmp_path / f"store-{number}",
                route=routes[number],
                routes=", ".join(f'"nats://127.0.0.1:{route}"' for route in routes),
            ),
            "utf-8",
        )
        launch = Launch((program("nats-server", "nats-server"), "-c", str(configuration)))
        processes.append(subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL)))
    yield Cluster(ports, authority, processes)
    for process in processes:
        process.kill()
        process.wait()


async def streams_of_three(bus: Bus) -> None:
    async with asyncio.timeout(90):
        while not await made(bus):  # noqa: ASYNC110 - Another process elects its leader.
            await asyncio.sleep(0.2)


async def made(bus: Bus) -> bool:
    try:
        await bus.ensure_streams(3)
    except BUS_AWAY:
        return False
    return True


async def leader_of_frames(cluster: Cluster) -> int:
    tls = ssl.create_default_context(cafile=cluster.authority.certificate)
    client = await nats.connect(cluster.url.partition("?")[0].split(","), tls=tls)
    state = (await client.jetstream().stream_info(topics.FRAMES)).cluster
    await client.close()
    assert state is not None
    assert state.replicas is not None
    assert len(state.replicas) == 2
    return int(str(state.leader).removeprefix("nats-"))


async def until_so_many_missing(bus: Bus, count: int) -> None:
    """A follower is out of step for a moment, and the election of a leader takes a while."""
    async with asyncio.timeout(60):
        while True:
            with suppress(*BUS_AWAY):
                room = await bus.room(topics.FRAMES)
                assert room is not None
                if room.copies_missing == count:
                    return
            await asyncio.sleep(0.2)


async def replicas_of_measurements(cluster: Cluster) -> int | None:
    tls = ssl.create_default_context(cafile=cluster.authority.certificate)
    client = await nats.connect(cluster.url.partition("?")[0].split(","), tls=tls)
    config = (await client.jetstream().stream_info(topics.MEASUREMENTS)).config
    await client.close()
    return config.num_replicas


async def until_it_says_that_a_majority_is_away(bus: Bus) -> None:
    """A leader that is alone steps down after ten seconds to twenty."""
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.room(topics.FRAMES)
            except NoMajority:
                return
            except BUS_AWAY:
                pass  # The connection was to the server that was killed.
            await asyncio.sleep(0.2)


async def taken(bus: Bus) -> ShardReader:
    """As an owner does: the servers elect who leads them all, and answer nobody meanwhile."""
    while True:
        with suppress(*BUS_AWAY):
            return await bus.read_shard(topics.FRAMES, topics.frames(0), "network-0-1")


@pytest.mark.timeout(240)
async def test_what_a_cluster_acknowledged_outlives_the_server_that_leads_it(cluster: Cluster) -> None:
    async with connect_bus(cluster.url, "test") as bus:
        await streams_of_three(bus)
        for number in range(40):
            await bus.publish(topics.frames(0), bytes([number]), f"item-{number}")
        await until_so_many_missing(bus, 0)
        copies = [await replicas_of_measurements(cluster)]
        await bus.forget_readers()  # As a restore does: who misses the stream makes it again.
        await bus.ensure_measurements_stream()
        copies.append(await replicas_of_measurements(cluster))
        leader = cluster.processes[await leader_of_frames(cluster)]
        leader.kill()
        leader.wait()
        for number in range(40, 80):
            await bus.publish(topics.frames(0), bytes([number]), f"item-{number}")

        read: list[bytes] = []
        async with asyncio.timeout(60):
            reader = await taken(bus)
            while len(read) < 80:
                read += [message.data for message in await reader.fetch(200)]

        assert read == [bytes([number]) for number in range(80)]
        assert copies == [3, 3]
        await until_so_many_missing(bus, 1)
        # Who is left led the stream, and answers ever after.
        last = cluster.processes[await leader_of_frames(cluster)]
        next(server for server in cluster.processes if server.poll() is None and server is not last).kill()
        await until_it_says_that_a_majority_is_away(bus)


async def test_a_server_of_another_authority_is_not_spoken_with(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")

    url = f"tls://territoire:secret@127.0.0.1:{cluster.ports[0]}?ca={stranger.certificate}"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2), connect_bus(url, "test"):
            pass
    with pytest.raises(FileNotFoundError):
        async with connect_bus("tls://127.0.0.1:4222?ca=/nowhere.pem", "test"):
            pass
