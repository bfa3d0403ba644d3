"""A device behind a LoRa Basics Station: station, bridge and network service together, on real servers."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from core.runtime.postgres import Pool
from lorawan.crypto import Direction
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.fixtures import bridge_settings, gateway_id
from tests.gateways.stations import register, running_bridge
from tests.gateways.ws_station import WsStation, ws_station
from tests.network.conftest import Network, RadioDevice, idle_network, network

__all__ = ["bridge_settings", "gateway_id", "idle_network", "network"]


@pytest.fixture
async def station(
    network: Network, bridge_settings: Settings, gateway_id: GatewayId, pool: Pool
) -> AsyncGenerator[WsStation]:
    """Of a registered gateway, with the network service on the other side."""
    await register(pool, gateway_id)
    url = f"ws://127.0.0.1:{bridge_settings.station_port}"
    async with running_bridge(bridge_settings), ws_station(url, gateway_id) as station:
        yield station


def opened(device: RadioDevice, asked: dict[str, Any], f_cnt: int) -> tuple[DownlinkFrame, bytes]:
    """The frame as the device reads it, its MIC checked."""
    phy_payload = bytes.fromhex(asked["pdu"])
    assert device.cipher is not None
    assert device.cipher.verify_downlink(phy_payload, device.dev_addr, f_cnt)
    frame = DownlinkFrame.from_bytes(phy_payload)
    return frame, device.cipher.crypt(Direction.DOWN, device.dev_addr, f_cnt, frame.f_port or 0, frame.frm_payload)


async def join(station: WsStation, device: RadioDevice) -> dict[str, Any]:
    await station.receive(device.join())
    asked = await station.downlink()
    device.receive_accept(bytes.fromhex(asked["pdu"]))
    await station.transmitted(asked, "RX1")
    return asked


async def test_a_join_is_answered_in_rx1_with_the_stations_own_xtime(station: WsStation, network: Network) -> None:
    device = await network.device()

    asked = await join(station, device)
    await station.receive(device.uplink(b"first"))
    uplink = await network.next_uplink()

    assert (asked["dC"], asked["RxDelay"], asked["RX1Freq"], asked["RX1DR"]) == (0, 5, 868_100_000, 5)
    assert asked["xtime"].to_bytes(8) == station.traits.context[8:]
    assert uplink.payload == b"first"


async def test_a_join_that_the_station_drops_in_rx1_is_answered_in_rx2(
    station: WsStation, network: Network
) -> None:
    device = await network.device()

    await station.receive(device.join())
    silent = await station.downlink()
    asked = await station.downlink(within_s=8)
    await station.transmitted(asked, "RX1")
    accepts = [bytes.fromhex(message["pdu"]) for message in (silent, asked)]
    device.receive_accept(accepts[1])
    await station.receive(device.uplink(b"first"))

    assert (silent["RxDelay"], silent["RX1Freq"]) == (5, 868_100_000)
    # A station's RX1 is the window of the message that comes first: here the device's RX2.
    assert (asked["RxDelay"], asked["RX1Freq"], asked["RX1DR"]) == (6, 869_525_000, 0)
    assert accepts[0] == accepts[1]
    assert (await network.next_uplink()).payload == b"first"


async def test_a_confirmed_uplink_is_acknowledged_in_either_window(station: WsStation, network: Network) -> None:
    device = await network.device()
    await join(station, device)

    await station.receive(device.uplink(b"first", confirmed=True))
    asked = await station.downlink()
    frame, _ = opened(device, asked, 0)

    assert frame.f_ctrl.ack
    assert (asked["RxDelay"], asked["RX1Freq"], asked["RX1DR"]) == (1, 868_100_000, 5)
    assert (asked["RX2Freq"], asked["RX2DR"]) == (869_525_000, 3)


async def test_a_command_is_sent_once_the_station_says_so_and_waits_again_when_it_does_not(
    station: WsStation, network: Network
) -> None:
    device = await network.device()
    await join(station, device)
    await station.receive(device.uplink(b"first"))
    await network.next_uplink()
    downlink_id = await network.enqueue(device, payload=b"light")

    await station.receive(device.uplink(b"second"))
    silent = await station.downlink()
    await network.settled(downlink_id)
    refused = await network.downlink(downlink_id, "queued")
    await network.pool.execute("UPDATE downlink SET not_before = now() WHERE id = $1", downlink_id)
    await station.receive(device.uplink(b"third"))
    asked = await station.downlink()
    await station.transmitted(asked, "RX2")
    sent = await network.downlink(downlink_id, "sent")

    (_, first), (_, second) = opened(device, silent, 0), opened(device, asked, 1)
    assert first == second == b"light"
    assert refused.reason == "NO_ACK"
    assert sent.f_cnt_down == 1
