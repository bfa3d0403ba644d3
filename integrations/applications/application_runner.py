"""Applications, each held by one replica: connected to their broker it publishes events and takes commands."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from core.runtime.bus import Bus
from core.runtime.lease import Lease
from core.runtime.mqtt import Broker, MqttSession, MqttSettings
from core.runtime.postgres import Pool
from integrations.applications.application_stats import ApplicationStats
from integrations.applications.commands import Commands, command_filter
from integrations.applications.event_publisher import Publisher
from integrations.lease_runner import LeasedWork, LeaseRunner
from integrations.lns.telemetry import APPLICATIONS_CONNECTED
from registry.applications import Application, read_enabled_applications
from registry.changes import Change
from registry.keys import KeyWrap
from registry.mqtt_accounts import client_id_of


class ApplicationRunner(LeaseRunner[Application]):
    """Takes the applications that no other replica holds. `apply` is for a `RegistryWatcher`."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: int,
        keys: KeyWrap,
        stats: ApplicationStats,
        instance: str,
        *,
        session_expiry_s: int,
        backlog: int,
        our_broker: str | None = None,
    ) -> None:
        """`our_broker`: where MQTT accesses are published to, `mqtt[s]://host:port[?ca=]`."""
        self._known: Mapping[int, Application] = {}
        self._known_anew = asyncio.Event()
        super().__init__(pool, "intake", instance, "application", self._known_anew, APPLICATIONS_CONNECTED)
        self._bus = bus
        self._shards = shards
        self._keys = keys
        self._tallies = stats
        self._session_expiry_s = session_expiry_s
        self._backlog = backlog
        self._our_broker = our_broker

    async def load(self) -> None:
        """Read every application: there are dozens."""
        known = {application.id: application for application in await read_enabled_applications(self._pool)}
        if known != self._known:
            self._known = known
            self._known_anew.set()

    async def apply(self, changes: list[Change]) -> None:
        """Read the applications again when one of them changed, or a tenant, whose slug is in topics."""
        if any(change.entity in {"application", "tenant"} for change in changes):
            await self.load()

    def wanted(self) -> Mapping[int, Application]:
        """All enabled applications, by id."""
        return self._known

    def open_work(self, item: Application, lease: Lease) -> LeasedWork:
        """The application's connection, events and commands; raises ValueError when its settings are unusable."""
        edge = mqtt_session_of(item, item.secret(self._keys), self._session_expiry_s, self._our_broker)
        publisher = Publisher(self._pool, lease, item, edge, self._tallies, self._backlog)
        commands = Commands(self._pool, self._bus, self._shards, item, self._tallies)
        loops = {"connect": edge.run, "publish": publisher.run, "take commands": partial(commands.receive, edge)}
        return LeasedWork(loops, edge)

    def report_error(self, item: Application, french: str) -> None:
        """Save the error beside the application, for the API."""
        self._tallies.error(item, french)


def mqtt_session_of(
    application: Application, password: str | None, session_expiry_s: int, our_broker: str | None = None
) -> MqttSession:
    """The connection to an application's broker, or of an MQTT access to ours.

    Raises:
        ValueError: its address is no broker's.
    """
    if application.at_our_broker and our_broker is None:
        raise ValueError("aucun courtier pour les accès MQTT : TERRITOIRE_MQTT_EVENTS_URL")
    is_ours = application.at_our_broker
    address = Broker.from_url((our_broker or "") if is_ours else application.mqtt_url, is_ours=is_ours)
    broker = replace(address, username=application.mqtt_user, password=password)
    client_id = client_id_of(application.mqtt_user, application.mqtt_client_id)
    settings = MqttSettings(mqtt_client_id=client_id, mqtt_session_expiry=session_expiry_s)
    filters = [command_filter(application)] if application.takes_commands else []
    return MqttSession(settings, filters, broker=broker)
