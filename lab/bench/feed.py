"""`territoire bench feed`: what a reader of the feed costs, from a running stack, in shares of a core."""

import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from core.runtime.postgres import Pool, open_pool
from lab.bench.processes import cpu_seconds
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import prepare_tenant
from services.supervisor.run_info import RunInfo, read_run_info

DATASTREAMS, BATCHES, PER_BATCH = 2_000, 200, 1_000
PAGE = 5_000
GOAL_PER_S = 10_000

MAKE_STREAMS = """
INSERT INTO datastream (tenant_id, asset_id, device_id, position, channel, quantity, unit)
SELECT d.tenant_id, $2, d.id, '', n::text, 'temperature', 'Cel'
FROM device d CROSS JOIN generate_series(1, $3::int) n WHERE d.tenant_id = $1 ORDER BY d.id LIMIT $3
"""
# As ingest writes them: so many of an instant, each datastream once.
WRITE = """
WITH stream AS (SELECT array_agg(id ORDER BY id) AS ids FROM (
    SELECT id FROM datastream WHERE tenant_id = $1 ORDER BY id OFFSET $2 LIMIT $3) s
), new AS (
    INSERT INTO observation.measurement
    SELECT u.id, $4::timestamptz, 20.5, 0 FROM stream, unnest(stream.ids) AS u (id)
)
INSERT INTO observation.feed (n, datastream_ids, times)
SELECT cardinality(ids), ids, array_fill($4::timestamptz, ARRAY[cardinality(ids)]) FROM stream
"""
NOW = "SELECT date_trunc('second', now())"


@dataclass(frozen=True, slots=True)
class FeedCost:
    """What reading some values has cost; the reader itself is the client's."""

    values: int
    seconds: float
    api_us: float
    """CPU per value, of the API's process and of PostgreSQL's."""
    postgres_us: float

    @property
    def cores_at_goal(self) -> float:
        """Of ten thousand values a second."""
        return (self.api_us + self.postgres_us) * GOAL_PER_S / 1e6


async def measure_feed(run: RunInfo) -> FeedCost:
    """Write a history of batches, then read them all by the cursor."""
    async with open_pool(run.database_url, "bench") as pool:
        tenant, key = await prepare_tenant(pool, "banc-fil", "Banc du fil")
        api = Provisioner(run.api_url, key)
        asset = await api.post("/v1/assets", {"kind": "room", "name": "Salle"})
        profile = {"name": "profil", "vendor": "Milesight", "model": "EM400", "codec": "milesight.em400"}
        device = {
            "dev_eui": "70b3d57ed00000f1",
            "join_eui": "70b3d57ed0001000",
            "name": "capteur",
            "app_key": "00" * 16,
            "device_profile_id": (await api.post("/v1/device-profiles", profile))["id"],
        }
        await api.post("/v1/devices", device)
        await api.close()
        await _write(pool, tenant.id, asset["id"])
    pids = {one.name: one.pid for one in read_run_info(Path(run.home)).services if one.pid is not None}
    async with httpx.AsyncClient(
        base_url=run.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as client:
        before, began = cpu_seconds(pids), time.monotonic()
        values = await _read(client)
        seconds, after = time.monotonic() - began, cpu_seconds(pids)
    spent = {name: after[name] - before[name] for name in pids}
    api_s = sum(cpu for name, cpu in spent.items() if name.startswith("api"))
    return FeedCost(values, seconds, api_s / values * 1e6, spent["postgres"] / values * 1e6)


async def _write(pool: Pool, tenant_id: int, asset_id: int) -> None:
    await pool.execute(MAKE_STREAMS, tenant_id, asset_id, DATASTREAMS)
    now = await pool.fetchval(NOW)
    for number in range(BATCHES):
        at = now.fromtimestamp(now.timestamp() - BATCHES + number, now.tzinfo)
        await pool.execute(WRITE, tenant_id, number % 2 * PER_BATCH, PER_BATCH, at)


async def _read(client: httpx.AsyncClient) -> int:
    cursor, values, has_more = "oldest", 0, True
    while has_more:
        answer = await client.get("/v1/measurements", params={"after": cursor, "limit": PAGE})
        answer.raise_for_status()
        page = answer.json()
        cursor, has_more = page["next"], page["has_more"]
        values += len(page["items"])
    return values
