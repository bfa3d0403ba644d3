"""`territoire simulate --history`: years of plausible data for a fleet, written by several processes at once."""

import asyncio
import multiprocessing
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from core.model.entities import Tenant
from core.runtime.leader import NotLeader
from core.runtime.postgres import BareConnection, UniqueViolationError, connect, open_pool
from indicators.waste.fill_day_store import mark_all
from indicators.waste.refresh import refresh_fill_days
from lab.history import store
from lab.history.cpu import cpu_seconds_of
from lab.history.days import midnight_us
from lab.history.parts import divide
from lab.history.plan import plan_assets, plan_blocks, plan_series
from lab.history.store import ACTOR, LOADED, STARTED, HistoryPlan
from lab.history.worker import Block, Written, run_worker
from registry.audit import write_audit
from registry.keys import KeyWrap
from registry.tenants import create_tenant, find_tenant
from services.supervisor.run_info import RunInfo

SLUG, NAME = "historique", "Historique simulé"
# On disk, indexes, rollups and the log ahead of them included.
OCTETS_OF_A_ROW = 220
ANALYZED = ("observation.measurement", "observation.rollup_hour", "observation.rollup_day", "observation.latest",
            "observation.fill_day",
            "datastream", "asset", "device", "assignment")  # fmt: skip
LOOK_S = 0.1


class HistoryRejected(Exception):
    """Nothing was written; the message is for the operator and says what to do."""


class Summary(msgspec.Struct, frozen=True):
    """What a run wrote, and what it cost."""

    tenant: str
    since: str
    until: str
    complete: bool
    assets: int
    datastreams: int
    measurements: int
    """In the database at the end; `found` of them were there before."""
    found: int
    rollup_hours: int
    rollup_days: int
    seconds: float
    rows_per_second: float
    client_cpu_s: float
    server_cpu_s: float
    client_us_per_row: float
    server_us_per_row: float
    analyze_s: float


@dataclass(slots=True)
class _Totals:
    rows: int = 0
    found: int = 0
    hours: int = 0
    days: int = 0
    client_cpu_s: float = 0.0
    failure: str | None = None
    ended: int = 0

    def add_written(self, written: Written) -> None:
        if written.client_cpu_s:
            self.ended += 1
        self.rows += written.rows
        self.found += 0 if written.is_new else written.rows
        self.hours += written.hours
        self.days += written.days
        self.client_cpu_s += written.client_cpu_s
        self.failure = self.failure or written.failure


@asynccontextmanager
async def _connected(url: str) -> "AsyncGenerator[BareConnection]":
    connection = await connect(url, "simulate-history")
    try:
        yield connection
    finally:
        await connection.close()


async def _prepare(
    connection: BareConnection, run: RunInfo, wanted: HistoryPlan, slug: str
) -> tuple[Tenant, HistoryPlan, list[Block], int]:
    """The tenant, the order that holds (a former run's when it was interrupted), the blocks and their assets."""
    async with connection.transaction():
        tenant = await find_tenant(connection, slug) or await create_tenant(connection, slug, NAME)
        state = await store.read_state(connection, tenant.id)
        if state is not None and state[0] == store.LOADED:
            raise HistoryRejected(
                f"la collectivité « {slug} » a déjà son historique ; pour l'effacer : simulate --history --remove"
            )
        is_begun = state is not None and state[0] == STARTED
        order = HistoryPlan.from_details(state[1]) if state is not None and is_begun else wanted
        timezone = await connection.fetchval(store.READ_TIMEZONE)
        assets = plan_assets(order.measurements, order.years, order.seed, order.assets)
        series = plan_series(assets, order.seed)
        if not is_begun:
            keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
            since = datetime.combine(order.since, datetime.min.time(), ZoneInfo(timezone))
            try:
                await store.register(connection, tenant.id, order, since, assets, series, keys)
            except UniqueViolationError as taken:
                raise HistoryRejected(f"cette graine a déjà servi ailleurs : {taken}") from None
    ids = await store.read_ids(connection, tenant.id)
    numbered = [ids[assets[one.asset_number].asset_name, one.channel.quantity] for one in series]
    blocks = [Block(tuple(numbered[i] for i in run), tuple(series[i] for i in run)) for run in plan_blocks(series)]
    return tenant, order, blocks, len(assets)


def _require_free_disk(home: str, measurements: int) -> None:
    needed, free = measurements * OCTETS_OF_A_ROW, shutil.disk_usage(home).free
    if needed > free:
        raise HistoryRejected(f"il faut {needed / 1e9:.1f} Go dans {home}, il en reste {free / 1e9:.1f}")


def _start_workers(
    run: RunInfo, history_plan: HistoryPlan, timezone: str, blocks: Sequence[Block], workers: int
) -> tuple[list[BaseProcess], Callable[[], None], "SimpleQueue[Written]"]:
    context = multiprocessing.get_context("spawn")
    stopping, reports = context.Event(), context.SimpleQueue()
    processes: list[BaseProcess] = []
    for number in range(min(workers, len(blocks))):
        # Every n-th block: each worker has its share of every rhythm.
        arguments = (run.database_url, history_plan, timezone, blocks[number::workers], stopping, reports)
        process = context.Process(target=run_worker, args=arguments, name=f"history-{number}", daemon=True)
        process.start()
        processes.append(process)
    return processes, stopping.set, reports


