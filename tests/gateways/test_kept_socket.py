"""A bridge that reads a socket which somebody else holds: what comes while none runs is there for the next."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.listen_fds import Handed
from core.runtime.postgres import Pool
from gateways.udp_socket import (
    SO_TIMESTAMPNS,
    TIMESPEC,
    KeptSocket,
    WrongSocket,
    bound_socket,
    grow_receive_buffer,
    handed_socket,
    waited_us,
)
from lorawan.frame import MType
from lorawan.gateway.semtech_forwarder import push_data
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.identifiers import GatewayId
from lorawan.regions import Lora
from services.gateway_bridge.settings import Settings
from services.supervisor.launch import Launch
from services.supervisor.supervisor import execute
from tests.gateways.stations import SHARDS, Rig, now_us, ready, register

DROPS = "territoire_gateway_bridge_socket_drops_total"
AWAY_S = 2.0


@pytest.fixture
def kept() -> Generator[socket.socket]:
    with bound_socket(socket.AF_INET, ("127.0.0.1", 0)) as bound:
        grow_receive_buffer(bound, 4 << 20)
        yield bound


@dataclass
class Held:
    """A bridge as its supervisor starts it, again and again."""

    settings: Settings
    kept: socket.socket
    log: Path

    @asynccontextmanager
    async def running(self, **settings: str) -> AsyncGenerator[asyncio.subprocess.Process]:
        """A new process once it reads; killed at the end, if it has not ended."""
        said, health_url = self.settings, f"http://127.0.0.1:{self.settings.health_port}"
        environment = os.environ | {
            "TERRITOIRE_DATABASE_URL": said.database_url.get_secret_value(),
            "TERRITOIRE_NATS_URL": said.nats_url.get_secret_value(),
            "TERRITOIRE_UDP_HOST": "127.0.0.1",
            "TERRITOIRE_UDP_PORT": str(self.kept.getsockname()[1]),
            "TERRITOIRE_HEALTH_PORT": str(said.health_port),
            **settings,
        }
        argv = (sys.executable, "-P", "-m", "services.gateway_bridge")
        with self.log.open("ab") as log:
            process = await execute(Launch(argv, env=environment, handed=self.kept), log)
        waiting = asyncio.create_task(self._ended(process))
        try:
            await ready(health_url, waiting)
            yield process
        finally:
            waiting.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _ended(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        raise AssertionError(f"the bridge ended with {status}: {self.log.read_text('utf-8')[-2000:]}")

    def send(self, gateway_id: GatewayId, counters: range) -> None:
        """A PUSH_DATA for each FCnt."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as station:
            for f_cnt in counters:
                rxpk = RxPk(uplink(f_cnt), 1, 868_100_000, Lora(7, 125_000), -71.0, 8.25, "4/5")
                station.sendto(push_data(f_cnt.to_bytes(2), gateway_id, [rxpk]), self.kept.getsockname())


@pytest.fixture
def held(bridge_settings: Settings, kept: socket.socket, tmp_path: Path) -> Held:
    return Held(bridge_settings, kept, tmp_path / "bridge.log")


@pytest.fixture
async def rig(held: Held, pool: Pool, gateway_id: GatewayId) -> AsyncGenerator[Rig]:
    """No bridge of its own."""
    await register(pool, gateway_id)
    async with connect_bus(held.settings.nats_url.get_secret_value(), "test") as bus:
        await bus.ensure_streams()
        readers = [
            await bus.read_shard(topics.FRAMES, topics.frames(shard), f"test-{shard}") for shard in range(SHARDS)
        ]
        yield Rig(
            held.kept.getsockname()[1], f"http://127.0.0.1:{held.settings.health_port}", "", bus, pool, readers
        )


def uplink(f_cnt: int) -> bytes:
    header = bytes([MType.UNCONFIRMED_DATA_UP << 5]) + bytes.fromhex("f17dbe4900")
    return header + f_cnt.to_bytes(2, "little") + bytes.fromhex("01954378762b11ff0d")


