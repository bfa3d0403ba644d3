"""What piled up while the bus or the network was away is stored, not answered: live frames have RX1 at once.

The outage lasts seconds: a frame is late once its RX2 is over, two seconds after it, and later ever after.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from core.messages.uplinks import UPLINK_BATCHES
from core.runtime.postgres import Pool
from lab.chaos.stack.proxy import TcpProxy, open_proxy
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.fixtures import bridge_settings, gateway_id
from tests.gateways.stations import UdpStation, now_us, register, running_bridge
from tests.network.conftest import Network, RadioDevice, idle_network
from tests.network.replicas import settled

__all__ = ["bridge_settings", "gateway_id", "idle_network"]

OUTAGE_S = 8.0
# The last frame of the backlog is sent so long before the end of the outage that its RX2 is over by then.
QUIET_S = 3.0
BACKLOG_PAUSE_S = 0.02
LIVE_PAUSE_S = 0.2
# Counted from the end of the outage: by then answers are in RX1 again, for as long as is watched.
WELL_AFTER_S, WATCHED_S = 6.0, 4.0
PATIENCE_S = 60.0
LEAD_US = 42_500  # What a forwarder wants before a frame starts (sx1302_hal).


@dataclass
class Radio:
    """A forwarder between devices and the bridge: what was sent, and what was asked of it for whom."""

    station: UdpStation
    sent: set[tuple[int, int]] = field(default_factory=set)
    heard_at_us: dict[bytes, int] = field(default_factory=dict)
    answered: list[tuple[float, bytes, str]] = field(default_factory=list)
    """When, for which DevAddr and in which window it was asked."""

    async def receive(self, device: RadioDevice) -> None:
        self.sent.add((device.id, device.f_cnt))
        self.heard_at_us[device.dev_addr] = now_us()
        await self.station.receive(device.uplink(b"data", confirmed=True))

    async def answer(self) -> None:
        while True:
            self.station.commands.put_nowait(await self.station.commands.get())  # However long that takes.
            asked = await self.station.command()
            dev_addr = DownlinkFrame.from_bytes(asked.phy_payload).dev_addr
            late_us = now_us() - self.heard_at_us[dev_addr]
            in_time = late_us + LEAD_US <= asked.delay_us
            await self.station.answer(asked, "OK" if in_time else "TOO_LATE")
            window = {1_000_000: "RX1", 2_000_000: "RX2"}.get(asked.delay_us, "?") if in_time else "TOO_LATE"
            self.answered.append((asyncio.get_running_loop().time(), dev_addr, window))


@dataclass
class World:
    network: Network
    to_bus: TcpProxy
    radio: Radio
    devices: list[RadioDevice]
    published: set[tuple[int, int]] = field(default_factory=set)


@pytest.fixture
async def world(
    idle_network: Network, bridge_settings: Settings, gateway_id: GatewayId, pool: Pool
) -> AsyncGenerator[World]:
    """A bridge and a network whose way to the bus can be cut."""
    await register(pool, gateway_id)
    devices = await settled(idle_network, 24)
    async with open_proxy(idle_network.settings.nats_url.get_secret_value()) as to_bus:
        by_way = {"nats_url": SecretStr(to_bus.url_of(idle_network.settings.nats_url.get_secret_value()))}
        idle_network.settings = idle_network.settings.model_copy(update=by_way)
        await idle_network.start()
        settings = bridge_settings.model_copy(update=by_way)
        async with running_bridge(settings), forwarder(settings.udp_port, gateway_id) as radio:
            world = World(idle_network, to_bus, radio, devices)

            async def collect(_subject: str, data: bytes) -> None:
                world.published.update((uplink.device_id, uplink.f_cnt) for uplink in UPLINK_BATCHES.decode(data))

            await idle_network.bus.subscribe("territoire.uplinks.*", collect)
            yield world
            to_bus.mend()
        await idle_network.stop()


@asynccontextmanager
async def forwarder(port: int, gateway_id: GatewayId) -> AsyncGenerator[Radio]:
    loop = asyncio.get_running_loop()
    transport, station = await loop.create_datagram_endpoint(
        lambda: UdpStation(gateway_id), remote_addr=("127.0.0.1", port)
    )
    radio = Radio(station)
    await station.speak()
    answering = asyncio.create_task(radio.answer())
    keeping = asyncio.create_task(keep_alive(station))
    try:
        yield radio
    finally:
        for task in (answering, keeping):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        transport.close()


async def keep_alive(station: UdpStation) -> None:
    while True:
        await station.speak()
        await asyncio.sleep(2)


async def speak_in_turn(radio: Radio, devices: Sequence[RadioDevice], *, until: float) -> int:
    """Confirmed uplinks, one after the other; returns how many."""
    for number, device in enumerate(itertools.cycle(devices)):
        if asyncio.get_running_loop().time() > until:
            return number
        await radio.receive(device)
        await asyncio.sleep(LIVE_PAUSE_S)
    return 0


async def cut_bus(world: World) -> None:
    world.to_bus.cut()


async def mend_bus(world: World) -> None:
    world.to_bus.mend()


async def stop_network(world: World) -> None:
    await world.network.stop()


async def start_network(world: World) -> None:
    await world.network.start(wait=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("goes", "returns"),
    [(cut_bus, mend_bus), (stop_network, start_network)],
    ids=["the-bus-was-away", "the-network-was-away"],
)
async def test_a_backlog_is_stored_not_answered_and_live_frames_have_rx1_within_seconds(
    world: World, goes: Callable[[World], Awaitable[None]], returns: Callable[[World], Awaitable[None]]
) -> None:
    radio, loop = world.radio, asyncio.get_running_loop()
    late, live = world.devices[:16], world.devices[16:]

    await goes(world)
    gone_at = loop.time()
    for device in itertools.cycle(late):
        if loop.time() > gone_at + OUTAGE_S - QUIET_S:
            break
        await radio.receive(device)
        await asyncio.sleep(BACKLOG_PAUSE_S)
    backlog = len(radio.sent)
    await asyncio.sleep(max(0.0, gone_at + OUTAGE_S - loop.time()))
    await returns(world)
    back_at = loop.time()
    await speak_in_turn(radio, live, until=back_at + WELL_AFTER_S)
    await asyncio.sleep(2.5)  # What is asked for these is over.
    watched, windows = 0, list[str]()
    async with asyncio.timeout(PATIENCE_S):  # A stall of a busy machine puts the next answers into RX2 once more.
        while not watched or windows != ["RX1"] * watched:
            watched_from = loop.time()
            watched = await speak_in_turn(radio, live, until=watched_from + WATCHED_S)
            await asyncio.sleep(2.5)
            windows = [window for at, _, window in radio.answered if at > watched_from]
    await world.network.all_acknowledged()

    assert backlog > 100
    assert world.published == radio.sent
    assert watched > 10
    assert windows == ["RX1"] * watched
    late_addrs = {device.dev_addr for device in late}
    assert [window for _, dev_addr, window in radio.answered if dev_addr in late_addrs] == []
