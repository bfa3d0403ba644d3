"""Codecs of public catalogues, over the API with a real pool of workers."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from decoders.javascript.pool import CodecPool
from registry.keys import KeyWrap
from tests.api.conftest import KEK, Tenancy, client_of, make_tenancy

SOURCE = "function decodeUplink(input) { return { data: { distance: input.bytes[0] } }; }"
MAPPING = [{"path": "distance", "quantity": "distance", "channel": ""}]


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    workers = CodecPool(1)
    await workers.start()
    try:
        yield create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4, workers)
    finally:
        await workers.close()


def body(**fields: Any) -> dict[str, Any]:
    profile = {"name": "Acme Niveau 3", "vendor": "Acme", "model": "Niveau 3", "mapping": MAPPING}
    return {"name": "acme.niveau", "vendor": "Acme", "source": SOURCE, "profiles": [profile]} | fields


async def imported(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/codec-imports", json=body(**fields))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_codec_and_its_models_are_imported_once(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    first = await imported(client)
    again = await imported(client)

    assert (first["outcome"], first["version"]) == ("created", 1)
    assert first["profiles"] == [
        {"name": "Acme Niveau 3", "outcome": "created", "detail": "grandeurs proposées : 1"}
    ]
    assert (again["outcome"], again["version_id"]) == ("unchanged", first["version_id"])
    profiles = (await client.get("/v1/device-profiles?limit=1000")).json()["items"]
    (profile,) = [one for one in profiles if one["tenant_id"] == tenancy.id]
    assert (profile["codec"], profile["codec_version_id"]) == ("acme.niveau", first["version_id"])
    assert profile["mapping"] == MAPPING


async def test_a_dry_run_of_an_import_answers_the_same_and_writes_nothing(
    client: httpx.AsyncClient, pool: Pool
) -> None:
    tried = await imported(client, dry_run=True)

    assert (tried["outcome"], tried["version"], tried["version_id"]) == ("created", 1, None)
    assert tried["profiles"][0]["outcome"] == "created"
    for table in ("codec", "codec_version", "audit"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_only_the_operator_imports_for_all(client: httpx.AsyncClient, app: FastAPI, pool: Pool) -> None:
    manager = await make_tenancy(pool, "brest", ("read", "manage"))
    async with client_of(app, manager.key) as theirs:
        refused = await theirs.post("/v1/codec-imports", json=body(shared=True))
        shared = await imported(client, shared=True)
        seen = (await theirs.get("/v1/codecs")).json()["items"]

    assert refused.status_code == 403
    assert [(codec["tenant_id"], codec["last_version_id"]) for codec in seen] == [(None, shared["version_id"])]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "function decodeUplink( {"}, "Le codec ne se charge pas"),
        ({"source": "var x = 1;"}, "n'a pas de fonction decodeUplink"),
        ({"name": "milesight.em400"}, "est le nom d'un décodeur natif"),
        ({"profiles": [{"name": "x", "vendor": "x", "model": "x", "mapping": [{"path": "a"}]}]}, "règle 1"),
    ],
)
async def test_what_cannot_be_used_is_rejected_with_the_reason(
    client: httpx.AsyncClient, fields: dict[str, Any], said: str
) -> None:
    answer = await client.post("/v1/codec-imports", json=body(**fields))

    assert answer.status_code == 422
    assert said in answer.text


async def test_an_import_is_in_the_audit(client: httpx.AsyncClient, pool: Pool) -> None:
    await imported(client)
    await imported(client)

    lines = await pool.fetch("SELECT action, entity, details FROM audit WHERE entity = 'codec_version'")
    assert [(line["action"], line["details"]["after"]["profiles"]) for line in lines] == [
        ("import", ["Acme Niveau 3"])
    ]
