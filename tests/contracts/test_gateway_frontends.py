"""One suite for every way in which a gateway may speak with us; what differs is data (`Traits`).

One bridge serves all of it, as it serves many gateways; each test has a gateway of its own.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from itertools import pairwise

import msgspec
import pytest
import pytest_asyncio

from core.messages.downlinks import TransmitReply, TransmitRequest
from core.runtime.bus import NoResponders
from core.runtime.postgres import open_pool
from lorawan.identifiers import GatewayId
from services.supervisor.mosquitto import BRIDGE, SIMULATOR, PrivateMosquitto
from services.supervisor.nats import PrivateNats
from tests.conftest import Administrator, Cluster, fresh_database, without_streams
from tests.gateways.fixtures import save_at_once, settings_of_bridge
from tests.gateways.legacy_station import LegacyJsonStation, LegacyStation
from tests.gateways.station_face import Command, Station
from tests.gateways.stations import (
    JOIN_REQUEST,
    RX1_DELAY_US,
    RX2_DELAY_US,
    UPLINK,
    MqttStation,
    Rig,
    UdpStation,
    downlink,
    now_us,
    on_the_air,
    open_rig,
    until,
)
from tests.gateways.ws_station import WsStation, ws_station

pytestmark = pytest.mark.asyncio(loop_scope="module")

FACES = {
    "udp": UdpStation.traits,
    "mqtt": MqttStation.traits,
    "mqtt-json": MqttStation.traits,
    "mqtt-without-prefix": MqttStation.traits,
    "mqtt-version-3": LegacyStation.traits,
    "mqtt-version-3-json": LegacyJsonStation.traits,
    "basics-station": WsStation.traits,
}
REFUSING = [face for face, traits in FACES.items() if traits.refuses]
SILENT = [face for face, traits in FACES.items() if not traits.refuses]
ERRORS = [
    "TOO_LATE",
    "TOO_EARLY",
    "COLLISION_PACKET",
    "COLLISION_BEACON",
    "TX_FREQ",
    "TX_POWER",
    "GPS_UNLOCKED",
    "INTERNAL_ERROR",
]
TRANSMISSIONS = "SELECT frequency, status FROM transmission WHERE gateway_id = $1 ORDER BY starts_at"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(
    cluster: Cluster, administrator: Administrator, nats_server: PrivateNats, mosquitto_server: PrivateMosquitto
) -> AsyncGenerator[Rig]:
    nats_url = without_streams(nats_server)
    with fresh_database(cluster, administrator) as database, pytest.MonkeyPatch.context() as patch:
        save_at_once(patch)
        settings = settings_of_bridge(database.service_url, nats_url, mosquitto_server.url(BRIDGE))
        async with (
            open_pool(database.service_url, "territoire-tests", size=4) as pool,
            open_rig(settings, pool, mosquitto_server.url(SIMULATOR)) as opened,
        ):
            yield opened


@pytest_asyncio.fixture(params=FACES, loop_scope="module")
async def station(request: pytest.FixtureRequest, rig: Rig, gateway_id: GatewayId) -> AsyncGenerator[Station]:
    match request.param:
        case "udp":
            opened = rig.udp_station(gateway_id)
        case "mqtt":
            opened = rig.mqtt_station(gateway_id)
        case "basics-station":
            opened = ws_station(rig.station_url, gateway_id)
        case "mqtt-version-3":
            opened = rig.mqtt_station(gateway_id, prefix="", face=LegacyStation)
        case "mqtt-version-3-json":
            opened = rig.mqtt_station(gateway_id, prefix="", as_json=True, face=LegacyJsonStation)
        case "mqtt-json":
            opened = rig.mqtt_station(gateway_id, as_json=True)
        case _:
            opened = rig.mqtt_station(gateway_id, prefix="", as_json=True)
    async with opened as station:
        yield station


def answer_to(station: Station, received_at_us: int) -> TransmitRequest:
    """Both windows after an uplink that the station received."""
    return downlink(station.gateway_id, uplink_at_us=received_at_us, context=station.traits.context)


async def transmissions(rig: Rig, station: Station) -> list[tuple[int, str | None]]:
    """Frequency and status of what this gateway was asked for, in the order of their starts."""
    rows = await rig.pool.fetch(TRANSMISSIONS, station.gateway_id)
    return [tuple(row) for row in rows]


async def test_a_frame_reaches_the_stream_as_the_same_frame_whatever_the_protocol(
    rig: Rig, station: Station
) -> None:
    await on_the_air(rig, station)
    before = now_us()

    await station.receive(UPLINK)
    (frame,) = await rig.frames(1)

    assert frame.phy_payload == UPLINK
    assert frame.gateway_id == station.gateway_id
    assert frame.context == station.traits.context
    assert (frame.frequency, frame.spreading_factor, frame.bandwidth) == (868_100_000, 7, 125_000)
    assert (frame.rssi, frame.snr, frame.channel, frame.antenna) == (-71.0, 8.25, station.traits.channel, 0)
    assert before <= frame.received_at_us <= now_us()
    assert frame.time_us == frame.received_at_us


async def test_the_time_is_gps_time_then_the_gateways_clock(rig: Rig, station: Station) -> None:
    await on_the_air(rig, station)
    clock, gps = now_us() - 2_000_000, (now_us() - 5_000_000) // 1000 * 1000

    await station.receive(UPLINK, time_us=clock)
    (by_clock,) = await rig.frames(1)
    await station.receive(UPLINK, time_us=clock, gps_time_us=gps)
    (by_gps,) = await rig.frames(1)

    assert by_clock.time_us == clock
    assert by_gps.time_us == gps


async def test_an_unknown_gateway_has_no_frames_and_no_path_until_it_is_registered(
    rig: Rig, station: Station
) -> None:
    name = 'territoire_gateway_bridge_uplinks_total{result="unknown_gateway"}'
    before = await rig.metric(name)

    async def is_counted() -> bool:
        return await rig.metric(name) > before

    await station.speak()
    await station.receive(UPLINK)
    await until(is_counted)
    with pytest.raises(NoResponders):
        await rig.transmit(station.gateway_id, downlink(station.gateway_id, latest_at_us=now_us()))
    await on_the_air(rig, station)
    await station.receive(JOIN_REQUEST)

    assert [frame.phy_payload for frame in await rig.frames(1)] == [JOIN_REQUEST]


async def test_garbage_costs_nothing_but_itself(rig: Rig, station: Station) -> None:
    await on_the_air(rig, station)

    for length in range(1, 60):
        await station.say(secrets.token_bytes(length))
    await station.say(b"{" + b"[" * 5_000)
    await station.receive(b"\xff" * 20)
    await station.receive(UPLINK)
    (frame,) = await rig.frames(1)

    assert frame.phy_payload == UPLINK


async def test_a_class_a_answer_goes_out_in_rx1_and_is_written_down(rig: Rig, station: Station) -> None:
    await on_the_air(rig, station)

    asking = asyncio.create_task(rig.transmit(station.gateway_id, answer_to(station, now_us())))
    command = await station.command()
    written = await transmissions(rig, station)
    await station.answer(command, "OK")
    reply = await asking

    assert (command.phy_payload, command.frequency, command.spreading_factor) == (UPLINK, 868_100_000, 7)
    assert (command.immediate, command.delay_us) == (False, RX1_DELAY_US)
    assert command.power == station.traits.powers[0]
    # A window that is offered is written down, too, until another one is taken.
    assert [status for _, status in written] == [None] * (1 if station.traits.refuses else 2)
    assert (reply.status, reply.index, reply.fits_at_us) == ("OK", 0, 0)


@pytest.mark.parametrize("station", REFUSING, indirect=True)
@pytest.mark.parametrize("error", ERRORS)
async def test_rx2_follows_when_rx1_is_rejected_and_the_last_error_is_answered(
    rig: Rig, station: Station, error: str
) -> None:
    await on_the_air(rig, station)

    asking = asyncio.create_task(rig.transmit(station.gateway_id, answer_to(station, now_us())))
    commands = await reject_all(station, error, asking)
    reply = await asking

    first, second = commands[0], commands[-1]
    assert first.frequency == 868_100_000
    assert (second.frequency, second.spreading_factor, second.delay_us) == (869_525_000, 9, RX2_DELAY_US)
    assert [first.power, next(one.power for one in commands if one.frequency != first.frequency)] == list(
        station.traits.powers
    )
    assert (reply.status, reply.index) == (error, -1)
    # A packet forwarder whose table lacks a power may have a lower one.
    assert (len(commands) > 2) == (station.traits.name == "semtech_udp" and error == "TX_POWER")


async def reject_all(station: Station, error: str, asking: "asyncio.Task[TransmitReply]") -> list[Command]:
    """The same word to whatever the gateway is asked, until the request has its answer."""
    commands: list[Command] = []
    while True:
        getting = asyncio.create_task(station.command())
        await asyncio.wait({getting, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            getting.cancel()
            return commands
        commands.append(getting.result())
        await station.answer(commands[-1], error)


@pytest.mark.parametrize("station", SILENT, indirect=True)
async def test_a_gateway_that_falls_back_by_itself_has_both_windows_and_says_which_it_took(
    rig: Rig, station: Station
) -> None:
    await on_the_air(rig, station)

    asking = asyncio.create_task(rig.transmit(station.gateway_id, answer_to(station, now_us())))
    command = await station.command()
    assert isinstance(station, WsStation)
    await station.transmitted(command.reference, "RX2")
    reply = await asking

    assert (reply.status, reply.index) == ("OK", 1)

    async def is_written_down() -> bool:
        return await transmissions(rig, station) == [(868_100_000, "IGNORED"), (869_525_000, "OK")]

    await until(is_written_down)


async def test_a_gateway_that_says_nothing_may_have_transmitted(rig: Rig, station: Station) -> None:
    await on_the_air(rig, station)

    # RX1 opens in a second, so that a gateway which answers when it transmits is given up soon.
    heard_at_us = now_us() + 1_000_000 - RX1_DELAY_US
    asking = asyncio.create_task(rig.transmit(station.gateway_id, answer_to(station, heard_at_us)))
    await station.command()
    reply = await asking

    assert (reply.status, reply.index) == ("NO_ACK", 0)


async def test_a_radio_that_is_busy_in_rx1_says_so_before_it_would_take_rx2_when_another_may_be_free(
    rig: Rig, station: Station
) -> None:
    await on_the_air(rig, station)
    asked_for = answer_to(station, now_us())

    async def obey() -> Command:
        command = await station.command()
        if isinstance(station, WsStation):
            await station.transmitted(command.reference, "RX1")  # The first, or the only one, of what it is given.
        else:
            await station.answer(command, "OK")
        return command

    first = asyncio.create_task(rig.transmit(station.gateway_id, asked_for))
    await obey()
    assert (await first).index == 0
    refused = await rig.transmit(station.gateway_id, msgspec.structs.replace(asked_for, falls_back=False))
    third = asyncio.create_task(rig.transmit(station.gateway_id, asked_for))
    command = await obey()

    assert (refused.status, refused.index) == ("COLLISION_PACKET", -1)
    assert refused.fits_at_us > asked_for.uplink_at_us + RX1_DELAY_US
    # The gateway was asked for nothing between the two.
    assert command.frequency == 869_525_000
    assert (await third).index == 1


async def test_immediate_frames_never_overlap_on_one_gateway(rig: Rig, station: Station) -> None:
    await on_the_air(rig, station)
    airtime_us = 164_864  # 17 octets, SF9, 125 kHz, without CRC.

    async def ask() -> int:
        latest = now_us() + 4_000_000
        return (
            await rig.transmit(station.gateway_id, downlink(station.gateway_id, latest_at_us=latest))
        ).starts_at_us

    async def obey() -> list[int]:
        arrived: list[int] = []
        for _ in range(3):
            command = await station.command()
            arrived.append(now_us())
            assert command.immediate
            await station.answer(command, "OK")
        return arrived

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask()) for _ in range(3)]
        obeying = tasks.create_task(obey())
    starts = sorted(task.result() for task in asked)
    arrived = obeying.result()

    assert all(later - earlier >= airtime_us for earlier, later in pairwise(starts))
    # What reaches the gateway at once is transmitted at once: the second waits until the first has left.
    assert all(later - earlier >= airtime_us * 0.9 for earlier, later in pairwise(arrived))
