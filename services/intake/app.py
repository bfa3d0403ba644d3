"""Composition root of intake: open, start, wait, drain, close."""

import asyncio

import structlog

from core.runtime.health import serve_http
from integrations.applications.application_runner import ApplicationRunner
from integrations.applications.application_stats import ApplicationStats
from integrations.lns.downlink_reports import Reports
from integrations.lns.http_push import ACKNOWLEDGED_WITHIN_S, create_app
from integrations.lns.message_handler import Reception
from integrations.lns.source_registry import Devices, Sources
from integrations.lns.source_runner import SourceRunner
from integrations.lns.source_stats import SourceStats
from integrations.lns.uplink_publisher import Publisher
from integrations.mqtt_accounts.reconciler import AccountRunner
from registry.changes import Change, RegistryWatcher
from registry.keys import key_wrap_of
from registry.service import open_service
from services.intake.settings import IntakeSettings

log = structlog.get_logger()


async def run(settings: IntakeSettings, stopping: asyncio.Event) -> None:
    """Receive uplinks of other LNS, hand them downlinks, publish events to partners' brokers, until stopped."""
    async with open_service("intake", settings, bus_name=f"intake {settings.instance}") as service:
        pool, bus, shards = service.pool, service.bus, service.shards
        sources, devices, source_stats = Sources(pool), Devices(pool), SourceStats(pool)
        publisher = Publisher(bus, shards)
        reports = Reports(pool, bus, shards)
        reception = Reception(devices, publisher, source_stats, reports)
        keys = key_wrap_of(settings)
        tallies = ApplicationStats(pool)
        applications = ApplicationRunner(
            pool,
            bus,
            shards,
            keys,
            tallies,
            settings.instance,
            session_expiry_s=settings.intake_mqtt_session_expiry,
            backlog=settings.intake_application_backlog,
            our_broker=settings.events_broker,
        )
        accounts_url = settings.mqtt_accounts_url
        accounts = None
        if accounts_url is not None:
            accounts = AccountRunner(pool, keys, accounts_url.get_secret_value(), settings.instance)

        async def apply(changes: list[Change]) -> None:
            devices.apply(changes)
            await sources.apply(changes)
            await applications.apply(changes)
            if accounts is not None:
                accounts.apply(changes)

        watcher = RegistryWatcher(pool, bus, apply)
        await sources.load()
        await applications.load()
        service.is_ready()
        source_runner = SourceRunner(
            pool, bus, sources, reception, keys, settings.instance, settings.intake_mqtt_session_expiry
        )
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(publisher.run(), name="publish uplinks"),
                tasks.create_task(watcher.watch(), name="watch the registry"),
                tasks.create_task(source_stats.run(), name="save source stats"),
                tasks.create_task(reports.sweep(), name="sweep downlinks"),
                tasks.create_task(tallies.run(), name="save tallies"),
            ]
            holding = [
                tasks.create_task(source_runner.run(), name="hold sources"),
                tasks.create_task(applications.run(), name="hold applications"),
                *([] if accounts is None else [tasks.create_task(accounts.run(), name="hold MQTT accounts")]),
            ]
            async with serve_http(
                create_app(sources, reception, keys, settings.intake_rate),
                settings.intake_host,
                settings.intake_port,
                shutdown_timeout_s=round(ACKNOWLEDGED_WITHIN_S),
            ) as port:
                log.info("listening", host=settings.intake_host, port=port)
                await stopping.wait()
                for task in holding:  # What is not acknowledged stays with their brokers.
                    task.cancel()
            for task in background:  # Nobody waits for an answer any more.
                task.cancel()
        await source_stats.save()
        await tallies.save()
