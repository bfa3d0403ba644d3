"""Turns ChirpStack v4's `command/down` of an application into a downlink row.

Acknowledged to their broker once the row is committed, or the command rejected. A command with an `id` becomes one
row however often it is delivered; one without may become two when we are killed between the commit and the
acknowledgement, as MQTT's QoS 1 has it.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from google.protobuf import json_format

from core.messages import topics
from core.messages.chirpstack import integration
from core.messages.topics import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from core.runtime.mqtt import MqttMessage, MqttSession
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool, UniqueViolationError
from decoders.catalogue import can_switch
from integrations.applications import store
from integrations.applications.application_stats import ApplicationStats
from lorawan.airtime import Priority
from lorawan.identifiers import EUI_LENGTH, parse_eui
from registry.applications import Application
from registry.downlinks import Enqueued

COMMAND = "command/down"
LONGEST_COMMAND = 16_384  # Octets of JSON
LONGEST_ITEM = 100
LONGEST_PAYLOAD = 242
LAST_APPLICATION_PORT = 223
# The term of a downlink without one, and the longest, as in the API.
USUAL_WAIT = timedelta(days=1)
LONGEST_WAIT = timedelta(days=30)
# Further commands of an application whose device has so many downlinks waiting are rejected.
WAITING_AT_MOST = 100
TRY_AGAIN_S = 1.0

log = structlog.get_logger()


class RejectedCommand(ValueError):
    """The command becomes no downlink: `reason` labels the metric, the message is French."""

    def __init__(self, reason: str, french: str) -> None:
        super().__init__(french)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Command:
    """A downlink that an application asks for; `item` is the application's own id of it."""

    dev_eui: bytes
    item: str | None
    f_port: int
    payload: bytes
    confirmed: bool
    not_after: datetime


def command_filter(application: Application) -> str:
    """The topic filter of this application's commands."""
    return f"{application.topics}/device/+/{COMMAND}"


def read_command(topic: str, body: bytes, now: datetime) -> Command:
    """The command in a message.

    Raises:
        RejectedCommand: it is none that can be carried out.
    """
    if len(body) > LONGEST_COMMAND:
        raise RejectedCommand("too_long", f"commande de {len(body)} octets : {LONGEST_COMMAND} au plus")
    try:
        asked = json_format.Parse(body, integration.DownlinkCommand(), ignore_unknown_fields=True)
        of_topic, dev_eui = parse_eui(topic.split("/")[-3]), parse_eui(asked.dev_eui)
        not_after = now + USUAL_WAIT
        if asked.HasField("expires_at"):
            not_after = asked.expires_at.ToDatetime(UTC)
    except (ValueError, OverflowError, RecursionError, json_format.Error) as wrong:
        raise RejectedCommand("unreadable", f"commande illisible : {wrong}") from None
    if dev_eui != of_topic or len(dev_eui) != EUI_LENGTH:
        raise RejectedCommand("dev_eui", f"devEui {asked.dev_eui} : ce n'est pas celui du topic")
    if not asked.data and asked.HasField("object"):
        raise RejectedCommand("object", "« object » n'est pas pris en charge : envoyez « data »")
    if not 1 <= asked.f_port <= LAST_APPLICATION_PORT:
        raise RejectedCommand("f_port", f"fPort {asked.f_port} : entre 1 et {LAST_APPLICATION_PORT} attendu")
    if len(asked.data) > LONGEST_PAYLOAD:
        raise RejectedCommand("payload", f"{len(asked.data)} octets : {LONGEST_PAYLOAD} au plus")
    if not now < not_after <= now + LONGEST_WAIT:
        raise RejectedCommand("expires_at", "« expiresAt » doit être à venir, dans 30 jours au plus")
    if len(asked.id) > LONGEST_ITEM or "\0" in asked.id:
        raise RejectedCommand("id", f"« id » de plus de {LONGEST_ITEM} caractères, ou avec un caractère nul")
    return Command(dev_eui, asked.id or None, asked.f_port, asked.data, asked.confirmed, not_after)


@dataclass(frozen=True, slots=True)
class Commands:
    """Turns the commands of one application into downlinks."""

    pool: Pool
    bus: Bus
    shards: int
    application: Application
    stats: ApplicationStats

    async def receive(self, mqtt_session: MqttSession) -> None:
        """Handle the messages of their broker, in order, until cancelled."""
        while True:
            messages = await mqtt_session.batch()
            for message in messages:
                await self._settle(message)
                mqtt_session.ack([message])

    async def _settle(self, message: MqttMessage) -> None:
        """Return once their broker may forget it, however long the database is away."""
        if message.retain:  # Kept for new subscribers: it was carried out when it was new.
            self.stats.record_rejection(
                self.application, "retained", "commande conservée par leur courtier (retain)"
            )
            return
        while True:
            try:
                await self._enqueue_command(read_command(message.topic, message.payload, datetime.now(UTC)))
            except RejectedCommand as refused:
                self.stats.record_rejection(self.application, refused.reason, str(refused))
            except DATABASE_AWAY as away:
                log.warning("command_waits", application=self.application.id, error=describe(away))
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            return

    async def _enqueue_command(self, command: Command) -> None:
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                device = await store.find_device(connection, self.application.id, command.dev_eui, command.item)
                queued = await self._queue(connection, command, allowed(device, command))
        except UniqueViolationError:
            queued = None  # Another delivery of it came first.
        if queued is None:
            return
        self.stats.command(self.application)
        with contextlib.suppress(*BUS_AWAY):  # The row is the truth: the network finds it a little later.
            shard = shard_of_slot(queued.slot, self.shards)
            await self.bus.nudge(topics.downlink_due(shard), b"")

    async def _queue(self, connection: Connection, command: Command, device: store.FoundDevice) -> Enqueued | None:
        if device.is_known:
            return None
        return await store.queue_downlink(
            connection,
            self.application.id,
            self.application.tenant_id,
            command.item,
            device.id,
            f_port=command.f_port,
            payload=command.payload,
            not_after=command.not_after,
            confirmed=command.confirmed,
            priority=Priority.ROUTINE,
        )


def allowed(device: store.FoundDevice | None, command: Command) -> store.FoundDevice:
    """The device, when this command may be sent to it.

    Raises:
        RejectedCommand: it may not.
    """
    if device is None:
        raise RejectedCommand("unknown_device", f"capteur {command.dev_eui.hex()} inconnu de cette application")
    if not device.enabled:
        raise RejectedCommand("disabled", f"capteur {command.dev_eui.hex()} désactivé")
    if can_switch(device.codec, device.capabilities):
        raise RejectedCommand(
            "lighting", f"capteur {command.dev_eui.hex()} : l'éclairage se commande par /v1/lighting/commands"
        )
    if device.activation == "EXTERNAL" and device.lns_source_id is None:
        raise RejectedCommand("other_network", f"capteur {command.dev_eui.hex()} activé par un autre réseau")
    if device.waiting >= WAITING_AT_MOST and not device.is_known:
        raise RejectedCommand(
            "queue_full", f"capteur {command.dev_eui.hex()} : {device.waiting} messages attendent"
        )
    return device
