"""The audit as its readers see it: filtered, as CSV, with what was rejected."""

import httpx
from fastapi import FastAPI

from core.runtime.postgres import Pool
from tests.api.conftest import client_of, person_client


async def test_the_audit_says_who_from_where_and_what_was_before_and_after(
    app: FastAPI, client: httpx.AsyncClient, other_client: httpx.AsyncClient, tenancy, pool: Pool
) -> None:
    team = (await client.post("/v1/teams", json={"name": "Voirie"})).json()
    async with await person_client(app, pool, tenancy.id, "service_manager") as manager:
        await manager.put(f"/v1/teams/{team['id']}", json={"name": "=Eau"})
        lines = (await manager.get("/v1/audit", params={"entity": "team"})).json()["items"]
        first = await manager.get("/v1/audit", params={"entity": "team", "limit": 1})
        rest = await manager.get("/v1/audit", params={"entity": "team", "cursor": first.json()["next"]})
        table = await manager.get("/v1/audit", params={"entity": "team", "format": "csv", "limit": 1})
        nothing = await manager.get("/v1/audit", params={"entity": "team", "to": "2020-01-01T00:00:00Z"})
    async with await person_client(app, pool, tenancy.id, "reader") as reader:
        rejected = await reader.get("/v1/audit")
    async with client_of(app, "terr_abc_" + "x" * 43) as unknown:
        assert (await unknown.get("/v1/teams")).status_code == 401
        assert (await unknown.get("/v1/teams")).status_code == 401
    theirs = (await other_client.get("/v1/audit", params={"action": "update"})).json()["items"]
    refused = (await client.get("/v1/audit", params={"entity": "login"})).json()["items"]

    changed = lines[0]
    assert changed["actor"].startswith("personne ")
    assert changed["details"]["address"] == "127.0.0.1"
    assert (changed["details"]["before"]["name"], changed["details"]["after"]["name"]) == ("Voirie", "=Eau")
    assert "quiet_from" not in changed["details"]["after"]
    assert [line["id"] for line in first.json()["items"] + rest.json()["items"]] == [line["id"] for line in lines]
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["next-cursor"] == first.json()["next"]
    assert table.text.splitlines()[0] == "id,at,actor,action,entity,entity_id,address,details"
    assert nothing.json()["items"] == []
    assert rejected.status_code == 403
    assert theirs == []
    assert [(line["entity_id"], line["tenant_id"]) for line in refused if line["entity_id"] == "key"][:1] == [
        ("key", None)
    ]
    assert [line["details"]["right"] for line in refused if line["entity_id"] == "right"] == ["audit"]
