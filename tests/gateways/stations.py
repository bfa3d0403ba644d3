"""Gateways for tests, on real sockets and a real broker: one face for every protocol."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from chirpstack_api import gw
from google.protobuf import json_format

from core.messages import topics
from core.messages.downlinks import Transmission, TransmitReply, TransmitRequest, decode_reply, encode_transmit
from core.messages.frames import FRAME_BATCHES, GatewayFrame
from core.runtime.bus import Bus, NoResponders, ShardReader, connect_bus
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.postgres import Pool
from lorawan.gateway.semtech_forwarder import (
    PullAck,
    PullResp,
    PushAck,
    parse_answer,
    pull_data,
    push_data,
    tx_ack,
)
from lorawan.gateway.semtech_rxpk import RxPk
from lorawan.gateway.semtech_udp import TxStatus
from lorawan.identifiers import GatewayId
from lorawan.regions import Lora
from services.gateway_bridge.app import run
from services.gateway_bridge.settings import Settings
from services.supervisor.ports import LOOPBACK, free_tcp_port, udp_port
from tests.gateways.station_face import Command, Station, Traits

SHARDS = 4
TMST = 4_294_000_000  # A second before the counter turns over.
UPLINK = bytes.fromhex("40f17dbe4900020001954378762b11ff0d")
JOIN_REQUEST = bytes.fromhex("00010000d07ed5b37030051c000ba3040002014490ce9b")
# Registration, a downlink path and its subscription take this long at most.
PATIENCE_S = 60
SPEAK_EVERY_S = 0.3


def now_us() -> int:
    return time.time_ns() // 1000


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = PATIENCE_S) -> None:
    """Return once the condition holds: what another process or connection does has no event to wait for."""
    async with asyncio.timeout(within_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def register(
    pool: Pool, gateway_id: bytes, *, antenna_gain: float = 0, subtracted_by: str | None = None
) -> None:
    """As the API does it: a row, whose trigger leaves a change."""
    await pool.execute(
        """
        WITH owner AS (
            INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest')
            ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id
        )
        INSERT INTO gateway (tenant_id, gateway_id, name, antenna_gain, gain_subtracted_by)
        SELECT id, $1, 'test', $2, $3 FROM owner
        """,
        gateway_id,
        antenna_gain,
        subtracted_by,
    )


class UdpStation(asyncio.DatagramProtocol):
    """A packet forwarder."""

    traits = Traits(
        "semtech_udp",
        context=TMST.to_bytes(4, "big"),
        channel=3,
        powers=(16, 27),
        refuses=True,
        acknowledges_early=True,
    )

    def __init__(self, gateway_id: GatewayId) -> None:
        self.gateway_id = gateway_id
        self._transport: Any = None
        self._tokens = itertools.count(1)
        self._acked: set[tuple[type, bytes]] = set()
        self._news = asyncio.Event()
        self.commands: asyncio.Queue[PullResp] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        match parse_answer(data):
            case PullResp() as asked:
                self.commands.put_nowait(asked)
            case PushAck(token) | PullAck(token) as ack:
                self._acked.add((type(ack), token))
                self._news.set()

    async def _acknowledged(self, kind: type, token: bytes) -> None:
        async with asyncio.timeout(20):
            while (kind, token) not in self._acked:
                self._news.clear()
                await self._news.wait()

    async def say(self, octets: bytes) -> None:
        self._transport.sendto(octets)

    async def speak(self) -> None:
        token = next(self._tokens).to_bytes(2)
        self._transport.sendto(pull_data(token, self.gateway_id))
        await self._acknowledged(PullAck, token)

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None:
        token = next(self._tokens).to_bytes(2)
        rxpks = [
            RxPk(phy, TMST, 868_100_000, Lora(7, 125_000), -71.0, 8.25, "4/5", time_us, gps_time_us, channel=3)
            for phy in phy_payloads
        ]
        self._transport.sendto(push_data(token, self.gateway_id, rxpks))
        await self._acknowledged(PushAck, token)

    async def command(self) -> Command:
        async with asyncio.timeout(20):
            asked = await self.commands.get()
        txpk = asked.txpk
        assert isinstance(txpk.modulation, Lora)
        delay = 0 if txpk.tmst is None else (txpk.tmst - TMST) % (1 << 32)
        return Command(
            txpk.phy_payload,
            txpk.frequency,
            txpk.modulation.spreading_factor,
            txpk.power,
            txpk.tmst is None,
            delay,
            asked.token,
        )

    async def answer(self, command: Command, status: str) -> None:
        self._transport.sendto(tx_ack(command.reference, self.gateway_id, TxStatus(status)))


class MqttStation:
    """An MQTT forwarder, in one of the two encodings, with or without a prefix."""

    traits = Traits(
        "chirpstack_mqtt",
        context=TMST.to_bytes(4, "big"),
        channel=3,
        powers=(16, 29),
        refuses=True,
        acknowledges_early=False,
    )

    def __init__(self, gateway_id: GatewayId, mqtt_session: MqttSession, prefix: str, as_json: bool) -> None:
        self.gateway_id = gateway_id
        self.edge = mqtt_session
        self._prefix = prefix
        self._as_json = as_json
        self._waiting: list[Any] = []

    def _encode(self, message: Any) -> bytes:
        if self._as_json:
            return json_format.MessageToJson(message, indent=None).encode()
        return message.SerializeToString()

    async def publish(self, event: str, payload: bytes, *, retain: bool = False) -> None:
        await self.edge.publish(f"{self._prefix}gateway/{self.gateway_id.hex()}/{event}", payload, retain=retain)

    async def say(self, octets: bytes) -> None:
        await self.publish("event/up", octets)

    async def speak(self) -> None:
        state = gw.ConnState(gateway_id=self.gateway_id.hex(), state=gw.ConnState.ONLINE)
        await self.publish("state/conn", self._encode(state))

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None:
        for phy_payload in phy_payloads:
            frame = gw.UplinkFrame(phy_payload=phy_payload)
            frame.tx_info.frequency = 868_100_000
            frame.tx_info.modulation.lora.bandwidth = 125_000
            frame.tx_info.modulation.lora.spreading_factor = 7
            heard = frame.rx_info
            heard.gateway_id, heard.rssi, heard.snr, heard.channel = self.gateway_id.hex(), -71, 8.25, 3
            heard.context, heard.crc_status = TMST.to_bytes(4, "big"), gw.CRC_OK
            if time_us is not None:
                heard.gw_time.FromMicroseconds(time_us)
            if gps_time_us is not None:
                heard.time_since_gps_epoch.FromMicroseconds(gps_time_us - 315_964_800_000_000 + 18_000_000)
            await self.publish("event/up", self._encode(frame))

    async def command(self) -> Command:
        async with asyncio.timeout(20):
            while not self._waiting:
                messages = await self.edge.batch()
                self.edge.ack(messages)
                self._waiting += messages
        payload = self._waiting.pop(0).payload
        assert payload.startswith(b"{") == self._as_json
        asked = (
            json_format.Parse(payload, gw.DownlinkFrame())
            if self._as_json
            else gw.DownlinkFrame.FromString(payload)
        )
        assert asked.gateway_id == self.gateway_id.hex()
        (item,) = asked.items
        lora, timing = item.tx_info.modulation.lora, item.tx_info.timing
        immediate = timing.WhichOneof("parameters") == "immediately"
        assert immediate or item.tx_info.context == TMST.to_bytes(4, "big")
        assert lora.polarization_inversion
        return Command(
            item.phy_payload,
            item.tx_info.frequency,
            lora.spreading_factor,
            item.tx_info.power,
            immediate,
            timing.delay.delay.ToMicroseconds(),
            asked.downlink_id,
        )

    async def answer(self, command: Command, status: str) -> None:
        ack = gw.DownlinkTxAck(gateway_id=self.gateway_id.hex(), downlink_id=command.reference)
        ack.items.add(status=gw.TxAckStatus.Value(status))
        await self.publish("event/ack", self._encode(ack))


@dataclass(slots=True)
class Rig:
    """A running bridge and what tests need beside it."""

    udp_port: int
    health_url: str
    gateway_mqtt_url: str
    bus: Bus
    pool: Pool
    readers: list[ShardReader]
    station_port: int = 0

    @property
    def station_url(self) -> str:
        """Where stations ask first."""
        return f"ws://127.0.0.1:{self.station_port}"

    async def frames(self, count: int) -> list[GatewayFrame]:
        """The next `count` frames of the stream, acknowledged."""
        found: list[GatewayFrame] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                for reader in self.readers:
                    for message in await reader.fetch(100, 0.05):
                        found += FRAME_BATCHES.decode(message.data)
                        await message.ack()
        return found

    async def transmit(self, gateway_id: bytes, request: TransmitRequest, timeout_s: float = 10) -> TransmitReply:
        """As network asks; NoResponders at once when nobody holds the path."""
        return decode_reply(
            await self.bus.request(topics.gateway_down(gateway_id), encode_transmit(request), timeout_s)
        )

    async def reachable(self, gateway_id: bytes, speak: Callable[[], Awaitable[None]] | None = None) -> None:
        """Return once a bridge answers for the gateway, which until then is made to speak now and again.

        Over MQTT what a gateway says before the bridge knows of it opens no path.
        """
        loop = asyncio.get_running_loop()
        speak_at = loop.time()
        async for _ in self._patience(f"nobody answers for {gateway_id.hex()}"):
            if speak is not None and loop.time() >= speak_at:
                await speak()
                speak_at = loop.time() + SPEAK_EVERY_S
            if await self._is_answered(gateway_id):
                return

    async def unreachable(self, gateway_id: bytes) -> None:
        """Return once nobody answers for the gateway any more."""
        async for _ in self._patience(f"somebody still answers for {gateway_id.hex()}"):
            if not await self._is_answered(gateway_id):
                return

    async def _is_answered(self, gateway_id: bytes) -> bool:
        try:
            await self.transmit(gateway_id, TransmitRequest(0, gateway_id, b"", 0, 0, 0, []))
        except NoResponders:
            return False
        return True

    async def _patience(self, otherwise: str) -> AsyncGenerator[None]:
        """Try again and again; a failure says what the bridge has counted (its log is with the test's output)."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while loop.time() < until:
            yield
            await asyncio.sleep(0.02)
        pytest.fail(f"{otherwise} after {PATIENCE_S} s; the bridge counts:\n{await self._counted()}")

    async def _counted(self) -> str:
        """Every metric of the bridge that is not 0."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.health_url}/metrics")).text
        ours = [line for line in text.splitlines() if line.startswith("territoire_gateway_bridge_")]
        return "\n".join(line for line in ours if not line.endswith(" 0.0"))

    async def metric(self, name: str) -> float:
        """One sample by its name with labels, 0 while it is not there."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.health_url}/metrics")).text
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0]) if found else 0.0

    @asynccontextmanager
    async def udp_station(self, gateway_id: GatewayId, host: str = "127.0.0.1") -> AsyncGenerator[UdpStation]:
        """A packet forwarder that speaks from `host`."""
        transport, station = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: UdpStation(gateway_id), local_addr=(host, 0), remote_addr=("127.0.0.1", self.udp_port)
        )
        try:
            yield station
        finally:
            transport.close()

    @asynccontextmanager
    async def mqtt_station(
        self,
        gateway_id: GatewayId,
        *,
        prefix: str = "eu868/",
        as_json: bool = False,
        face: type[MqttStation] = MqttStation,
    ) -> AsyncGenerator[MqttStation]:
        settings = MqttSettings(mqtt_url=self.gateway_mqtt_url, mqtt_client_id=f"forwarder-{gateway_id.hex()}")
        edge = MqttSession(settings, [f"{prefix}gateway/{gateway_id.hex()}/command/+"])
        running = asyncio.create_task(edge.run())
        try:
            async with asyncio.timeout(30):
                await edge.connected()
            yield face(gateway_id, edge, prefix, as_json)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def on_the_air(rig: Rig, station: Station) -> None:
    """Registered, known to the bridge, and reachable."""
    await register(rig.pool, station.gateway_id)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await rig.reachable(station.gateway_id, station.speak)


