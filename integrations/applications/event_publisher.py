"""Publishes the queued events of one application, by the replica that holds its lease.

An event is deleted once their broker has acknowledged every message of it: a crash in between publishes it again,
under the same `deduplicationId`. While the broker is away the events wait in the database, at most `backlog` of
them; the oldest beyond that are dropped and counted.
"""

import asyncio
import contextlib
from datetime import timedelta

import structlog

from core.runtime.errors import describe
from core.runtime.lease import Lease, LeaseLost
from core.runtime.mqtt import MqttAway, MqttRejected, MqttSession
from core.runtime.ownership import fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.applications import store
from integrations.applications.access_rights import Allowed, allowed_events
from integrations.applications.application_stats import ApplicationStats
from integrations.applications.events import Event, publications
from integrations.lns.telemetry import APPLICATION_EVENTS
from registry.applications import Application

AT_ONCE = 200
POLL_S = 0.5
FINISH_S = 8.0
COUNT_EVERY_S = 10.0
# What their broker rejects, by an access list for example, is published again after a while; the rest goes on.
REFUSED_WAIT = timedelta(minutes=5)

log = structlog.get_logger()


class Publisher:
    """Publishes one application's events while its lease holds."""

    def __init__(
        self,
        pool: Pool,
        lease: Lease,
        application: Application,
        mqtt_session: MqttSession,
        stats: ApplicationStats,
        backlog: int,
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._application = application
        self._edge = mqtt_session
        self._tallies = stats
        self._backlog = backlog
        self._next_count = 0.0

    async def run(self) -> None:
        """Publish what is due, over and over, until cancelled; raises LeaseLost when another replica has it."""
        while True:
            is_busy = False
            try:
                await self._bound()
                if self._edge.is_connected:
                    is_busy = await self._whole_pass()
            except DATABASE_AWAY as away:
                log.warning("events_not_taken", application=self._application.id, error=describe(away))
            if not is_busy:
                await asyncio.sleep(POLL_S)

    async def _whole_pass(self) -> bool:
        """Publish one batch; when cancelled, it still deletes what their broker has just acknowledged."""
        passing = asyncio.ensure_future(self._publish_batch())
        try:
            return await asyncio.shield(passing)
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError, LeaseLost, *DATABASE_AWAY):
                async with asyncio.timeout(FINISH_S):
                    await passing
            raise

    async def _publish_batch(self) -> bool:
        """Publish one batch; whether there may be more that can be published at once."""
        application = self._application
        due = await store.read_due(self._pool, application.id, AT_ONCE)
        allowed = await self._allowed(due.events)
        self._lease.check()
        outcomes = await asyncio.gather(*map(self._publish, allowed.events))
        ids: dict[str, list[int]] = {"untold": due.untold}
        for event, outcome in zip(allowed.events, outcomes, strict=True):
            APPLICATION_EVENTS.labels(event.kind, outcome).inc()
            ids.setdefault(outcome, []).append(event.id)
        published, refused, away = (ids.get(outcome, []) for outcome in ("published", "refused", "away"))
        lost = due.untold + ids.get("unwritable", [])
        if published or refused or lost or allowed.withheld:
            async with fenced(self._pool, [self._lease]) as connection:
                await store.delete_events(connection, published + lost + allowed.withheld)
                await store.postpone_events(connection, refused, REFUSED_WAIT)
        self._tallies.published(application, len(published))
        self._tallies.withheld(application, len(allowed.withheld))
        if lost:
            self._tallies.dropped(application, len(lost))
        return not away and len(due.events) + len(due.untold) == AT_ONCE

    async def _allowed(self, events: list[Event]) -> Allowed:
        """What may be published: of an MQTT access what its owner may see at this instant."""
        if not self._application.at_our_broker:
            return Allowed(events, [])
        async with self._pool.acquire() as connection, connection.transaction():
            return await allowed_events(connection, self._application, events)

    async def _publish(self, event: Event) -> str:
        """The outcome: published, rejected or away (both are tried again), or unwritable."""
        try:
            messages = publications(self._application, event)
        except Exception as defect:  # A defect of ours costs its own event, and no others.
            log.exception("event_unwritable", application=self._application.id, event_id=event.id)
            self._tallies.error(self._application, f"événement impossible à écrire : {defect}")
            return "unwritable"
        try:
            for message in messages:
                await self._edge.publish(message.topic, message.payload)
        except MqttAway:
            return "away"
        except MqttRejected as refused:
            self._tallies.error(self._application, f"leur courtier refuse un événement : {refused}")
            return "refused"
        return "published"

    async def _bound(self) -> None:
        """Now and then count the events that wait, and drop the oldest above the limit."""
        now = asyncio.get_running_loop().time()
        if now < self._next_count:
            return
        application = self._application
        waiting = await store.count_waiting(self._pool, application.id)
        if waiting > self._backlog:
            async with fenced(self._pool, [self._lease]) as connection:
                dropped = await store.drop_oldest(connection, application.id, waiting - self._backlog)
            waiting -= dropped
            self._tallies.dropped(application, dropped)
            self._tallies.error(application, f"{dropped} événements abandonnés : trop en attente")
        self._tallies.waiting(application, waiting)
        self._next_count = now + COUNT_EVERY_S
