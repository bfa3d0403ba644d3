"""Accounts that the API makes, at a real mosquitto: who holds one speaks for its gateway, and for nobody else."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from core.runtime.bus import Bus
from core.runtime.mqtt import Broker, MqttRejected, MqttSession, MqttSettings
from core.runtime.postgres import Pool
from core.runtime.waiting import what_is_waited_for
from integrations import lease_runner
from integrations.applications.application_runner import mqtt_session_of
from integrations.lns.telemetry import ACCOUNT_FAILURES
from integrations.mqtt_accounts import reconciler
from integrations.mqtt_accounts.reconciler import AccountRunner
from registry.applications import read_enabled_applications
from registry.changes import RegistryWatcher
from registry.keys import KeyWrap
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE, PrivateMosquitto, password_line
from services.supervisor.ports import LOOPBACK, free_tcp_port
from tests.api.conftest import KEK
from tests.conftest import running

PATIENCE_S = 30
OWN, OTHER, STATIC = "0080e115000a9b72", "0080e115000a9b73", "0080e115000a9b74"
ACCOUNTS_OF_OWN = f"/v1/gateways/{OWN}/mqtt-accounts"


@pytest.fixture
def broker(tmp_path: Path) -> PrivateMosquitto:
    server = PrivateMosquitto(
        tmp_path, free_tcp_port(), {name: secrets.token_hex(8) for name in (ACCOUNTS, BRIDGE)}
    )
    server.prepare()
    with (tmp_path / "passwords").open("a") as passwords:
        passwords.write(password_line(STATIC, "statique"))  # Of before, by mosquitto_passwd.
    return server


@contextlib.contextmanager
def serving(server: PrivateMosquitto) -> Iterator[None]:
    with running(server.launch(), server.ready, server.folder / "log"):
        yield


@asynccontextmanager
async def made(pool: Pool, bus: Bus, url: str) -> AsyncGenerator[None]:
    """What intake runs."""
    runner = AccountRunner(pool, KeyWrap("kek-1", KEK), url, "intake-1")

    async def apply(changes) -> None:
        runner.apply(changes)

    watcher = RegistryWatcher(pool, bus, apply)
    tasks = [asyncio.create_task(runner.run()), asyncio.create_task(watcher.watch())]
    yield
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def session(
    server: PrivateMosquitto, user: str, password: str, *filters: str, client_id: str = ""
) -> AsyncGenerator[MqttSession]:
    settings = MqttSettings(mqtt_client_id=client_id or user, mqtt_session_expiry=0)
    address = Broker(LOOPBACK, server.port, user, password, tls=False)
    async with kept(MqttSession(settings, filters, broker=address)) as connection:
        yield connection


@asynccontextmanager
async def kept(connection: MqttSession) -> AsyncGenerator[MqttSession]:
    task = asyncio.create_task(connection.run())
    yield connection
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(is_so) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - What is waited for has no event.
            await asyncio.sleep(0.01)


async def admitted(connection: MqttSession) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await connection.connected()


async def rejected(connection: MqttSession, topic: str) -> None:
    """That the broker takes no message for this topic. It then ends the connection, too, which comes again."""
    generation = connection.generation
    await admitted(connection)
    with pytest.raises(MqttRejected):
        await connection.publish(topic, b"other's")
    await until(lambda: connection.generation > generation)


async def test_an_account_speaks_for_its_gateway_alone_and_ends_when_it_is_withdrawn(
    client, registry, pool: Pool, bus: Bus, broker: PrivateMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "READ_EVERY_S", 3600)  # Only the registry's own signal makes it live.
    await registry.gateway(gateway_id=OWN)
    with serving(broker):
        async with made(pool, bus, broker.url(ACCOUNTS)), contextlib.AsyncExitStack() as opened:
            account, second = [(await client.post(ACCOUNTS_OF_OWN, json={})).json() for _ in range(2)]
            entered = account["username"], account["password"]
            connection = await opened.enter_async_context(
                session(broker, *entered, f"eu868/gateway/{OWN}/command/+")
            )
            of_second = session(broker, second["username"], second["password"], f"gateway/{OWN}/command/+")
            bridge = await opened.enter_async_context(
                session(broker, BRIDGE, broker.accounts[BRIDGE], "+/gateway/+/event/+", "gateway/+/event/+")
            )
            static = await opened.enter_async_context(
                session(broker, STATIC, "statique", f"eu868/gateway/{STATIC}/command/+")
            )
            await asyncio.gather(admitted(connection), admitted(bridge), admitted(static))

            assert await connection.publish(f"eu868/gateway/{OWN}/event/up", b"own")
            assert await static.publish(f"eu868/gateway/{STATIC}/event/up", b"static")
            for topic in (
                f"eu868/gateway/{OTHER}/event/up",
                f"gateway/{OTHER}/event/up",
                f"eu868/gateway/{OWN}/command/down",
                "territoire/partner/sdef/a",
                "$CONTROL/dynamic-security/v1",
            ):
                await rejected(connection, topic)
            await admitted(connection)
            assert {message.payload for message in await bridge.batch()} <= {b"own", b"static"}
            await bridge.publish(f"eu868/gateway/{OWN}/command/down", b"down")
            assert [message.payload for message in await connection.batch()] == [b"down"]

            # Both accounts of a rotation are there at once.
            async with of_second as other_connection:
                await admitted(other_connection)
            # What another gateway is sent cannot be read, and a session cannot be taken under another's client id.
            async with session(broker, second["username"], second["password"], "+/gateway/+/command/+") as nosy:
                await until(lambda: nosy.problem is not None and "les droits" in nosy.problem)
            async with session(broker, second["username"], second["password"], client_id=BRIDGE) as thief:
                await until(lambda: thief.generation > 2)
                assert not thief.is_connected
            assert bridge.generation == static.generation == 1

            generation = connection.generation
            assert (await client.delete(f"{ACCOUNTS_OF_OWN}/{account['id']}")).status_code == 204
            await until(lambda: connection.generation > generation + 1)
            assert not connection.is_connected
            assert connection.problem == "ce compte n'a pas le droit d'entrer"
            assert bridge.generation == static.generation == 1
            shown = (await client.get(ACCOUNTS_OF_OWN)).json()["items"]
            assert [one["applied_at"] is not None for one in shown] == [True]


async def test_a_broker_that_lost_its_accounts_has_them_again_and_an_application_meets_its_partner_there(
    client, registry, pool: Pool, bus: Bus, broker: PrivateMosquitto
) -> None:
    await registry.gateway(gateway_id=OWN)
    asked = {
        "name": "Hyperviseur",
        "reads": ["application/#"],
        "publishes": ["application/+/device/+/command/down"],
    }
    partner = (await client.post("/v1/mqtt-accounts", json=asked)).json()
    asked = {"name": "Territoire", "reads": asked["publishes"], "publishes": asked["reads"]}
    own = (await client.post("/v1/mqtt-accounts", json=asked)).json()
    prefix = (await client.get("/v1/mqtt-accounts")).json()["items"][0]["prefix"]
    asked = {"name": "SI", "mqtt_url": broker.address, "mqtt_user": own["username"], "secret": own["password"]}
    answer = await client.post("/v1/applications", json=asked | {"topic_prefix": prefix})
    assert answer.status_code == 201
    [application] = await read_enabled_applications(pool)

    def hyperviseur() -> AbstractAsyncContextManager[MqttSession]:
        return session(broker, partner["username"], partner["password"], f"{prefix}application/#")

    async with made(pool, bus, broker.url(ACCOUNTS)):
        with serving(broker):
            async with hyperviseur() as connection:
                await admitted(connection)
        # Started again with half a file, and with an account more.
        (broker.folder / "dynamic-security.json").write_text('{"clients": [')
        account = (await client.post(ACCOUNTS_OF_OWN, json={})).json()
        with serving(broker):
            async with (
                hyperviseur() as connection,
                session(broker, account["username"], account["password"]) as gateway,
                kept(mqtt_session_of(application, own["password"], 0)) as of_application,
            ):
                await asyncio.gather(admitted(connection), admitted(gateway), admitted(of_application))
                topic = f"{prefix}application/{application.application_id}/device/{OTHER}/event/up"
                assert await of_application.publish(topic, b"up")
                assert [message.topic for message in await connection.batch()] == [topic]
                for other in (topic, "territoire/partner/autre/application/a", f"gateway/{OWN}/event/up"):
                    await rejected(connection, other)


async def test_a_wrong_password_of_the_account_that_makes_others_is_said_in_french_and_counted(
    pool: Pool, bus: Bus, broker: PrivateMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_runner, "LOOK_EVERY_S", 0.05)
    refused = ACCOUNT_FAILURES.labels("refused")._value
    before = refused.get()
    with serving(broker):
        async with made(pool, bus, f"mqtt://{ACCOUNTS}:faux@{LOOPBACK}:{broker.port}"):
            await until(lambda: refused.get() > before)

            assert any("ce compte n'a pas le droit d'entrer" in said for said in what_is_waited_for())


async def test_a_broker_without_the_plugin_is_named_and_counted(
    pool: Pool, bus: Bus, broker: PrivateMosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.mqtt_accounts.dynamic_security.ANSWERS_WITHIN_S", 0.2)
    configuration = broker.folder / "mosquitto.conf"
    lines = configuration.read_text("utf-8").splitlines(keepends=True)
    configuration.write_text("".join(line for line in lines if not line.startswith("plugin")), "utf-8")
    away = ACCOUNT_FAILURES.labels("away")._value
    before = away.get()
    with serving(broker):
        async with made(pool, bus, broker.url(ACCOUNTS)):
            await until(lambda: away.get() > before)
