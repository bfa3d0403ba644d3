"""`territoire codec try|publish|versions|shadow|switch|rollback|release` against a real API with real workers."""

import json
import subprocess
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from api.app import create_app
from core.runtime.bus import connect_bus
from core.runtime.health import serve_http
from core.runtime.postgres import Pool
from ingest.workers import open_workers
from registry.codecs import quarantine_version
from registry.keys import KeyWrap
from registry.tenants import create_api_key, create_tenant
from tests.cli.terminal import Terminal

SCRIPT = "function decodeUplink(input) { return { data: { temperature: input.bytes[0] / 10 } }; }\n"


@dataclass(frozen=True)
class Api(Terminal):
    profile_id: int

    async def codec(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return await self.territoire("codec", *arguments, said=said)


@pytest.fixture
async def api(pool: Pool, api_pool: Pool, nats_url: str) -> AsyncGenerator[Api]:
    tenant = await create_tenant(pool, "brest", "Brest")
    key = await create_api_key(pool, tenant.id, "k", ("read", "manage", "operate"))
    profile_id = await pool.fetchval(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec) "
        "VALUES ($1, 'p', 'v', 'm', 'milesight.em400') RETURNING id",
        tenant.id,
    )
    async with connect_bus(nats_url, "cli") as bus, open_workers(1) as workers:
        app = create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4, workers)
        async with serve_http(app, "127.0.0.1", 0) as port:
            yield Api(f"http://127.0.0.1:{port}", key, profile_id)


async def test_a_codec_is_tried_published_and_switched_from_the_terminal(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    first, second = tmp_path / "premier.js", tmp_path / "second.js"
    first.write_text(SCRIPT)
    second.write_text(SCRIPT.replace("/ 10", "/ 100"))
    mapping = tmp_path / "correspondance.json"
    mapping.write_text(json.dumps([{"path": "temperature", "quantity": "temperature", "unit": "°C"}]))
    profile = str(api.profile_id)

    proposed = tmp_path / "proposition.json"

    tried = await api.codec("try", str(first), "--frame", "1:d7", "--write-mapping", str(proposed))
    failing = await api.codec("try", str(first), "--frame", "1:zz")
    published = await api.codec(
        "publish", str(first), "--name", "acme.t", "--profile", profile, "--mapping", str(mapping)
    )
    newer = await api.codec("publish", str(second), "--name", "acme.t", "--json")
    listed = await api.codec("versions", "acme.t")
    diff = await api.codec("versions", "acme.t", "--diff", "1", "2")
    shadowed = await api.codec("shadow", profile, str(json.loads(newer.stdout)["version"]["id"]))
    watched = await api.codec("shadow", profile)
    switched = await api.codec("switch", profile)
    back = await api.codec("rollback", profile)

    assert tried.returncode == 0, tried.stderr
    assert "temperature = 21.5 Cel" in tried.stdout
    assert json.loads(proposed.read_text()) == [{"path": "temperature", "quantity": "temperature", "channel": ""}]
    assert failing.returncode == 2
    assert "acme.t v1 publiée" in published.stdout
    assert "lu par acme.t" in published.stdout
    assert "v2" in listed.stdout
    assert (
        "-function decodeUplink(input) { return { data: { temperature: input.bytes[0] / 10 } }; }" in diff.stdout
    )
    assert "à l'essai : version 2" in shadowed.stdout
    assert "aucune trame encore" in watched.stdout
    assert "version 2" in switched.stdout
    assert "version 1" in back.stdout
    undone = await pool.fetchval("SELECT at FROM audit WHERE action = 'point' ORDER BY id DESC OFFSET 1 LIMIT 1")
    [proposed_again] = [line.strip() for line in back.stdout.splitlines() if "redecode" in line]
    assert proposed_again.startswith(f"./territoire codec redecode --profile {profile} --from ")
    assert datetime.fromisoformat(proposed_again.split()[-1]) == undone
    assert await pool.fetchval("SELECT codec_version_id FROM device_profile") == 1


async def test_a_suspended_version_is_released_from_the_terminal_once(
    api: Api, pool: Pool, tmp_path: Path
) -> None:
    source = tmp_path / "codec.js"
    source.write_text(SCRIPT)
    await api.codec("publish", str(source), "--name", "acme.t")
    await quarantine_version(pool, 1, "cinq dépassements")

    listed = await api.codec("versions", "acme.t")
    released, again = await api.codec("release", "1"), await api.codec("release", "1")

    assert "suspendue : cinq dépassements" in listed.stdout
    assert "de nouveau en service" in released.stdout
    assert (again.returncode, "n'est pas suspendue" in again.stderr) == (2, True)


async def test_a_native_codec_is_tried_with_a_key_that_is_asked_for_and_not_shown(api: Api) -> None:
    """OMS specification volume 2, annex N, N.2.1."""
    telegram = "2e4493157856341233037a2a0020255923c95aaa26d1b2e7493b013ec4a6f6d3529b520edff0ea6defc99d6d69ebf3"
    key = "0102030405060708090a0b0c0d0e0f11"
    arguments = ("try", "oms.wmbus", "--frame", f"1:{telegram}")

    without = await api.codec(*arguments)
    tried = await api.codec(*arguments, "--ask-key", said=f"{key}\n")
    unknown = await api.codec("try", "acme.nothing", "--frame", "1:00")

    assert (without.returncode, tried.returncode, unknown.returncode) == (1, 0, 2), tried.stderr
    assert "gas_volume = 28504.3 m3" in tried.stdout
    assert key not in tried.stdout + tried.stderr


async def test_trial_that_reads_a_frame_and_measures_nothing_is_no_success_and_names_the_rules(
    api: Api, tmp_path: Path
) -> None:
    script, mapping = tmp_path / "s.js", tmp_path / "m.json"
    script.write_text(SCRIPT)
    rules = [{"path": "[measurementId=4102].value", "quantity": "temperature"}]
    mapping.write_text(json.dumps(rules))

    tried = await api.codec("try", str(script), "--frame", "1:d7", "--mapping", str(mapping))
    as_json = await api.codec("try", str(script), "--frame", "1:d7", "--mapping", str(mapping), "--json")

    assert (tried.returncode, as_json.returncode) == (1, 1)
    assert "  attention lue, mais aucune mesure" in tried.stdout
    assert "  attention rien trouvé pour : [measurementId=4102].value" in tried.stdout
    assert "essai : 1 lues, dont 1 sans aucune mesure, 0 illisibles" in tried.stdout
    answer = json.loads(as_json.stdout)
    assert (answer["read"], answer["without_values"]) == (1, 1)
    assert answer["frames"][0]["unmatched_rules"] == ["[measurementId=4102].value"]
