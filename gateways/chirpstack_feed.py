"""Feeds a ChirpStack server from our gateways, as its Gateway Bridge would, and carries out its commands.

It runs beside our own network server; each server ignores the frames of the other's devices. Both ask for the same
radios through the same ledger. What cannot be published in time is dropped and counted, as the radio edge may.
"""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from core.messages.chirpstack import gw
from core.messages.downlinks import TransmitReply
from core.messages.frames import GatewayFrame
from core.runtime.mqtt import MqttAway, MqttMessage, MqttRejected, MqttSession, MqttSettings
from gateways.chirpstack_feed_messages import (
    Counts,
    Unfit,
    ack_event,
    conn_event,
    encode,
    request_of,
    stats_event,
    statuses_of,
    up_event,
)
from gateways.chirpstack_messages import EventTopic, UnreadableEvent, read_event
from gateways.frontend import FrameSink
from gateways.known_gateways import Gateways
from gateways.paths import Paths, Transmit
from gateways.settings import FrontendSettings
from gateways.telemetry import FEED
from lorawan.identifiers import GatewayId

# A gateway's events keep their order; those of others are published meanwhile.
LANES = 16
MAX_WAITING = 5_000  # Events, of all gateways: minutes of a quiet network, seconds of a busy one.
MAX_COMMANDS = 256
WATCH_EVERY_S = 1.0
UPLINK_IDS = 1 << 32
SHORTEST_STATS_S, LONGEST_STATS_S = 5.0, 3600.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Fed:
    """What ChirpStack was sent about a gateway whose path is ours."""

    stats_due_at: float
    counts: Counts = field(default_factory=Counts)


