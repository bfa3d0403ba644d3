"""Every list, generated from the router: each format and each filter, as each role, shows what the JSON has."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest
from fastapi.routing import APIRoute

from alerting import alert_store, work_orders
from api import asset_list_store, asset_state_store, store
from api.app import LISTS
from api.auth import RequireRight
from api.list_formats import JSON, as_csv, chosen_format
from api.routes import alerts, asset_states, assets, datastreams, devices, gateways, measurements
from api.routes import work_orders as work_order_routes
from core.model.rights import ROLES
from core.runtime.postgres import Pool
from registry import device_lists
from registry import gateways as gateway_store
from tests.api.conftest import person_client
from tests.api.test_every_route import OF_THE_OPERATOR

NOW = datetime.now(UTC)
CONTAINER = {"empty_distance_mm": 1700, "full_distance_mm": 300}
GEO, CSV = {"Accept": "application/geo+json"}, {"Accept": "text/csv"}
SORTS = {
    "/v1/assets": (assets.AssetSort, asset_list_store.LIST_WITH_STATES),
    "/v1/asset-states": (asset_states.StateSort, asset_state_store.SORTED),
    "/v1/devices": (devices.DeviceSort, device_lists.LIST_WITH_SIGNS),
    "/v1/gateways": (gateways.GatewaySort, gateway_store.LIST),
    "/v1/alerts": (alerts.AlertSort, alert_store.LIST),
    "/v1/work-orders": (work_order_routes.WorkOrderSort, work_orders.LIST),
    "/v1/datastreams": (datastreams.DatastreamSort, store.LIST_DATASTREAMS),
    "/v1/measurements/latest": (measurements.LatestSort, store.LIST_LATEST),
}
BREST = {"longitude": -4.49, "latitude": 48.39, "commune": "Brest", "insee": "29019", "quarter": "Recouvrance"}
# One value for each filter that several lists have; all of them keep what is in Brest, and leave out the rest.
PLACES = (
    {"bbox": "-4.6,48.3,-4.4,48.5"},
    {"near": "-4.49,48.39", "radius": "500"},
)
FILTERS = (
    {"commune": "Brest"},
    {"commune": "29019"},
    {"quarter": "Recouvrance"},
    {"tag": "port"},
    {"kind": "room"},
)


def right_of(route: APIRoute) -> str:
    return next(one.call.right for one in route.dependant.dependencies if isinstance(one.call, RequireRight))


def key_of(item: dict[str, Any]) -> str:
    return str(next((item[name] for name in ("id", "dev_eui", "gateway_id", "name") if name in item), item))


async def all_formats(client: httpx.AsyncClient, path: str, query: dict[str, str]) -> list[str]:
    """The keys of a list's items, the same in each of its three formats, and its next page."""
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, (path, query, answer.text)
    items = answer.json()["items"]
    geojson = await client.get(path, params=query, headers=GEO)
    table = await client.get(path, params=query, headers=CSV)
    features = geojson.json()["features"]
    rows = list(csv.DictReader(io.StringIO(table.text, newline="")))

    assert geojson.headers["content-type"] == "application/geo+json"
    assert table.headers["content-type"].startswith("text/csv")
    assert geojson.headers.get("link") == table.headers.get("link") == answer.headers.get("link")
    assert (answer.json()["next"] is not None) == ("link" in answer.headers)
    assert len(rows) == len(features) == len(items), path
    for item, feature, row in zip(items, features, rows, strict=True):
        placed = [item.get("longitude"), item.get("latitude")]
        assert feature["geometry"] == (None if None in placed else {"type": "Point", "coordinates": placed})
        assert feature["properties"] == {
            name: value for name, value in item.items() if name not in {"longitude", "latitude"}
        }
        for name, value in item.items():
            if isinstance(value, str) and not value.startswith(("=", "-", "+", "@")):
                assert row[name] == value, (path, name)
    return [key_of(item) for item in items]


