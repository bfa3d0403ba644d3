"""LNS that are read by MQTT: one connection per enabled source, by one replica at a time.

A message is acknowledged to their broker once its uplink is in the stream, or there is nothing to do about it. The
Things Stack and Live Objects speak MQTT 3.1.1 and are spoken to so; the others MQTT 5. The Things Stack sends at
QoS 0 whatever is asked: what it sends while nobody is connected is lost, its webhooks are the safer way.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from core.registry.keys import KeyWrap
from core.registry.lns_sources import Source
from core.runtime.lease import Lease, LeaseLost, keep_lease, release_lease, take_lease
from core.runtime.mqtt import Broker, MqttEdge, MqttMessage, MqttSettings
from core.runtime.postgres import DATABASE_AWAY, Pool
from lorawan.crypto import WrongKek
from services.intake.adapters import live_objects, the_things_stack
from services.intake.foreign import ForeignMessage
from services.intake.publisher import TooMuchWaiting
from services.intake.reception import Reception
from services.intake.registry import Sources
from services.intake.telemetry import CONNECTED

LOOK_EVERY_S = 2.0
TRY_AGAIN_S = 1.0
SPEAK_3 = (the_things_stack.NAME, live_objects.NAME)
ONLY_SHARD = 0

log = structlog.get_logger()


def lease_name(source_id: int) -> str:
    """The name under which the replica that reads this source holds its lease."""
    return f"intake_mqtt_{source_id}"


@dataclass(frozen=True, slots=True)
class _Running:
    source: Source
    edge: MqttEdge
    task: asyncio.Task[None]


class MqttSources:
    """Connects to what is enabled and not read by another replica, and lets go of what is no longer."""

    def __init__(
        self,
        pool: Pool,
        sources: Sources,
        reception: Reception,
        keys: KeyWrap,
        instance: str,
        session_expiry_s: int,
    ) -> None:
        self._pool = pool
        self._sources = sources
        self._reception = reception
        self._keys = keys
        self._instance = instance
        self._session_expiry_s = session_expiry_s
        self._running: dict[int, _Running] = {}

    def connected(self) -> set[int]:
        """The sources whose broker this replica is connected to."""
        return {source_id for source_id, running in self._running.items() if running.edge.is_connected}

    async def run(self) -> None:
        """Keep connected to what is to be read until cancelled."""
        try:
            while True:
                self._sources.changed.clear()
                try:
                    await self._look()
                except DATABASE_AWAY as away:
                    log.warning("sources_not_taken", error=str(away) or type(away).__name__)
                CONNECTED.set(len(self.connected()))
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._sources.changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._stop(list(self._running))

    async def _look(self) -> None:
        wanted = self._sources.over_mqtt()
        await self._stop(
            [
                source_id
                for source_id, running in self._running.items()
                if running.task.done() or wanted.get(source_id) != running.source
            ]
        )
        for running in self._running.values():
            if not running.edge.is_connected and running.edge.generation > 1:
                self._reception.sightings.error(
                    running.source, f"courtier MQTT injoignable : {running.edge.problem}"
                )
        for source_id in wanted.keys() - self._running.keys():
            lease = await take_lease(self._pool, lease_name(source_id), ONLY_SHARD, self._instance)
            if lease is not None:
                await self._start(wanted[source_id], lease)

    async def _start(self, source: Source, lease: Lease) -> None:
        try:
            edge = self._edge(source)
        except (WrongKek, ValueError) as wrong:
            self._reception.sightings.error(source, f"source MQTT inutilisable : {wrong}")
            await release_lease(self._pool, lease)
            return
        task = asyncio.create_task(self._serve(source, edge, lease), name=f"read source {source.id}")
        self._running[source.id] = _Running(source, edge, task)

    def _edge(self, source: Source) -> MqttEdge:
        broker = Broker.from_url(source.mqtt_url or "")
        broker = replace(broker, username=source.mqtt_user, password=source.secret(self._keys))
        settings = MqttSettings(mqtt_client_id=source.mqtt_client_id, mqtt_session_expiry=self._session_expiry_s)
        filters = [source.mqtt_topic or ""]
        return MqttEdge(settings, filters, broker=broker, speaks_3=source.kind in SPEAK_3)

    async def _stop(self, source_ids: Sequence[int]) -> None:
        stopping = [self._running.pop(source_id) for source_id in source_ids]
        for running in stopping:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in stopping), return_exceptions=True)

    async def _serve(self, source: Source, edge: MqttEdge, lease: Lease) -> None:
        """Read one source until cancelled or until another replica has it; whatever fails ends this one only."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self._pool, lease), name=f"keep lease of source {source.id}")
                tasks.create_task(edge.run(), name=f"connect to source {source.id}")
                tasks.create_task(self._receive(source, edge), name=f"receive from source {source.id}")
        except* LeaseLost as lost:
            log.warning("source_lost", source=source.id, error=str(lost.exceptions[0]))
        except* Exception:
            log.exception("source_failed", source=source.id)
        finally:
            await release_lease(self._pool, lease)

    async def _receive(self, source: Source, edge: MqttEdge) -> None:
        while True:
            messages = await edge.batch()
            received_at_us = time.time_ns() // 1000
            await asyncio.gather(*(self._settle(source, message, received_at_us) for message in messages))
            edge.ack(messages)

    async def _settle(self, source: Source, message: MqttMessage, received_at_us: int) -> None:
        """Return once the broker may forget it, however long the bus or the database is away."""
        if message.retain:  # Kept for whoever subscribes: it was taken when it was new.
            self._reception.sightings.ignored(source, "retained")
            return
        foreign = ForeignMessage(message.payload, message.topic)
        while True:
            try:
                await self._reception.take(source, foreign, received_at_us)
            except (TooMuchWaiting, *DATABASE_AWAY) as away:
                log.warning("message_waits", source=source.id, error=str(away) or type(away).__name__)
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                return
