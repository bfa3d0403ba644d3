"""`territoire export measurements` against a real API, whose files a task of maintenance's writes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from api.app import create_app
from core.runtime.bus import connect_bus
from core.runtime.health import serve_http
from core.runtime.postgres import Pool, open_pool
from ingest.exports import store
from ingest.exports.runner import export_next
from registry.keys import KeyWrap
from registry.tenants import create_api_key, create_tenant
from tests.cli.terminal import Terminal

FILL = """
WITH p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'p', 'v', 'm', 'c')
           RETURNING id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
      SELECT $1, int8send(1), int8send(1), 'd', id, 0, 'ABP' FROM p RETURNING id),
s AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit) SELECT $1, id, 'temperature', 'Cel' FROM d
      RETURNING id)
INSERT INTO observation.measurement
SELECT s.id, '2026-03-01T00:00Z'::timestamptz + n * interval '1 minute', n, 0 FROM s, generate_series(0, 999) n
"""


@pytest.fixture
async def api(database, pool: Pool, api_pool: Pool, nats_url: str, monkeypatch) -> AsyncGenerator[Terminal]:
    monkeypatch.setattr(store, "PART_OCTETS", 4096)
    tenant = await create_tenant(pool, "brest", "Brest")
    key = await create_api_key(pool, tenant.id, "k", ("read",))
    await pool.execute(FILL, tenant.id)

    async def write(maintenance: Pool) -> None:
        while True:
            await export_next(maintenance, "m1", 1 << 30)
            await asyncio.sleep(0.05)

    async with (
        open_pool(database.url_of("maintenance"), "territoire-tests", size=3) as maintenance,
        connect_bus(nats_url, "cli") as bus,
        serve_http(create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4), "127.0.0.1", 0) as port,
        asyncio.TaskGroup() as tasks,
    ):
        writing = tasks.create_task(write(maintenance))
        yield Terminal(f"http://127.0.0.1:{port}", key)
        writing.cancel()


async def test_a_period_is_asked_for_waited_for_and_written(api: Terminal, tmp_path: Path) -> None:
    file, nothing = tmp_path / "mars.csv", tmp_path / "rien.csv"
    period = ("export", "measurements", "--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T10:00:00Z")

    done = await api.territoire(*period, "--output", str(file), "--json")
    refused = await api.territoire(*period, "--quantity", "noise", "--output", str(nothing))
    misspelt = await api.territoire("export", "measurements", "--from", "hier", "--output", str(nothing))

    assert done.returncode == 0, done
    assert json.loads(done.stdout)["readings"] == 600
    lines = file.read_text("utf-8").splitlines()
    assert (len(lines), lines[-1].split(",")[-3:]) == (601, ["2026-03-01T09:59:00Z", "599", ""])
    assert file.stat().st_size > 4 * 4096
    assert (refused.returncode, "aucun flux" in refused.stderr) == (2, True)
    assert (misspelt.returncode, "hier" in misspelt.stderr, nothing.exists()) == (2, True, False)
