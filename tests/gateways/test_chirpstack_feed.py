"""Our gateways feed a ChirpStack: a client of its broker sees what its Gateway Bridge would publish."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from chirpstack_api import gw
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from core.messages import topics
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.postgres import Pool
from gateways.chirpstack_feed_messages import Unfit, request_of, status_of
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.stations import (
    UPLINK,
    Rig,
    UdpStation,
    now_us,
    open_rig,
    register,
)

JOIN_ACCEPT = bytes.fromhex("20f3c79aa469322101bcf0e6a6b86db0187da5b246424c7e34ecbf8d0e487ffbba")


@dataclass
class ChirpStack:
    """Its gateway backend: subscribed to `event/+`, as its v4 is, and to the connection states."""

    edge: MqttSession
    prefix: str
    as_json: bool
    heard: dict[str, asyncio.Queue[bytes]] = field(default_factory=dict)

    async def listen(self) -> None:
        while True:
            for message in await self.edge.batch():
                self.edge.ack((message,))
                self.queue(message.topic).put_nowait(message.payload)

    def queue(self, topic: str) -> asyncio.Queue[bytes]:
        return self.heard.setdefault(topic.removeprefix(self.prefix), asyncio.Queue())

    async def next(self, gateway_id: bytes, what: str, message: Any) -> Any:
        async with asyncio.timeout(30):
            payload = await self.queue(f"{self.prefix}gateway/{gateway_id.hex()}/{what}").get()
        assert payload.startswith(b"{") == self.as_json
        if self.as_json:
            assert b"gatewayId" in payload  # By which ChirpStack knows that it is JSON.
            return json_format.Parse(payload, message)
        message.ParseFromString(payload)
        return message

    async def command(self, gateway_id: bytes, kind: str, command: Message) -> None:
        payload = (
            json_format.MessageToJson(command, indent=None).encode()
            if self.as_json
            else command.SerializeToString()
        )
        await self.edge.publish(f"{self.prefix}gateway/{gateway_id.hex()}/command/{kind}", payload)


@pytest.fixture(params=[("", False), ("eu868", True)], ids=["protobuf", "json-with-prefix"])
def feeding(request: pytest.FixtureRequest, bridge_settings: Settings, gateway_mqtt_url: str) -> Settings:
    """To a broker where our bridge is a gateway among others, by its account's rules."""
    prefix, as_json = request.param
    return bridge_settings.model_copy(
        update={
            "mqtt_url": None,
            "chirpstack_url": SecretStr(gateway_mqtt_url),
            "chirpstack_prefix": prefix,
            "chirpstack_json": as_json,
            "chirpstack_stats_s": 1.0,
            "instance": f"feed-{secrets.token_hex(4)}",
        }
    )


@pytest.fixture
async def chirpstack(feeding: Settings, mqtt_url: str) -> AsyncGenerator[ChirpStack]:
    prefix = f"{feeding.chirpstack_prefix}/" if feeding.chirpstack_prefix else ""
    settings = MqttSettings(
        mqtt_url=mqtt_url, mqtt_client_id=f"chirpstack-{secrets.token_hex(4)}", mqtt_session_expiry=0
    )
    edge = MqttSession(settings, [f"{prefix}gateway/+/event/+", f"{prefix}gateway/+/state/conn"])
    there = ChirpStack(edge, prefix, feeding.chirpstack_json)
    running = [asyncio.create_task(edge.run()), asyncio.create_task(there.listen())]
    async with asyncio.timeout(30):
        await edge.connected()
    yield there
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def rig(feeding: Settings, pool: Pool, gateway_mqtt_url: str, chirpstack: ChirpStack) -> AsyncGenerator[Rig]:
    async with open_rig(feeding, pool, gateway_mqtt_url) as opened:
        yield opened


