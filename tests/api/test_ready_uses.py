"""What docs/api.md asks of measurements, and the files of docs/usages.md, against one world."""

import csv
import io
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import httpx
import pytest

from core.runtime.postgres import Pool
from indicators.waste.refresh import refresh_fill_days
from ingest.rollups import roll_up
from tests.api.document import DOCUMENT

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "exemples"
HOUR = timedelta(hours=1)
CALL = re.compile(r"\| `(/v1/[^`]+)`(?:, `([\w-]+): ([^`]+)`)? \|$", re.MULTILINE)
GEO = {"Accept": "application/geo+json"}


FIRST, LAST = "## Quelques questions", "## Douze questions de plus"


def questions(heading: str) -> list[tuple[str, dict[str, str]]]:
    """The calls of a table of docs/api.md; what the feed and exports answer is played with them."""
    table = (DOCS / "api.md").read_text("utf-8").partition(heading)[2].partition("\n## ")[0]
    # What is left out there is in no header.
    return [(path, {name: value.replace("…", "0")} if name else {}) for path, name, value in CALL.findall(table)]


@pytest.fixture
async def world(registry, observations, pool: Pool) -> None:
    """A bin and a water meter of Landerneau, read every six hours in the Octobers of two years."""
    place = {"commune": "Landerneau", "insee": "29103", "latitude": 48.45, "longitude": -4.25, "tags": ["rapport"]}
    for kind, quantity, unit in (("glass_container", "fill_level", "%"), ("water_meter", "water_volume", "L")):
        asset = await registry.asset(kind=kind, **place)
        device = await registry.device(asset_id=asset["id"])
        id_ = await observations.datastream(device["dev_eui"], asset["id"], quantity, unit)
        for year in (2025, 2026):
            start = datetime(year, 9, 30, tzinfo=UTC)
            level = (lambda n: n % 20 * 5.0) if quantity == "fill_level" else float
            await observations.readings(id_, {start + n * 6 * HOUR: level(n) for n in range(4 * 32)})
        tenant = await pool.fetchval("SELECT tenant_id FROM datastream WHERE id = $1", id_)
        await observations.alert(tenant, asset["id"])
    await roll_up(pool)
    await refresh_fill_days(pool)


def rows_of(answer: httpx.Response) -> list[Any]:
    if answer.headers["content-type"].startswith("text/csv"):
        return list(csv.DictReader(io.StringIO(answer.text)))
    if answer.headers["content-type"] == "application/geo+json":
        return answer.json()["features"]
    return answer.json()["items"]


async def test_first_questions_of_the_documents_find_what_they_ask_for_and_no_more(
    client, registry, observations, pool: Pool, tenancy
) -> None:
    landerneau = {"commune": "Landerneau", "insee": "29103"}
    full = await registry.asset(name="Pleine", longitude=-4.2516, latitude=48.4499, **landerneau)
    quiet = await registry.asset(name="Muette", longitude=-4.2516, latitude=48.46, **landerneau)
    await registry.asset(kind="lighting_cabinet", name="Armoire", longitude=-4.3, latitude=48.4)
    brest = {"commune": "Brest", "insee": "29019", "quarter": "Recouvrance"}
    lamp = await registry.asset(kind="light_point", name="Lampe", external_reference="PL-0012", **brest)
    for asset, level, age in ((full, 80, 0 * HOUR), (quiet, 20, 9 * HOUR)):
        device = await registry.device(name=f"de {asset['name']}", asset_id=asset["id"])
        await pool.execute("UPDATE device SET owned_since = now() - interval '1 day'")
        for quantity, value in (("fill_level", level), ("battery_level", 100 - level)):
            id_ = await observations.datastream(device["dev_eui"], asset["id"], quantity, "%")
            await observations.readings(id_, {datetime.now(UTC) - age: value})
    await registry.device(name="nouveau")
    await pool.execute("UPDATE asset SET attributes = '{\"volum_l\": 1}' WHERE id = $1", quiet["id"])
    for name in ("Eau", "Voirie", "Éclairage"):
        team = (await client.post("/v1/teams", json={"name": name})).json()
    assert team["id"] == 3
    await observations.alert(tenancy.id, full["id"])
    await pool.execute(
        "UPDATE alert SET severity = 'critical', team_id = $2, opened_at = '2026-11-20' WHERE id = $1",
        await observations.alert(tenancy.id, lamp["id"]),
        team["id"],
    )

    found = [
        [one.get("properties", one) for one in rows_of(await client.get(path, headers=headers))]
        for path, headers in questions(FIRST)
    ]

    placed = ["glass_container", "glass_container", "lighting_cabinet"]
    for (path, _), rows, (column, expected) in zip(
        questions(FIRST),
        found,
        (
            ("name", ["de Muette"]),
            ("name", ["de Pleine", "de Muette", "nouveau"]),
            ("name", ["Pleine"]),
            ("name", ["nouveau"]),
            ("id", [quiet["id"]]),
            ("name", ["Armoire"]),
            ("kind", placed),
            ("asset", ["Lampe"]),
            ("name", ["Lampe"]),
            ("name", ["Pleine", "Muette"]),
            ("value", [80, 20]),
            ("asset", ["Lampe"]),
        ),
        strict=True,
    ):
        shown = [one[column] for one in rows]
        assert (sorted(shown) if path == "/v1/assets/map" else shown) == expected, path  # Points have no order.


