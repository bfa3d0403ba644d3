"""What three replicas of a stream cost the bus, and a lost server costs all: `python -m lab.bench.bus_cluster`.

Three nats-servers of a cluster on this machine, as in Kubernetes but without TLS. They share its cores and its
disk, so that rates are lower than those of three machines; an election takes as long.
"""

import asyncio
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from cli.running import print_json
from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus, connect_bus
from services.supervisor.launch import Launch, program, system_path
from services.supervisor.ports import LOOPBACK, free_tcp_port

CONFIGURATION = """\
server_name: nats-{number}
listen: "{host}:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always, max_memory_store: 512MB, max_file_store: 10GB }}
cluster {{ name: territoire, listen: "{host}:{route}", routes: [{routes}] }}
"""
SERVERS, SHARDS = 3, 16
OCTETS = 5_000
RATE_S, KILLS, PUBLISH_EVERY_S, LOOK_S = 10.0, 5, 0.02, 0.05
ALONE_S, READY_WITHIN_S = 8.0, 60.0


class _Cluster(msgspec.Struct):
    leader: str = ""
    replicas: list[dict[str, Any]] = []


class _Info(msgspec.Struct):
    cluster: _Cluster | None = None


@dataclass(slots=True)
class Servers:
    """The three processes, and how to start each of them again."""

    ports: list[int]
    launches: list[Launch]
    processes: list[subprocess.Popen[Any]] = field(default_factory=list[subprocess.Popen[Any]])

    @property
    def url(self) -> str:
        """All three, for a client."""
        return ",".join(f"nats://{LOOPBACK}:{port}" for port in self.ports)

    def start(self, number: int) -> None:
        """Start a server, for the first time or again."""
        launch = self.launches[number]
        process = subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL))
        self.processes[number:] = [process, *self.processes[number + 1 :]]

    def kill(self, number: int) -> None:
        """Without a word of warning."""
        self.processes[number].kill()
        self.processes[number].wait()


@contextmanager
def servers(folder: Path) -> Generator[Servers]:
    """A cluster of three that ends with the block."""
    ports, routes = [free_tcp_port() for _ in range(SERVERS)], [free_tcp_port() for _ in range(SERVERS)]
    launches: list[Launch] = []
    for number in range(SERVERS):
        configuration = folder / f"nats-{number}.conf"
        others = ", ".join(f'"nats://{LOOPBACK}:{route}"' for route in routes)
        text = CONFIGURATION.format(
            number=number, host=LOOPBACK, port=ports[number], store=folder / f"store-{number}",
            route=routes[number], routes=others,
        )  # fmt: skip
        configuration.write_text(text, "utf-8")
        argv = (program("nats-server", "nats-server"), "-c", str(configuration))
        launches.append(Launch(argv, env={"PATH": system_path()}))
    made = Servers(ports, launches)
    try:
        for number in range(SERVERS):
            made.start(number)
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()


async def _info(bus: Bus) -> _Cluster:
    answer = await bus.request(f"$JS.API.STREAM.INFO.{topics.FRAMES}", b"", 2)
    return msgspec.json.decode(answer, type=_Info).cluster or _Cluster()


async def _until_whole(bus: Bus) -> _Cluster:
    """Return once FRAMES has a leader and two others that are current."""
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                found = await _info(bus)
                if found.leader and sum(bool(one.get("current")) for one in found.replicas) == SERVERS - 1:
                    return found
            except (*BUS_AWAY, msgspec.MsgspecError):
                pass
            await asyncio.sleep(LOOK_S)


async def _made(bus: Bus, replicas: int) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                await bus.ensure_streams(replicas)
            except BUS_AWAY:
                await asyncio.sleep(LOOK_S)
            else:
                return


async def rate(bus: Bus) -> float:
    """Publishes per second that are acknowledged, with one on its way for each of sixteen shards."""
    ends, payload = time.monotonic() + RATE_S, os.urandom(OCTETS)

    async def lane(shard: int) -> int:
        count = 0
        while time.monotonic() < ends:
            await bus.publish(topics.frames(shard), payload)
            count += 1
        return count

    return sum(await asyncio.gather(*(lane(shard) for shard in range(SHARDS)))) / RATE_S


@dataclass(slots=True)
class Paced:
    """A publish every 20 ms, one at a time, each until it is acknowledged: the slowest is what a loss costs."""

    bus: Bus
    sent: int = 0
    slowest_s: float = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            await self.bus.publish(topics.frames(0), self.sent.to_bytes(8), f"paced-{self.sent}")
            self.sent += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(PUBLISH_EVERY_S)


async def _until_acknowledged(paced: Paced) -> None:
    """Return once the publish that is under way has been acknowledged."""
    sent = paced.sent
    async with asyncio.timeout(READY_WITHIN_S):
        while paced.sent == sent:  # noqa: ASYNC110 - What the servers agree upon has no event here.
            await asyncio.sleep(LOOK_S)


async def measure_lost_messages(bus: Bus, cluster: Servers) -> tuple[list[float], float, int, int]:
    """The longest waits after kills of the leader, the one after a loss of two; messages sent and kept."""
    waits: list[float] = []
    before = await bus.stream_messages(topics.FRAMES)
    paced = Paced(bus)
    publishing = asyncio.create_task(paced.run())
    for _ in range(KILLS):
        leader = int((await _until_whole(bus)).leader.removeprefix("nats-"))
        await asyncio.sleep(1)
        paced.slowest_s = 0.0
        cluster.kill(leader)
        await asyncio.sleep(ALONE_S)
        await _until_acknowledged(paced)
        waits.append(paced.slowest_s)
        cluster.start(leader)
    await _until_whole(bus)
    paced.slowest_s = 0.0
    for number in (0, 1):
        cluster.kill(number)
    await asyncio.sleep(ALONE_S)
    began = time.monotonic()
    cluster.start(0)
    await _until_acknowledged(paced)
    resumed_s = time.monotonic() - began
    cluster.start(1)
    await _until_whole(bus)
    await asyncio.sleep(1)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    return waits, resumed_s, paced.sent, await bus.stream_messages(topics.FRAMES) - before


async def measure() -> dict[str, Any]:
    """The figures."""
    with (
        tempfile.TemporaryDirectory(prefix="territoire-bus-", dir="/var/tmp") as folder,
        servers(Path(folder)) as made,
    ):
        async with connect_bus(made.url, "bench") as bus:
            await _made(bus, 1)
            one = await rate(bus)
            await _made(bus, SERVERS)
            await _until_whole(bus)
            three = await rate(bus)
            waits, resumed_s, sent, kept = await measure_lost_messages(bus, made)
    return {
        "acknowledged_per_second_one_copy": round(one),
        "acknowledged_per_second_three_copies": round(three),
        "leader_killed_longest_wait_s": [round(wait, 2) for wait in waits],
        "median_s": round(statistics.median(waits), 2),
        "resumed_after_two_of_three_s": round(resumed_s, 2),
        "sent": sent,
        "kept": kept,
    }


def main() -> int:
    """Print one JSON object; 1 when a message is missing or there twice."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures = asyncio.run(measure())
    print_json(figures)
    # The last one may be kept and not yet acknowledged when the publisher is stopped.
    return 0 if 0 <= figures["kept"] - figures["sent"] <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
