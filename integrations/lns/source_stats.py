"""Counts and errors of each source, unknown devices, unreadable messages, and devices' addresses at their LNS.

Kept in memory, and saved every few seconds.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.lns.downlink_store import save_routes
from integrations.lns.store import Seen, UnknownSeen, Unread, save_states, save_unknown, save_unread
from integrations.lns.telemetry import MESSAGES
from registry.lns_sources import Source

SAVE_EVERY_S = 2.0
# Between two saves. Anybody with a source's token can invent devices and send rubbish: the rest is only counted.
MAX_UNKNOWN = 500
MAX_UNREAD = 20
REMEMBERED_ROUTES = 100_000
LONGEST_ADDRESS = 500
LONGEST_ERROR = 500

log = structlog.get_logger()


@dataclass(slots=True)
class SourceStats:
    """The counts since the last save."""

    pool: Pool
    _seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    _unknown: dict[tuple[int, bytes], UnknownSeen] = field(default_factory=dict[tuple[int, bytes], UnknownSeen])
    _unread: list[Unread] = field(default_factory=list[Unread])
    _known_routes: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    _new_routes: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    def accepted(self, source: Source) -> None:
        """Count an uplink that is in the stream."""
        MESSAGES.labels(source.kind, "accepted").inc()
        self._of(source).accepted += 1

    def ignored(self, source: Source, kind: str) -> None:
        """Count a message that is no uplink."""
        MESSAGES.labels(source.kind, "ignored").inc()
        self._of(source).ignored += 1
        log.debug("message_ignored", source=source.id, kind=kind)

    def record_rejection(self, source: Source, reason: str, french: str, count: int = 1) -> None:
        """Count messages that become no uplink, with the reason."""
        MESSAGES.labels(source.kind, reason).inc(count)
        self._of(source).refused += count
        self.error(source, french)

    def unknown(self, source: Source, dev_eui: bytes) -> None:
        """Count a device that the source's tenant has not registered."""
        self.record_rejection(source, "unknown_device", f"capteur {dev_eui.hex()} inconnu de cette collectivité")
        key = source.id, dev_eui
        if key in self._unknown or len(self._unknown) < MAX_UNKNOWN:
            seen = self._unknown.setdefault(key, UnknownSeen(datetime.now(UTC)))
            seen.seen_at = datetime.now(UTC)
            seen.messages += 1

    def unread(self, source: Source, reason: str, french: str, body: bytes) -> None:
        """Keep a message that cannot be read."""
        self.record_rejection(source, reason, french)
        if len(self._unread) < MAX_UNREAD:
            self._unread.append(Unread(source.id, french, body))

    def route(self, source: Source, device_id: int, address: str) -> None:
        """Record the device's address at its LNS."""
        key = source.id, device_id
        if self._known_routes.get(key) == address or len(address) > LONGEST_ADDRESS or "\0" in address:
            return
        if len(self._known_routes) >= REMEMBERED_ROUTES:
            self._known_routes.clear()
        self._known_routes[key] = self._new_routes[key] = address

    def error(self, source: Source, french: str) -> None:
        """Record the error that the API shows beside the source."""
        seen = self._seen.setdefault(source.id, Seen())
        seen.error, seen.error_at = french[:LONGEST_ERROR].replace("\0", ""), datetime.now(UTC)

    def _of(self, source: Source) -> Seen:
        seen = self._seen.setdefault(source.id, Seen())
        seen.seen_at = datetime.now(UTC)
        return seen

    async def run(self) -> None:
        """Save every few seconds until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write what was noted since the last save; while the database is away it waits, bounded."""
        seen, unknown, unread = self._seen, self._unknown, self._unread
        self._seen, self._unknown, self._unread = {}, {}, []
        routes, self._new_routes = self._new_routes, {}
        try:
            if routes:
                await save_routes(self.pool, [(*key, address) for key, address in routes.items()])
                routes = {}
            if seen:
                await save_states(self.pool, seen)
                seen = {}
            if unknown:
                await save_unknown(self.pool, unknown)
                unknown = {}
            if unread:
                await save_unread(self.pool, unread)
        except DATABASE_AWAY as away:
            log.warning("sightings_not_saved", error=describe(away))
            self._merge(seen, unknown)
            self._new_routes = routes | self._new_routes
            self._unread = (unread + self._unread)[:MAX_UNREAD]

    def _merge(self, seen: dict[int, Seen], unknown: dict[tuple[int, bytes], UnknownSeen]) -> None:
        for source_id, before in seen.items():
            now = self._seen.setdefault(source_id, Seen())
            now.accepted += before.accepted
            now.ignored += before.ignored
            now.refused += before.refused
            now.seen_at = now.seen_at or before.seen_at
            if now.error is None:
                now.error, now.error_at = before.error, before.error_at
        for key, earlier in unknown.items():
            if key in self._unknown:
                self._unknown[key].messages += earlier.messages
            elif len(self._unknown) < MAX_UNKNOWN:
                self._unknown[key] = earlier
