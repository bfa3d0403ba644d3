"""Composition root of alerting."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from alerting.alert_rows import count_open
from alerting.delivery import Deliverer
from alerting.dispatch import dispatch
from alerting.engine import Engine
from alerting.queue import count_pending
from alerting.rulebook import Rulebook
from alerting.rules import SEVERITIES
from alerting.worker import WebhookWorker
from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.errors import describe
from core.runtime.health import bus_check, database_check, serve_health, starting
from core.runtime.lease import read_shards
from core.runtime.ownership import Sharded, ShardOwner
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError, open_pool
from registry.changes import Change, RegistryWatcher
from registry.keys import KeyWrap
from registry.schema import require_schema
from services.alerting.settings import AlertingSettings

COUNT_EVERY_S = 5.0

ALERTS_OPEN = Gauge("territoire_alerting_alerts_open", "Alerts that are not resolved", ["severity"])
DISPATCHED = Counter("territoire_alerting_dispatched_total", "What people were told later", ["what"])
OUTBOX_PENDING = Gauge("territoire_alerting_outbox_pending", "Webhook messages that wait or are on their way")
OUTBOX_OLDEST = Gauge("territoire_alerting_outbox_oldest_seconds", "Age of the oldest of them; 0: there is none")

log = structlog.get_logger()


async def _sweep(engine: Engine, owner: ShardOwner, every_s: float) -> None:
    while True:
        try:
            await engine.sweep(owner.leases)
        except DATABASE_AWAY as away:
            log.warning("sweep_put_off", error=describe(away))
        await asyncio.sleep(every_s)


async def _count(pool: Pool) -> None:
    while True:
        try:
            open_alerts = await count_open(pool)
            for severity in SEVERITIES:
                ALERTS_OPEN.labels(severity).set(open_alerts.get(severity, 0))
            pending, oldest_s = await count_pending(pool)
            OUTBOX_PENDING.set(pending)
            OUTBOX_OLDEST.set(oldest_s)
        except DATABASE_AWAY as away:
            log.warning("counts_not_read", error=describe(away))
        await asyncio.sleep(COUNT_EVERY_S)


async def _dispatch(pool: Pool, every_s: float) -> None:
    while True:
        try:
            done = await dispatch(pool, datetime.now(UTC))
            DISPATCHED.labels("digest").inc(done.digests)
            DISPATCHED.labels("escalation").inc(done.escalations)
        except (*DATABASE_AWAY, PostgresError) as failed:
            # Rolled back whole: the next turn finds the same.
            log.warning("dispatch_put_off", error=describe(failed))
        await asyncio.sleep(every_s)


async def run(settings: AlertingSettings, stopping: asyncio.Event) -> None:
    """Own shards of MEASUREMENTS, evaluate what they bring, and deliver webhooks, until stopped."""
    database_url = settings.database_url.get_secret_value()
    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(database_url, "alerting", size=settings.pool_size) as pool,
        connect_bus(settings.nats_url.get_secret_value(), settings.instance) as bus,
    ):
        async with pool.acquire() as connection:
            await require_schema(connection)
            shards = await read_shards(connection)
        rulebook = Rulebook(pool)
        deliverer = Deliverer(
            pool,
            KeyWrap(settings.kek_id, settings.kek_octets),
            schedule_s=settings.webhook_schedule_s,
            permit_http=settings.webhook_permit_http,
            mailer=settings.mailer,
            places_of_a_tenant=settings.webhook_concurrency // 2,
        )
        worker = WebhookWorker(pool, database_url, "alerting", deliverer, concurrency=settings.webhook_concurrency)

        async def apply(changes: Sequence[Change]) -> None:
            await rulebook.apply(changes)
            if any(change.entity == "webhook_endpoint" for change in changes):
                await worker.refresh()

        watcher = RegistryWatcher(pool, bus, apply)
        await rulebook.load()
        engine = Engine(
            pool,
            rulebook,
            shards,
            alert_link=settings.alert_link,
            least_watch=timedelta(seconds=settings.least_watch_s),
        )
        sharded = Sharded("alerting", topics.MEASUREMENTS, topics.measurements, shards, follows=True)
        owner = ShardOwner(pool, bus, sharded, settings.instance, engine.serve, stopping)
        readiness.checks = {"database": database_check(pool), "bus": bus_check(bus)}
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(watcher.watch(), name="watch the registry"),
                tasks.create_task(_sweep(engine, owner, settings.sweep_s), name="sweep deadlines"),
                tasks.create_task(_dispatch(pool, settings.dispatch_s), name="send digests and escalate"),
                tasks.create_task(_count(pool), name="count"),
            ]
            owning = tasks.create_task(owner.run(), name="own shards")
            delivering = tasks.create_task(worker.work(stopping), name="deliver webhooks")
            await stopping.wait()
            for task in (*background, owning):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await owning
            await delivering  # Attempts on their way end within their own ten seconds.
