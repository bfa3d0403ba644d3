"""MQTT accesses at a real mosquitto with its plugin: who reads what, until when, and that no kill -9 loses any."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from core.runtime.mqtt import Broker, MqttRejected, MqttSession, MqttSettings
from integrations import lease_runner
from lorawan.instants import from_us
from registry.keys import KeyWrap
from registry.mqtt_accesses import MqttAccess, Owner, create_access, read_access, renew_password
from registry.mqtt_accounts import Credentials, create_partner_account
from registry.tenants import create_api_key
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE, PrivateMosquitto
from services.supervisor.ports import LOOPBACK, free_tcp_port
from tests.conftest import Database, running
from tests.contracts.lns_rig import KEK, Bench, SourceOfTest, now_us, until
from tests.contracts.lns_samples import SAMPLES, SampleUplink
from tests.entering import tenant_transaction

KEYS = KeyWrap("kek-1", KEK)
NOT_AUTHORIZED = 0x87  # MQTT 5, sections 3.4.2.1 and 3.9.3.
GRANTED = 1
CUT_WITHIN_S = 10
EVENTS, KILLS, AT_ONCE = 1_000, 3, 200
JOINS = """
INSERT INTO observation.application_event (application_id, device_id, kind, time, what)
SELECT $1, $2, 'join', now(), jsonb_build_object('dev_addr', lpad(to_hex(n), 8, '0')) FROM generate_series(1, $3) n
"""
COUNTS = "SELECT published, withheld FROM application_state WHERE application_id = $1"
GRANT = """
INSERT INTO access_grant (tenant_id, offered_slug, asset_id, role, valid, data, granted_by)
VALUES ($1, 'quimper', $2, 'reader', tstzrange(NULL, NULL), tstzrange($3, NULL), 'x')
"""
ACCEPT = "UPDATE access_grant SET grantee_id = offered_to, accepted_at = now()"
QUEUED_BEFORE = """
INSERT INTO observation.application_event (application_id, device_id, kind, time, uplink_id)
SELECT $1, $2, 'up', time, uplink_id FROM observation.uplink WHERE device_id = $2 ORDER BY time DESC LIMIT 1
"""
WAITING = "SELECT count(*) FROM observation.application_event WHERE application_id = $1"


@pytest.fixture
def broker(tmp_path: Path) -> PrivateMosquitto:
    server = PrivateMosquitto(
        tmp_path, free_tcp_port(), {name: secrets.token_hex(8) for name in (ACCOUNTS, BRIDGE)}
    )
    server.prepare()
    return server


@dataclass
class Reader:
    """The program of an access's owner."""

    client: aiomqtt.Client
    topics: str
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    async def listen(self) -> None:
        assert await self.asks_for(f"{self.topics}/device/+/event/+") == GRANTED
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.received.append((str(message.topic), json.loads(message.payload)))

    async def asks_for(self, topic: str) -> int:
        """SUBACK's reason code."""
        [code] = await self.client.subscribe(topic, qos=1)
        return code if isinstance(code, int) else code.value

    async def is_cut(self) -> None:
        """Return once the broker has ended the connection."""
        with contextlib.suppress(aiomqtt.MqttError):
            while True:
                await self.asks_for(f"{self.topics}/device/+/event/+")
                await asyncio.sleep(0.1)

    def ups(self) -> list[dict[str, Any]]:
        return [event for topic, event in self.received if topic.endswith("/event/up")]


