"""Composition root of maintenance: rollups, retention and pruning, supervision, and what is decoded again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from core.runtime.errors import describe
from core.runtime.health import Check, database_check, serve_health, starting
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError, open_pool
from decoders.javascript.pool import PoolUnavailable
from ingest.maintenance.compression import Compression, compress
from ingest.maintenance.leader import NotLeader
from ingest.maintenance.packing import pack_hours
from ingest.maintenance.pruning import prune, prunes
from ingest.maintenance.retention import forget, forget_personal_hours, terms
from ingest.maintenance.supervision import supervise
from ingest.maintenance.telemetry import (
    COMPRESSED_CHUNKS,
    COMPRESSES,
    FORGOTTEN_HOURS,
    LAST_SUCCESS,
    PASS_SECONDS,
    PASSES,
    ROLLED_UP,
    ROLLED_UP_READINGS,
)
from ingest.redecode import redecode_next
from ingest.rollups import Made, UnevenTimezone, roll_up
from ingest.scripts import Workers
from ingest.workers import open_workers
from registry.keys import KeyWrap
from registry.schema import require_schema
from services.maintenance.settings import MaintenanceSettings

SUPERVISE_EVERY_S = 30.0
# How long somebody who asked waits until the work begins.
REDECODE_EVERY_S = 2.0
# A transaction of rollups at the fastest that ingest can be, or a chunk's worth of a class.
COMMAND_TIMEOUT_S = 600.0
# After a failure, no job waits longer than this for its next turn.
RETRY_AFTER_S = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class Job:
    """Work that is done again and again; `problem` says why the last time went wrong."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[None]]
    problem: str | None = field(default=None, init=False)

    async def repeat(self) -> None:
        """Do it now and every so often, until cancelled. A failure is counted, said, and tried again."""
        while True:
            began = time.monotonic()
            try:
                await self.work()
            except NotLeader:
                self._note("elsewhere", None)
            except (*DATABASE_AWAY, PostgresError, UnevenTimezone, PoolUnavailable) as failure:
                self._note("failed", describe(failure))
                log.warning("job_failed", job=self.name, error=self.problem)
            else:
                self._note("done", None)
                LAST_SUCCESS.labels(self.name).set_to_current_time()
            took = time.monotonic() - began
            PASS_SECONDS.labels(self.name).observe(took)
            pause = self.every_s if self.problem is None else min(self.every_s, RETRY_AFTER_S)
            await asyncio.sleep(max(0.0, pause - took))

    def _note(self, outcome: str, problem: str | None) -> None:
        PASSES.labels(self.name, outcome).inc()
        self.problem = problem

    def check(self) -> Check:
        """Ready unless the last time went wrong."""

        async def check() -> str | None:
            return self.problem

        return check


async def make_rollups(pool: Pool) -> None:
    """One pass.

    Raises:
        NotLeader: another replica is at it.
        UnevenTimezone: the deployment's days are not made of hours.
    """
    so_far = Made()

    def progress(made: Made) -> None:
        nonlocal so_far
        ROLLED_UP.labels("hour").inc(made.hours - so_far.hours)
        ROLLED_UP.labels("day").inc(made.days - so_far.days)
        ROLLED_UP_READINGS.inc(made.readings - so_far.readings)
        FORGOTTEN_HOURS.inc(made.forgotten - so_far.forgotten)
        so_far = made

    made = await roll_up(pool, progress=progress)
    if not made.is_leader:
        raise NotLeader
    if made.hours:
        log.info("rolled_up", hours=made.hours, days=made.days, readings=made.readings)


async def keep_house(pool: Pool, settings: MaintenanceSettings) -> None:
    """Retention, pruning, packing and compression, once.

    Raises:
        NotLeader: another replica is at it.
    """
    for term in terms(settings):
        await forget(pool, term)
    await forget_personal_hours(pool, settings.keep_personal_measurements_months)
    for what in prunes(settings):
        pruned = await prune(pool, what)
        if pruned:
            log.info("rows_pruned", table=what.table, rows=pruned)
    packed = await pack_hours(pool)
    if packed:
        log.info("hours_packed", rows=packed)
    decided, compressed = await compress(pool, settings.compress_after_days)
    COMPRESSES.set(decided is Compression.ON)
    COMPRESSED_CHUNKS.inc(compressed)
    log.info("house_kept", compression=decided.value)


async def redecode_waiting(pool: Pool, workers: Workers, owner: str, keys: KeyWrap) -> None:
    """Decode again what waits for it, one job after the other."""
    while await redecode_next(pool, workers, owner, keys):
        pass


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
            await require_schema(connection)
        keys = KeyWrap(settings.kek_id, settings.kek_octets)
        jobs = [
            Job("rollups", settings.rollups_every_s, lambda: make_rollups(pool)),
            Job("housekeeping", settings.housekeeping_every_s, lambda: keep_house(pool, settings)),
            Job(
                "supervision",
                SUPERVISE_EVERY_S,
                lambda: supervise(pool, settings.disk_limit_bytes, settings.disk_folder),
            ),
            Job("redecode", REDECODE_EVERY_S, lambda: redecode_waiting(pool, workers, settings.instance, keys)),
        ]
        readiness.checks = {"database": database_check(pool)} | {job.name: job.check() for job in jobs}
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(job.repeat(), name=job.name) for job in jobs]
            await stopping.wait()
            for task in background:
                task.cancel()
