"""A gateway's round trip travels with the frames that it receives."""

import asyncio
from datetime import UTC, datetime

from core.messages import topics
from core.runtime.postgres import Pool
from gateways.gateway_times import RoundTrips
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.regions import EU868
from lorawan.session import Session
from lorawan.windows import class_a_windows, still_possible
from registry.gateway_supervision import HourOfGateway, save_hours
from services.gateway_bridge.settings import Settings
from tests.gateways.slow_link import slow_link
from tests.gateways.stations import (
    UPLINK,
    MqttStation,
    Rig,
    UdpStation,
    downlink,
    now_us,
    open_rig,
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
        await station.receive(UPLINK)
        (before,) = await rig.frames(1)
        await be_asked(rig, station)
        await station.receive(UPLINK)
        (after,) = await rig.frames(1)
        transport.close()

    assert before.round_trip_us == 0
    assert 2 * DELAY_S * 1e6 <= after.round_trip_us < 4 * DELAY_S * 1e6


async def test_a_distance_is_known_to_the_next_bridge(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    await register(pool, gateway_id)
    hour = HourOfGateway(gateway_id, datetime.now(UTC), 1, 0, 0, 0, 0, 640.0)
    await save_hours(pool, [hour])

    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as rig, rig.udp_station(gateway_id) as station:
        await station.receive(UPLINK)
        (frame,) = await rig.frames(1)

    assert frame.round_trip_us == 640_000


async def test_an_ack_over_mqtt_measures_no_round_trip(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.mqtt_station(gateway_id) as station:
        await known(rig, station)
        await be_asked(rig, station)
        await station.receive(UPLINK)
        (frame,) = await rig.frames(1)

    assert frame.round_trip_us == 0


def test_a_gateway_never_counts_as_so_far_away_that_nobody_asks_it_any_more(gateway_id: GatewayId) -> None:
    round_trips = RoundTrips()
    session = Session(DevAddr(bytes(4)))
    _, rx2 = class_a_windows(EU868, session, 868_100_000, 5)

    round_trips.record_sample(gateway_id, 5_000_000)

    believed_us = round_trips.of(gateway_id) or 0
    assert still_possible(rx2, 0, 400_000, believed_us)  # As long as a network may take, with something to spare.


def test_distances_of_gateways_that_are_no_longer_registered_are_forgotten(gateway_id: GatewayId) -> None:
    round_trips = RoundTrips()
    round_trips.record_sample(gateway_id, 70_000)
    before = round_trips.of(gateway_id)

    round_trips.keep_only(set())

    assert (before, round_trips.of(gateway_id)) == (70_000, None)
