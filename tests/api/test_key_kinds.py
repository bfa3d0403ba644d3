"""A key that is limited to kinds of assets sees those, and acts on those, alone: over every route."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.auth import IS_OF_ASSETS
from core.runtime.postgres import Pool
from tests.api.conftest import Observations, Registry, Tenancy, client_of
from tests.api.test_every_route import ABOUT_ONE_OBJECT, OPERATIONS, RIGHT_OF, ask, example_of

LIMITED = ["read", "field", "lighting"]
# What a path of one of these shows that is no list of objects.
WASTE = ("days-above", "emptyings", "forecasts", "tonnage", "white-zones")
CATALOGUE = {"/v1/me", "/v1/quantities"}


async def furnish(
    client: httpx.AsyncClient, registry: Registry, observations: Observations, tenancy: Tenancy, kind: str
) -> dict[str, str]:
    """An asset of this kind with all that there can be about one, by the path that shows it."""
    asset = await registry.asset(kind=kind)
    device = await registry.device(await registry.cabinet_profile(), asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    now = datetime.now(UTC)
    await observations.readings(stream, {now - timedelta(minutes=5): 20.0})
    await observations.uplink(device["dev_eui"], now)
    order = await client.post("/v1/lighting/commands", json={"asset_id": asset["id"], "action": "on"})
    assert order.status_code == 201, order.text
    return {
        "assets": str(asset["id"]),
        "devices": device["dev_eui"],
        "datastreams": str(stream),
        "alerts": str(await observations.alert(tenancy.id, asset["id"])),
        "lighting/commands": str(order.json()["id"]),
    }


CONFLICT = 409
# A file, and a stream of changes (tests/api/test_change_stream.py).
NO_LISTS = {"/v1/measurements/export", "/v1/stream"}


def filled(template: str, ids: dict[str, str]) -> str:
    found = re.match(r"/v1/((lighting/)?[a-z-]+)/\{", template)
    assert found is not None, template
    path = template.replace("{name}", "reboot").replace("{change_id}", "1")
    return re.sub(r"\{[a-z_]+\}", ids[found[1]], path)


def is_of_assets(path: str) -> bool:
    return IS_OF_ASSETS.match(path) is not None


async def listed(limited: httpx.AsyncClient, template: str, others: dict[str, str]) -> dict[str, list[Any]]:
    answer = await ask(limited, "get", template, template)
    if template in NO_LISTS:
        assert f"\n{others['datastreams']}," not in answer.text
        return {}
    shown = answer.json()
    return {template: shown["items"] if "items" in shown else shown["features"]}


async def test_a_key_of_one_kind_sees_and_acts_on_assets_of_that_kind_alone_over_every_route(
    app: FastAPI,
    client: httpx.AsyncClient,
    registry: Registry,
    observations: Observations,
    tenancy: Tenancy,
    pool: Pool,
) -> None:
    own = await furnish(client, registry, observations, tenancy, "lighting_cabinet")
    others = await furnish(client, registry, observations, tenancy, "light_point")
    spare = await registry.device()
    body = {"name": "Éclairagiste", "roles": LIMITED, "asset_kinds": ["lighting_cabinet"]}
    key = (await client.post("/v1/api-keys", json=body)).json()
    managing = await client.post("/v1/api-keys", json=body | {"roles": ["read", "manage"]})
    lines = await pool.fetchval("SELECT max(id) FROM audit")

    answers: dict[tuple[str, str, str], int] = {}
    lists: dict[str, list[dict[str, Any]]] = {}
    async with client_of(app, key["key"]) as limited:
        for ids, asking in ((own, limited), (others, client)):  # An export is of who asked for it.
            export = await asking.post("/v1/exports", json={"from": "2026-11-01T00:00:00Z"})
            ids["exports"] = str(export.json()["id"])
        for method, template in ABOUT_ONE_OBJECT:
            if not is_of_assets(template) or RIGHT_OF[method, template] not in LIMITED:
                continue
            answers[method, template, "others"] = (
                await ask(limited, method, filled(template, others), template)
            ).status_code
            if method == "get":
                answers[method, template, "own"] = (
                    await ask(limited, method, filled(template, own), template)
                ).status_code
        for method, template in OPERATIONS:
            if not is_of_assets(template):
                answer = await ask(limited, method, example_of(template), template)
                answers[method, template, "elsewhere"] = answer.status_code
            elif method == "get" and "{" not in template and template not in CATALOGUE:
                lists |= await listed(limited, template, others)
        since = {"from": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
        lists["/v1/measurements/daily"] = (await limited.get("/v1/measurements/daily", params=since)).json()[
            "items"
        ]
        assigned = await limited.put(f"/v1/assets/{own['assets']}/device", json={"dev_eui": spare["dev_eui"]})
        stolen = await limited.put(f"/v1/assets/{own['assets']}/device", json={"dev_eui": others["devices"]})
        commands = [
            await limited.post("/v1/lighting/commands", json={"asset_id": int(ids["assets"]), "action": "on"})
            for ids in (own, others)
        ]
    changed = await pool.fetch(
        "SELECT entity, entity_id FROM audit WHERE id > $1 AND action <> 'reject' AND entity <> 'export'", lines
    )
    shown = next(one for one in (await client.get("/v1/api-keys")).json()["items"] if one["id"] == key["id"])

    wanted = {"others": {404}, "own": {200}, "elsewhere": {403}}
    # Of a file that nobody has written yet.
    assert answers.pop(("get", "/v1/exports/{id}/file", "own")) == CONFLICT
    assert {operation: status for operation, status in answers.items() if status not in wanted[operation[2]]} == {}
    # Of a cabinet that stands nowhere and has no wrong attribute.
    assert (lists.pop("/v1/assets/map"), lists.pop("/v1/assets/attribute-issues")) == ([], [])
    # The readings above are no service's, and not in the feed (tests/api/routes/test_feed.py has kinds).
    assert lists.pop("/v1/measurements") == []
    # It is no bin.
    assert [lists.pop(f"/v1/waste/{name}") for name in WASTE] == [[]] * len(WASTE)
    assert len(lists) == 11
    assert [one["known"] for one in lists["/v1/alerts/counts"]] == [1]
    for path, items in lists.items():
        assert items, path
        assert others["devices"] not in str(items), path
        for name, hidden in (("asset_id", others["assets"]), ("datastream_id", others["datastreams"])):
            assert hidden not in {str(one.get(name)) for one in items}, path
    assert [str(one["id"]) for one in lists["/v1/assets"]] == [own["assets"]]
    assert [one["dev_eui"] for one in lists["/v1/devices"]] == [own["devices"]]
    assert [answer.status_code for answer in (managing, assigned, stolen, *commands)] == [422, 404, 404, 201, 404]
    assert [row["entity"] for row in changed] == ["lighting_command"]
    assert shown["asset_kinds"] == ["lighting_cabinet"]
