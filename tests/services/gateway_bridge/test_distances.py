"""How far away a gateway is travels with the frames that it hears."""

import asyncio

from core.messages import topics
from lorawan.identifiers import GatewayId
from services.gateway_bridge.round_trip import RoundTrips
from tests.services.gateway_bridge.slow_link import slow_link
from tests.services.gateway_bridge.stations import (
    UPLINK,
    MqttStation,
    Rig,
    UdpStation,
    downlink,
    now_us,
    register,
    until,
)

DELAY_S = 0.2


async def be_asked(rig: Rig, station: UdpStation | MqttStation) -> None:
    asked = asyncio.create_task(
        rig.transmit(station.gateway_id, downlink(station.gateway_id, uplink_at_us=now_us()))
    )
    await station.answer(await station.command(), "OK")
    await asked


async def known(rig: Rig, station: UdpStation | MqttStation) -> None:
    await register(rig.pool, station.gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)

    async def is_reachable() -> bool:
        await station.speak()
        try:
            async with asyncio.timeout(0.3):
                await rig.reachable(station.gateway_id)
        except TimeoutError:
            return False
        return True

    await until(is_reachable)


async def test_a_forwarders_distance_is_known_from_its_first_tx_ack_on(rig: Rig, gateway_id: GatewayId) -> None:
    loop = asyncio.get_running_loop()
    async with slow_link(rig.udp_port, DELAY_S) as port:
        transport, station = await loop.create_datagram_endpoint(
            lambda: UdpStation(gateway_id), remote_addr=("127.0.0.1", port)
        )
        await known(rig, station)
        await station.hear(UPLINK)
        (before,) = await rig.frames(1)
        await be_asked(rig, station)
        await station.hear(UPLINK)
        (after,) = await rig.frames(1)
        transport.close()

    assert before.round_trip_us == 0
    assert 2 * DELAY_S * 1e6 <= after.round_trip_us < 4 * DELAY_S * 1e6


async def test_an_ack_over_mqtt_tells_no_distance(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.mqtt_station(gateway_id) as station:
        await known(rig, station)
        await be_asked(rig, station)
        await station.hear(UPLINK)
        (frame,) = await rig.frames(1)

    assert frame.round_trip_us == 0


def test_distances_of_gateways_that_are_no_longer_registered_are_forgotten(gateway_id: GatewayId) -> None:
    round_trips = RoundTrips()
    round_trips.note(gateway_id, 70_000)
    before = round_trips.of(gateway_id)

    round_trips.keep_only(set())

    assert (before, round_trips.of(gateway_id)) == (70_000, None)