# As after a join: a busy machine must not turn RX1 into the past before the gateway is asked.
RX1_DELAY_US, RX2_DELAY_US = 5_000_000, 6_000_000


def downlink(
    gateway_id: bytes,
    *,
    uplink_at_us: int = 0,
    latest_at_us: int = 0,
    payload: bytes = UPLINK,
    priority: int = 1,
    context: bytes = TMST.to_bytes(4, "big"),
    spreading_factor: int = 9,
) -> TransmitRequest:
    """RX1 and RX2 of a class A answer, or with `latest_at_us` one class C frame."""
    if latest_at_us:
        ways = [Transmission(payload, 869_525_000, spreading_factor, 125_000, 0, True)]
    else:
        ways = [
            Transmission(payload, 868_100_000, 7, 125_000, RX1_DELAY_US, False),
            Transmission(payload, 869_525_000, 9, 125_000, RX2_DELAY_US, False),
        ]
    return TransmitRequest(7, gateway_id, context, uplink_at_us, latest_at_us, priority, ways)


async def ready(health_url: str, bridge: "asyncio.Task[None]") -> None:
    """Return once /readyz says so; the bridge's own failure is raised."""
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            if bridge.done():
                await bridge
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{health_url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


def replica(settings: Settings, instance: str) -> Settings:
    """Another bridge of the same world, on ports of its own."""
    ports = {"udp_port": udp_port(0, LOOPBACK), "station_port": free_tcp_port(), "health_port": free_tcp_port()}
    return settings.model_copy(update={"instance": instance, "mqtt_url": None, **ports})


@asynccontextmanager
async def running_bridge(settings: Settings) -> AsyncGenerator[None]:
    """The whole service in this loop."""
    stopping = asyncio.Event()
    bridge = asyncio.create_task(run(settings, stopping), name="bridge")
    try:
        await ready(f"http://127.0.0.1:{settings.health_port}", bridge)
        yield
    finally:
        stopping.set()
        await bridge


@asynccontextmanager
async def open_rig(settings: Settings, pool: Pool, gateway_mqtt_url: str) -> AsyncGenerator[Rig]:
    """A bridge in a world where nothing was published yet."""
    async with connect_bus(settings.nats_url.get_secret_value(), "test") as bus:
        await bus.ensure_streams()
        readers = [
            await bus.read_shard(topics.FRAMES, topics.frames(shard), f"test-{shard}") for shard in range(SHARDS)
        ]
        async with running_bridge(settings):
            health_url = f"http://127.0.0.1:{settings.health_port}"
            yield Rig(
                settings.udp_port, health_url, gateway_mqtt_url, bus, pool, readers, settings.station_port or 0
            )