async def shown(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> list[str]:
    """The keys of a list's items, in whatever format."""
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, (path, answer.text)
    if headers == CSV:
        return [key_of(row) for row in csv.DictReader(io.StringIO(answer.text, newline=""))]
    if headers == GEO:
        return [key_of(feature["properties"]) for feature in answer.json()["features"]]
    return [key_of(item) for item in answer.json()["items"]]


@pytest.fixture
async def two_places(client, registry, observations, tenancy) -> None:
    """Three assets, devices, gateways and alerts: two of each in Brest, one in Landerneau."""
    profile = await registry.profile(name="Nivus")
    for number, (name, place) in enumerate(
        [
            ("École 10", BREST),
            ("=1+1", BREST | {"tags": ["port"]}),
            ("école 2", {"longitude": -4.25, "latitude": 48.45}),
        ]
    ):
        asset = await registry.asset(kind="room" if number else "building", name=name, **place)
        device = await registry.device(profile, name="capteur", asset_id=asset["id"])
        gateway = {"longitude": asset["longitude"], "latitude": asset["latitude"]}
        await registry.gateway(name=name, **gateway)
        flow = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
        await observations.readings(flow, {NOW: 20 - number})
        await observations.alert(tenancy.id, asset["id"])
        order = {"title": name, "asset_ids": [asset["id"]], "priority": ("low", "urgent", "normal")[number]}
        if number:  # The first one has no end.
            order["due_at"] = (NOW - number * timedelta(days=1)).isoformat()
        await client.post("/v1/work-orders", json=order)


async def test_every_list_is_the_same_in_every_format_for_every_role(app, tenancy, pool: Pool, two_places) -> None:
    whole = {route.path: right_of(route) for route in LISTS if "{" not in route.path}
    seen: dict[str, dict[str, list[str]]] = {}
    for role, definition in ROLES.items():
        async with await person_client(app, pool, tenancy.id, role) as client:
            for path, right in whole.items():
                # They ask for a quantity and a period, and for a bucket, first.
                needed = {"/v1/dwelling-days", "/v1/measurements/series"}
                needed |= {f"/v1/waste/{name}" for name in ("days-above", "emptyings", "tonnage")}
                if path in needed or path in OF_THE_OPERATOR:
                    continue
                # One format for each role after the first, in turn: each is asked by several.
                number = (len(seen) + len(whole) * list(ROLES).index(role)) % 3
                if right not in definition.rights:
                    refused = await client.get(path, headers=({}, GEO, CSV)[number])
                    assert refused.status_code == 403, (path, role)
                elif path not in seen:
                    seen[path] = {role: await all_formats(client, path, {})}
                else:
                    seen[path][role] = await shown(client, path, ({}, GEO, CSV)[number])

    assert len(seen) > 40
    for path in SORTS:
        assert {tuple(keys) for keys in seen[path].values()} == {tuple(next(iter(seen[path].values())))}, path
        assert all(len(keys) == 3 for keys in seen[path].values()), path


async def test_a_list_is_sorted_as_a_whole_and_its_pages_stay_right(client, registry, two_places) -> None:
    for path, (sorts, listing) in SORTS.items():
        assert set(get_args(sorts)) == listing.statements.keys()
        for sort in get_args(sorts):
            query = {"sort": sort, "near": "-4.49,48.39", "radius": "90000"}
            whole = await client.get(path, params=query)
            everything = [key_of(item) for item in whole.json()["items"]]
            paged: list[str] = []
            following: str | None = path
            answer = await client.get(path, params=query | {"limit": "2"})
            while following is not None:
                paged += [key_of(item) for item in answer.json()["items"]]
                following = answer.links.get("next", {}).get("url")
                if following is not None:
                    answer = await client.get(following)
                    assert answer.status_code == 200, (path, sort, answer.text)

            assert paged == everything, (path, sort)
            assert len(everything) == len(set(everything)) == 3, (path, sort)

    for sort, titles in (
        ("due_at", ["école 2", "=1+1", "École 10"]),
        ("-due_at", ["=1+1", "école 2", "École 10"]),
        ("priority", ["=1+1", "école 2", "École 10"]),
    ):
        orders = (await client.get("/v1/work-orders", params={"sort": sort})).json()["items"]
        assert [one["title"] for one in orders] == titles, sort
    named = [one["name"] for one in (await client.get("/v1/assets", params={"sort": "name"})).json()["items"]]
    first = (await client.get("/v1/assets", params={"sort": "name", "limit": "2"})).json()
    await registry.asset(kind="room", name="École 1")  # Between two pages, before where the first has ended.
    second = await client.get("/v1/assets", params={"sort": "name", "limit": "2", "cursor": first["next"]})
    mixed = await client.get("/v1/assets", params={"sort": "-name", "cursor": first["next"]})

    assert named == ["=1+1", "école 2", "École 10"]
    assert [one["name"] for one in second.json()["items"]] == ["École 10"]
    assert mixed.status_code == 422
    assert "triée par « name »" in mixed.json()["detail"]


async def test_filters_by_place_and_kind_are_the_same_in_every_format(client, two_places) -> None:
    for path in SORTS:
        for place in PLACES:
            assert len(await all_formats(client, path, place)) == 2, (path, place)
        assert await all_formats(client, path, {"near": "2.35,48.85"}) == []
        if path != "/v1/gateways":
            found = [len(await all_formats(client, path, one)) for one in FILTERS]
            assert found == [2, 2, 2, 1, 2], path
    assert len(await all_formats(client, "/v1/assets", {"model": "Nivus"})) == 3
    assert len(await all_formats(client, "/v1/devices", {"model": "EM400-UDL", "state": "ok"})) == 3
    assert await all_formats(client, "/v1/devices", {"state": "silent"}) == []
    assert len(await all_formats(client, "/v1/assets", {"state": "warning"})) == 3
    assert len(await all_formats(client, "/v1/alerts", {"rule": "bin_75", "from": "2026-01-01T00:00:00Z"})) == 3
    assert await all_formats(client, "/v1/alerts", {"to": "2026-01-01T00:00:00Z"}) == []
    points = (await client.get("/v1/assets/map", params={"state": "warning"} | PLACES[0])).json()["features"]
    assert {point["properties"]["kind"] for point in points} == {"building", "room"}
    (device, *_) = (await client.get("/v1/devices", params={"sort": "-last_seen_at"})).json()["items"]
    assert (device["state"], device["model"], device["expected_interval_s"]) == ("ok", "EM400-UDL", 3600)


async def test_a_list_refuses_a_place_a_page_or_an_order_that_is_none(client) -> None:
    for query, why in (
        ({"bbox": "-4.1,48.3,-4.5,48.6"}, "inversée"),
        ({"bbox": "1,2,3"}, "quatre nombres"),
        ({"bbox": "-200,0,0,10"}, "quatre nombres"),
        ({"near": "48.4"}, "deux nombres"),
        ({"near": "-4.2,48.4", "radius": "200000"}, "100000 au plus"),
        ({"radius": "10"}, "near"),
        ({"limit": "10000"}, "1000 au plus"),
        ({"sort": "nom"}, "valeur attendue"),
        ({"cursor": "bm9uc2Vuc2U", "sort": "name"}, "curseur"),
        ({"cursor": "WyJuYW1lIiwxLDFd", "sort": "name"}, "curseur"),
    ):
        answer = await client.get("/v1/assets", params=query)

        assert answer.status_code == 422, query
        assert why in answer.json()["detail"]


async def test_each_kind_of_asset_has_attributes_and_what_has_others_is_listed(
    client, registry, pool: Pool
) -> None:
    kinds = {one["kind"]: one for one in (await client.get("/v1/asset-kinds")).json()["items"]}
    kept = await registry.asset(attributes={"volume_l": 4000, "container": CONTAINER})
    free = await registry.asset(kind="fontaine", attributes={"n\u2019importe": [1]})
    body = {"kind": "glass_container", "name": "B", "commune": ""}
    misspelt = await client.post("/v1/assets", json=body | {"attributes": {"volum_l": 4000}})
    contaner = await client.post("/v1/assets", json=body | {"attributes": {"contaner": CONTAINER}})
    too_much = await client.post("/v1/assets", json=body | {"attributes": {"volume_l": 0}})
    await pool.execute("UPDATE asset SET attributes = '{\"volum_l\": 1}' WHERE id = $1", kept["id"])
    renamed = await client.patch(f"/v1/assets/{kept['id']}", json={"name": "Autre"})
    listed = (await client.get("/v1/assets/attribute-issues")).json()["items"]

    assert {one["name"]: one["unit"] for one in kinds["glass_container"]["attributes"]}["volume_l"] == "L"
    assert (misspelt.status_code, contaner.status_code, too_much.status_code, renamed.status_code) == (
        *(422, 422, 422, 200),
    )
    assert misspelt.json()["errors"][0]["field"] == "body.attributes.volum_l"
    assert "vouliez-vous dire « volume_l »" in misspelt.json()["detail"]
    assert "vouliez-vous dire « container »" in contaner.json()["detail"]
    assert [(one["id"], one["issues"][0]["attribute"]) for one in listed] == [(kept["id"], "volum_l")]
    assert free["attributes"]


def test_a_cell_is_no_formula_and_an_accept_header_is_weighed() -> None:
    rows = as_csv([{"a": "=1+1", "b": -3, "c": {"d": ["x", "y"]}}], (("a",), ("b",), ("c", "d"), ("e",)))

    assert rows == 'a,b,c.d,e\r\n\'=1+1,-3,"[""x"",""y""]",\r\n'
    assert chosen_format("text/csv;q=0.5, application/geo+json") == "application/geo+json"
    assert chosen_format("text/html, */*;q=0.1") == chosen_format(None) == chosen_format("text/csv;q=0") == JSON
