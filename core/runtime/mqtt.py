# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""MQTT for the edges: gateways that speak ChirpStack's contract, other people's LNS, partners. MQTT 5.

Nothing else imports aiomqtt, which is pinned to 2.5: it acknowledges a message before the application has it, has
no batch, and takes a rejected subscription or publish for a success. `_AcknowledgingClient` reaches into it.

Every connection is a client object of its own, so that an acknowledgement can never reach another session, and so
that a downlink which the broker did not take in time is not sent again, minutes late, after a reconnection.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import aiomqtt
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import Counter
from pydantic import Field
from pydantic_settings import BaseSettings

from core.model.pauses import growing_pause
from core.runtime.bus import raise_if_cancelled
from core.runtime.errors import CUT
from core.runtime.settings import OptionalBroker
from core.runtime.tls import client_tls
from core.runtime.waiting import Waiting, network_reason

DEFAULT_PORT = 1883
DEFAULT_TLS_PORT = 8883
RECEIVE_MAXIMUM = 1_000
# What came at QoS 0, which no receive maximum holds back, while nobody reads: the database is away.
WAITING_AT_MOST = 10_000
WAITING_BYTES_AT_MOST = 16 * 1024 * 1024
KEEP_ALIVE_S = 20
OPERATION_TIMEOUT_S = 5
NO_MATCHING_SUBSCRIBERS = 0x10
SESSION_TAKEN_OVER = 0x8E
# Two processes under one client id throw each other out for ever; the one that lost waits for long.
TAKEN_OVER_PAUSE_S = 30.0
QOS = 1
# CONNACK's reason codes (MQTT 5, section 3.2.2.2) that an operator can mend, and those of MQTT 3.1.1.
NOT_YET = "pas encore connecté"
BAD_ACCOUNT = "le compte ou le mot de passe est refusé"
REFUSALS = {
    0x04: BAD_ACCOUNT,
    0x05: "ce compte n'a pas le droit d'entrer",
    0x84: "le courtier ne parle pas cette version de MQTT",
    0x85: "le courtier refuse cet identifiant de client",
    0x86: BAD_ACCOUNT,
    0x87: "ce compte n'a pas le droit d'entrer",
    0x88: "le courtier n'est pas disponible",
    0x89: "le courtier est surchargé",
}

DROPPED = Counter(
    "territoire_mqtt_dropped_total",
    "Messages that no reader gets: at QoS 0 while too many waited (waiting), with a topic that is no text (topic)",
    ["reason"],
)

log = structlog.get_logger()


class MqttSettings(BaseSettings):
    """Settings for a service that connects to the MQTT broker; mixed into its own settings."""

    mqtt_url: OptionalBroker = Field(
        default=None,
        description="mqtt://user:password@host:port; mqtts://...?ca=/path/ca.pem for TLS, ca naming the broker's "
        "authority when it is not one of the system's; unset: no MQTT",
    )
    mqtt_client_id: str = Field(
        default="territoire-gateway-bridge",
        description="Names the session that the broker keeps while we are away; unique among its clients",
    )
    mqtt_session_expiry: int = Field(default=3600, ge=0, description="Seconds the broker keeps our session")


class MqttAway(Exception):
    """The broker is not connected, or the connection broke before it answered."""


class MqttRejected(Exception):
    """The broker rejects a subscription or a publish; the message has its reason."""

    def __init__(self, what: str, topic: str, code: int) -> None:
        super().__init__(f"{what} to {topic}: reason 0x{code:02x}")
        self.french = f"les droits de ce compte n'y suffisent pas : {topic} (code 0x{code:02x})"


@dataclass(frozen=True, slots=True)
class MqttMessage:
    """One message as it came. `generation` is the connection that delivered it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    generation: int


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker's address, and the account."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    ca: str | None = None
    """A PEM file with the broker's authority; None: the system's."""

    @classmethod
    def from_url(cls, url: str, *, is_ours: bool = False) -> "Broker":
        """Reads mqtt://user:password@host:port or mqtts://..., its `?ca=` only where it is the operator's own.

        Raises:
            ValueError: another scheme, or no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            raise ValueError("an MQTT address is mqtt://user:password@host:port or mqtts://...")
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            parts.port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            tls,
            dict(parse_qsl(parts.query)).get("ca") if is_ours else None,
        )


