"""Counts and errors of each application, kept in memory and saved every few seconds."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.applications.store import ApplicationCounts, save_states
from integrations.lns.telemetry import APPLICATION_COMMANDS, APPLICATION_DROPPED, APPLICATION_WITHHELD
from registry.applications import Application

SAVE_EVERY_S = 2.0
LONGEST_ERROR = 500

log = structlog.get_logger()


@dataclass(slots=True)
class ApplicationStats:
    """The counts since the last save, by application."""

    pool: Pool
    _kept: dict[int, ApplicationCounts] = field(default_factory=dict[int, ApplicationCounts])
    _changed: set[int] = field(default_factory=set[int])

    def published(self, application: Application, count: int) -> None:
        """Count events that their broker has acknowledged."""
        if count:
            tally = self._of(application)
            tally.published += count
            tally.published_at = datetime.now(UTC)

    def dropped(self, application: Application, count: int) -> None:
        """Count events that were dropped unpublished."""
        APPLICATION_DROPPED.inc(count)
        self._of(application).dropped += count

    def withheld(self, application: Application, count: int) -> None:
        """Count events that were dropped because their owner may not see them."""
        if count:
            APPLICATION_WITHHELD.inc(count)
            self._of(application).withheld += count

    def waiting(self, application: Application, count: int) -> None:
        """Record how many events are still to be published."""
        self._of(application).waiting = count

    def command(self, application: Application) -> None:
        """Count a command that became a downlink."""
        APPLICATION_COMMANDS.labels("queued").inc()
        self._of(application).commands += 1

    def record_rejection(self, application: Application, reason: str, french: str) -> None:
        """Count a command that was rejected, with the reason."""
        APPLICATION_COMMANDS.labels(reason).inc()
        self._of(application).refused += 1
        self.error(application, french)

    def error(self, application: Application, french: str) -> None:
        """Record the error that the API shows beside the application."""
        tally = self._of(application)
        tally.error, tally.error_at = french[:LONGEST_ERROR].replace("\0", ""), datetime.now(UTC)

    async def run(self) -> None:
        """Save every few seconds until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write what was counted since the last save; while the database is away, counting goes on."""
        changed = {id_: self._kept[id_] for id_ in self._changed}
        if not changed:
            return
        self._changed = set()
        for id_, tally in changed.items():
            self._kept[id_] = ApplicationCounts(waiting=tally.waiting)
        try:
            await save_states(self.pool, changed)
        except DATABASE_AWAY as away:
            log.warning("tallies_not_saved", error=describe(away))
            for id_, before in changed.items():
                self._increment(id_, before)

    def _increment(self, id_: int, before: ApplicationCounts) -> None:
        now = self._kept[id_]
        now.published += before.published
        now.dropped += before.dropped
        now.withheld += before.withheld
        now.commands += before.commands
        now.refused += before.refused
        now.published_at = now.published_at or before.published_at
        if now.error is None:
            now.error, now.error_at = before.error, before.error_at
        self._changed.add(id_)

    def _of(self, application: Application) -> ApplicationCounts:
        self._changed.add(application.id)
        return self._kept.setdefault(application.id, ApplicationCounts())
