"""MQTT against a real mosquitto; what mosquitto never rejects is rejected by a few lines here."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest
from prometheus_client import REGISTRY

from core.runtime.mqtt import Broker, MqttAway, MqttMessage, MqttRejected, MqttSession, MqttSettings
from services.supervisor.launch import Launch
from services.supervisor.mosquitto import BRIDGE, SIMULATOR, PrivateMosquitto
from services.supervisor.ports import free_tcp_port

# No bridge of another test subscribes to this prefix, so that nobody else listens here.
PREFIX = "test"
EVENTS = f"{PREFIX}/gateway/+/event/+"


def topic() -> str:
    return f"{PREFIX}/gateway/{secrets.token_hex(8)}/event/up"


@asynccontextmanager
async def session(url: str, *filters: str, client_id: str = "") -> AsyncGenerator[MqttSession]:
    settings = MqttSettings(mqtt_url=url, mqtt_client_id=client_id or f"test-{secrets.token_hex(6)}")
    edge = MqttSession(settings, filters)
    running = asyncio.create_task(edge.run())
    try:
        yield edge
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - What another process does has no event.
            await asyncio.sleep(0.02)


async def read(mqtt_session: MqttSession, count: int) -> list[MqttMessage]:
    messages: list[MqttMessage] = []
    async with asyncio.timeout(30):
        while len(messages) < count:
            messages += await mqtt_session.batch()
    return messages


async def test_what_was_not_acknowledged_comes_again_in_order_and_what_was_does_not(
    mqtt_url: str, gateway_mqtt_url: str
) -> None:
    where, us = topic(), f"test-{secrets.token_hex(6)}"
    async with session(gateway_mqtt_url) as gateway:
        await gateway.connected()
        async with session(mqtt_url, where, client_id=us) as edge:
            await edge.connected()
            for number in range(5):
                await gateway.publish(where, bytes([number]))
            first = await read(edge, 5)
            edge.ack(first[:2])

        async with session(mqtt_url, where, client_id=us) as edge:
            again = await read(edge, 3)
            edge.ack(again)

    assert [message.payload for message in again] == [b"\x02", b"\x03", b"\x04"]


async def test_messages_wait_for_a_session_that_is_away(mqtt_url: str, gateway_mqtt_url: str) -> None:
    where, us = topic(), f"test-{secrets.token_hex(6)}"
    async with session(mqtt_url, where, client_id=us) as edge:
        await edge.connected()
    async with session(gateway_mqtt_url) as gateway:
        await gateway.connected()
        assert await gateway.publish(where, b"kept")

    async with session(mqtt_url, where, client_id=us) as edge:
        messages = await read(edge, 1)

    assert messages[0].payload == b"kept"


async def test_a_cancelled_batch_loses_nothing(mqtt_url: str, gateway_mqtt_url: str) -> None:
    where = topic()
    async with session(gateway_mqtt_url) as gateway, session(mqtt_url, where) as edge:
        await gateway.connected()
        await edge.connected()
        for _ in range(20):
            waiting = asyncio.create_task(edge.batch())
            await asyncio.sleep(0)
            waiting.cancel()
        await gateway.publish(where, b"x")

        messages = await read(edge, 1)

    assert messages[0].payload == b"x"


async def publish_without_guarantee(url: str, where: str, payloads: Sequence[bytes]) -> None:
    """At QoS 0, by the library itself: a session of ours publishes at QoS 1 only."""
    broker = Broker.from_url(url)
    async with aiomqtt.Client(
        broker.host, broker.port, username=broker.username, password=broker.password
    ) as gateway:
        for payload in payloads:
            await gateway.publish(where, payload, qos=0)


def counted() -> float:
    return REGISTRY.get_sample_value("territoire_mqtt_dropped_total", {"reason": "waiting"}) or 0.0


async def test_what_came_without_guarantee_is_dropped_and_counted_once_too_much_waits(
    mqtt_url: str, gateway_mqtt_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.mqtt.WAITING_AT_MOST", 4)
    monkeypatch.setattr("core.runtime.mqtt.WAITING_BYTES_AT_MOST", 1_000)
    where, before = topic(), counted()
    async with session(mqtt_url, where) as edge, session(gateway_mqtt_url) as gateway:
        await edge.connected()
        await gateway.connected()
        await publish_without_guarantee(
            gateway_mqtt_url, where, [b"0", b"1" * 1_001, b"2", b"3", b"4", b"5", b"6", b"7"]
        )
        await until(lambda: counted() == before + 4)
        for payload in (b"8", b"9"):
            await gateway.publish(where, payload)
        messages = await read(edge, 6)
        dropped = edge.take_dropped(), edge.take_dropped()
        await publish_without_guarantee(gateway_mqtt_url, where, [b"room again"])
        again = await read(edge, 1)

    assert [message.payload for message in messages] == [b"0", b"2", b"3", b"4", b"8", b"9"]
    assert dropped == (4, 0)
    assert [message.payload for message in again] == [b"room again"]


async def test_a_publish_says_whether_anybody_listens(mqtt_url: str, gateway_mqtt_url: str) -> None:
    # A command: the sessions of other tests' bridges stay with the broker, and listen to every gateway's events.
    where = f"{PREFIX}/gateway/{secrets.token_hex(8)}/command/down"
    async with session(mqtt_url) as edge:
        await edge.connected()
        before = await edge.publish(where, b"x")
        async with session(gateway_mqtt_url, where) as gateway:
            await gateway.connected()
            during = await edge.publish(where, b"x")

    assert (before, during) == (False, True)


async def test_a_publish_that_the_access_rules_forbid_is_rejected(mqtt_url: str) -> None:
    async with session(mqtt_url) as edge:
        await edge.connected()

        with pytest.raises(MqttRejected, match="0x87"):
            await edge.publish("eu868/gateway/0102030405060708/event/up", b"a bridge is no gateway")


async def test_a_wrong_password_is_reported_and_tried_again(mqtt_url: str) -> None:
    wrong = mqtt_url.replace(mqtt_url.split(":")[2].split("@", maxsplit=1)[0], "wrong")
    async with session(wrong) as edge:
        await until(lambda: edge.generation > 1)

        assert not edge.is_connected
        assert edge.problem == "ce compte n'a pas le droit d'entrer"
        with pytest.raises(MqttAway):
            await edge.publish("a", b"")


async def test_a_cancellation_ends_it_whenever_it_comes() -> None:
    """Also together with the broker's answer, which Python 3.11's wait_for would put first."""

    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(200)  # CONNECT
        writer.write(bytes.fromhex("2003008700"))  # CONNACK, not authorized (MQTT 5, section 3.2).
        writer.close()

    server = await asyncio.start_server(reject, "127.0.0.1", 0)
    url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, asyncio.timeout(30):
        for turns in range(60):
            async with session(url):
                for _ in range(turns):
                    await asyncio.sleep(0.0005)


async def _start(server: PrivateMosquitto, launch: Launch, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*launch.argv, **launch.arguments(output))
    async with asyncio.timeout(20):
        while not await server.ready():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return process


async def test_a_restarted_broker_gives_what_was_held_again_and_a_killed_one_is_subscribed_to_anew(
    server_folder: Path,
) -> None:
    accounts = {BRIDGE: "bridge-password", SIMULATOR: "simulator-password"}
    server = PrivateMosquitto(server_folder / "mortal-mosquitto", free_tcp_port(), accounts)
    server.prepare()
    where, log = topic(), server_folder / "mortal-mosquitto.log"
    process = await _start(server, server.launch(), log)
    try:
        async with session(server.url(BRIDGE), EVENTS) as edge, session(server.url(SIMULATOR)) as gateway:
            await asyncio.gather(edge.connected(), gateway.connected())
            await gateway.publish(where, b"held")
            held = await read(edge, 1)

            process.terminate()  # It writes what it holds, then goes.
            await process.wait()
            await until(lambda: not edge.is_connected)
            process = await _start(server, server.launch(), log)
            await asyncio.gather(edge.connected(), gateway.connected())
            edge.ack(held)  # Too late: it belongs to the former connection.
            again = await read(edge, 1)
            edge.ack(again)

            process.kill()
            await process.wait()
            await until(lambda: not gateway.is_connected)
            with pytest.raises(MqttAway):
                await gateway.publish(where, b"to nobody")
            process = await _start(server, server.launch(), log)
            await asyncio.gather(edge.connected(), gateway.connected())
            delivered = await gateway.publish(where, b"after")
            after = await read(edge, 1)
            while after[-1].payload != b"after":  # Killed, it may have forgotten our acknowledgement.
                after += await read(edge, 1)

            assert [message.payload for message in again] == [b"held"]
            assert delivered
            assert {message.payload for message in after} <= {b"held", b"after"}
            assert edge.generation > again[0].generation > held[0].generation
    finally:
        process.terminate()
        await process.wait()


async def test_a_rejected_subscription_is_an_error_and_not_a_connection() -> None:
    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError):  # The client may leave a socket open until it is collected.
            async with asyncio.timeout(2):
                await reader.read(200)  # CONNECT
                writer.write(bytes.fromhex("2003000000"))  # CONNACK, accepted.
                subscribe = await reader.read(200)
                writer.write(b"\x90\x04" + subscribe[2:4] + b"\x00\x87")  # SUBACK, not authorized (MQTT 5, 3.9.3).
                await reader.read(200)
        writer.transport.abort()

    server = await asyncio.start_server(reject, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, session(f"mqtt://127.0.0.1:{port}", EVENTS) as edge:
        await until(lambda: edge.generation > 1)

        assert not edge.is_connected
        assert edge.problem == f"les droits de ce compte n'y suffisent pas : {EVENTS} (code 0x87)"


@pytest.mark.parametrize("url", ["http://host", "mqtt://", "1883"])
def test_rejects_an_address_that_is_not_mqtt(url: str) -> None:
    with pytest.raises(ValueError, match="mqtt://"):
        Broker.from_url(url)


def test_reads_credentials_and_the_usual_ports() -> None:
    assert Broker.from_url("mqtts://a:p%40s@broker.example") == Broker("broker.example", 8883, "a", "p@s", True)
    assert Broker.from_url("mqtt://broker.example").port == 1883


async def test_a_broker_that_is_away_for_hours_is_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[float] = []
    monkeypatch.setattr("core.runtime.mqtt.random.uniform", lambda _, most: longest.append(most) or 0.0)
    edge = MqttSession(
        MqttSettings(mqtt_url=f"mqtt://127.0.0.1:{free_tcp_port()}", mqtt_client_id="away"), (EVENTS,)
    )
    running = asyncio.create_task(edge.run())

    await until(lambda: len(longest) > 1_800 or running.done())

    assert not running.done()
    assert max(longest) == longest[-1] == 5.0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
