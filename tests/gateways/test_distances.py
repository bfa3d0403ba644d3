"""A gateway's round trip travels with the frames that it receives."""

import asyncio
import itertools
import time
from datetime import UTC, datetime

import pytest

from core.messages import topics
from core.messages.downlinks import TransmitReply
from core.runtime.postgres import Pool
from gateways.frontend import TX_ACK_TIMEOUT_S
from gateways.gateway_times import LATE_HOLDS_S, SAMPLES, RoundTrips
from gateways.radio import HARD_LEAD_US, way_us
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.regions import EU868
from lorawan.session import Session
from lorawan.windows import class_a_windows, still_possible
from registry.gateway_supervision import HourOfGateway, save_hours
from services.gateway_bridge.settings import Settings
from tests.gateways.slow_link import slow_link
from tests.gateways.stations import (
    RX1_DELAY_US,
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


APART_US = 200_000  # Two answers that do not meet in one radio.


async def be_asked(rig: Rig, station: UdpStation | MqttStation, later_us: int = 0) -> None:
    request = downlink(station.gateway_id, uplink_at_us=now_us() + later_us)
    asked = asyncio.create_task(rig.transmit(station.gateway_id, request))
    await station.answer(await station.command(), "OK")
    await asked


async def known(rig: Rig, station: UdpStation | MqttStation) -> None:
    await register(rig.pool, station.gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await rig.reachable(station.gateway_id, station.speak)


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


async def test_a_forwarder_that_has_answered_before_and_dies_is_given_up_in_time_for_another_gateways_rx2(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with rig.udp_station(gateway_id) as station:
        await known(rig, station)

        later_us = itertools.count(0, APART_US)

        async def is_given_up_early() -> bool:
            await be_asked(rig, station, next(later_us))
            asked_at = time.monotonic()
            reply = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us() + next(later_us)))
            took_s = time.monotonic() - asked_at
            assert (reply.status, reply.index) == ("NO_ACK", 0)
            await station.command()
            # RX2 opens 2 s after the uplink, of which network and gateway need half a second.
            return took_s < 1.5

        await until(is_given_up_early)


async def test_a_forwarder_that_has_never_answered_is_waited_for(rig: Rig, gateway_id: GatewayId) -> None:
    async with rig.udp_station(gateway_id) as station:
        await known(rig, station)
        asked_at = time.monotonic()

        reply = await rig.transmit(gateway_id, downlink(gateway_id, uplink_at_us=now_us()))

    assert reply.status == "NO_ACK"
    assert time.monotonic() - asked_at >= TX_ACK_TIMEOUT_S


async def test_a_back_haul_that_turns_slow_is_believed_from_its_first_late_tx_ack_on(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with rig.udp_station(gateway_id) as station:
        await known(rig, station)
        for number in range(SAMPLES):
            await be_asked(rig, station, number * APART_US)

        request = downlink(gateway_id, uplink_at_us=now_us() + SAMPLES * APART_US)
        asked = asyncio.create_task(rig.transmit(gateway_id, request))
        command = await station.command()
        given_up = await asked
        await station.answer(command, "TOO_EARLY")  # Its counter is past RX1.

        async def is_far() -> bool:
            await station.receive(UPLINK)
            (frame,) = await rig.frames(1)
            return frame.round_trip_us >= 300_000  # So long was it waited for.

        await until(is_far)

    assert given_up.status == "NO_ACK"


@pytest.mark.parametrize("error", ["TOO_LATE", "TOO_EARLY"])
async def test_too_late_over_mqtt_shows_at_once_how_far_away_a_gateway_is_at_least(
    rig: Rig, gateway_id: GatewayId, error: str
) -> None:
    async with rig.mqtt_station(gateway_id) as station:
        await known(rig, station)
        # RX1 opens in a second, which turns out to be too short a time.
        request = downlink(gateway_id, uplink_at_us=now_us() - RX1_DELAY_US + 1_000_000)
        asked = asyncio.create_task(rig.transmit(gateway_id, request))
        await station.answer(await station.command(), error)
        reply = await answered(asked, station)
        await station.receive(UPLINK)
        (frame,) = await rig.frames(1)

    assert reply.status == "OK"
    assert frame.round_trip_us > 0


async def answered(asked: "asyncio.Task[TransmitReply]", station: MqttStation) -> TransmitReply:
    """Of a request whose RX2 is asked for, too, unless it is too late for that."""
    await station.answer(await station.command(), "OK")
    return await asked


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


@pytest.mark.parametrize(
    ("status", "elapsed_us", "lead_us", "expected_us"),
    [
        ("OK", 80_000, 700_000, 80_000),
        # The bridge, or the answer, stood still: the frame itself was in time.
        ("OK", 900_000, 700_000, 700_000 - HARD_LEAD_US),
        ("TOO_LATE", 80_000, 700_000, 700_000 - HARD_LEAD_US),
        ("TOO_EARLY", 1_100_000, 700_000, 1_100_000),
        ("COLLISION_PACKET", 80_000, 700_000, 80_000),
        ("OK", 80_000, None, 80_000),
    ],
)
def test_what_was_in_time_was_no_farther_than_that_and_what_was_too_late_was(
    status: str, elapsed_us: int, lead_us: int | None, expected_us: int
) -> None:
    assert way_us(status, elapsed_us, lead_us) == expected_us


def test_a_gateway_that_nothing_measures_counts_as_far_for_an_hour_after_it_was_too_late(
    gateway_id: GatewayId,
) -> None:
    now = 0.0
    round_trips = RoundTrips(lambda: now)
    round_trips.record_late(gateway_id, 900_000)
    at_once = round_trips.of(gateway_id)
    now = LATE_HOLDS_S

    assert (at_once, round_trips.of(gateway_id)) == (900_000, None)


def test_distances_of_gateways_that_are_no_longer_registered_are_forgotten(gateway_id: GatewayId) -> None:
    round_trips = RoundTrips()
    round_trips.record_sample(gateway_id, 70_000)
    before = round_trips.of(gateway_id)

    round_trips.keep_only(set())

    assert (before, round_trips.of(gateway_id)) == (70_000, None)