async def test_questions_of_the_documents_and_ready_uses_are_answered(client, world, tmp_path: Path) -> None:
    played = questions(LAST)
    assert len(played) == 10
    for path, headers in played:
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.text)
        assert rows_of(answer), path
        if "compare" in path and not headers:
            name = "previous_year" if "previous_year" in path else "previous_period"
            assert any(one[name] and one[name]["value"] is not None for one in rows_of(answer)), path
    tag = (await client.get(played[8][0])).headers["etag"]
    assert (await client.get(played[8][0], headers={"If-None-Match": tag})).status_code == 304
    night = await client.get(played[5][0])
    assert len(rows_of(night)) == 25

    await _layers_are_read(client, tmp_path)
    await _power_query_finds_its_columns(client)
    _flow_is_whole()


async def _layers_are_read(client: httpx.AsyncClient, folder: Path) -> None:
    """Each layer as GDAL is given it: points where it says so; by GDAL itself where it is installed."""
    layers = ET.parse(EXAMPLES / "territoire.qlr").getroot()
    tree = {one.get("id"): one.get("source") for one in layers.iter("layer-tree-layer")}
    found = {one.findtext("id"): one for one in layers.iter("maplayer")}
    assert tree.keys() == found.keys()
    for id_, layer in found.items():
        source = layer.findtext("datasource") or ""
        assert source == tree[id_]
        assert (layer.findtext("provider"), layer.get("geometry")) == ("ogr", "Point")
        assert layer.findtext("srs/spatialrefsys/authid") == "EPSG:4326"
        address = urlsplit(source.removeprefix("/vsicurl/"))
        answer = await client.get(f"{address.path}?{address.query}", headers=GEO)
        features = answer.json()["features"]
        assert features, source
        assert {one["geometry"]["type"] for one in features} == {"Point"}
        if shutil.which("ogrinfo"):
            file = folder / f"{id_}.geojson"
            file.write_bytes(answer.content)
            summary = _summary(file)
            assert f"Feature Count: {len(features)}" in summary
            assert "Geometry: Point" in summary


def _summary(file: Path) -> str:
    return subprocess.run(["ogrinfo", "-so", "-al", file], capture_output=True, text=True, check=True).stdout


async def _power_query_finds_its_columns(client: httpx.AsyncClient) -> None:
    text = (EXAMPLES / "consommations.pq").read_text("utf-8")
    asked = re.search(r"RelativePath = \"([^\"]+)\",\s+Query = \[(.*?)\]", text, re.DOTALL)
    assert asked is not None
    query = dict(re.findall(r"(\w+) = \"([^\"]+)\"", asked[2]))
    answer = await client.get(f"/{asked[1]}", params=query, headers={"Accept": "text/csv"})
    titles = set(rows_of(answer)[0])
    typed = re.findall(r"\{\"([\w.]+)\", type", text)
    kept = re.search(r"SelectColumns\(Types, \{(.*?)\}", text, re.DOTALL)
    assert kept is not None
    wanted = {*typed, *re.findall(r"\"([\w.]+)\"", kept[1])}
    assert len(wanted) == 7
    assert wanted <= titles


def _flow_is_whole() -> None:
    """Wires lead somewhere, and addresses are routes with their parameters."""
    nodes = json.loads((EXAMPLES / "node-red.json").read_text("utf-8"))
    ids = {node["id"] for node in nodes}
    assert {wire for node in nodes for output in node.get("wires", []) for wire in output} <= ids
    addresses = re.findall(r"'(/v1/[^']+)'", " ".join(node.get("func", "") for node in nodes))
    assert len(addresses) == 2
    for address in addresses:
        path = urlsplit(address).path
        if path == "/v1/measurements":  # Of the feed.
            continue
        known = {one["name"] for one in DOCUMENT["paths"][path]["get"]["parameters"]}
        assert parse_qs(urlsplit(address).query).keys() <= known
