"""Applications, each kept by one replica: connected to their broker it publishes events and takes commands."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from core.runtime.bus import Bus
from core.runtime.errors import describe
from core.runtime.lease import Lease, LeaseLost, keep_lease, release_lease, take_lease
from core.runtime.mqtt import Broker, MqttEdge, MqttSettings
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.applications.application_stats import Tallies
from integrations.applications.commands import Commands, command_filter
from integrations.applications.event_publisher import Publisher
from integrations.lns.telemetry import APPLICATIONS_CONNECTED
from lorawan.crypto import WrongKek
from registry.applications import Application, read_enabled_applications
from registry.changes import Change
from registry.keys import KeyWrap

LOOK_EVERY_S = 2.0
ONLY_SHARD = 0

log = structlog.get_logger()


def lease_name(application: int) -> str:
    """The name under which the replica that keeps this application holds its lease."""
    return f"intake_application_{application}"


@dataclass(frozen=True, slots=True)
class _Running:
    application: Application
    edge: MqttEdge
    task: asyncio.Task[None]


class ApplicationKeepers:
    """Takes the applications that no other replica keeps. `apply` is for a `RegistryWatcher`."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: int,
        keys: KeyWrap,
        tallies: Tallies,
        instance: str,
        *,
        session_expiry_s: int,
        backlog: int,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._shards = shards
        self._keys = keys
        self._tallies = tallies
        self._instance = instance
        self._session_expiry_s = session_expiry_s
        self._backlog = backlog
        self._wanted: Mapping[int, Application] = {}
        self._running: dict[int, _Running] = {}
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Read every application: there are dozens."""
        wanted = {application.id: application for application in await read_enabled_applications(self._pool)}
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def apply(self, changes: list[Change]) -> None:
        """Read anew when one changed."""
        if any(change.entity == "application" for change in changes):
            await self.load()

    async def run(self) -> None:
        """Keep what is to be kept until cancelled."""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._look()
                except DATABASE_AWAY as away:
                    log.warning("applications_not_taken", error=describe(away))
                connected = [running for running in self._running.values() if running.edge.is_connected]
                APPLICATIONS_CONNECTED.set(len(connected))
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._stop(list(self._running))

    async def _look(self) -> None:
        wanted = self._wanted
        await self._stop(
            [
                id_
                for id_, running in self._running.items()
                if running.task.done() or running.application != wanted.get(id_)
            ]
        )
        for running in self._running.values():
            if not running.edge.is_connected and running.edge.generation > 1:
                self._tallies.error(running.application, f"courtier MQTT injoignable : {running.edge.problem}")
        for id_ in wanted.keys() - self._running.keys():
            lease = await take_lease(self._pool, lease_name(id_), ONLY_SHARD, self._instance)
            if lease is not None:
                await self._start(wanted[id_], lease)

    async def _start(self, application: Application, lease: Lease) -> None:
        try:
            edge = edge_of(application, application.secret(self._keys), self._session_expiry_s)
        except (WrongKek, ValueError) as wrong:
            self._tallies.error(application, f"application inutilisable : {wrong}")
            await release_lease(self._pool, lease)
            return
        task = asyncio.create_task(
            self._serve(application, edge, lease), name=f"keep application {application.id}"
        )
        self._running[application.id] = _Running(application, edge, task)

    async def _stop(self, ids: Sequence[int]) -> None:
        stopping = [self._running.pop(id_) for id_ in ids]
        for running in stopping:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in stopping), return_exceptions=True)

    async def _serve(self, application: Application, edge: MqttEdge, lease: Lease) -> None:
        """Keep one until cancelled or until another replica has it; whatever fails ends this one only."""
        publisher = Publisher(self._pool, lease, application, edge, self._tallies, self._backlog)
        commands = Commands(self._pool, self._bus, self._shards, application, self._tallies)
        name = f"application {application.id}"
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self._pool, lease), name=f"keep lease of {name}")
                tasks.create_task(edge.run(), name=f"connect to {name}")
                tasks.create_task(publisher.run(), name=f"publish for {name}")
                tasks.create_task(commands.receive(edge), name=f"take commands of {name}")
        except* LeaseLost as lost:
            log.warning("application_lost", application=application.id, error=str(lost.exceptions[0]))
        except* Exception:
            log.exception("application_failed", application=application.id)
        finally:
            await release_lease(self._pool, lease)


def edge_of(application: Application, password: str | None, session_expiry_s: int) -> MqttEdge:
    """The connection to an application's broker.

    Raises:
        ValueError: its address is none of a broker.
    """
    broker = replace(Broker.from_url(application.mqtt_url), username=application.mqtt_user, password=password)
    settings = MqttSettings(mqtt_client_id=application.mqtt_client_id, mqtt_session_expiry=session_expiry_s)
    filters = [command_filter(application)] if application.takes_commands else []
    return MqttEdge(settings, filters, broker=broker)
