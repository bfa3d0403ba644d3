"""Composition root of alerting: open, start, wait, drain, close."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

from alerting.addresses import seal_addresses
from alerting.background import (
    keep_counting,
    keep_dispatching,
    keep_dispatching_measurements,
    keep_dispatching_work_orders,
    keep_sweeping,
)
from alerting.delivery import ORIGIN, Deliverer
from alerting.engine import Engine
from alerting.rulebook import Rulebook
from alerting.worker import WebhookWorker
from core.messages import topics
from core.runtime.bus_state import bus_shown
from core.runtime.ownership import Sharded, ShardOwner
from registry.changes import Change, RegistryWatcher
from registry.keys import key_wrap_of
from registry.outages import keep_beating, keep_watching_outages
from registry.service import open_service
from services.alerting.settings import AlertingSettings


async def run(settings: AlertingSettings, stopping: asyncio.Event) -> None:
    """Own shards of MEASUREMENTS, evaluate what they bring, and deliver webhooks, until stopped."""
    async with (
        bus_shown(settings.nats_url.get_secret_value(), f"{settings.instance} bus"),
        open_service("alerting", settings) as service,
    ):
        pool, bus, shards = service.pool, service.bus, service.shards
        keys = key_wrap_of(settings)
        async with pool.acquire() as connection:
            await seal_addresses(connection, keys)  # Those of a version that kept them as they are.
        rulebook = Rulebook(pool)
        deliverer = Deliverer(
            pool,
            keys,
            schedule_s=settings.webhook_schedule_s,
            permit_http=settings.webhook_permit_http,
            mailer=settings.mailer,
            places_of_a_tenant=settings.webhook_concurrency // 2,
            origin=urlsplit(settings.public_url).hostname or ORIGIN,
        )
        worker = WebhookWorker(
            pool,
            settings.database_url.get_secret_value(),
            "alerting",
            deliverer,
            concurrency=settings.webhook_concurrency,
        )

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
        service.is_ready({"shards": owner.check_share})
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(watcher.watch(), name="watch the registry"),
                tasks.create_task(keep_sweeping(engine, owner, settings.sweep_s), name="sweep deadlines"),
                tasks.create_task(
                    keep_dispatching(pool, settings.dispatch_s, settings.report_link),
                    name="send digests and escalate",
                ),
                tasks.create_task(
                    keep_dispatching_work_orders(pool, settings.work_order_link, settings.dispatch_s),
                    name="open and send work orders",
                ),
                tasks.create_task(
                    keep_dispatching_measurements(pool, settings.measurement_webhooks_s), name="batch measurements"
                ),
                tasks.create_task(keep_counting(pool), name="count"),
                tasks.create_task(keep_beating(pool, "platform"), name="leave signs of life"),
                tasks.create_task(keep_watching_outages(pool), name="watch for outages"),
            ]
            owning = tasks.create_task(owner.run(), name="own shards")
            delivering = tasks.create_task(worker.work(stopping), name="deliver webhooks")
            await stopping.wait()
            for task in (*background, owning):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await owning
            await delivering  # Attempts on their way end within their own ten seconds.