async def _follow(
    processes: Sequence[BaseProcess],
    reports: "SimpleQueue[Written]",
    stop: Callable[[], None],
    advance: Callable[[int], None],
) -> _Totals:
    """Add up what the workers report until all have ended; the first failure stops the others."""
    totals = _Totals()
    while totals.ended < len(processes):
        if reports.empty():
            if not any(process.is_alive() for process in processes) and reports.empty():
                totals.failure = totals.failure or "un processus est mort sans un mot"
                break
            await asyncio.sleep(LOOK_S)
            continue
        written = reports.get()
        totals.add_written(written)
        advance(written.rows)
        if totals.failure:
            stop()
    return totals


async def load_history(
    run: RunInfo,
    *,
    measurements: int,
    assets: int = 0,
    years: int = 1,
    workers: int = 2,
    seed: str = "historique",
    slug: str = SLUG,
    since: date | None = None,
    today: datetime | None = None,
    console: Console,
) -> Summary:
    """Write a history into a running stack, or go on with one that was interrupted (then as that was ordered).

    `assets`: at least so many, whatever the measurements; `since`: only the days from there on. The history ends
    with the last whole local day. Ctrl-C ends it between two transactions; run it again to go on.

    Raises:
        HistoryRejected: the tenant has its history already, or there is no room for it.
    """
    began = time.monotonic()
    _require_free_disk(run.home, measurements)
    postgres = _postgres_pid(run)
    server_before = cpu_seconds_of(postgres)
    async with _connected(run.database_url) as connection:
        timezone: str = await connection.fetchval(store.READ_TIMEZONE)
        until = (today or datetime.now(UTC)).astimezone(ZoneInfo(timezone)).date()
        wanted = HistoryPlan(seed, measurements, assets, years, since or _years_before(until, years), until)
        async with _connected(run.database_admin_url) as admin:
            tenant, order, blocks, planned = await _prepare(admin, run, wanted, slug)
            await divide(admin, datetime.combine(order.since, datetime.min.time(), ZoneInfo(timezone)))
        processes, stop, reports = _start_workers(run, order, timezone, blocks, workers)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        expected = expected_rows(blocks, order, timezone)
        with _progress(console) as progress:
            task = progress.add_task("Historique", total=expected)
            totals = await _follow(processes, reports, stop, lambda rows: progress.advance(task, rows))
        for process in processes:
            process.join()
        if totals.failure:
            raise HistoryRejected(f"l'écriture s'est arrêtée : {totals.failure} (relancez pour reprendre)")
        complete = totals.rows == expected
        analyzing = time.monotonic()
        if complete:
            await _make_fill_days(run.database_url, timezone)
            await _finish(connection, run.database_admin_url, tenant.id, totals)
    seconds, fresh = time.monotonic() - began, max(1, totals.rows - totals.found)
    server = cpu_seconds_of(postgres) - server_before
    return Summary(
        tenant=slug,
        since=order.since.isoformat(),
        until=order.until.isoformat(),
        complete=complete,
        assets=planned,
        datastreams=sum(len(block.ids) for block in blocks),
        measurements=totals.rows,
        found=totals.found,
        rollup_hours=totals.hours,
        rollup_days=totals.days,
        seconds=round(seconds, 2),
        rows_per_second=round(fresh / seconds),
        client_cpu_s=round(totals.client_cpu_s, 2),
        server_cpu_s=round(server, 2),
        client_us_per_row=round(totals.client_cpu_s / fresh * 1e6, 3),
        server_us_per_row=round(server / fresh * 1e6, 3),
        analyze_s=round(time.monotonic() - analyzing, 2),
    )


async def _make_fill_days(database_url: str, timezone: str) -> None:
    """The days of bins, for a history is in no feed; where services/indicators runs, it may make them itself."""
    async with open_pool(database_url, "simulate-history", size=1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await mark_all(connection, ZoneInfo(timezone))
        with suppress(NotLeader):
            await refresh_fill_days(pool)


async def _finish(connection: BareConnection, admin_url: str, tenant_id: int, totals: _Totals) -> None:
    """Statistics for the planner, pages marked as all visible; then the line that says the history is whole."""
    async with _connected(admin_url) as admin:
        for table in ANALYZED:
            await admin.execute(f"VACUUM (ANALYZE) {table}" if "rollup" in table else f"ANALYZE {table}")
    await connection.execute(store.MARK_PACKED)
    # Commits with synchronous_commit on: all that the workers committed is on the disk before it.
    await write_audit(connection, tenant_id, ACTOR, LOADED, "tenant", tenant_id, {"measurements": totals.rows})


def expected_rows(blocks: Sequence[Block], history_plan: HistoryPlan, timezone: str) -> int:
    """How many measurements the whole history has."""
    since, until = (midnight_us(day, ZoneInfo(timezone)) for day in (history_plan.since, history_plan.until))
    return sum(one.grid.count(since, until) for block in blocks for one in block.series)


async def remove_history(run: RunInfo, *, slug: str = SLUG) -> int:
    """Delete what `load_history` wrote, whole or not; how many datastreams there were.

    Raises:
        HistoryRejected: there is none.
    """
    async with _connected(run.database_url) as connection:
        tenant = await find_tenant(connection, slug)
        state = None if tenant is None else await store.read_state(connection, tenant.id)
        if tenant is None or state is None or state[0] == store.REMOVED:
            raise HistoryRejected(f"la collectivité « {slug} » n'a pas d'historique")
        ids = list((await store.read_ids(connection, tenant.id)).values())
        async with connection.transaction():
            await store.remove(connection, tenant.id, ids)
    return len(ids)


def _years_before(day: date, years: int) -> date:
    return day.replace(year=day.year - years, day=28 if (day.month, day.day) == (2, 29) else day.day)


def _postgres_pid(run: RunInfo) -> int | None:
    try:
        return run.service("postgres").pid
    except KeyError:
        return None


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
