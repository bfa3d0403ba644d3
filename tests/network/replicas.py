"""Network replicas as real processes, each with its own ways to bus and database, and devices that speak on."""

import asyncio
import itertools
import os
import secrets
import signal
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.downlinks import TransmitReply, decode_request, encode_transmit
from core.messages.topics import shard_of_slot
from core.messages.uplinks import UPLINK_BATCHES
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from lab.chaos.checks import CounterWatch
from lab.chaos.stack.proxy import TcpProxy, open_proxy
from lorawan.crypto import SessionCipher, SessionKeys, wrap_key
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import slot_of_dev_eui
from lorawan.join import allocate_dev_addr
from services.network.settings import NetworkSettings
from services.supervisor.forking import ForkedProcess
from tests.forked_programs import start_program
from tests.network.conftest import GATEWAYS, KEK, SHARDS, Network, RadioDevice

DEVICES = 16
PAUSE_S = 0.03  # Between two uplinks, of all devices together.
CONFIRMED_EVERY = 4
MOVED_WITHIN_S = 60  # A few seconds on a machine that has nothing else to do.

OWNERS = """
SELECT shard, owner FROM shard_lease WHERE service = 'network' AND expires_at > now()
"""
OPEN_SESSION = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
VALUES ($1, $2, $3, $4, 'kek-1')
"""


async def eventually(check: Callable[[], Awaitable[bool]], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not await check():  # noqa: ASYNC110 - rows and streams have no event to wait for.
            await asyncio.sleep(0.05)


@dataclass
class Replica:
    """One process, and the ways by which it reaches what it needs."""

    name: str
    environment: dict[str, str]
    to_bus: TcpProxy
    to_database: TcpProxy
    process: ForkedProcess | None = None

    async def start(self) -> None:
        self.process = await start_program("services.network", self.environment)

    async def end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


async def settled(network: Network, count: int) -> list[RadioDevice]:
    """Devices with sessions of every shard, as after their joins."""
    devices: list[RadioDevice] = []
    for number in range(1, count + 1):
        device = await network.device(number=number)
        keys = SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16))
        device.dev_addr = allocate_dev_addr(0, slot_of_dev_eui(device.dev_eui), secrets.randbelow)
        device.cipher = SessionCipher(keys)
        wrapped = wrap_key(KEK, keys.nwk_s_key), wrap_key(KEK, keys.app_s_key)
        await network.pool.execute(OPEN_SESSION, device.id, device.dev_addr, *wrapped)
        devices.append(device)
    return devices


@dataclass
class ReplicaScenario:
    """Devices on the air without a pause, and everything that came of it."""

    pool: Pool
    bus: Bus
    network: Network
    replicas: dict[str, Replica]
    devices: list[RadioDevice] = field(default_factory=list)
    sent: set[tuple[int, int]] = field(default_factory=set)
    keys: dict[tuple[int, int], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    said: dict[bytes, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    """By DevAddr: FCntDown and PHYPayload of each request to a gateway, in order."""
    watch: CounterWatch = field(default_factory=lambda: CounterWatch(0))

    async def listen(self) -> None:
        async def collect(_subject: str, data: bytes) -> None:
            for uplink in UPLINK_BATCHES.decode(data):
                self.keys[uplink.device_id, uplink.f_cnt].add(uplink.uplink_id)

        async def transmit(octets: bytes) -> bytes:
            request = decode_request(octets)
            phy_payload = request.transmissions[0].phy_payload
            frame = DownlinkFrame.from_bytes(phy_payload)
            self.said[frame.dev_addr].append((frame.f_cnt, phy_payload))
            return encode_transmit(TransmitReply("OK", 0, 0, 0))

        await self.bus.subscribe("territoire.uplinks.*", collect)
        await self.bus.respond(topics.gateway_down(GATEWAYS[0]), transmit, queue="bridge")

    @asynccontextmanager
    async def on_the_air(self) -> AsyncGenerator[None]:
        """Devices speak in turn, and no session's counter is ever seen lower than before."""
        ending = asyncio.Event()
        speaking, looking = asyncio.create_task(self._speak(ending)), asyncio.create_task(self._look())
        try:
            yield
        finally:
            ending.set()
            await speaking  # Not cancelled: what the bus has taken is counted.
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _speak(self, ending: asyncio.Event) -> None:
        for number, device in enumerate(itertools.cycle(self.devices)):
            if ending.is_set():
                return
            f_cnt = device.f_cnt
            phy_payload = device.uplink(b"%d" % number, confirmed=number % CONFIRMED_EVERY == 0)
            shard = shard_of_slot(slot_of_dev_eui(device.dev_eui), SHARDS)
            await self.bus.publish(topics.frames(shard), encode_batch(self.network.frames_of(phy_payload)))
            self.sent.add((device.id, f_cnt))
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        while True:
            await self.watch.look(self.pool)
            await asyncio.sleep(0.1)

    async def owners(self) -> dict[int, str]:
        return {row["shard"]: row["owner"] for row in await self.pool.fetch(OWNERS)}

    async def shared_by(self, *names: str, within_s: float = 60) -> None:
        """Return once these replicas have every shard, each some."""

        async def check() -> bool:
            owners = await self.owners()
            return len(owners) == SHARDS and set(owners.values()) == set(names)

        await eventually(check, within_s)

    async def everything_done(self) -> None:
        async def check() -> bool:
            return await self.bus.stream_messages(topics.FRAMES) == 0 and self.sent <= set(self.keys)

        await eventually(check)

    def downlinks_that_were_reused(self) -> list[tuple[bytes, int]]:
        """A counter under which two frames went out, or one that came after a higher one."""
        found: list[tuple[bytes, int]] = []
        for dev_addr, said in self.said.items():
            highest = -1
            for f_cnt, _ in said:
                if f_cnt <= highest:
                    found.append((dev_addr, f_cnt))
                highest = max(highest, f_cnt)
        return found


@asynccontextmanager
async def open_replicas(network: Network, names: tuple[str, ...]) -> AsyncGenerator[ReplicaScenario]:
    """Replicas of these names share the shards."""
    settings: NetworkSettings = network.settings
    database, nats = settings.database_url.get_secret_value(), settings.nats_url.get_secret_value()
    async with AsyncExitStack() as ways:
        replicas: dict[str, Replica] = {}
        for name in names:
            to_bus = await ways.enter_async_context(open_proxy(nats))
            to_database = await ways.enter_async_context(open_proxy(database))
            environment = os.environ | {
                "TERRITOIRE_DATABASE_URL": to_database.url_of(database),
                "TERRITOIRE_NATS_URL": to_bus.url_of(nats),
                "TERRITOIRE_INSTANCE": name,
                "TERRITOIRE_KEK": KEK.hex(),
            }
            replicas[name] = Replica(name, environment, to_bus, to_database)
        town = ReplicaScenario(network.pool, network.bus, network, replicas)
        town.devices += await settled(network, DEVICES)
        town.watch.tenant_id = await network.pool.fetchval("SELECT id FROM tenant WHERE slug = 'sdef'")
        await town.listen()
        try:
            for replica in replicas.values():
                await replica.start()
            await town.shared_by(*names)
            yield town
        finally:
            for replica in replicas.values():
                replica.to_bus.mend()
                replica.to_database.mend()
                await replica.end()
