"""Sources that one replica at a time keeps: it reads their broker, and hands their downlinks over."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from core.runtime.bus import Bus
from core.runtime.errors import describe
from core.runtime.lease import Lease, LeaseLost, keep_lease, release_lease, take_lease
from core.runtime.mqtt import MqttEdge
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.lns import downlink_store
from integrations.lns.downlink_sender import Sender, due_subject
from integrations.lns.lns_client import LnsClient, lns_client_of
from integrations.lns.message_handler import Reception
from integrations.lns.mqtt_source import edge_of, receive
from integrations.lns.source_registry import Sources
from integrations.lns.telemetry import CONNECTED
from lorawan.crypto import WrongKek
from registry.keys import KeyWrap
from registry.lns_sources import Source

LOOK_EVERY_S = 2.0
ONLY_SHARD = 0

log = structlog.get_logger()


def lease_name(source_id: int) -> str:
    """The name under which the replica that keeps this source holds its lease."""
    return f"intake_source_{source_id}"


@dataclass(frozen=True, slots=True)
class _Running:
    source: Source
    edge: MqttEdge | None
    sender: Sender
    task: asyncio.Task[None]


def _is_as(kept: Source, wanted: Source | None) -> bool:
    """Whether a source is kept as it is to be kept; whether it carries devices changes nothing about that."""
    return wanted is not None and replace(kept, carries=wanted.carries) == wanted


class Keepers:
    """Takes the sources that no other replica keeps, and lets go of those that need nobody any more."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        sources: Sources,
        reception: Reception,
        keys: KeyWrap,
        instance: str,
        session_expiry_s: int,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._sources = sources
        self._reception = reception
        self._keys = keys
        self._instance = instance
        self._session_expiry_s = session_expiry_s
        self._running: dict[int, _Running] = {}

    def connected(self) -> set[int]:
        """The sources whose broker this replica is connected to."""
        return {
            source_id
            for source_id, running in self._running.items()
            if running.edge is not None and running.edge.is_connected
        }

    async def run(self) -> None:
        """Keep what is to be kept until cancelled."""

        async def nudge(_subject: str, _data: bytes) -> None:
            for running in self._running.values():
                running.sender.wake.set()

        await self._bus.subscribe(due_subject(self._reception.reports.shards), nudge)
        try:
            while True:
                self._sources.changed.clear()
                try:
                    await self._look()
                except DATABASE_AWAY as away:
                    log.warning("sources_not_taken", error=describe(away))
                CONNECTED.set(len(self.connected()))
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._sources.changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._stop(list(self._running))

    async def _look(self) -> None:
        wanted = self._sources.to_keep()
        await self._stop(
            [
                source_id
                for source_id, running in self._running.items()
                if running.task.done() or not _is_as(running.source, wanted.get(source_id))
            ]
        )
        for running in self._running.values():
            edge = running.edge
            if edge is not None and not edge.is_connected and edge.generation > 1:
                self._reception.sightings.error(running.source, f"courtier MQTT injoignable : {edge.problem}")
        for source_id in wanted.keys() - self._running.keys():
            lease = await take_lease(self._pool, lease_name(source_id), ONLY_SHARD, self._instance)
            if lease is not None:
                await self._start(wanted[source_id], lease)

    async def _start(self, source: Source, lease: Lease) -> None:
        try:
            secret = source.secret(self._keys)
            edge = edge_of(source, secret, self._session_expiry_s) if source.transport == "mqtt" else None
        except (WrongKek, ValueError) as wrong:
            self._reception.sightings.error(source, f"source inutilisable : {wrong}")
            await release_lease(self._pool, lease)
            return
        allowed = partial(downlink_store.read_allow_list, self._pool, source.tenant_id)
        sender = self._sender(source, lease, lns_client_of(source, secret, edge, allowed))
        task = asyncio.create_task(self._serve(source, edge, sender, lease), name=f"keep source {source.id}")
        self._running[source.id] = _Running(source, edge, sender, task)

    def _sender(self, source: Source, lease: Lease, client: LnsClient) -> Sender:
        reception = self._reception
        return Sender(self._pool, reception.reports, lease, source, client, reception.sightings)

    async def _stop(self, source_ids: Sequence[int]) -> None:
        stopping = [self._running.pop(source_id) for source_id in source_ids]
        for running in stopping:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in stopping), return_exceptions=True)

    async def _serve(self, source: Source, edge: MqttEdge | None, sender: Sender, lease: Lease) -> None:
        """Keep one source until cancelled or until another replica has it; whatever fails ends this one only."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self._pool, lease), name=f"keep lease of source {source.id}")
                tasks.create_task(sender.run(), name=f"send for source {source.id}")
                if edge is not None:
                    tasks.create_task(edge.run(), name=f"connect to source {source.id}")
                    tasks.create_task(
                        receive(source, edge, self._reception), name=f"receive from source {source.id}"
                    )
        except* LeaseLost as lost:
            log.warning("source_lost", source=source.id, error=str(lost.exceptions[0]))
        except* Exception:
            log.exception("source_failed", source=source.id)
        finally:
            await release_lease(self._pool, lease)
