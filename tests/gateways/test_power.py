"""With which power gateways are asked to transmit, by what the registry says of their antennas."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from core.messages import topics
from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.station_face import Command
from tests.gateways.stations import Rig, UdpStation, downlink, now_us, open_rig, register, until
from tests.gateways.ws_station import ws_station

ANTENNA = 3.0  # dBi
# Of the packet forwarder 4.0.1 as it is delivered for EU868: what is not in its table it refuses.
TABLE = (-6, -3, 0, 3, 6, 10, 11, 12, 13, 14, 16, 20, 23, 25, 26, 27)


async def forward(station: UdpStation, own_gain: int) -> tuple[Command, list[int]]:
    """As the packet forwarder does it: the first command that it takes, and every power that it was asked for."""
    asked: list[int] = []
    while True:
        command = await station.command()
        assert command.power is not None
        asked.append(command.power)
        if command.power - own_gain in TABLE:
            await station.answer(command, "OK")
            return command, asked
        await station.answer(command, "TX_POWER")


async def reachable(rig: Rig, station: UdpStation) -> None:
    await station.speak()
    await rig.reachable(station.gateway_id)


async def radiated(rig: Rig, station: UdpStation, own_gain: int) -> Mapping[str, float]:
    """The EIRP of an answer in RX1 and of one in RX2, with an antenna of 3 dBi."""
    await reachable(rig, station)
    found: dict[str, float] = {}
    for window, place in (("RX1", 0), ("RX2", 1)):
        request = downlink(station.gateway_id, uplink_at_us=now_us() + place * 3_000_000)
        del request.transmissions[1 - place]
        asking = asyncio.create_task(rig.transmit(station.gateway_id, request))
        command, _ = await forward(station, own_gain)
        assert (await asking).status == "OK"
        assert command.power is not None
        found[window] = command.power - own_gain + ANTENNA
    return found


@pytest.mark.parametrize("own_gain", [0, 3], ids=["forwarder-without-gain", "forwarder-subtracts-gain"])
async def test_until_it_is_said_who_subtracts_the_gain_nothing_exceeds_the_law_whatever_the_forwarder_does(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId, own_gain: int
) -> None:
    await register(pool, gateway_id, antenna_gain=ANTENNA)

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        eirp = await radiated(rig, station, own_gain)

    assert eirp["RX1"] <= 16.15
    assert eirp["RX2"] <= 29.15


@pytest.mark.parametrize(("subtracted_by", "own_gain"), [("gateway", 3), ("network", 0)])
async def test_once_it_is_said_a_gateway_radiates_what_the_law_allows(
    bridge_settings: Settings,
    pool: Pool,
    gateway_mqtt_url: str,
    gateway_id: GatewayId,
    subtracted_by: str,
    own_gain: int,
) -> None:
    await register(pool, gateway_id, antenna_gain=ANTENNA, subtracted_by=subtracted_by)

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        eirp = await radiated(rig, station, own_gain)

    assert eirp == {"RX1": 16, "RX2": 29}


async def test_a_forwarder_as_it_is_delivered_is_asked_at_once_for_a_power_that_it_has(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id)

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        await reachable(rig, station)
        request = downlink(gateway_id, latest_at_us=now_us() + 60_000_000)
        asking = asyncio.create_task(rig.transmit(gateway_id, request))
        _, asked = await forward(station, own_gain=0)
        assert (await asking).status == "OK"

    assert asked == [27]


async def test_power_that_a_forwarder_has_not_is_lowered_until_it_has_it_and_remembered(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id)
    powers: list[list[int]] = []

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        await reachable(rig, station)
        for _ in range(2):
            request = downlink(gateway_id, latest_at_us=now_us() + 60_000_000)
            asking = asyncio.create_task(rig.transmit(gateway_id, request))
            powers.append((await forward(station, own_gain=3))[1])  # Of which nobody has said anything.
            assert (await asking).status == "OK"

    assert powers == [[27, 26], [26]]


async def test_a_station_is_capped_while_it_is_not_said_that_it_subtracts_its_gain(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id, antenna_gain=ANTENNA)

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig:
        async with ws_station(rig.station_url, gateway_id) as station:
            await station.speak()
            capped = station.config
        await pool.execute("UPDATE gateway SET gain_subtracted_by = 'gateway'")
        await rig.bus.nudge(topics.REGISTRY_CHANGED)

        async def is_free() -> bool:
            # What changes of a gateway ends its connection, so that the station asks for its configuration again.
            with suppress(ConnectionClosed):
                async with ws_station(rig.station_url, gateway_id) as station:
                    await station.speak()
                    return "max_eirp" not in station.config
            return False

        await until(is_free)

    assert capped["max_eirp"] == 13