@pytest.fixture
async def station(rig: Rig, gateway_id: GatewayId, chirpstack: ChirpStack) -> AsyncGenerator[UdpStation]:
    """A packet forwarder of ours, whose state was published."""
    await register(rig.pool, gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    async with rig.udp_station(gateway_id) as station:
        await station.speak()
        await rig.reachable(gateway_id)
        state = await chirpstack.next(gateway_id, "state/conn", gw.ConnState())
        assert (state.gateway_id, state.state) == (gateway_id.hex(), gw.ConnState.ONLINE)
        yield station


async def received_uplink(chirpstack: ChirpStack, station: UdpStation) -> gw.UplinkFrame:
    await station.receive(UPLINK)
    return await chirpstack.next(station.gateway_id, "event/up", gw.UplinkFrame())


def downlink(uplink: gw.UplinkFrame, *delays_s: int, phy_payload: bytes = JOIN_ACCEPT) -> gw.DownlinkFrame:
    """As ChirpStack makes one: RX1 on the uplink's channel, RX2 on 869.525 MHz, its context in each."""
    command = gw.DownlinkFrame(downlink_id=secrets.randbits(32), gateway_id=uplink.rx_info.gateway_id)
    for place, delay_s in enumerate(delays_s):
        item = command.items.add(phy_payload=phy_payload)
        tx = item.tx_info
        tx.frequency, tx.power = (868_100_000, 16) if place == 0 else (869_525_000, 29)
        tx.modulation.lora.bandwidth, tx.modulation.lora.spreading_factor = 125_000, 7 if place == 0 else 12
        tx.modulation.lora.code_rate, tx.modulation.lora.polarization_inversion = gw.CR_4_5, True
        tx.context = uplink.rx_info.context
        if delay_s:
            tx.timing.delay.delay.seconds = delay_s
        else:
            tx.timing.immediately.SetInParent()
    return command


async def test_an_uplink_is_what_a_gateway_bridge_would_publish_and_reaches_our_own_network_too(
    rig: Rig, station: UdpStation, chirpstack: ChirpStack
) -> None:
    before = now_us()

    up = await received_uplink(chirpstack, station)
    (frame,) = await rig.frames(1)

    assert up.phy_payload == frame.phy_payload == UPLINK
    lora = up.tx_info.modulation.lora
    assert up.tx_info.frequency == 868_100_000
    assert (lora.bandwidth, lora.spreading_factor, lora.code_rate) == (125_000, 7, gw.CR_4_5)
    info = up.rx_info
    assert (info.gateway_id, info.rssi, info.snr, info.channel) == (station.gateway_id.hex(), -71, 8.25, 3)
    assert info.crc_status == gw.CRC_OK
    assert before <= info.gw_time.ToMicroseconds() <= now_us()


async def test_a_downlink_goes_out_in_its_window_and_is_acknowledged_once(
    station: UdpStation, chirpstack: ChirpStack
) -> None:
    asked = downlink(await received_uplink(chirpstack, station), 5, 6)

    await chirpstack.command(station.gateway_id, "down", asked)
    command = await station.command()
    await station.answer(command, "OK")
    ack = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())

    assert (command.phy_payload, command.frequency, command.delay_us) == (JOIN_ACCEPT, 868_100_000, 5_000_000)
    assert (ack.gateway_id, ack.downlink_id) == (asked.gateway_id, asked.downlink_id)
    assert [item.status for item in ack.items] == [gw.OK]


async def test_a_downlink_that_the_gateway_rejects_in_rx1_is_tried_in_rx2_and_acknowledged_so(
    station: UdpStation, chirpstack: ChirpStack
) -> None:
    asked = downlink(await received_uplink(chirpstack, station), 5, 6)

    await chirpstack.command(station.gateway_id, "down", asked)
    await station.answer(await station.command(), "COLLISION_PACKET")
    second = await station.command()
    await station.answer(second, "OK")
    ack = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())

    assert (second.frequency, second.delay_us) == (869_525_000, 6_000_000)
    assert [item.status for item in ack.items] == [gw.IGNORED, gw.OK]


async def test_a_gateway_that_rejects_everything_or_stays_silent_is_a_negative_answer(
    station: UdpStation, chirpstack: ChirpStack
) -> None:
    up = await received_uplink(chirpstack, station)

    await chirpstack.command(station.gateway_id, "down", downlink(up, 5))
    await station.answer(await station.command(), "TX_FREQ")
    refused = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())
    await chirpstack.command(station.gateway_id, "down", downlink(up, 5))
    await station.command()
    silent = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())

    assert [item.status for item in refused.items] == [gw.TX_FREQ]
    assert [item.status for item in silent.items] == [gw.INTERNAL_ERROR]


async def test_a_class_c_frame_goes_out_at_once(station: UdpStation, chirpstack: ChirpStack) -> None:
    asked = downlink(await received_uplink(chirpstack, station), 0)

    await chirpstack.command(station.gateway_id, "down", asked)
    command = await station.command()
    await station.answer(command, "OK")
    ack = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())

    assert command.immediate
    assert [item.status for item in ack.items] == [gw.OK]


