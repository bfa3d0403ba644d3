"""`territoire report COMMUNE MONTH` against a real API."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from api.app import create_app
from core.runtime.bus import connect_bus
from core.runtime.health import serve_http
from core.runtime.postgres import Pool
from registry.keys import KeyWrap
from registry.tenants import create_api_key, create_tenant
from tests.cli.terminal import Terminal


@pytest.fixture
async def api(pool: Pool, api_pool: Pool, nats_url: str) -> AsyncGenerator[Terminal]:
    tenant = await create_tenant(pool, "brest", "Brest")
    key = await create_api_key(pool, tenant.id, "k", ("read", "manage"))
    await pool.execute(
        "INSERT INTO asset (tenant_id, kind, name, commune, insee) "
        "VALUES ($1, 'building', 'École', 'Landerneau', '29103')",
        tenant.id,
    )
    async with connect_bus(nats_url, "territoire-tests") as bus:
        app = create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4)
        async with serve_http(app, "127.0.0.1", 0) as port:
            yield Terminal(f"http://127.0.0.1:{port}", key)


async def test_a_report_is_shown_and_written(api: Terminal, tmp_path: Path) -> None:
    pdf, csv = tmp_path / "r.pdf", tmp_path / "r.csv"
    shown = await api.territoire("report", "29103", "2026-07", "--pdf", str(pdf), "--csv", str(csv))
    told = await api.territoire("report", "Landerneau", "2026-07", "--service", "buildings", "--json")
    kept = await api.territoire("report", "Landerneau", "2026-07", "--keep", "--json")
    again = await api.territoire("report", "Landerneau", "2026-07", "--keep")

    assert shown.returncode == 0, shown.stderr
    assert "Rapport de juillet 2026 : Landerneau" in shown.stdout
    assert f"Écrit : {pdf}" in shown.stdout.replace("\n", "")
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert csv.read_text("utf-8-sig").startswith("rubrique;indicateur")
    assert json.loads(told.stdout)["service"] == "buildings"
    assert json.loads(kept.stdout)["version"] == 1
    assert (again.returncode, "rien n'a changé" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Landerneau", "juillet"), "un mois comme 2026-10"),
        (("Landerneau", "2999-01"), "un mois fini"),
        (("Nulle-Part", "2026-07"), "rien n'est suivi"),
    ],
)
async def test_what_cannot_be_is_said_in_french(api: Terminal, arguments: tuple[str, str], said: str) -> None:
    answer = await api.territoire("report", *arguments)

    assert (answer.returncode, said in answer.stderr) == (2, True), answer.stderr
