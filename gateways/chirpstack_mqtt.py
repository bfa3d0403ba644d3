"""The frontend for gateways that speak ChirpStack v4's contract over MQTT, as the MQTT Forwarder does."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from core.messages.chirpstack import gw
from core.messages.claims import Claim
from core.messages.frames import GatewayFrame
from core.runtime.clock import wall_clock_us
from core.runtime.mqtt import MqttAway, MqttMessage, MqttRejected, MqttSession, MqttSettings
from gateways.chirpstack_legacy import downlink_id_of
from gateways.chirpstack_messages import (
    EventTopic,
    UnreadableEvent,
    downlink_of,
    frame_of,
    is_json,
    read_event,
    speaks_legacy,
    stats_of,
    status_of,
    write_command,
)
from gateways.frontend import INTERNAL_ERROR, NO_ACK, TX_ACK_TIMEOUT_S, ChosenTransmission
from gateways.gateway_activity import Activity
from gateways.gateway_times import RoundTrips
from gateways.known_gateways import Gateways, LastSeen
from gateways.paths import Paths
from gateways.telemetry import DATAGRAMS, FRAMES, MQTT_CONNECTED
from lorawan.identifiers import GatewayId

NAME = "chirpstack_mqtt"
FILTERS = ("+/gateway/+/event/+", "+/gateway/+/state/+", "gateway/+/event/+", "gateway/+/state/+")
DOWNLINK_IDS = 1 << 32
# What the broker kept during an absence comes at once after a connection, for this long at most.
REPLAY_S = 10.0

_UP = DATAGRAMS.labels("event_up", "ok")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Station:
    """How a gateway is answered: under its own prefix, in its own encoding and version."""

    topic: EventTopic
    as_json: bool
    as_legacy: bool

    @classmethod
    def of(
        cls, topic: EventTopic, payload: bytes, event: gw.UplinkFrame | gw.GatewayStats | gw.ConnState
    ) -> "_Station":
        """The form (JSON or protobuf, version 3 or 4) in which this gateway sends, to answer in the same."""
        return cls(topic, is_json(payload), speaks_legacy(event))


class ChirpStackMqtt:
    """Events in, commands out. An `up` event is acknowledged only once its frame is in the stream."""

    name = NAME
    answers_at_once = False
    """False: of a Basics Station behind ChirpStack's bridge the `ack` comes with the transmission."""

    def __init__(
        self,
        settings: MqttSettings,
        accounts: str,
        prefixes: Mapping[str, str],
        activity: Activity,
        gateways: Gateways,
        last_seen: LastSeen,
        paths: Paths,
        round_trips: RoundTrips,
    ) -> None:
        self._round_trips = round_trips
        self.edge = MqttSession(settings, FILTERS)
        MQTT_CONNECTED.labels(self.edge.address).set_function(lambda: self.edge.is_connected)
        self._is_proved = accounts == "per_gateway"
        self._prefixes = prefixes
        self._activity = activity
        self._registered = gateways
        self._sightings = last_seen
        self._paths = paths
        self._stations: dict[GatewayId, _Station] = {}
        self._asked: dict[tuple[GatewayId, int], asyncio.Future[str]] = {}
        self._next_id = random.randrange(1, DOWNLINK_IDS)  # noqa: S311 - Apart from a former process's.
        self._loop = asyncio.get_running_loop()
        self._away_since_us = wall_clock_us() - settings.mqtt_session_expiry * 1_000_000
        self._connected_at = -REPLAY_S

    async def keep_connected(self) -> None:
        """Keep the session with the broker until cancelled."""
        await self.edge.run(self._record_connection)

    def _record_connection(self) -> None:
        self._connected_at = self._loop.time()

    async def receive(self) -> None:
        """Take events until cancelled; what is not acknowledged stays with the broker."""
        while True:
            for message in await self.edge.batch():
                self._handle_message(message)

    def _handle_message(self, message: MqttMessage) -> None:
        acknowledge = partial(self.edge.ack, (message,))
        kind = "unknown"
        try:
            topic = EventTopic.parse(message.topic)
            kind = f"event_{topic.kind}" if topic.kind in ("up", "stats", "ack", "conn") else "event_other"
            held = self._event(topic, message)
        except UnreadableEvent as unreadable:
            DATAGRAMS.labels(kind, unreadable.reason).inc()
            log.debug("event_unreadable", topic=message.topic, error=str(unreadable))
            acknowledge()
            return
        if held is None:
            acknowledge()
        else:
            self._activity.submit_frame(held, acknowledge)

    def _event(self, topic: EventTopic, message: MqttMessage) -> GatewayFrame | None:
        """Act on an event; returns the frame whose safety the acknowledgement waits for."""
        if topic.prefix not in self._prefixes:
            raise UnreadableEvent("unknown_prefix", topic.prefix)
        match topic.kind:
            case "up":
                return self._up(topic, message.payload)
            case "stats":
                stats = read_event(message.payload, gw.GatewayStats())
                self._seen(_Station.of(topic, message.payload, stats), stats_of(stats))
                self._activity.count_activity(
                    topic.gateway_id,
                    received=stats.rx_packets_received,
                    received_ok=stats.rx_packets_received_ok,
                )
            case "ack":
                self._tx_ack(topic, read_event(message.payload, gw.DownlinkTxAck()))
            case "conn":
                self._connection(topic, message)
            case _:
                raise UnreadableEvent("not_used", topic.kind)
        if topic.kind != "ack":
            DATAGRAMS.labels(f"event_{topic.kind}", "ok").inc()
        return None

    def _up(self, topic: EventTopic, payload: bytes) -> GatewayFrame | None:
        received_at_us = wall_clock_us()
        uplink = read_event(payload, gw.UplinkFrame())
        if not self._seen(_Station.of(topic, payload, uplink), {}):
            DATAGRAMS.labels("event_up", "unknown_gateway").inc()
            FRAMES.labels("unknown_gateway").inc()
            return None
        since_us, far_us = self._replayed_since_us(received_at_us), self._round_trips.of(topic.gateway_id) or 0
        frame = frame_of(uplink, topic.gateway_id, received_at_us, since_us, far_us)
        _UP.inc()
        return frame

    def _replayed_since_us(self, received_at_us: int) -> int | None:
        """Since when what comes now may have waited with the broker; None once that is over."""
        if self._loop.time() - self._connected_at < REPLAY_S:
            return self._away_since_us
        self._away_since_us = received_at_us
        return None

    def _seen(self, station: _Station, stats: dict[str, Any]) -> bool:
        """Record a sign of life, and the form of the answer; whether the gateway is registered."""
        gateway_id = station.topic.gateway_id
        if gateway_id in self._registered:
            if self._paths.frontend_of(gateway_id) != NAME:
                stats = stats | {"online": True}
            self._reachable(station)
        return self._record_stats(station.topic, stats)

    def _record_stats(self, topic: EventTopic, stats: dict[str, Any]) -> bool:
        return self._sightings.record_seen(topic.gateway_id, NAME, self._claim(topic).address, stats)

    def _claim(self, topic: EventTopic) -> Claim:
        """Who speaks under a topic; the broker does not say from where."""
        return Claim(NAME, f"mqtt {topic.prefix}".rstrip(), self._is_proved)

    def _reachable(self, station: _Station, *, is_certain: bool = True) -> None:
        """Record in which form a registered gateway is answered.

        Raises:
            UnreadableEvent: the gateway is another's who speaks in its name.
        """
        gateway_id = station.topic.gateway_id
        claim = self._claim(station.topic)
        owner = self._paths.alive(gateway_id, claim, is_certain=is_certain)
        if owner is None:
            self._stations[gateway_id] = station
            if is_certain and claim.is_proved:
                self._sightings.record_account(gateway_id)
        elif is_certain:
            self._sightings.reject_address(gateway_id, NAME, owner.address, claim.address)
            raise UnreadableEvent("not_the_owner", station.topic.gateway_id.hex())

    def _connection(self, topic: EventTopic, message: MqttMessage) -> None:
        state = read_event(message.payload, gw.ConnState())
        station, online = _Station.of(topic, message.payload, state), state.state == gw.ConnState.ONLINE
        if online and message.retain:
            # As old as it may be, hence no sign of life; but the broker would have replaced it by now (its will).
            if topic.gateway_id in self._registered:
                self._reachable(station, is_certain=False)
        elif online:
            self._seen(station, {"online": True})
        elif not message.retain and self._paths.frontend_of(topic.gateway_id) in {NAME, None}:
            self._record_stats(topic, {"online": False})
            self._paths.lost_soon(topic.gateway_id)

    def _tx_ack(self, topic: EventTopic, ack: gw.DownlinkTxAck) -> None:
        asked = self._asked.get((topic.gateway_id, downlink_id_of(ack)))
        if asked is None or asked.done():
            DATAGRAMS.labels("event_ack", "unexpected").inc()
            return
        status = status_of(ack)
        DATAGRAMS.labels("event_ack", status.lower()).inc()
        asked.set_result(status)

    async def transmit(self, radio_request: ChosenTransmission) -> str:
        """Publish command/down, and wait for the `ack` event with its id."""
        station = self._stations.get(radio_request.gateway_id)
        if station is None:
            return INTERNAL_ERROR
        downlink_id, self._next_id = self._next_id, self._next_id % (DOWNLINK_IDS - 1) + 1
        command = downlink_of(radio_request, downlink_id)
        payload = write_command(command, as_json=station.as_json, as_legacy=station.as_legacy)
        answered: asyncio.Future[str] = self._loop.create_future()
        self._asked[radio_request.gateway_id, downlink_id] = answered
        try:
            async with asyncio.timeout(TX_ACK_TIMEOUT_S):
                if not await self.edge.publish(station.topic.command("down"), payload):
                    return INTERNAL_ERROR  # No subscriber, as the broker answered: nothing was transmitted.
                return await answered
        except TimeoutError:
            return NO_ACK
        except MqttRejected as refused:
            log.warning("downlink_refused", gw_eui=radio_request.gateway_id.hex(), error=str(refused))
            return INTERNAL_ERROR
        except MqttAway as away:
            log.warning("downlink_unanswered", gw_eui=radio_request.gateway_id.hex(), error=str(away))
            return NO_ACK
        finally:
            del self._asked[radio_request.gateway_id, downlink_id]