async def test_what_no_gateway_of_ours_can_do_is_rejected_and_nothing_stops(
    station: UdpStation, chirpstack: ChirpStack
) -> None:
    up = await received_uplink(chirpstack, station)
    foreign = downlink(up, 1)
    foreign.items[0].tx_info.context = b"\0\0\0\1"
    gps = downlink(up, 1)
    gps.items[0].tx_info.timing.gps_epoch.time_since_gps_epoch.seconds = 1_400_000_000

    for unfit in (foreign, gps, gw.DownlinkFrame(gateway_id=up.rx_info.gateway_id, downlink_id=9)):
        await chirpstack.command(station.gateway_id, "down", unfit)
        ack = await chirpstack.next(station.gateway_id, "event/ack", gw.DownlinkTxAck())
        assert (ack.downlink_id, [item.status for item in ack.items]) == (unfit.downlink_id, [gw.INTERNAL_ERROR])
    await chirpstack.edge.publish(
        f"{chirpstack.prefix}gateway/{station.gateway_id.hex()}/command/down", b"\xff no message"
    )

    assert (await received_uplink(chirpstack, station)).phy_payload == UPLINK


async def test_statistics_are_published_with_the_version_of_the_configuration(
    station: UdpStation, chirpstack: ChirpStack
) -> None:
    await chirpstack.command(
        station.gateway_id,
        "config",
        gw.GatewayConfiguration(gateway_id=station.gateway_id.hex(), version="c0ffee"),
    )
    asked = downlink(await received_uplink(chirpstack, station), 5)
    await chirpstack.command(station.gateway_id, "down", asked)
    await station.answer(await station.command(), "OK")
    received = emitted = 0
    version = ""
    async with asyncio.timeout(30):
        while not (received and emitted and version):
            stats = await chirpstack.next(station.gateway_id, "event/stats", gw.GatewayStats())
            assert stats.gateway_id == station.gateway_id.hex()
            received += stats.rx_packets_received_ok
            emitted += stats.tx_packets_emitted
            version = version or stats.config_version

    assert (received, emitted, version) == (1, 1, "c0ffee")


def settings_with(**changes: Any) -> Settings:
    return Settings(database_url="postgresql://x", nats_url="nats://x", **changes)


def test_what_we_publish_for_gateways_cannot_come_back_as_theirs() -> None:
    same = {"mqtt_url": "mqtt://a:b@broker:1883", "chirpstack_url": "mqtt://c:d@broker"}

    with pytest.raises(ValidationError, match="CHIRPSTACK_PREFIX"):
        settings_with(**same)
    assert settings_with(**same, chirpstack_prefix="theirs").chirpstack_prefix == "theirs"
    assert settings_with(chirpstack_url="mqtt://broker").chirpstack_prefix == "eu868"


def _commands() -> Iterator[gw.DownlinkFrame]:
    template = gw.UplinkFrame()
    template.rx_info.context = bytes(12)
    yield downlink(template, 1, 2)


@given(st.binary(max_size=200), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**40), 2**40))
def test_whatever_a_command_says_it_is_a_request_that_can_be_carried_out_or_unfit(
    octets: bytes, arrival_us: int, delay_s: int
) -> None:
    commands = list(_commands())
    (forged,) = commands
    forged.items[0].tx_info.context = arrival_us.to_bytes(8, "big", signed=True) + b"\0\0\0\1"
    forged.items[0].tx_info.timing.delay.delay.seconds = delay_s
    with contextlib.suppress(Exception):
        commands.append(gw.DownlinkFrame.FromString(octets))
    for command in commands:
        try:
            request = request_of(command, GatewayId(bytes(8)))
        except Unfit:
            continue
        assert all(0 <= way.delay_us <= 16_000_000 for way in request.transmissions)
        assert not request.uplink_at_us or abs(request.uplink_at_us - now_us()) < 70_000_000


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("NO_ACK", "INTERNAL_ERROR"), ("DUTY_CYCLE_OVERFLOW", "DUTY_CYCLE_OVERFLOW"), ("else", "INTERNAL_ERROR")],
)
def test_every_answer_has_a_name_in_the_contract(ours: str, theirs: str) -> None:
    assert status_of(ours) == theirs
