"""What `bench indicators` measures of monthly reports: one of 300 assets, and those of 73 communes."""

import asyncio
import os
import re
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from api.reporting.monthly import MonthlyReports
from core.model.calendar_buckets import last_month, named
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, connect, open_pool
from lab.bench.indicator_world import World
from lab.bench.list_pages import Asker
from lab.bench.processes import cpu_seconds
from lab.bench.write_path import DEVICES, PLANT, play
from services.indicators.app import NICENESS
from services.supervisor.run_info import RunInfo

ASSETS, COMMUNES = 300, 73
OF_ASSETS = "Trois-Cents"
REPORT_GOAL_MS, REPORT_GOAL_MB, ALL_GOAL_S = 5_000.0, 150.0, 120.0
# How much slower ingestion may be meanwhile.
P99_WITHIN = 1.10
UPLINKS_PER_S, BEFORE_S, WARM_UP_S = 200, 30, 10
# Two thousand devices, with the triggers of the registry.
PATIENCE_S = 600.0
GATEWAY_ID = bytes.fromhex("00800000000000fe")

# So many assets in one commune, the others in equal parts in all others.
SPREAD = """
UPDATE asset a SET commune = CASE WHEN w.n <= $2 THEN $3 ELSE 'Commune ' || w.n % $4 END, insee = NULL
FROM (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS n FROM asset WHERE tenant_id = $1) AS w
WHERE w.id = a.id
"""
LATENCY = """
SELECT coalesce(percentile_cont(0.99) WITHIN GROUP (
           ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_at)), 0)::float8
FROM observation.uplink WHERE received_at >= $1 AND received_at < $2
"""
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class ReportFigures(msgspec.Struct, frozen=True):
    """One report as a PDF, over HTTP: milliseconds, and the most that the API's process has held."""

    assets: int
    median_ms: float
    client_cpu_ms: float
    server_cpu_ms: float
    before_mb: float
    peak_mb: float

    @property
    def is_reached(self) -> bool:
        """In time, and in that much memory more than the API has held anyway."""
        return self.median_ms <= REPORT_GOAL_MS and self.peak_mb - self.before_mb <= REPORT_GOAL_MB


class MadeReports(msgspec.Struct, frozen=True):
    """Those of all communes, made as the service makes them."""

    versions: int
    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    peak_mb: float
    """The most memory that the process has held, all in all."""


class AllReportsFigures(msgspec.Struct, frozen=True):
    """Those of all communes while uplinks arrive, and the p99 of these."""

    made: MadeReports
    p99_before_ms: float
    p99_meanwhile_ms: float

    @property
    def is_reached(self) -> bool:
        """In time, and hardly felt by ingestion."""
        return (
            self.made.seconds <= ALL_GOAL_S
            and self.made.peak_mb <= REPORT_GOAL_MB
            and self.p99_meanwhile_ms <= P99_WITHIN * self.p99_before_ms
        )


async def spread_communes(run: RunInfo, world: World) -> None:
    """Put the history's assets into 73 communes."""
    admin = await connect(run.database_admin_url, "bench")
    try:
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            await admin.execute(SPREAD, world.tenant_id, ASSETS, OF_ASSETS, COMMUNES - 1, timeout=PATIENCE_S)
        await admin.execute("ANALYZE asset")
    finally:
        await admin.close()


def measure_report(run: RunInfo, world: World, runs: int) -> ReportFigures:
    """The report of the commune of 300 assets, again and again."""
    asker = Asker(run, world.key)
    month = named(last_month(datetime.now(UTC), world.zone))
    wanted = {"commune": OF_ASSETS, "month": month, "service": "all"}
    path, api = "/v1/reports/preview/report.pdf", asker.pids["api"]
    before_mb = peak_mb(api, begins=True)
    asker.get(path, wanted)
    before = cpu_seconds(asker.pids)
    times = [asker.get(path, wanted)[1] for _ in range(runs)]
    after = cpu_seconds(asker.pids)
    client, server = ((after[name] - before[name]) * 1_000 / runs for name in ("api", "postgres"))
    return ReportFigures(
        ASSETS,
        round(statistics.median(times), 1),
        round(client, 1),
        round(server, 1),
        round(before_mb, 1),
        round(peak_mb(api), 1),
    )


