"""Intake and ingest on real servers, with a tenant, a device and a source, for the contracts of every LNS."""

import asyncio
import secrets
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.mqtt import MqttSession, MqttSettings
from core.runtime.postgres import Pool, Record
from registry.keys import KeyWrap
from registry.lns_sources import create_source
from services.ingest.app import run as run_ingest
from services.ingest.settings import IngestSettings
from services.intake.app import run as run_intake
from services.intake.settings import IntakeSettings
from services.supervisor.mosquitto import BRIDGE, SIMULATOR, PrivateMosquitto
from services.supervisor.nats import PrivateNats
from services.supervisor.ports import LOOPBACK, free_tcp_port
from tests.conftest import running
from tests.contracts.lns_samples import Message, Sample, SampleUplink

KEK = bytes(range(16))
US = 1_000_000
OPEN_ACL = "".join(f"user {user}\ntopic readwrite #\n\n" for user in (BRIDGE, SIMULATOR))


async def until(condition: Callable[[], Awaitable[object]], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - What another task does has no event here.
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class SourceOfTest:
    """A source as its LNS knows it: id, and for HTTP the token."""

    id: int
    token: str


@dataclass
class Bench:
    """One test's database, servers and running services."""

    pool: Pool
    database_url: str
    nats_url: str
    broker: PrivateMosquitto
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=15))
    tenant_id: int = 0
    http_port: int = 0
    # By which intake and ingest come to the database, when not by the login that may do everything.
    logins: dict[str, str] = field(default_factory=dict[str, str])
    # Their broker outlives a test, and so do the sessions that it keeps: each test has its own topics.
    prefix: str = field(default_factory=lambda: secrets.token_hex(4))

    async def plant(self) -> None:
        self.tenant_id = await self.pool.fetchval(
            "INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id"
        )
        self.http_port = free_tcp_port()

    async def device(self, uplink: SampleUplink, tenant_id: int = 0) -> int:
        """The device that was received; the gateway is ours, too."""
        tenant = tenant_id or self.tenant_id
        profile = await self.pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
            "VALUES ($1, gen_random_uuid()::text, 'v', 'm', 'milesight.em400') RETURNING id",
            tenant,
        )
        await self.gateway(uplink.gateway_id)
        return await self.pool.fetchval(
            "INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation) "
            "VALUES ($1, $2, $2, 'd', $3, $4, 'ABP') RETURNING id",
            tenant,
            uplink.dev_eui,
            profile,
            uplink.dev_eui[0] & 15,
        )

    async def gateway(self, gateway_id: bytes) -> None:
        await self.pool.execute(
            "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $2, 'g') ON CONFLICT DO NOTHING",
            self.tenant_id,
            gateway_id,
        )

    async def source(
        self,
        sample: Sample,
        *,
        mqtt: bool = False,
        secret: str | None = None,
        downlinks: dict[str, str | None] | None = None,
    ) -> SourceOfTest:
        url, topic = f"mqtt://{LOOPBACK}:{self.broker.port}", self.topic(sample.over_mqtt or "")
        where = {"mqtt_url": url, "mqtt_topic": topic, "mqtt_user": BRIDGE} if mqtt else {}
        async with self.pool.acquire() as connection:
            source_id, token = await create_source(
                connection,
                KeyWrap("kek-1", KEK),
                self.tenant_id,
                self.broker.accounts[BRIDGE] if mqtt else secret,
                {"kind": sample.kind, "name": secrets.token_hex(4), **where, **(downlinks or {})},
            )
        return SourceOfTest(source_id, token or "")

    def topic(self, topic: str) -> str:
        """This test's own, for a topic or a filter."""
        return f"{self.prefix}/{topic}"

    async def post(self, source: SourceOfTest, message: Message, token: str | None = None) -> httpx.Response:
        path = f"http://{LOOPBACK}:{self.http_port}/lns/{source.id}"
        path += f"/{message.topic}" if message.topic and "/" not in message.topic else ""
        bearer = f"Bearer {source.token if token is None else token}".encode()
        headers = {b"Authorization": bearer} | {
            name.encode(): value.encode() for name, value in message.headers.items()
        }
        return await self.http.post(path, content=message.body, headers=headers)

    @asynccontextmanager
    async def intake(
        self,
        instance: str = "a",
        nats_url: str = "",
        rate: int = 500,
        backlog: int = 100_000,
        accounts_url: str = "",
    ) -> AsyncGenerator[None]:
        settings = IntakeSettings.model_validate(
            {
                "database_url": self.logins.get("intake", self.database_url),
                "nats_url": nats_url or self.nats_url,
                "kek": KEK.hex(),
                "instance": instance,
                "intake_rate": rate,
                "intake_application_backlog": backlog,
                "intake_port": self.http_port if instance == "a" else 0,
                **({"mqtt_accounts_url": accounts_url} if accounts_url else {}),
            }
        )
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_intake(settings, stopping))
            try:
                if instance == "a":
                    await until(self._listens)
                yield
            finally:
                stopping.set()

    async def _listens(self) -> bool:
        try:
            return (await self.http.get(f"http://{LOOPBACK}:{self.http_port}/")).status_code == 404
        except httpx.TransportError:
            return False

    @asynccontextmanager
    async def ingest(self, nats_url: str = "") -> AsyncGenerator[None]:
        settings = IngestSettings.model_validate(
            {
                "database_url": self.logins.get("ingest", self.database_url),
                "nats_url": nats_url or self.nats_url,
                "kek": "00" * 16,
                "instance": "i",
                "linger_ms": 0,
            }
        )
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_ingest(settings, stopping))
            try:
                yield
            finally:
                stopping.set()

    async def rows(self) -> list[Record]:
        return await self.pool.fetch("SELECT * FROM observation.uplink ORDER BY time")

    async def stored(self, count: int) -> list[Record]:
        """The uplinks once there are so many."""

        async def enough() -> bool:
            return len(await self.rows()) >= count

        await until(enough)
        return await self.rows()

    async def drained(self, nats_url: str = "") -> None:
        """Return once ingest has acknowledged everything."""
        async with connect_bus(nats_url or self.nats_url, "drained") as bus:

            async def nothing_left() -> bool:
                return not await bus.stream_messages(topics.UPLINKS)

            await until(nothing_left)

    async def receptions(self) -> set[bytes]:
        rows = await self.pool.fetch(
            "SELECT g.gateway_id FROM observation.reception r JOIN gateway g ON g.id = r.gateway_id"
        )
        return {row["gateway_id"] for row in rows}

    async def is_read(self) -> bool:
        """Whether some replica is connected to the one MQTT source, as the lease says."""
        return await self.pool.fetchval(
            "SELECT EXISTS (SELECT FROM shard_lease WHERE service LIKE 'intake_source_%' AND expires_at > now())"
        )