@dataclass
class Accesses:
    """A bench with a broker of its own."""

    bench: Bench
    broker: PrivateMosquitto
    source: SourceOfTest

    async def make(self, owner: Owner, tenant_id: int = 0) -> tuple[MqttAccess, Credentials]:
        tenant = tenant_id or self.bench.tenant_id
        async with self.bench.pool.acquire() as connection:
            name = secrets.token_hex(4)
            access, account = await create_access(connection, KEYS, tenant, owner, name, personal=False)
            made = await read_access(connection, access)
        assert made is not None
        return made, account

    async def key(self, tenant_id: int = 0) -> Owner:
        made = await create_api_key(self.bench.pool, tenant_id or self.bench.tenant_id, "Node-RED", ("read",))
        return Owner(made.split("_")[1], None)

    async def admitted(self, *accesses: MqttAccess) -> None:
        async def is_applied() -> bool:
            waiting = "SELECT count(*) FROM mqtt_account WHERE application_id = $1 AND applied_at IS NULL"
            return not sum([await self.bench.pool.fetchval(waiting, access.id) for access in accesses])

        await until(is_applied)

    def client(self, account: Credentials, password: str = "") -> aiomqtt.Client:
        return aiomqtt.Client(
            LOOPBACK,
            self.broker.port,
            username=account.username,
            password=password or account.password,
            identifier=account.username,
            protocol=aiomqtt.ProtocolVersion.V5,
        )

    @asynccontextmanager
    async def reading(self, access: MqttAccess, account: Credentials) -> AsyncGenerator[Reader]:
        async with self.client(account) as client:
            reader = Reader(client, access.topics)
            task = asyncio.create_task(reader.listen())
            yield reader
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def refuses_to_take(self, account: Credentials, topic: str) -> None:
        """That the broker takes no message from this account."""
        settings = MqttSettings(mqtt_client_id=account.username, mqtt_session_expiry=0)
        address = Broker(LOOPBACK, self.broker.port, account.username, account.password, tls=False)
        session = MqttSession(settings, [], broker=address)
        task = asyncio.create_task(session.run())
        await session.connected()
        with pytest.raises(MqttRejected, match=f"0x{NOT_AUTHORIZED:x}"):
            await session.publish(topic, b"{}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        with running(self.broker.launch(), self.broker.ready, self.broker.folder / "log"):
            async with self.bench.intake(accounts_url=self.broker.url(ACCOUNTS)), self.bench.ingest():
                yield

    async def uplinks(self, sample: SampleUplink, counters: Sequence[int]) -> None:
        for counter in counters:
            at = sample.heard_at_us + counter * 1_000
            uplink = SampleUplink(at, sample.dev_eui, sample.gateway_id, counter)
            answer = await self.bench.post(self.source, SAMPLES["chirpstack"].write(uplink))
            assert answer.status_code == 200

    async def has(self, access: MqttAccess, **counts: int) -> None:
        async def is_so() -> bool:
            row = await self.bench.pool.fetchrow(COUNTS, access.id)
            return row is not None and all(row[name] == count for name, count in counts.items())

        await until(is_so)


@pytest.fixture
async def accesses(bench: Bench, broker: PrivateMosquitto, database: Database) -> Accesses:
    bench.logins = {name: database.url_of(name) for name in ("intake", "ingest")}
    return Accesses(bench, broker, await bench.source(SAMPLES["chirpstack"]))


async def test_an_owner_reads_its_topics_and_nobody_anything_else(accesses: Accesses) -> None:
    bench, sample = accesses.bench, SampleUplink(now_us() - 500_000)
    await bench.device(sample)
    theirs = await bench.pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    (own, account), (sibling, _) = [await accesses.make(await accesses.key()) for _ in range(2)]
    other, their_account = await accesses.make(await accesses.key(theirs), theirs)
    async with bench.pool.acquire() as connection:  # The widest that `manage` can make by /v1/mqtt-accounts.
        partner = await create_partner_account(connection, KEYS, bench.tenant_id, "SI", ["#"], ["#"])

    async with accesses.running():
        await accesses.admitted(own, sibling, other)
        async with accesses.reading(own, account) as reader, accesses.client(their_account) as foreign:
            await accesses.uplinks(sample, [1234])

            async def has_come() -> bool:
                return len(reader.ups()) == 1

            await until(has_come)
            nosy = Reader(foreign, other.topics)
            forbidden = [
                own.topics + "/device/+/event/+",
                "#",
                "$SYS/#",
                "+/#",
                "territoire/events/#",
                "territoire/events/quimper/#",
                "territoire/events/+/application/#",
                "$CONTROL/#",
                f"$share/g/{own.topics}/device/+/event/+",
            ]
            answers = {topic: await nosy.asks_for(topic) for topic in forbidden}
            async with accesses.client(partner) as wide:
                answers |= {"partner " + own.topics: await Reader(wide, "").asks_for(own.topics + "/#")}
            siblings = await reader.asks_for(sibling.topics + "/#")
        await accesses.refuses_to_take(account, own.topics + "/device/0/event/up")

    topic, event = reader.received[0]
    assert topic == f"{own.topics}/device/{sample.dev_eui.hex()}/event/up"
    assert own.topics == f"territoire/events/brest/application/{own.application_id}"
    assert event["deviceInfo"]["applicationId"] == str(own.application_id)
    assert (event["fCnt"], event["data"]) == (1234, "AXVcA2cBAQSCRAgFAAE=")
    assert {"temperature": 25.7, "distance": 2116.0}.items() <= event["object"].items()
    assert set(answers.values()) == {NOT_AUTHORIZED}, answers
    assert siblings == NOT_AUTHORIZED


async def test_an_access_ends_with_its_key_and_its_password_is_renewed(
    accesses: Accesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_runner, "LOOK_EVERY_S", 0.05)
    bench, sample = accesses.bench, SampleUplink(now_us() - 500_000)
    await bench.device(sample)
    owner = await accesses.key()
    access, account = await accesses.make(owner)
    async with accesses.running():
        await accesses.admitted(access)
        async with bench.pool.acquire() as connection:
            renewed = await renew_password(connection, KEYS, access, timedelta(hours=1))
        await accesses.admitted(access)
        with pytest.raises(aiomqtt.MqttError):
            async with accesses.client(renewed, "faux"):
                pass
        async with accesses.reading(access, account), accesses.reading(access, renewed) as reader:
            await accesses.uplinks(sample, [1])
            await accesses.has(access, published=1)
            assert len(reader.ups()) == 1
            await bench.pool.execute("UPDATE api_key SET revoked_at = now() WHERE id = $1", owner.key_id)
            before = asyncio.get_running_loop().time()
            await bench.pool.execute(JOINS, access.id, await device_of(bench), 1)  # As if queued just before.
            await accesses.has(access, withheld=1)
            await reader.is_cut()
            cut_after = asyncio.get_running_loop().time() - before
            await accesses.uplinks(sample, [2])
            await bench.stored(2)
        with pytest.raises(aiomqtt.MqttError):
            async with accesses.client(renewed):
                pass

    assert cut_after < CUT_WITHIN_S
    assert await bench.pool.fetchval(WAITING, access.id) == 0
    async with tenant_transaction(bench.pool, bench.tenant_id) as connection:
        shown = await read_access(connection, access.id)
    assert shown is not None
    assert (shown.reason, shown.published) == ("key_ended", 1)


def instant(sample: SampleUplink, counter: int) -> datetime:
    return from_us(sample.heard_at_us + counter * 1_000)


async def device_of(bench: Bench) -> int:
    return await bench.pool.fetchval("SELECT id FROM device")


async def test_a_grant_gives_its_period_and_nothing_once_it_is_withdrawn(accesses: Accesses) -> None:
    """The receiver of a grant gets measurements of its period, without what the grant does not give."""
    bench, sample = accesses.bench, SampleUplink(now_us() - 500_000)
    device = await bench.device(sample)
    theirs = await bench.pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    asset = await bench.pool.fetchval(
        "INSERT INTO asset (tenant_id, kind, name) VALUES ($1, 'bin', 'b') RETURNING id", bench.tenant_id
    )
    await bench.pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) VALUES ($1, $2, $3, '(,)')",
        bench.tenant_id,
        asset,
        device,
    )
    access, account = await accesses.make(await accesses.key(theirs), theirs)
    async with accesses.running():
        await accesses.admitted(access)
        async with accesses.reading(access, account) as reader:
            await accesses.uplinks(sample, [1])  # Of before the grant, and of before its period.
            await bench.stored(1)
            await bench.pool.execute(GRANT, bench.tenant_id, asset, instant(sample, 3))
            await bench.pool.execute(ACCEPT)
            await accesses.uplinks(sample, [2, 3])
            await accesses.has(access, published=1)
            await bench.pool.execute("INSERT INTO device_status VALUES ($1, 1, 1, now())", device)
            async with bench.pool.acquire() as connection, connection.transaction():
                # One more is in the outbox, and is not published yet, when the grant is withdrawn.
                await connection.execute("LOCK TABLE observation.application_event IN SHARE ROW EXCLUSIVE MODE")
                await connection.execute("UPDATE access_grant SET revoked_at = now(), revoked_by = 'x'")
                await connection.execute(QUEUED_BEFORE, access.id, device)
            await accesses.has(access, withheld=1)
            await accesses.uplinks(sample, [4, 5])
            await bench.stored(5)
            await bench.drained()

    [event] = reader.ups()
    assert len(reader.received) == 1
    assert datetime.fromisoformat(event["time"]) == instant(sample, 3)
    assert {"temperature": 25.7, "distance": 2116.0}.items() <= event["object"].items()
    assert await bench.pool.fetchval(WAITING, access.id) == 0


