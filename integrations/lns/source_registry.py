"""Cache of sources and their tenants' devices; a registry change is live within 5 s."""

import asyncio
from collections.abc import Mapping

from core.runtime.postgres import Pool
from integrations.lns.store import FoundDevice, find_device
from registry.changes import Change
from registry.lns_sources import Source, read_enabled_sources

REMEMBERED_DEVICES = 100_000


class Sources:
    """The enabled sources. `apply` is for a `RegistryWatcher`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: Mapping[int, Source] = {}
        self.changed = asyncio.Event()
        """Set whenever the sources were read again."""

    async def load(self) -> None:
        """Read every source: there are dozens."""
        known = {source.id: source for source in await read_enabled_sources(self._pool)}
        if known != self._known:
            self._known = known
            self.changed.set()

    async def apply(self, changes: list[Change]) -> None:
        """Read the sources again when one changed, or a device did, which may have another source now."""
        if any(change.entity in {"lns_source", "device"} for change in changes):
            await self.load()

    def over_http(self, source_id: int) -> Source | None:
        """The enabled source that pushes under this id."""
        source = self._known.get(source_id)
        return source if source is not None and source.transport == "http" else None

    def to_keep(self) -> dict[int, Source]:
        """Sources by id that one replica has to run: to read their broker, or to send downlinks by way of them."""
        return {
            source.id: source for source in self._known.values() if source.transport == "mqtt" or source.carries
        }


class Devices:
    """Devices by tenant and DevEUI, absent ones too; each is read once, and removed when something changed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[tuple[int, bytes], FoundDevice | None] = {}
        self._changes = 0

    async def find(self, tenant_id: int, dev_eui: bytes) -> FoundDevice | None:
        """The tenant's device of this DevEUI; raises one of DATABASE_AWAY when it has to be read and cannot be."""
        key = tenant_id, dev_eui
        if key in self._known:
            return self._known[key]
        before = self._changes
        found = await find_device(self._pool, tenant_id, dev_eui)
        if self._changes == before:  # What changed while it was read is read again next time.
            if len(self._known) >= REMEMBERED_DEVICES:
                self._known.clear()
            self._known[key] = found
        return found

    def apply(self, changes: list[Change]) -> None:
        """Remove the devices that changed, and all that were absent."""
        ids = {change.entity_id for change in changes if change.entity == "device"}
        if ids:
            self._changes += 1
            for key, found in list(self._known.items()):
                if found is None or found.id in ids:
                    del self._known[key]