async def test_what_comes_while_no_bridge_runs_is_published_by_the_next_one_with_the_instant_it_came(
    held: Held, rig: Rig, gateway_id: GatewayId
) -> None:
    async with held.running() as process:
        held.send(gateway_id, range(10))
        await rig.frames(10)
        process.kill()
        await process.wait()
    first_us = now_us()
    held.send(gateway_id, range(10, 510))
    last_us = now_us()
    await asyncio.sleep(AWAY_S)
    async with held.running():
        held.send(gateway_id, range(510, 520))
        frames = await rig.frames(510)
        dropped = await rig.metric(DROPS)

    by_payload = {frame.phy_payload: frame for frame in frames}
    assert len(frames) == len(by_payload) == 510
    waited = [by_payload[uplink(f_cnt)] for f_cnt in range(10, 510)]
    assert all(first_us <= frame.received_at_us <= last_us for frame in waited)
    assert all(frame.received_at_us > last_us + AWAY_S * 1e6 for frame in frames if frame not in waited)
    assert dropped == 0


async def test_a_bridge_that_is_told_to_stop_stops_at_once_and_leaves_what_comes_to_the_next(
    held: Held, rig: Rig, gateway_id: GatewayId
) -> None:
    async with held.running(TERRITOIRE_UDP_READ_ON_S="120") as process:
        held.send(gateway_id, range(10))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    held.send(gateway_id, range(10, 20))
    async with held.running():
        frames = await rig.frames(20)

    assert {frame.phy_payload for frame in frames} == {uplink(f_cnt) for f_cnt in range(20)}


async def test_what_has_no_room_while_no_bridge_runs_is_counted_by_the_next_one(
    held: Held, rig: Rig, gateway_id: GatewayId
) -> None:
    held.kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    async with held.running(TERRITOIRE_UDP_RECEIVE_BUFFER="32768"):
        counted = await rig.metric(DROPS)
    held.send(gateway_id, range(400))
    async with held.running(TERRITOIRE_UDP_RECEIVE_BUFFER="32768"):
        dropped = round(await rig.metric(DROPS))
        frames = await rig.frames(400 - dropped)

    assert counted == 0
    assert 0 < dropped < 400
    assert len(frames) == 400 - dropped


async def test_a_socket_that_is_elsewhere_is_refused_in_french(held: Held) -> None:
    port = held.kept.getsockname()[1]
    with pytest.raises(AssertionError, match="the bridge ended with 1") as ended:
        async with held.running(TERRITOIRE_UDP_PORT=str(port - 1)):
            pass

    said = str(ended.value)
    assert f"écoute sur 127.0.0.1:{port}" in said
    assert f"demandent 127.0.0.1:{port - 1}" in said


def test_a_socket_that_is_no_gateways_is_rejected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        descriptor = os.dup(stream.fileno())
    with pytest.raises(WrongSocket) as wrong:
        handed_socket([Handed("territoire.socket", descriptor)], "127.0.0.1", 0)
    with pytest.raises(WrongSocket) as several:
        handed_socket([Handed("un", 1000), Handed("deux", 1001)], "127.0.0.1", 0)

    assert "n'est pas un socket UDP" in wrong.value.french
    assert "un, deux" in several.value.french
    assert handed_socket([], "127.0.0.1", 0) is None


def test_a_handed_socket_says_what_was_dropped_before(kept: socket.socket) -> None:
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(100):
            sending.sendto(b"x" * 100, kept.getsockname())
    handed = handed_socket([Handed("udp", os.dup(kept.fileno()))], "127.0.0.1", 0)
    assert isinstance(handed, KeptSocket)
    held = 0
    with handed.socket:
        while True:
            try:
                handed.socket.recv(200)
            except BlockingIOError:
                break
            held += 1

    assert handed.dropped == 100 - held > 0


def test_how_long_a_datagram_waited_is_what_the_kernel_says() -> None:
    now_ns = time.time_ns()
    came_ns = now_ns - 3_000_000_500
    told = [(socket.SOL_SOCKET, SO_TIMESTAMPNS, TIMESPEC.pack(came_ns // 10**9, came_ns % 10**9))]

    assert waited_us(told, now_ns) == 3_000_000
    assert waited_us(told, came_ns - 1_000) == 0
    assert waited_us([], now_ns) == 0
