"""Composition root of maintenance: rollups, retention and pruning, supervision, and what is decoded again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from core.runtime.errors import describe
from core.runtime.health import database_check, serve_health, starting
from core.runtime.postgres import open_pool
from ingest.exports.drops import Dropper
from ingest.maintenance.audit_export import Destination
from ingest.maintenance.erasures import Eraser, Streams
from ingest.maintenance.feed import FeedWatch
from ingest.maintenance.jobs import (
    Job,
    export_waiting,
    import_waiting,
    keep_house,
    make_rollups,
    redecode_waiting,
    seal_audit,
    send_audit,
    settle_communes,
    watch_feed,
)
from ingest.maintenance.supervision import supervise
from ingest.maintenance.waiting import WaitingWork
from ingest.workers import open_workers
from registry.bulk_imports.rows import DoneLine, Place, Writers
from registry.former_format import following_former_format
from registry.keys import key_wrap_of
from registry.releases import announced
from registry.schema import require_schema
from services.maintenance.settings import MaintenanceSettings

SUPERVISE_EVERY_S = 30.0
# How long somebody who asked waits until the work begins.
LOOK_EVERY_S = 1.0
# While something waits, and cannot be ended yet.
REDECODE_EVERY_S = 2.0
IMPORT_EVERY_S = EXPORT_EVERY_S = 1.0
DROPS_EVERY_S = 2.0
COMMUNES_EVERY_S = 2.0
ERASE_EVERY_S = 2.0
# How long the end of the audit is unsealed.
SEAL_EVERY_S = 5.0
WATCH_FEED_EVERY_S = 5.0
BUS_WITHIN_S = 10.0
# A transaction of rollups at the fastest that ingest can be, or a chunk's worth of a class.
COMMAND_TIMEOUT_S = 600.0

log = structlog.get_logger()


async def write_contacts(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Contacts of a bulk import, by alerting's code, which is loaded for them."""
    from alerting import bulk_imports  # noqa: PLC0415 - Megabytes, of what is rare.

    return await bulk_imports.write_contacts(place, lines)


async def write_rules(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Rules, likewise."""
    from alerting import bulk_imports  # noqa: PLC0415 - As above.

    return await bulk_imports.write_rules(place, lines)


WRITERS: Writers = {"contacts": write_contacts, "rules": write_rules}


async def run(settings: MaintenanceSettings, stopping: asyncio.Event) -> None:
    """Do each job in its turn until stopped; what a stop cuts short is rolled back, and done next time."""
    readiness = starting()
    async with (
        serve_health(readiness, settings.health_host, settings.health_port),
        open_pool(
            settings.database_url.get_secret_value(),
            "maintenance",
            size=settings.pool_size,
            command_timeout=COMMAND_TIMEOUT_S,
        ) as pool,
        open_workers(1) as workers,
    ):
        async with pool.acquire() as connection:
            knows = await require_schema(connection)
        keys = key_wrap_of(settings)

        async def ask_streams(question: Callable[[Streams], Awaitable[bool]]) -> bool:
            # Rarely, and for an instant: maintenance needs the bus for nothing else.
            from core.runtime.bus import BUS_AWAY, connect_bus  # noqa: PLC0415 - Five megabytes.

            try:
                async with (
                    asyncio.timeout(BUS_WITHIN_S),
                    connect_bus(settings.nats_url.get_secret_value(), "maintenance") as bus,
                ):
                    return await question(bus)
            except BUS_AWAY as away:
                log.warning("erasure_waits_for_bus", error=describe(away))
                return False

        eraser = Eraser(
            pool,
            keys,
            settings.erasure_ledger,
            timedelta(seconds=settings.erasure_settle_s),
            ask_streams,
            settings.cold_folder,
        )
        feed = FeedWatch()
        dropper = Dropper(pool, keys, settings.instance, settings.exports_folder)
        jobs = [
            Job("rollups", settings.rollups_every_s, lambda: make_rollups(pool)),
            Job(
                "housekeeping",
                settings.housekeeping_every_s,
                lambda: keep_house(pool, settings, settings.cold_folder),
            ),
            Job(
                "supervision",
                SUPERVISE_EVERY_S,
                lambda: supervise(pool, settings.disk_limit_bytes, settings.disk_folder),
            ),
            Job("feed", WATCH_FEED_EVERY_S, lambda: watch_feed(pool, feed)),
            Job("audit", SEAL_EVERY_S, lambda: seal_audit(pool)),
        ]
        asked_for = [
            Job("erasures", ERASE_EVERY_S, eraser.work),
            Job("imports", IMPORT_EVERY_S, lambda: import_waiting(pool, settings.instance, keys, WRITERS)),
            Job(
                "exports",
                EXPORT_EVERY_S,
                lambda: export_waiting(pool, settings.instance, settings.exports_octets, settings.cold_folder),
            ),
            Job("drops", DROPS_EVERY_S, dropper.work),
            Job("communes", COMMUNES_EVERY_S, lambda: settle_communes(pool)),
            Job("redecode", REDECODE_EVERY_S, lambda: redecode_waiting(pool, workers, settings.instance, keys)),
        ]
        checks = {job.name: job.check() for job in (*jobs, *asked_for)}
        if settings.audit_export:
            destination = Destination(settings.audit_export)
            # It is no part of what makes maintenance ready: that somebody's receiver is away stops nothing here.
            jobs.append(Job("audit_export", SEAL_EVERY_S, lambda: send_audit(pool, destination)))
        readiness.checks = {"database": database_check(pool)} | checks
        async with (
            announced(pool, "maintenance", settings.instance, knows),
            following_former_format(pool, settings),
            asyncio.TaskGroup() as tasks,
        ):
            background = [tasks.create_task(job.repeat(), name=job.name) for job in jobs]
            waiting = WaitingWork(pool, asked_for).repeat(LOOK_EVERY_S)
            background.append(tasks.create_task(waiting, name="what was asked for"))
            await stopping.wait()
            for task in background:
                task.cancel()
