"""`territoire codec import` of our own catalogues against a real API."""

import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from core.runtime.bus import connect_bus
from core.runtime.health import serve_http
from core.runtime.postgres import Pool
from decoders.javascript.pool import CodecPool
from registry.keys import KeyWrap
from registry.tenants import create_api_key, create_tenant
from tests.cli.terminal import Terminal

CATALOGUES = Path(__file__).parents[1] / "vectors" / "catalogues"
PROFILES = """
SELECT p.*, v.version, v.form, v.examples FROM device_profile p JOIN codec_version v ON v.id = p.codec_version_id
ORDER BY p.name
"""


class Api(Terminal):
    async def imported(self, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return await self.territoire("codec", "import", str(path), *options)


@pytest.fixture
async def api(pool: Pool, api_pool: Pool, nats_url: str) -> AsyncGenerator[Api]:
    tenant = await create_tenant(pool, "brest", "Brest")
    key = await create_api_key(pool, tenant.id, "k", ("read", "manage"))
    workers = CodecPool(1)
    await workers.start()
    try:
        async with connect_bus(nats_url, "cli") as bus:
            app = create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4, workers)
            async with serve_http(app, "127.0.0.1", 0) as port:
                yield Api(f"http://127.0.0.1:{port}", key)
    finally:
        await workers.close()


