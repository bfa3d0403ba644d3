"""How fast a file of measurements is written, in how much memory, and what others notice of it."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.runtime.postgres import Pool, open_pool
from lab.bench.processes import cpu_seconds
from services.supervisor.run_info import RunInfo

STREAMS, SLOW_CLIENTS, POOL = 200, 50, 8
GOALS = {"csv": 100_000, "ndjson": 0, "parquet": 300_000}
MEMORY_MOST_MB = 150.0
ASKED_EVERY_S = 0.05
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=10)
REGISTER = """
WITH profile AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
    VALUES ($1, 'bench', 'v', 'm', 'milesight.em400', '10 minutes') RETURNING id
), devices AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT $1, int8send(4096 + n), int8send(1), 'bench ' || n, profile.id, 0, 'ABP'
    FROM profile, generate_series(1, $2::int) n RETURNING id, name
), assets AS (
    INSERT INTO asset (tenant_id, kind, name, commune)
    SELECT $1, 'glass_container', 'bench ' || n, 'Landerneau' FROM generate_series(1, $2) n RETURNING id, name
)
INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
SELECT $1, a.id, d.id, 'fill_level', '%' FROM assets a JOIN devices d USING (name) RETURNING id
"""
FILL = """
INSERT INTO observation.measurement (datastream_id, time, value, flags)
SELECT s, $2::timestamptz + n * interval '10 minutes', 20 + (n * 7 + s) % 800 / 8.0, 0
FROM unnest($1::int[]) s, generate_series($3::int, $4::int) n
"""
BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE usename = 'territoire_api' AND state IN ('active', 'idle in transaction') AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Written:
    """One file."""

    form: str
    readings: int
    octets: int
    seconds: float
    memory_mb: float
    """Of the process that writes, above what it had at rest before the first file."""
    others_p95_ms: float
    writer_us: float
    """CPU per reading, of the process that writes, and of PostgreSQL; the others' questions are in the latter."""
    postgres_us: float

    @property
    def per_second(self) -> float:
        """Readings."""
        return self.readings / self.seconds


@dataclass(frozen=True, slots=True)
class ExportFigures:
    """Of all of them, and of who reads slowly."""

    files: tuple[Written, ...]
    rest_p95_ms: float
    slow_clients: int
    held_connections: int

    @property
    def is_reached(self) -> bool:
        """Whether each goal is."""
        return self.held_connections == 0 and all(
            one.per_second >= GOALS[one.form]
            and one.memory_mb <= MEMORY_MOST_MB
            and one.others_p95_ms <= 2 * self.rest_p95_ms
            for one in self.files
        )


async def measure(run: RunInfo, readings: int, formats: tuple[str, ...]) -> ExportFigures:
    """On the stack's own tenant, filled with so many readings."""
    pids = {one.name: one.pid for one in run.services if one.name in {"maintenance", "postgres"} and one.pid}
    pid = pids["maintenance"]
    async with (
        open_pool(run.database_admin_url, "bench", size=2, command_timeout=3600) as pool,
        httpx.AsyncClient(
            base_url=run.api_url, headers={"Authorization": f"Bearer {run.api_key}"}, timeout=60
        ) as client,
    ):
        ids = await _fill(pool, readings)
        rest = await _others_p95(client, ids, asyncio.sleep(10))
        at_rest = memory_mb(pid, "VmRSS")
        files: list[Written] = []
        jobs: list[int] = []
        for form in formats:
            body = {"format": form, "from": BEGIN.isoformat(), "datastream_ids": ids}
            asked = (await client.post("/v1/exports", json=body)).raise_for_status().json()
            forget_peak(pid)
            before = cpu_seconds(pids)
            p95 = await _others_p95(client, ids, _ended(client, asked["id"]))
            job = await _ended(client, asked["id"])
            began, end = (datetime.fromisoformat(job[name]) for name in ("started_at", "ended_at"))
            seconds, memory = (end - began).total_seconds(), memory_mb(pid, "VmHWM") - at_rest
            spent = {name: (cpu - before[name]) / job["readings"] * 1e6 for name, cpu in cpu_seconds(pids).items()}
            files.append(
                Written(
                    form, job["readings"], job["octets"], seconds, memory, p95, spent["maintenance"],
                    spent["postgres"],
                )
            )  # fmt: skip
            jobs.append(job["id"])
        held = await _held_by_slow_clients(run, pool, jobs[0])
    return ExportFigures(tuple(files), rest, SLOW_CLIENTS, held)


async def _fill(pool: Pool, readings: int) -> list[int]:
    tenant = await pool.fetchval("SELECT min(id) FROM tenant")
    ids = [row["id"] for row in await pool.fetch(REGISTER, tenant, STREAMS)]
    each, at_once = readings // STREAMS, 5_000
    for first in range(0, each, at_once):
        await pool.execute(FILL, ids, BEGIN, first, min(first + at_once, each) - 1)
    await pool.execute("ANALYZE observation.measurement")
    return ids


async def _ended(client: httpx.AsyncClient, job_id: int) -> dict[str, Any]:
    while True:
        job = (await client.get(f"/v1/exports/{job_id}")).raise_for_status().json()
        if job["state"] in {"done", "failed", "cancelled"}:
            if job["state"] != "done":
                raise RuntimeError(job["reason"])
            return job
        await asyncio.sleep(0.5)


async def _others_p95(client: httpx.AsyncClient, ids: list[int], until: Coroutine[Any, Any, Any]) -> float:
    """Of a page of readings of one datastream, asked twenty times a second meanwhile."""
    ending = asyncio.create_task(until)
    took: list[float] = []
    while not ending.done():
        one = ids[len(took) % len(ids)]
        period = {"from": BEGIN.isoformat(), "to": (BEGIN + timedelta(days=7)).isoformat()}
        began = time.monotonic()
        (await client.get(f"/v1/datastreams/{one}/measurements", params=period)).raise_for_status()
        took.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(ASKED_EVERY_S)
    return statistics.quantiles(took, n=20)[-1]


async def _held_by_slow_clients(run: RunInfo, pool: Pool, job_id: int) -> int:
    """Connections of the API that work, or wait within a transaction, while nobody takes what was sent."""
    address = urlsplit(run.api_url)
    opened: list[asyncio.StreamWriter] = []
    request = (
        f"GET /v1/exports/{job_id}/file HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {run.api_key}\r\n\r\n"
    ).encode()
    try:
        for _ in range(SLOW_CLIENTS):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
            opened.append(writer)
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(2)
        return max([await pool.fetchval(BUSY) for _ in range(20)])
    finally:
        for writer in opened:
            with contextlib.suppress(OSError):
                writer.transport.abort()


def memory_mb(pid: int, name: str) -> float:
    """A line of the process's status: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_peak(pid: int) -> None:
    """The highest counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
