"""Sources that one replica at a time holds: it reads their broker, and hands their downlinks over."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from core.runtime.bus import Bus
from core.runtime.lease import Lease
from core.runtime.postgres import Pool
from integrations.lease_runner import LeasedWork, LeaseRunner
from integrations.lns import downlink_store
from integrations.lns.downlink_sender import Sender, due_subject
from integrations.lns.lns_client import lns_client_of
from integrations.lns.message_handler import Reception
from integrations.lns.mqtt_source import mqtt_session_of, receive
from integrations.lns.source_registry import Sources
from integrations.lns.telemetry import CONNECTED
from registry.keys import KeyWrap
from registry.lns_sources import Source


class SourceRunner(LeaseRunner[Source]):
    """Takes the sources that no other replica holds, and stops those that are no longer wanted."""

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
        super().__init__(pool, "intake", instance, "source", sources.changed, CONNECTED)
        self._bus = bus
        self._sources = sources
        self._reception = reception
        self._keys = keys
        self._session_expiry_s = session_expiry_s

    async def run(self) -> None:
        """Take and hold sources until cancelled, and send at once the downlinks that a nudge announces."""

        async def nudge(_subject: str, _data: bytes) -> None:
            self.nudge()

        await self._bus.subscribe(due_subject(self._reception.reports.shards), nudge)
        await super().run()

    def wanted(self) -> Mapping[int, Source]:
        """Sources with a broker to be read or devices to be sent downlinks."""
        return self._sources.to_keep()

    def is_same(self, held: Source, wanted: Source) -> bool:
        """Whether devices get downlinks by way of it makes no difference to the connection."""
        return replace(held, carries=wanted.carries) == wanted

    def open_work(self, item: Source, lease: Lease) -> LeasedWork:
        """The source's broker connection and its downlinks; raises ValueError when its settings are unusable."""
        secret = item.secret(self._keys)
        edge = mqtt_session_of(item, secret, self._session_expiry_s) if item.transport == "mqtt" else None
        allowed = partial(downlink_store.read_allow_list, self._pool, item.tenant_id)
        client = lns_client_of(item, secret, edge, allowed)
        reception = self._reception
        sender = Sender(self._pool, reception.reports, lease, item, client, reception.source_stats)
        loops = {"send": sender.run}
        if edge is not None:
            loops |= {"connect": edge.run, "receive": partial(receive, item, edge, reception)}
        return LeasedWork(loops, edge, sender.wake.set)

    def report_error(self, item: Source, french: str) -> None:
        """Save the error beside the source, for the API."""
        self._reception.source_stats.error(item, french)
