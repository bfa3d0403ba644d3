"""A network server on real PostgreSQL and nats, devices that speak real frames, and a bridge that records."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.downlinks import TransmitReply, TransmitRequest, decode_request, encode_transmit
from core.messages.frames import GatewayFrame
from core.messages.topics import shard_of_slot
from core.messages.uplinks import UPLINK_BATCHES, Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.clock import wall_clock_us
from core.runtime.postgres import Pool
from lorawan.crypto import SessionCipher, wrap_key
from lorawan.frame import UplinkFCtrl, routing_slot
from lorawan.identifiers import slot_of_dev_eui
from lorawan.join import JoinAccept, JoinRequest, derive_session_keys
from lorawan.session import build_uplink
from registry.downlinks import Downlink, enqueue, read_downlink
from services.network.app import run
from services.network.settings import NetworkSettings
from tests.receptions import reception

KEK = bytes(range(16))
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
SHARDS = 4
GATEWAYS = tuple(bytes([0xAA] * 7 + [number]) for number in range(1, 4))
# Of the machine: so long may a loaded one take for what a quiet one does at once.
PATIENCE_S = 60
# By then its accept and the windows of its first uplink are over.
CLASS_C_LISTENS_AFTER_S = 10.0
PLAIN = UplinkFCtrl()
NEAR: Mapping[bytes, int] = {}


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110 - rows and streams have no event to wait for.
            await asyncio.sleep(0.02)


@dataclass
class HandClock:
    """The wall clock of the service under test and of its gateways: it stands still until a test moves it.

    PostgreSQL keeps its own time. The two are close enough for what the tests ask of both.
    """

    now_us: int = field(default_factory=wall_clock_us)

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += round(seconds * 1_000_000)


class MachineClock(HandClock):
    """For tests with other processes, or with gateways that keep time themselves: nobody moves it."""

    def __call__(self) -> int:
        return wall_clock_us()

    def advance(self, seconds: float) -> None:
        pass


@dataclass
class RadioDevice:
    """What a device knows and sends; `join` and `uplink` give PHYPayloads."""

    id: int
    dev_eui: bytes
    join_eui: bytes = bytes(8)
    dev_nonce: int = 0
    f_cnt: int = 0
    dev_addr: bytes = b""
    cipher: SessionCipher | None = None

    def join(self, dev_nonce: int | None = None) -> bytes:
        self.dev_nonce = self.dev_nonce + 1 if dev_nonce is None else dev_nonce
        return JoinRequest.signed(APP_KEY, self.join_eui, self.dev_eui, self.dev_nonce).to_bytes()

    def receive_accept(self, phy_payload: bytes) -> JoinAccept:
        accept = JoinAccept.from_bytes(phy_payload, APP_KEY)
        keys = derive_session_keys(APP_KEY, accept.join_nonce, accept.net_id, self.dev_nonce)
        self.dev_addr, self.cipher, self.f_cnt = accept.dev_addr, SessionCipher(keys), 0
        return accept

    def uplink(
        self,
        payload: bytes = b"hello",
        *,
        confirmed: bool = False,
        f_port: int | None = 2,
        f_ctrl: UplinkFCtrl = PLAIN,
        f_opts: bytes = b"",
    ) -> bytes:
        assert self.cipher is not None
        phy = build_uplink(
            self.dev_addr,
            self.cipher,
            self.f_cnt,
            f_port=f_port,
            payload=payload,
            confirmed=confirmed,
            f_ctrl=f_ctrl,
            f_opts=f_opts,
        )
        self.f_cnt += 1
        return phy


@dataclass
class Bridge:
    """Answers requests to transmit as the test sets it, and keeps them."""

    bus: Bus
    statuses: dict[bytes, str] = field(default_factory=dict)
    starts_at_us: int = 0
    requests: asyncio.Queue[TransmitRequest] = field(default_factory=asyncio.Queue)

    async def hold(self, gateway_id: bytes) -> None:
        async def answer(octets: bytes) -> bytes:
            request = decode_request(octets)
            status = self.statuses.get(gateway_id, "OK")
            await self.requests.put(request)
            return encode_transmit(
                TransmitReply(status, 0 if status in {"OK", "NO_ACK"} else -1, 0, self.starts_at_us)
            )

        await self.bus.respond(topics.gateway_down(gateway_id), answer, queue="bridge")

    async def next(self) -> TransmitRequest:
        async with asyncio.timeout(PATIENCE_S):
            return await self.requests.get()


@dataclass
class Network:
    """The service under test and everything around it."""

    pool: Pool
    bus: Bus
    bridge: Bridge
    settings: NetworkSettings
    clock: HandClock
    uplinks: asyncio.Queue[Uplink] = field(default_factory=asyncio.Queue)
    running: asyncio.Task[None] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, *, wait: bool = True) -> None:
        self.stopping = asyncio.Event()
        self.running = asyncio.create_task(run(self.settings, self.stopping, self.clock), name="network")
        if wait:
            await eventually(self._owns_everything)

    async def _owns_everything(self) -> bool:
        assert self.running is not None
        if self.running.done():
            await self.running
        infos = await self.bus._jetstream.consumers_info(topics.FRAMES)
        return len(infos) == SHARDS and all(info.num_waiting for info in infos)

    async def stop(self) -> None:
        self.stopping.set()
        if self.running is not None:
            await self.running
            self.running = None

    async def time_passes(self, seconds: float) -> None:
        """On the service's clock, which then looks whether something has become due."""
        self.clock.advance(seconds)
        for shard in range(SHARDS):
            await self.bus.nudge(topics.downlink_due(shard))

    async def request_as_time_passes(self) -> TransmitRequest:
        """The next request of the bridge; the clock goes on in tenths of a second until it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while self.bridge.requests.empty():
                await self.time_passes(0.1)
                await asyncio.sleep(0.02)
            return await self.bridge.requests.get()

    async def crash(self) -> None:
        """As a kill: nothing is drained or released; what was not committed is lost."""
        assert self.running is not None
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await self.running
        self.running = None

    async def device(self, *, device_class: str = "A", number: int = 1) -> RadioDevice:
        dev_eui = bytes.fromhex("70b3d5000000") + number.to_bytes(2, "big")
        tenant_id = await self.pool.fetchval(
            "INSERT INTO tenant (slug, name) VALUES ('sdef', 'SDEF') "
            "ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id"
        )
        profile_id = await self.pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class) "
            "VALUES ($1, $2, 'v', 'm', 'c', $3) "
            "ON CONFLICT (tenant_id, name) DO UPDATE SET vendor = excluded.vendor RETURNING id",
            tenant_id,
            f"class {device_class}",
            device_class,
        )
        device_id = await self.pool.fetchval(
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, "
            "kek_id) VALUES ($1, $2, $3, 'd', $4, $5, $6, 'kek-1') RETURNING id",
            tenant_id,
            dev_eui,
            bytes(8),
            profile_id,
            slot_of_dev_eui(dev_eui),
            wrap_key(KEK, APP_KEY),
        )
        return RadioDevice(device_id, dev_eui)

    async def joined(self, *, device_class: str = "A", number: int = 1) -> RadioDevice:
        """A device that has joined and, as its session's first uplink, said hello."""
        device = await self.device(device_class=device_class, number=number)
        await self.receive(device.join())
        device.receive_accept((await self.bridge.next()).transmissions[0].phy_payload)
        await self.receive(device.uplink(b"first"))
        assert (await self.next_uplink()).payload == b"first"
        await self.all_acknowledged()
        if device_class == "C":
            await self.time_passes(CLASS_C_LISTENS_AFTER_S)
        return device

    def frames_of(
        self, phy_payload: bytes, gateways=GATEWAYS[:1], *, time_us: int | None = None, far_us=NEAR
    ) -> list[GatewayFrame]:
        """One per gateway; `far_us` has the round trips of those that were measured, in us."""
        at = self.clock() if time_us is None else time_us
        return [
            reception(
                phy_payload,
                gateway_id,
                at,
                context=b"\0\0\0\1",
                rssi=-80.0 - place,
                snr=8.0 - place,
                round_trip_us=far_us.get(gateway_id, 0),
            )
            for place, gateway_id in enumerate(gateways)
        ]

    async def receive(
        self, phy_payload: bytes, gateways=GATEWAYS[:1], *, time_us: int | None = None, far_us=NEAR
    ) -> None:
        """One message per gateway, as bridges publish them; the service has it when its window has closed."""
        slot = routing_slot(phy_payload)
        assert slot is not None
        copies = self.frames_of(phy_payload, gateways, time_us=time_us, far_us=far_us)
        self.clock.advance(self.settings.dedup_window_ms / 1000)
        for copy in copies:
            await self.bus.publish(topics.frames(shard_of_slot(slot, SHARDS)), encode_batch([copy]))

    async def next_uplink(self) -> Uplink:
        async with asyncio.timeout(PATIENCE_S):
            return await self.uplinks.get()

    async def frames_left(self) -> int:
        return await self.bus.stream_messages(topics.FRAMES)

    async def all_acknowledged(self) -> None:
        async def empty() -> bool:
            return await self.frames_left() == 0

        await eventually(empty)

    async def enqueue_in(self, connection, device: RadioDevice, *, not_after_s: float = 60, **fields) -> Downlink:
        """A row that nobody is nudged about, in the caller's transaction."""
        return await enqueue(
            connection,
            device.id,
            f_port=fields.pop("f_port", 10),
            payload=fields.pop("payload", b"command"),
            not_after=datetime.now(UTC) + timedelta(seconds=not_after_s),
            **fields,
        )

    async def enqueue(self, device: RadioDevice, **fields) -> int:
        async with self.pool.acquire() as connection, connection.transaction():
            row = await self.enqueue_in(connection, device, **fields)
        await self.bus.nudge(topics.downlink_due(shard_of_slot(row.slot, SHARDS)))
        return row.id

    async def settled(self, downlink_id: int) -> None:
        """Until what became of the attempt is written."""

        async def is_settled() -> bool:
            row = await read_downlink(self.pool, downlink_id)
            was_asked = row is not None and (row.attempts > 0 or row.reason is not None)
            return was_asked and row.state != "sending"

        await eventually(is_settled)

    async def downlink(self, downlink_id: int, state: str) -> Downlink:
        async def is_there() -> bool:
            row = await read_downlink(self.pool, downlink_id)
            return row is not None and row.state == state

        try:
            await eventually(is_there)
        except TimeoutError:
            pytest.fail(f"not {state}: {await read_downlink(self.pool, downlink_id)}")
        row = await read_downlink(self.pool, downlink_id)
        assert row is not None
        return row


@pytest.fixture
def clock() -> HandClock:
    """Of the service under test; a module in which others keep time, too, has a MachineClock here."""
    return HandClock()


@pytest.fixture
async def idle_network(pool: Pool, database, nats_url: str, clock: HandClock) -> AsyncGenerator[Network]:
    """Everything but the service itself."""
    async with connect_bus(nats_url, "tests") as bus:
        await bus.ensure_streams()
        settings = NetworkSettings(
            database_url=database.service_url, nats_url=nats_url, instance="under-test", kek=KEK.hex()
        )
        bridge = Bridge(bus)
        for gateway_id in GATEWAYS:
            await bridge.hold(gateway_id)
        network = Network(pool, bus, bridge, settings, clock)

        async def collect(_subject: str, data: bytes) -> None:
            for uplink in UPLINK_BATCHES.decode(data):
                await network.uplinks.put(uplink)

        await bus.subscribe("territoire.uplinks.*", collect)
        yield network
        if network.running is not None:
            await network.stop()


@pytest.fixture
async def network(idle_network: Network) -> Network:
    await idle_network.start()
    return idle_network