def now_us() -> int:
    """To the millisecond, which is as fine as some LNS report."""
    return time.time_ns() // US * 1000


@pytest.fixture(scope="session")
def lns_broker(server_folder: Path) -> Iterator[PrivateMosquitto]:
    """An LNS's own broker."""
    accounts = {BRIDGE: secrets.token_hex(16), SIMULATOR: secrets.token_hex(16)}
    server = PrivateMosquitto(server_folder / "lns-mosquitto", free_tcp_port(), accounts)
    server.prepare()
    (server.folder / "acl").write_text(OPEN_ACL, "utf-8")
    with running(server.launch(), server.ready, server_folder / "lns-mosquitto.log"):
        yield server


@pytest.fixture
async def bench(
    pool: Pool, database_url: str, nats_url: str, lns_broker: PrivateMosquitto
) -> AsyncGenerator[Bench]:
    made = Bench(pool, database_url, nats_url, lns_broker)
    await made.plant()
    async with connect_bus(nats_url, "bench") as bus:
        await bus.ensure_streams()
        async with made.http:
            yield made


@pytest.fixture
async def lns(lns_broker: PrivateMosquitto) -> AsyncGenerator[MqttSession]:
    """The LNS itself, at its broker."""
    edge = MqttSession(
        MqttSettings(mqtt_url=lns_broker.url(SIMULATOR), mqtt_client_id=f"lns-{secrets.token_hex(4)}"), ()
    )
    task = asyncio.create_task(edge.run())
    await edge.connected()
    yield edge
    task.cancel()


@dataclass
class MortalNats:
    """A bus that the test kills and starts again, with the same disk."""

    server: PrivateNats
    log: Path
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            launch = self.server.launch()
            self.process = subprocess.Popen(launch.argv, **launch.arguments(output))  # noqa: ASYNC220
        await until(self.server.ready)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)


@pytest.fixture
async def mortal_nats(server_folder: Path) -> AsyncGenerator[MortalNats]:
    folder = server_folder / f"mortal-nats-{secrets.token_hex(4)}"
    server = PrivateNats(folder, free_tcp_port(), secrets.token_hex(16), f"mortal-{secrets.token_hex(4)}")
    server.prepare()
    mortal = MortalNats(server, server_folder / "mortal-nats.log")
    async with AsyncExitStack() as ending:
        await mortal.start()
        ending.push_async_callback(mortal.kill)
        async with connect_bus(server.url, "streams") as bus:
            await bus.ensure_streams()
        yield mortal
