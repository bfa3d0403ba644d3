"""`territoire import` and `territoire export keys` against a real API."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from api.app import create_app
from core.runtime.bus import connect_bus
from core.runtime.health import serve_http
from core.runtime.postgres import Pool, open_pool
from registry.bulk_imports.runner import import_next
from registry.keys import KeyWrap
from registry.tenants import EXPORT_KEYS, create_api_key, create_tenant
from tests.cli.terminal import Terminal

KEY = "000102030405060708090a0b0c0d0e0f"


@dataclass(frozen=True)
class Api(Terminal):
    profile_id: int


@pytest.fixture
async def api(pool: Pool, api_pool: Pool, nats_url: str) -> AsyncGenerator[Api]:
    tenant = await create_tenant(pool, "brest", "Brest")
    key = await create_api_key(pool, tenant.id, "k", ("read", "manage", EXPORT_KEYS))
    profile_id = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'p', 'v', 'm', 'c') "
        "RETURNING id",
        tenant.id,
    )
    async with connect_bus(nats_url, "cli") as bus:
        app = create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4)
        async with serve_http(app, "127.0.0.1", 0) as port:
            yield Api(f"http://127.0.0.1:{port}", key, profile_id)


async def test_a_file_is_tried_then_imported_and_taken_out_again(api: Api, pool: Pool, tmp_path: Path) -> None:
    file, sealed, out = tmp_path / "capteurs.csv", tmp_path / "cles.age", tmp_path / "cles.json"
    file.write_text(
        f"dev_eui;join_eui;app_key\n70b3d57ed0001234;70b3d57ed0001000;{KEY}\n70b3d57ed0001235;x;{KEY}\n"
    )
    arguments = ("import", "lns", str(file), "--profile", str(api.profile_id))

    tried = await api.territoire(*arguments, "--dry-run")
    after_trial = await pool.fetchval("SELECT count(*) FROM device")
    done = await api.territoire(*arguments, "--json")
    again = await api.territoire(*arguments, "--json")
    identity = pyrage.x25519.Identity.generate()
    recipient = await pool.fetchval(
        "INSERT INTO key_recipient (tenant_id, name, public_key, registered_by) "
        "SELECT id, 'Coffre', $1, 'k' FROM tenant RETURNING id",
        str(identity.to_public()),
    )
    export = "export", "keys", str(sealed), "--recipient", str(recipient), "--reason", "séquestre"
    exported = await api.territoire(*export)
    overwritten = await api.territoire(*export)
    out.write_bytes(pyrage.decrypt(sealed.read_bytes(), [identity]))
    back = await api.territoire("import", "lns", str(out), "--json")

    assert tried.returncode == 1, tried.stderr
    assert "1 nouveaux, 1 illisibles" in tried.stdout
    assert "rien n'est écrit" in tried.stdout
    assert "join_eui : 16 chiffres" in tried.stdout
    assert KEY not in tried.stdout + done.stdout
    assert after_trial == 0
    assert [json.loads(ran.stdout)["created"] for ran in (done, again)] == [1, 0]
    assert [one["line"] for one in json.loads(again.stdout)["devices"]] == [2, 3]
    assert exported.returncode == 0, exported.stderr
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text())["devices"][0]["app_key"] == KEY
    assert overwritten.returncode == 2
    assert (back.returncode, json.loads(back.stdout)["unchanged"]) == (0, 1)


async def test_what_stands_in_the_way_is_said_in_one_line(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "capteurs.json"
    file.write_text(json.dumps([{"dev_eui": "70b3d57ed0001234", "device_profile_id": api.profile_id}]))
    wrong_key = Api(api.url, "terr_ab_cd", api.profile_id)

    refused = await wrong_key.territoire("import", "lns", str(file))
    absent = await api.territoire("import", "lns", str(tmp_path / "absent.csv"))
    away = await Api("http://127.0.0.1:9", api.key, 0).territoire("import", "lns", str(file))

    assert (refused.returncode, absent.returncode, away.returncode) == (1, 2, 1)
    assert "l'API refuse (401)" in refused.stderr
    assert "l'API ne répond pas" in away.stderr
    assert [ran.stderr.count("\n") for ran in (refused, absent, away)] == [1, 1, 1]


async def _run_imports(maintenance: Pool) -> None:
    while True:
        await import_next(maintenance, KeyWrap("kek-1", bytes(16)), "maintenance-1")
        await asyncio.sleep(0.05)


async def test_an_inventory_is_imported_its_refused_lines_are_beside_it_and_its_export_changes_nothing(
    api: Api, database, pool: Pool, tmp_path: Path
) -> None:
    file, exported = tmp_path / "armoires.csv", tmp_path / "export.csv"
    file.write_text("external_reference;commune;latitude;longitude\nARM-1;Brest;;\nARM-2;Brest;91;0\n")
    async with open_pool(database.url_of("maintenance"), "maintenance", size=1) as maintenance:
        running = asyncio.create_task(_run_imports(maintenance))
        first = await api.territoire("import", "cabinets", str(file))
        out = await api.territoire("import", "cabinets", "--export", str(exported))
        again = await api.territoire("import", "cabinets", str(exported), "--json")
        neither = await api.territoire("import", "cabinets")
        running.cancel()

    assert [ran.returncode for ran in (first, out, again, neither)] == [1, 0, 0, 2]
    assert "2 lignes : 1 nouvelles" in first.stdout
    assert "ligne 3, latitude : entre -90 et 90 attendu" in first.stdout
    assert file.with_suffix(".refus.csv").exists()
    assert json.loads(again.stdout)["unchanged"] == 1
    assert await pool.fetchval("SELECT count(*) FROM asset") == 1
