"""Reads LNS over MQTT: one connection per enabled source.

A message is acknowledged to their broker once its uplink is in the stream, or there is nothing to do about it. The
Things Stack and Live Objects speak MQTT 3.1.1 and are spoken to so; the others MQTT 5. The Things Stack sends at
QoS 0 whatever is asked: what it sends while nobody is connected is lost, and what it sends beyond some thousands
while the bus or the database is away; its webhooks are the safer way.
"""

import asyncio
from dataclasses import replace

import structlog

from core.runtime.clock import wall_clock_us
from core.runtime.errors import describe
from core.runtime.mqtt import Broker, MqttMessage, MqttSession, MqttSettings
from core.runtime.postgres import DATABASE_AWAY
from integrations.lns.adapters import live_objects, the_things_stack
from integrations.lns.lns_uplink import LnsMessage
from integrations.lns.message_handler import Reception
from integrations.lns.uplink_publisher import TooMuchWaiting
from registry.lns_sources import Source
from registry.mqtt_accounts import client_id_of

TRY_AGAIN_S = 1.0
SPEAK_3 = (the_things_stack.NAME, live_objects.NAME)

log = structlog.get_logger()


def mqtt_session_of(source: Source, password: str | None, session_expiry_s: int) -> MqttSession:
    """The connection to a source's broker.

    Raises:
        ValueError: its address is no broker's.
    """
    broker = replace(Broker.from_url(source.mqtt_url or ""), username=source.mqtt_user, password=password)
    client_id = client_id_of(source.mqtt_user, source.mqtt_client_id)
    settings = MqttSettings(mqtt_client_id=client_id, mqtt_session_expiry=session_expiry_s)
    filters = [source.mqtt_topic or ""]
    return MqttSession(settings, filters, broker=broker, speaks_3=source.kind in SPEAK_3)


async def receive(source: Source, mqtt_session: MqttSession, reception: Reception) -> None:
    """Handle the messages of their broker, until cancelled."""
    while True:
        messages = await mqtt_session.batch()
        received_at_us = wall_clock_us()
        await asyncio.gather(*(_settle(source, message, received_at_us, reception) for message in messages))
        mqtt_session.ack(messages)
        dropped = mqtt_session.take_dropped()
        if dropped:
            french = (
                f"messages envoyés sans garantie (QoS 0) et perdus, trop attendant la base ou le bus : {dropped}"
            )
            reception.source_stats.record_rejection(source, "too_many_waiting", french, count=dropped)


async def _settle(source: Source, message: MqttMessage, received_at_us: int, reception: Reception) -> None:
    """Return once the broker may forget it, however long the bus or the database is away."""
    if message.retain:  # Kept for new subscribers: it was handled when it was new.
        reception.source_stats.ignored(source, "retained")
        return
    foreign = LnsMessage(message.payload, message.topic)
    while True:
        try:
            await reception.handle_message(source, foreign, received_at_us)
        except (TooMuchWaiting, *DATABASE_AWAY) as away:
            log.warning("message_waits", source=source.id, error=describe(away))
            await asyncio.sleep(TRY_AGAIN_S)
        else:
            return
