"""Devices behind a gateway whose mobile network takes 0.4 s each way: forwarder, bridge and network service."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from core.runtime.postgres import Pool
from lorawan.commands import parse_downlink_commands
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.fixtures import bridge_settings, gateway_id
from tests.gateways.slow_link import slow_link
from tests.gateways.stations import UdpStation, now_us, register, running_bridge
from tests.network.conftest import Network, idle_network, network

__all__ = ["bridge_settings", "gateway_id", "idle_network", "network"]

EACH_WAY_S = 0.4
# A forwarder wants a frame this long before it starts (sx1302_hal: start 1.5 ms, margin 1 ms, queue 40 ms).
LEAD_US = 42_500


@dataclass
class SlowForwarder:
    """It takes a downlink that is in time by its own clock, and rejects every other, as real ones do."""

    station: UdpStation
    heard_at_us: int = 0

    async def receive(self, phy_payload: bytes) -> None:
        self.heard_at_us = now_us()
        await self.station.receive(phy_payload)

    async def answered(self) -> tuple[str, int, bytes]:
        """Its verdict on the next downlink, after how long that is due (us), and its PHYPayload."""
        command = await self.station.command()
        in_time = now_us() + LEAD_US <= self.heard_at_us + command.delay_us
        status = "OK" if in_time else "TOO_LATE"
        await self.station.answer(command, status)
        return status, command.delay_us, command.phy_payload


@asynccontextmanager
async def forwarder(port: int, gateway_id: GatewayId) -> AsyncGenerator[SlowForwarder]:
    loop = asyncio.get_running_loop()
    transport, station = await loop.create_datagram_endpoint(
        lambda: UdpStation(gateway_id), remote_addr=("127.0.0.1", port)
    )
    try:
        yield SlowForwarder(station)
    finally:
        transport.close()


@pytest.fixture
async def slow(
    network: Network, bridge_settings: Settings, gateway_id: GatewayId, pool: Pool
) -> AsyncGenerator[SlowForwarder]:
    await register(pool, gateway_id)
    async with (
        running_bridge(bridge_settings),
        slow_link(bridge_settings.udp_port, EACH_WAY_S) as port,
        forwarder(port, gateway_id) as slow,
    ):
        await slow.station.speak()
        async with asyncio.timeout(30):
            while not await network.pool.fetchval("SELECT count(*) FROM gateway_state"):
                await slow.station.speak()
        yield slow


async def test_devices_behind_a_slow_gateway_are_answered_in_time_and_wait_five_seconds_from_then_on(
    slow: SlowForwarder, network: Network
) -> None:
    first, second = await network.device(number=1), await network.device(number=2)

    await slow.receive(first.join())  # Nobody knows yet how far away this gateway is.
    joined, _, accept = await slow.answered()
    unaware = first.receive_accept(accept)
    await asyncio.sleep(EACH_WAY_S + 0.2)  # Its word is still on the way; the device has the accept seconds later.
    await slow.receive(first.uplink(b"first", confirmed=True))
    status, delay_us, phy_payload = await slow.answered()
    commands = parse_downlink_commands(DownlinkFrame.from_bytes(phy_payload).f_opts).commands
    await slow.receive(first.uplink(b"second", confirmed=True, f_opts=RxTimingSetupAns().to_bytes()))
    later = await slow.answered()
    await slow.receive(second.join())
    _, _, accept = await slow.answered()
    aware = second.receive_accept(accept)

    assert (joined, unaware.rx1_delay) == ("OK", 1)
    # RX1 cannot be met over such a way, RX2 can: that is what was asked for, at once.
    assert (status, delay_us, commands) == ("OK", 2_000_000, (RxTimingSetupReq(5),))
    assert later[:2] == ("OK", 5_000_000)
    assert aware.rx1_delay == 5
    await network.all_acknowledged()