async def test_a_sender_that_is_killed_loses_no_event_and_doubles_at_most_a_batch(
    accesses: Accesses, bench: Bench
) -> None:
    sample = SampleUplink(now_us())
    device = await bench.device(sample)
    access, account = await accesses.make(await accesses.key())
    environment = {
        "TERRITOIRE_DATABASE_URL": bench.logins["intake"],
        "TERRITOIRE_NATS_URL": bench.nats_url,
        "TERRITOIRE_KEK": KEK.hex(),
        "TERRITOIRE_INTAKE_PORT": "0",
        "TERRITOIRE_HEALTH_PORT": "0",
        "TERRITOIRE_MQTT_ACCOUNTS_URL": accesses.broker.url(ACCOUNTS),
        "PATH": os.environ["PATH"],
    }
    command = (sys.executable, "-P", "-m", "services.intake")

    async def waits_less_than(count: int) -> None:
        async def is_so() -> bool:
            return await bench.pool.fetchval(WAITING, access.id) < count

        await until(is_so, within_s=60)

    with running(accesses.broker.launch(), accesses.broker.ready, accesses.broker.folder / "log"):
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        await accesses.admitted(access)
        async with accesses.reading(access, account) as reader:
            for _ in range(KILLS):
                await bench.pool.execute(JOINS, access.id, device, EVENTS)
                before = await bench.pool.fetchval(WAITING, access.id)
                await waits_less_than(before)
                process.kill()
                await process.wait()
                process = await asyncio.create_subprocess_exec(*command, env=environment)
            await waits_less_than(1)

            async def all_came() -> bool:
                return len({event["deduplicationId"] for _, event in reader.received}) == KILLS * EVENTS

            await until(all_came)
            process.terminate()
            await process.wait()

    times = Counter(event["deduplicationId"] for _, event in reader.received)
    assert len(times) == KILLS * EVENTS
    assert times.total() - len(times) <= KILLS * AT_ONCE