def counts(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report = json.loads(ran.stdout)
    return {name: value for name, value in report.items() if name not in ("dry_run", "codecs")}


async def test_the_things_network_is_imported_whole_and_only_once(api: Api, pool: Pool) -> None:
    path = CATALOGUES / "ttn"

    tried = await api.imported(path, "--dry-run")
    after_trial = await pool.fetchval("SELECT count(*) FROM codec")
    done = await api.imported(path, "--json")
    again = await api.imported(path, "--json")

    assert tried.returncode == 1, tried.stderr
    assert tried.stdout.endswith("Essai : rien n'est écrit. Relancez sans --dry-run.\n")
    assert "sans script ttn.boreal.perdu-codec fichier absent : vendor/boreal/perdu.js" in tried.stdout
    assert after_trial == 0
    always = {
        "new_version": 0,
        "refused": 1,
        "no_script": 1,
        "profiles_grouped": 0,
        "examples_left_out": 1,
        "profiles_left_out": 0,
    }
    assert counts(done) == {"created": 3, "unchanged": 0, "profiles_created": 3} | always
    assert counts(again) == {"created": 0, "unchanged": 3, "profiles_created": 0} | always
    profiles = {profile["name"]: profile for profile in await pool.fetch(PROFILES)}
    assert list(profiles) == [
        "Boréal Capteurs Humus 2",
        "Boréal Capteurs Niveau 1 (1.0 à 1.0)",
        "Boréal Capteurs Niveau 1 (2.0 à …)",
    ]
    humus = profiles["Boréal Capteurs Humus 2"]
    assert (humus["device_class"], humus["mac_version"], humus["regional_revision"]) == (
        "C",
        "1.0.4",
        "RP002-1.0.1",
    )
    assert humus["mapping"] == [
        {"path": "readings[*].temperature", "quantity": "temperature", "channel": "", "time": {"path": "time"}},
        {"path": "readings[*].humidity", "quantity": "relative_humidity", "channel": "", "time": {"path": "time"}},
    ]
    assert [example["name"] for example in humus["examples"]] == ["trois relevés d'un coup", "redémarrer"]
    niveau = profiles["Boréal Capteurs Niveau 1 (2.0 à …)"]
    assert {rule["quantity"] for rule in niveau["mapping"]} == {"distance", "battery_level"}


@pytest.mark.parametrize(
    ("layout", "created", "no_script", "models"),
    [("actility", 3, 1, 2), ("chirpstack", 2, 0, 2), ("milesight", 1, 1, 1)],
)
async def test_every_layout_is_imported(api: Api, layout: str, created: int, no_script: int, models: int) -> None:
    ran = await api.imported(CATALOGUES / layout, "--json")

    done = counts(ran)
    assert (done["created"], done["no_script"], done["profiles_created"]) == (created, no_script, models)
    assert done["refused"] == 0
    assert ran.returncode == (1 if no_script or done["examples_left_out"] else 0)


async def test_actility_profiles_are_read_with_their_class_and_version(api: Api, pool: Pool) -> None:
    ran = await api.imported(CATALOGUES / "actility", "--json")

    assert counts(ran)["profiles_created"] == 2
    profiles = {profile["name"]: profile for profile in await pool.fetch(PROFILES)}
    read = ("device_class", "mac_version", "regional_revision", "max_eirp")
    assert [profiles["Boréal Capteurs Cuve"][name] for name in read] == ["A", "1.0.2", "1.0.2revB", 14]
    assert [profiles["Boréal Capteurs Vanne"][name] for name in read] == ["C", "1.0.4", "RP2-1.0.1", 16]


async def test_profile_imported_before_with_another_class_is_kept_and_the_difference_is_said(
    api: Api, pool: Pool
) -> None:
    await api.imported(CATALOGUES / "actility")
    await pool.execute("UPDATE device_profile SET device_class = 'A', mac_version = '1.0.3'")

    again = await api.imported(CATALOGUES / "actility")

    assert "Boréal Capteurs Vanne : déjà à jour ; le catalogue dit classe C, LoRaWAN 1.0.4 (ici A, 1.0.3)" in (
        again.stdout
    )
    assert {profile["device_class"] for profile in await pool.fetch(PROFILES)} == {"A"}


async def test_catalogue_of_which_most_entries_lack_a_required_field_is_refused_and_the_field_named(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    shutil.copytree(CATALOGUES / "actility", tmp_path / "c")
    for model in (tmp_path / "c").rglob("model.yaml"):
        model.write_text(model.read_text().replace("deviceProfileIds", "radioProfiles"))

    ran = await api.imported(tmp_path / "c")

    assert ran.returncode == 2
    assert "deviceProfileIds manque à 2 sur 2" in ran.stderr
    assert await pool.fetchval("SELECT count(*) FROM codec") == 0


async def test_identical_product_of_another_catalogue_is_grouped_with_the_profile_that_it_has(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    vendor = tmp_path / "vendors" / "boreal"
    for folder in ("codecs", "devices"):
        (vendor / folder).mkdir(parents=True)
    (vendor / "vendor.toml").write_text('[vendor]\nname = "BOREAL SAS"\n')
    (vendor / "codecs" / "cuve.js").write_text("function decodeUplink(input) { return { data: {} }; }")
    (vendor / "codecs" / "test_decode_cuve.json").write_text(
        '[{"input": {"bytes": [], "fPort": 1}, "expected": {"data": {}}}]'
    )
    for model in ("CUVE", "Cuve 2"):
        (vendor / "devices" / f"{model}.toml").write_text(
            f'[device]\nname = "{model}"\n[[device.firmware]]\nprofiles = ["p.toml"]\ncodec = "cuve.js"\n'
        )
    await api.imported(CATALOGUES / "actility")

    tried = await api.imported(tmp_path, "--dry-run")
    done = await api.imported(tmp_path, "--json")
    again = await api.imported(tmp_path, "--json")

    said = "profil (même produit) BOREAL SAS CUVE : même produit que « Boréal Capteurs Cuve » (profil "
    assert said in tried.stdout
    assert "lu par actility.boreal.cuve" in tried.stdout
    assert (counts(done)["profiles_created"], counts(done)["profiles_grouped"]) == (1, 1)
    assert (counts(again)["profiles_created"], counts(again)["profiles_grouped"]) == (0, 1)
    assert done.returncode == 0, done.stderr
    assert await pool.fetchval("SELECT count(*) FROM device_profile WHERE model ILIKE 'cuve'") == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("test_decode_absent.json", "[]", "sans script chirpstack.v.absent fichier absent"),
        ("test_decode_x.json", "[7]", "1 exemples illisibles ou de trop, laissés de côté"),
        ("long.js", f"//{'x' * (600 * 1024)}", "refusé      chirpstack.v.long"),
        ("y.js", "function decodeUplink() {}", ""),
    ],
)
async def test_exit_status_of_an_import_tells_whether_something_was_left_out(
    api: Api, tmp_path: Path, file: str, content: str, said: str
) -> None:
    codecs = tmp_path / "v" / "codecs"
    codecs.mkdir(parents=True)
    (codecs / "x.js").write_text("function decodeUplink(input) { return { data: {} }; }")
    (codecs / file).write_text(content)

    ran = await api.imported(tmp_path)

    assert ran.returncode == (1 if said else 0)
    assert said in ran.stdout
    assert ("Une partie est restée de côté" in ran.stdout) == bool(said)


async def test_a_changed_source_is_a_new_version_beside_the_one_that_is_used(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    decoder = tmp_path / "xy1" / "xy1-decoder.js"
    decoder.parent.mkdir()
    decoder.write_text("function decodeUplink(input) { return { data: { temperature: input.bytes[0] } }; }")
    (decoder.parent / "README.md").write_text('```json\n// 1516\n{"temperature": 21}\n```\n')
    await api.imported(tmp_path)
    decoder.write_text(decoder.read_text().replace("bytes[0]", "bytes[1]"))

    changed = await api.imported(tmp_path)

    assert changed.returncode == 0, changed.stderr
    assert "version     sensordecoders.xy1 v2" in changed.stdout
    assert "garde sa version : mettez la nouvelle à l'essai" in changed.stdout
    assert [profile["version"] for profile in await pool.fetch(PROFILES)] == [1]


async def test_an_api_that_is_away_is_said_for_each_codec() -> None:
    ran = await Api("http://127.0.0.1:9", "terr_x_y").imported(CATALOGUES / "milesight")

    assert ran.returncode == 1
    assert "refusé      sensordecoders.bo100 l'API ne répond pas" in ran.stdout
