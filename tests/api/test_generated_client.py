"""A client that is generated from the document is imported whole, and talks to the API as it runs."""

import importlib
import importlib.util
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openapi_python_client import Config, MetaType, generate
from openapi_python_client.config import ConfigFile

from tests.api.document import DOCUMENT

SNAPSHOT = Path(__file__).parents[1] / "characterisation/openapi.json"
# What docs/api.md says to those who generate one.
BINARY, OCTETS = (
    ("image/jpeg", "application/zip", "application/pdf", "application/gpx+xml"),
    "application/octet-stream",
)
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Iterator[tuple[ModuleType, Any]]:
    """The package `territoire_client`; nothing of the document may have been left out of it."""
    folder = tmp_path_factory.mktemp("client")
    config = Config.from_sources(
        ConfigFile(
            package_name_override="territoire_client",
            post_hooks=[],
            content_type_overrides=dict.fromkeys(BINARY, OCTETS),
        ),
        MetaType.NONE,
        document_source=SNAPSHOT,
        file_encoding="utf-8",
        overwrite=True,
        output_path=folder / "territoire_client",
    )
    errors = generate(config=config)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("territoire_client"), errors
    finally:
        sys.path.remove(str(folder))


def module_of(operation: dict[str, Any]) -> ModuleType:
    name = "".join(f"_{one.lower()}" if one.isupper() else one for one in operation["operationId"])
    return importlib.import_module(f"territoire_client.api.{operation['tags'][0].replace('-', '_')}.{name}")


@pytest.fixture
async def caller(generated, app: FastAPI, tenancy) -> AsyncGenerator[Any]:
    package, _ = generated
    opened = package.AuthenticatedClient(base_url="http://api", token=tenancy.key)
    opened.set_async_httpx_client(
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://api",
            headers={"Authorization": f"Bearer {tenancy.key}"},
        )
    )
    yield opened
    await opened.get_async_httpx_client().aclose()


async def test_client_of_every_operation_is_generated_and_used(generated, caller) -> None:
    _, errors = generated
    assert [f"{error.header} {error.detail}" for error in errors] == []
    assert all(module_of(operation).asyncio_detailed for operation in OPERATIONS)
    models = importlib.import_module("territoire_client.models")

    async def call(operation_id: str, *path: Any, **given: Any) -> Any:
        operation = next(one for one in OPERATIONS if one["operationId"] == operation_id)
        return await module_of(operation).asyncio_detailed(*path, client=caller, **given)

    created = await call("createAsset", body=models.NewAsset(kind="bin", name="colonne 12"))
    assert created.status_code == 201, created.content
    read = await call("getAsset", created.parsed.id)
    listed = await call("listAssets", kind="bin", limit=10)
    emptied = await call("updateAsset", created.parsed.id, body=models.AssetPatch(street=None))
    wrong = await call("createAsset", body=models.NewAsset(kind="Bin !", name="x"))
    me = await call("getMe")

    assert read.parsed.name == listed.parsed.items[0].name == emptied.parsed.name == "colonne 12"
    assert models.CodecTrialAnswer is not models.RuleTrialAnswer
    assert json.loads(wrong.content)["status"] == wrong.status_code == 422
    assert me.parsed.tenant.slug == "sdef"


async def test_script_of_the_documents_reads_months_and_readings_by_the_generated_client(
    generated, caller, registry, observations, capsys
) -> None:
    path = Path(__file__).parents[2] / "docs/exemples/mesures.py"
    spec = importlib.util.spec_from_file_location("mesures", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    asset = await registry.asset(kind="water_meter", name="Mairie")
    device = await registry.device(asset_id=asset["id"])
    id_ = await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "L")
    for year in (2024, 2025):
        await observations.readings(id_, {datetime(year, 3, day, 12, tzinfo=UTC): year + day for day in (1, 2, 3)})

    rows = await script.months(caller, "water_volume", 2025)
    found = await script.readings(
        caller, "water_volume", datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    )
    script.show(rows)

    assert [(row["mois"], row["valeur"], row["an dernier"]) for row in rows if row["valeur"] is not None] == [
        ("2025-03", 2.0, 2.0)
    ]
    assert len(rows) == 12
    assert [one.value for one in found] == [2026.0, 2027.0, 2028.0]
    assert "Mairie" in capsys.readouterr().out