def peak_mb(pid: int, *, begins: bool = False) -> float:
    """The most memory that a process has held since it was last asked to begin."""
    if begins:
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")  # proc(5): the peak is what is held now.
    found = PEAK.search(Path(f"/proc/{pid}/status").read_text("ascii"))
    return int(found[1]) / 1024 if found else 0.0


async def measure_all(run: RunInfo, pool: Pool) -> AllReportsFigures:
    """Every commune's report of the last month, as on the second of one, while uplinks arrive."""
    await pool.execute(PLANT, DEVICES, GATEWAY_ID, timeout=PATIENCE_S)
    devices = [row["id"] for row in await pool.fetch("SELECT id FROM device WHERE activation = 'ABP' ORDER BY id")]
    async with connect_bus(run.nats_url, "bench") as bus:
        playing = asyncio.create_task(_play(bus, devices), name="uplinks")
        try:
            await asyncio.sleep(WARM_UP_S)
            quiet = datetime.now(UTC)
            await asyncio.sleep(BEFORE_S)
            began = datetime.now(UTC)
            made = await _make_apart(run)
            ended = datetime.now(UTC)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
    await asyncio.sleep(1)
    return AllReportsFigures(
        made,
        round(1_000 * await pool.fetchval(LATENCY, quiet, began), 1),
        round(1_000 * await pool.fetchval(LATENCY, began, ended), 1),
    )


async def _make_apart(run: RunInfo) -> MadeReports:
    """In a process of its own, as the service is one: what it computes is not what uplinks are played by."""
    command = (sys.executable, "-P", "-m", "lab", "bench", "indicators-reports", "--home", run.home)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the reports ended with {process.returncode}")
    return msgspec.json.decode(told, type=MadeReports)


async def make_reports(run: RunInfo) -> MadeReports:
    """Those of the month that is over, of every commune, at the service's priority."""
    os.nice(NICENESS)
    postgres = {one.name: one.pid for one in run.services if one.name == "postgres" and one.pid is not None}
    async with open_pool(f"{run.database_admin_url}?role=territoire_indicators", "bench", size=2) as pool:
        before, started, cpu = cpu_seconds(postgres), time.monotonic(), time.process_time()
        versions = await MonthlyReports(pool).make(datetime.now(UTC))
        return MadeReports(
            versions,
            round(time.monotonic() - started, 1),
            round(time.process_time() - cpu, 1),
            round(cpu_seconds(postgres).get("postgres", 0.0) - before.get("postgres", 0.0), 1),
            round(peak_mb(os.getpid()), 1),
        )


async def _play(bus: Bus, devices: list[int]) -> None:
    await play(bus, devices, UPLINKS_PER_S * 3_600, UPLINKS_PER_S)


def lines(report: ReportFigures | None, every: AllReportsFigures | None) -> list[str]:
    """For people."""
    said: list[str] = []
    if report is not None:
        said.append(
            f"rapport mensuel de {report.assets} actifs, en PDF : {report.median_ms:.0f} ms (objectif "
            f"{REPORT_GOAL_MS:.0f}), processeur {report.client_cpu_ms:.0f} ms de l'API et "
            f"{report.server_cpu_ms:.0f} de PostgreSQL ; mémoire de l'API {report.before_mb:.0f} Mo avant, "
            f"{report.peak_mb:.0f} au plus (objectif {REPORT_GOAL_MB:.0f} de plus)"
        )
    if every is not None:
        said.append(
            f"{every.made.versions} rapports d'un mois en arrière-plan : {every.made.seconds:.0f} s (objectif "
            f"{ALL_GOAL_S:.0f}), processeur {every.made.client_cpu_s:.0f} s du service et "
            f"{every.made.server_cpu_s:.0f} de PostgreSQL, mémoire du service {every.made.peak_mb:.0f} Mo au plus "
            f"(objectif {REPORT_GOAL_MB:.0f}) ; p99 de l'ingestion {every.p99_before_ms:.0f} ms avant, "
            f"{every.p99_meanwhile_ms:.0f} pendant"
        )
    return said