class _AcknowledgingClient(aiomqtt.Client):
    """One connection: manual acknowledgement, a list instead of a queue, answers with their reason codes."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        session_expiry_s: int,
        generation: int,
        on_dropped: Callable[[], None],
        *,
        speaks_3: bool = False,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_expiry_s
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        version: dict[str, Any] = (
            {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
            if speaks_3
            else {"protocol": aiomqtt.ProtocolVersion.V5, "clean_start": False, "properties": properties}
        )
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=client_id,
            keepalive=KEEP_ALIVE_S,
            timeout=OPERATION_TIMEOUT_S,
            tls_context=client_tls(broker.ca) if broker.tls else None,
            **version,
        )
        self._client.manual_ack_set(True)
        self._generation = generation
        self._received: list[MqttMessage] = []
        self._received_bytes = 0
        self._on_dropped = on_dropped
        self._arrived = asyncio.Event()
        self._publishing: dict[int, asyncio.Future[int]] = {}
        self.pending_calls_threshold = 1_000
        self.disconnect_reason = 0

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:  # noqa: ARG002 - As paho calls it.
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # It cannot be decoded: without this acknowledgement the broker would send it for ever.
            DROPPED.labels("topic").inc()
            self._client.ack(message.mid, message.qos)
            return
        if not message.qos and self._is_full(len(message.payload)):
            DROPPED.labels("waiting").inc()
            self._on_dropped()
            return
        self._received_bytes += len(message.payload)
        self._received.append(
            MqttMessage(topic, message.payload, message.qos, message.retain, message.mid, self._generation)
        )
        self._arrived.set()

    def _is_full(self, arriving: int) -> bool:
        return len(self._received) >= WAITING_AT_MOST or self._received_bytes + arriving > WAITING_BYTES_AT_MOST

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        future = self._publishing.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(reason_code.value)
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self.disconnect_reason = getattr(reason_code, "value", 0)
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._arrived.set()

    @property
    def connected(self) -> bool:
        """Whether this connection still stands, as far as the client knows."""
        return not self._disconnected.done()

    async def broken(self) -> None:
        """Return when the connection has ended."""
        await asyncio.wait((self._disconnected,))
        self._disconnected.exception()  # Read, so that asyncio does not report it once more.

    async def drain(self) -> list[MqttMessage]:
        """All that has arrived, at least one message; an empty list when the connection has ended."""
        while not self._received and self.connected:
            self._arrived.clear()
            waiting = asyncio.ensure_future(self._arrived.wait())
            try:
                await asyncio.wait((waiting, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        received, self._received, self._received_bytes = self._received, [], 0
        return received

    def acknowledge(self, messages: Sequence[MqttMessage]) -> None:
        """Acknowledge these messages (PUBACK), so that the broker forgets them."""
        for message in messages:
            if message.qos:
                self._client.ack(message.mid, message.qos)

    async def subscribe_all(self, filters: Sequence[str]) -> None:
        """Subscribe to every filter at QoS 1; raises MqttRejected when one of them is rejected."""
        if not filters:
            return
        codes = await self.subscribe([(topic_filter, QOS) for topic_filter in filters])
        for topic_filter, code in zip(filters, codes, strict=True):
            reason = cast(Any, code)
            if reason.is_failure:
                raise MqttRejected("subscription", topic_filter, reason.value)

    async def publish_acknowledged(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Publish at QoS 1 and return the broker's reason code."""
        info = self._client.publish(topic, payload, QOS, retain)
        if info.rc:
            raise MqttAway(f"not published: {error_string(info.rc)}")
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._publishing[info.mid] = answered
        try:
            await asyncio.wait(
                (answered, self._disconnected),
                timeout=OPERATION_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._publishing.pop(info.mid, None)
        if not answered.done():
            answered.cancel()
            raise MqttAway("the broker did not acknowledge the publish")
        return answered.result()


class MqttSession:
    """A persistent session with a broker: reconnected for ever, subscribed anew on every CONNACK.

    Run `run()` as a task; read with `batch()`, then `ack()` once the effect of the messages is safe. What is not
    acknowledged comes again after a reconnection.
    """

    def __init__(
        self,
        settings: MqttSettings,
        filters: Sequence[str],
        *,
        broker: Broker | None = None,
        speaks_3: bool = False,
    ) -> None:
        """`speaks_3` is MQTT 3.1.1, for brokers that know no other: there a rejected publish goes unreported."""
        if broker is None:
            if settings.mqtt_url is None:
                raise ValueError("TERRITOIRE_MQTT_URL is not set")
            broker = Broker.from_url(settings.mqtt_url.get_secret_value(), is_ours=True)
        self._broker = broker
        self._client_id = settings.mqtt_client_id
        self._session_expiry_s = settings.mqtt_session_expiry
        self._filters = list(filters)
        self._speaks_3 = speaks_3
        self._client: _AcknowledgingClient | None = None
        self._up = asyncio.Event()
        self._answered = asyncio.Event()
        self.problem: str | None = NOT_YET
        """Why there is no session at present, in French."""
        self.address = f"{broker.host}:{broker.port}"
        self._waiting = Waiting("mqtt_waited_for", "courtier MQTT", self.address)
        self.generation = 0
        self._dropped = 0

    @property
    def is_connected(self) -> bool:
        """Connected, and every subscription granted."""
        return self._client is not None and self._client.connected

    async def answered(self) -> None:
        """Return once the broker has said for the first time whether it lets us in."""
        await self._answered.wait()

    async def connected(self) -> None:
        """Return once connected with every subscription granted."""
        await self._up.wait()

    async def run(self, on_connected: Callable[[], None] | None = None) -> None:
        """Keep the session connected until cancelled."""
        try:
            await self._keep_connected(on_connected)
        finally:
            self._waiting.given_up()

    async def _keep_connected(self, on_connected: Callable[[], None] | None) -> None:
        attempt = 0
        while True:
            self.generation += 1
            client: _AcknowledgingClient | None = None
            try:
                # It reads the authority's file: one that is being renewed is there at the next attempt.
                client = self._new_client()
                async with client:
                    await client.subscribe_all(self._filters)
                    raise_if_cancelled()
                    attempt = 0
                    self._client, self.problem = client, None
                    self._up.set()
                    self._answered.set()
                    self._waiting.over()
                    log.info("mqtt_connected", host=self._broker.host, port=self._broker.port)
                    if on_connected is not None:
                        on_connected()
                    await client.broken()
                    error: Exception | str = f"connection lost (reason 0x{client.disconnect_reason:02x})"
                    self.problem = CUT
            except (aiomqtt.MqttError, MqttRejected, OSError) as wrong:
                error, self.problem = wrong, mqtt_reason(wrong)
                if isinstance(wrong, (MqttConnectError, MqttRejected)):
                    self._answered.set()
            finally:
                self._client = None
                self._up.clear()
            raise_if_cancelled()
            pause = _pause(attempt, 0 if client is None else client.disconnect_reason)
            self._waiting.failed(self.problem, error, pause)
            await asyncio.sleep(pause)
            attempt += 1

    def _new_client(self) -> _AcknowledgingClient:
        return _AcknowledgingClient(
            self._broker,
            self._client_id,
            self._session_expiry_s,
            self.generation,
            self._count_dropped,
            speaks_3=self._speaks_3,
        )

    def _count_dropped(self) -> None:
        self._dropped += 1

    def take_dropped(self) -> int:
        """How many messages were dropped since the last call because too many waited to be read."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def batch(self) -> list[MqttMessage]:
        """Everything that has arrived, at least one message, in order.

        Cancelling it loses nothing: a message stays with the client or, un-acknowledged, with the broker.
        """
        while True:
            await self._up.wait()
            client = self._client
            if client is None:
                continue
            messages = await client.drain()
            if messages:
                return messages
            await asyncio.sleep(0)  # The connection has ended; let run() notice before asking again.

    def ack(self, messages: Sequence[MqttMessage]) -> None:
        """Acknowledge what this connection delivered; what a former one delivered will come again."""
        client = self._client
        if client is not None and client.connected:
            client.acknowledge([message for message in messages if message.generation == self.generation])

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish at QoS 1; whether anybody subscribes to the topic.

        Raises:
            MqttAway: not connected, or no answer within 5 s.
            MqttRejected: the broker rejects it, by an ACL for example.
        """
        client = self._client
        if client is None:
            raise MqttAway(self.problem or "not connected")
        reason = await client.publish_acknowledged(topic, payload, retain=retain)
        if reason >= 0x80:  # noqa: PLR2004 - MQTT 5, section 2.4: from 0x80 on a reason code is a failure.
            raise MqttRejected("publish", topic, reason)
        return reason != NO_MATCHING_SUBSCRIBERS


def mqtt_reason(error: BaseException) -> str:
    """Why there is no session with a broker, in French."""
    match error:
        case MqttRejected():
            return error.french
        case aiomqtt.MqttCodeError():
            code = cast(int, getattr(error.rc, "value", error.rc)) or 0
            is_broker_s = code >= 0x80  # noqa: PLR2004 - The others are the library's, of a connection that ended.
            return REFUSALS.get(code, f"le courtier refuse (code 0x{code:02x})" if is_broker_s else CUT)
        case aiomqtt.MqttError() if isinstance(error.__context__, OSError):
            return network_reason(error.__context__)
        case aiomqtt.MqttError() if "timed out" in str(error):
            return "pas de réponse : TLS des deux côtés, ou d'aucun ?"
        case _:
            return network_reason(error)


def _pause(attempt: int, disconnect_reason: int) -> float:
    """Seconds before the next attempt, with jitter: a broker that returns is not stormed."""
    is_taken_over = disconnect_reason == SESSION_TAKEN_OVER
    longest = TAKEN_OVER_PAUSE_S if is_taken_over else growing_pause(0.2, 5.0, attempt, factor=1.5)
    return random.uniform(longest / 2, longest)  # noqa: S311