@dataclass(slots=True)
class _Lane:
    waiting: deque[tuple[str, bytes, bool]] = field(default_factory=deque[tuple[str, bytes, bool]])
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class ChirpStackFeed:
    """A frame sink in front of another: each frame of a registered gateway goes to both."""

    def __init__(self, settings: FrontendSettings, gateways: Gateways, sink: FrameSink) -> None:
        if settings.chirpstack_url is None:
            raise ValueError("TERRITOIRE_CHIRPSTACK_URL is not set")
        self._prefix = f"{settings.chirpstack_prefix}/" if settings.chirpstack_prefix else ""
        self._as_json = settings.chirpstack_json
        self._stats_every_s = settings.chirpstack_stats_s
        self._gateways = gateways
        self._sink = sink
        broker = MqttSettings(
            mqtt_url=settings.chirpstack_url,
            mqtt_client_id=f"territoire-{settings.instance}",
            mqtt_session_expiry=0,  # A command that waited for us has missed its window.
        )
        self.edge = MqttSession(broker, [f"{self._prefix}gateway/+/command/+"])
        self._lanes = [_Lane() for _ in range(LANES)]
        self._fed: dict[GatewayId, _Fed] = {}
        self._configured: dict[GatewayId, tuple[str, float]] = {}  # Version, and seconds between stats.
        self._uplink_ids = itertools.count(random.randrange(UPLINK_IDS))  # noqa: S311 - Apart from other replicas'.
        self._answering: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def submit_frame(self, frame: GatewayFrame, done: Callable[[], None] | None = None) -> None:
        """Publish the frame to ChirpStack's broker, and hand it to the next sink."""
        fed = self._fed.get(GatewayId(frame.gateway_id))
        if fed is not None:
            fed.counts.count_frame(frame)
        event = up_event(frame, next(self._uplink_ids) % UPLINK_IDS)
        self._say(GatewayId(frame.gateway_id), "event/up", encode(event, as_json=self._as_json))
        self._sink.submit_frame(frame, done)

    def _say(self, gateway_id: GatewayId, what: str, payload: bytes, *, retain: bool = False) -> None:
        if sum(len(lane.waiting) for lane in self._lanes) >= MAX_WAITING:
            FEED.labels(what, "queue_full").inc()
            return
        lane = self._lanes[gateway_id[-1] % LANES]
        lane.waiting.append((f"{self._prefix}gateway/{gateway_id.hex()}/{what}", payload, retain))
        lane.filled.set()

    async def run(self, paths: Paths, transmit: Transmit) -> None:
        """Publish events and carry out commands until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.edge.run(self._connected), name="keep ChirpStack's broker connected")
            for number, lane in enumerate(self._lanes):
                tasks.create_task(self._publish(lane), name=f"publish to ChirpStack, lane {number}")
            tasks.create_task(self._watch(paths), name="tell ChirpStack which gateways are there")
            while True:
                for message in await self.edge.batch():
                    self.edge.ack((message,))
                    self._handle_command(tasks, paths, transmit, message)

    def _connected(self) -> None:
        """Retained messages may be lost with the broker's memory: publish the states again."""
        for gateway_id in self._fed:
            self._publish_state(gateway_id, online=True)

    async def _publish(self, lane: _Lane) -> None:
        """One event after the other; while the broker is away the queue fills, and then drops."""
        while True:
            await lane.filled.wait()
            if not lane.waiting:
                lane.filled.clear()
                continue
            topic, payload, retain = lane.waiting[0]
            what = topic.split("/", topic.count("/") - 1)[-1]
            try:
                await self.edge.connected()
                is_subscribed = await self.edge.publish(topic, payload, retain=retain)
            except MqttAway as away:
                log.debug("chirpstack_away", error=str(away))
                await asyncio.sleep(WATCH_EVERY_S)
                continue
            except MqttRejected as refused:
                log.warning("chirpstack_refuses", topic=topic, error=str(refused))
                FEED.labels(what, "refused").inc()
            else:
                FEED.labels(what, "ok" if is_subscribed or retain else "nobody_listens").inc()
            lane.waiting.popleft()

    async def _watch(self, paths: Paths) -> None:
        """Publish connection states as paths open and close, and statistics while they are open."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if not self.edge.is_connected:
                continue
            held, now = paths.held(), self._loop.time()
            for gateway_id in held - set(self._fed):
                self._fed[gateway_id] = _Fed(now + self._every_s(gateway_id))
                self._publish_state(gateway_id, online=True)
            for gateway_id in set(self._fed) - held:
                del self._fed[gateway_id]
                self._publish_state(gateway_id, online=False)
            for gateway_id, fed in self._fed.items():
                if now >= fed.stats_due_at:
                    self._publish_stats(gateway_id, fed)
                    fed.stats_due_at = now + self._every_s(gateway_id)

    def _every_s(self, gateway_id: GatewayId) -> float:
        return self._configured.get(gateway_id, ("", self._stats_every_s))[1]

    def _publish_state(self, gateway_id: GatewayId, *, online: bool) -> None:
        state = conn_event(gateway_id, online=online)
        self._say(gateway_id, "state/conn", encode(state, as_json=self._as_json), retain=True)

    def _publish_stats(self, gateway_id: GatewayId, fed: _Fed) -> None:
        gateway = self._gateways.get(gateway_id)
        if gateway is None:
            return
        counts, fed.counts = fed.counts, Counts()
        version = self._configured.get(gateway_id, ("", 0.0))[0]
        self._say(gateway_id, "event/stats", encode(stats_event(gateway, counts, version), as_json=self._as_json))
        # The former holder of the path may have published offline after we published online.
        self._publish_state(gateway_id, online=True)

    async def publish_offline(self) -> None:
        """Publish that our gateways are offline, as far as the connection to the broker still works."""
        for gateway_id in self._fed:
            state = encode(conn_event(gateway_id, online=False), as_json=self._as_json)
            try:
                await self.edge.publish(f"{self._prefix}gateway/{gateway_id.hex()}/state/conn", state, retain=True)
            except (MqttAway, MqttRejected) as away:
                log.info("chirpstack_not_told", error=str(away))
                return

    # --- Commands ------------------------------------------------------------------------------------

    def _handle_command(
        self, tasks: asyncio.TaskGroup, paths: Paths, transmit: Transmit, message: MqttMessage
    ) -> None:
        """Act on a command to a gateway whose path is ours; every replica receives it, and one alone answers."""
        try:
            topic = EventTopic.parse_command(message.topic)
            if topic.gateway_id not in self._gateways or paths.frontend_of(topic.gateway_id) is None:
                FEED.labels(f"command/{topic.kind}", "not_ours").inc()
                return
            match topic.kind:
                case "down":
                    self._take_down(tasks, transmit, topic, read_event(message.payload, gw.DownlinkFrame()))
                case "config":
                    self._take_config(topic, read_event(message.payload, gw.GatewayConfiguration()))
                case _:
                    FEED.labels("command/other", "not_used").inc()
        except UnreadableEvent as unreadable:
            FEED.labels("command", unreadable.reason).inc()
            log.warning("chirpstack_command_unreadable", topic=message.topic, error=str(unreadable))

    def _take_down(
        self, tasks: asyncio.TaskGroup, transmit: Transmit, topic: EventTopic, command: gw.DownlinkFrame
    ) -> None:
        if command.gateway_id != topic.gateway_id.hex():
            raise UnreadableEvent("gateway_id", command.gateway_id)
        if len(self._answering) >= MAX_COMMANDS:
            self._publish_ack(topic.gateway_id, command, ["QUEUE_FULL"])
            return
        answering = tasks.create_task(
            self._carry_out(transmit, topic.gateway_id, command), name=f"downlink {command.downlink_id}"
        )
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _carry_out(self, transmit: Transmit, gateway_id: GatewayId, command: gw.DownlinkFrame) -> None:
        try:
            request = request_of(command, gateway_id)
        except Unfit as unfit:
            log.warning("chirpstack_downlink_unfit", gw_eui=gateway_id.hex(), error=str(unfit))
            self._publish_ack(gateway_id, command, ["INTERNAL_ERROR"])
            return
        reply: TransmitReply = await transmit(gateway_id, request)
        fed = self._fed.get(gateway_id)
        if fed is not None:
            fed.counts.count_reply(request, reply)
        self._publish_ack(gateway_id, command, statuses_of(request, reply))

    def _publish_ack(self, gateway_id: GatewayId, command: gw.DownlinkFrame, statuses: list[str]) -> None:
        FEED.labels("command/down", statuses[-1].lower()).inc()
        self._say(gateway_id, "event/ack", encode(ack_event(command, statuses), as_json=self._as_json))

    def _take_config(self, topic: EventTopic, config: gw.GatewayConfiguration) -> None:
        """Keep its version for the statistics; the channels in it are not applied."""
        asked_s = config.stats_interval.seconds
        every_s = min(max(SHORTEST_STATS_S, asked_s), LONGEST_STATS_S) if asked_s > 0 else self._stats_every_s
        self._configured[topic.gateway_id] = (config.version, every_s)
        fed = self._fed.get(topic.gateway_id)
        if fed is not None:
            fed.stats_due_at = min(fed.stats_due_at, self._loop.time() + every_s)
        FEED.labels("command/config", "ok").inc()
