"""The audit as its readers see it: filtered, as CSV, with what was rejected."""

from datetime import UTC, datetime, timedelta

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


async def test_reading_personal_data_is_one_line_a_reader_asset_and_day_in_the_owners_audit_too(
    client: httpx.AsyncClient, other_client: httpx.AsyncClient, registry, observations, pool: Pool
) -> None:
    dwelling = await registry.asset(kind="dwelling", privacy_class=2)
    public = await registry.asset(kind="room", privacy_class=1)
    streams: list[int] = []
    for asset in (dwelling, public):
        device = await registry.device(asset_id=asset["id"])
        streams.append(await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "m3"))
        await observations.readings(streams[-1], {datetime.now(UTC) - timedelta(minutes=5): 12.0})
    grant = (await client.post("/v1/grants", json={"tenant": "autre", "asset_id": dwelling["id"]})).json()
    assert (await other_client.post(f"/v1/grants/{grant['id']}/accept")).status_code == 200
    day = {"from": (datetime.now(UTC) - timedelta(days=1)).isoformat()}

    shown: list[tuple[str, int]] = []
    for path in (
        f"/v1/datastreams/{streams[0]}/measurements",
        f"/v1/datastreams/{streams[0]}/aggregates?bucket=day",
        f"/v1/datastreams/{streams[0]}/corrections",
        f"/v1/datastreams/{streams[0]}/meter-changes",
        "/v1/measurements/latest",
        f"/v1/measurements/daily?{httpx.QueryParams(day)}",
        f"/v1/devices/{(await client.get(f'/v1/datastreams/{streams[0]}')).json()['dev_eui']}/uplinks",
        f"/v1/assets/{dwelling['id']}",
        "/v1/assets",
        "/v1/alerts",
    ):
        await pool.execute("DELETE FROM personal_read")  # Another day.
        for _ in range(2):
            assert (await client.get(path)).status_code == 200, path
        shown.append((path, await pool.fetchval("SELECT count(*) FROM personal_read")))
    await pool.execute("DELETE FROM personal_read")
    await other_client.get(f"/v1/datastreams/{streams[0]}/measurements")
    await other_client.get(f"/v1/datastreams/{streams[1]}/measurements")
    lines = await pool.fetch("SELECT * FROM audit WHERE action = 'read' ORDER BY id")

    assert [(path, count) for path, count in shown if count != 1] == [("/v1/alerts", 0)]
    assert {(line["entity"], line["entity_id"]) for line in lines} == {("asset", str(dwelling["id"]))}
    assert len(lines) == len(shown) - 1 + 2
    assert lines[0]["details"].keys() == {"api_key", "address"}
    assert [(line["actor"], line["details"].get("of_tenant")) for line in lines[-2:]] == [
        ("clé de autre (autre)", "autre"),
        ("clé de autre", None),
    ]
    assert len({line["tenant_id"] for line in lines[-2:]}) == 2


async def test_what_a_caller_may_not_do_or_does_to_a_changed_object_is_audited_whichever_way_it_is_rejected(
    app: FastAPI, client: httpx.AsyncClient, client_with, registry, pool: Pool
) -> None:
    team = (await client.post("/v1/teams", json={"name": "Voirie"})).json()
    path = f"/v1/teams/{team['id']}"
    tag = (await client.get(path)).headers["etag"]
    await client.put(path, json={"name": "Eau"})
    stale = await client.put(path, json={"name": "Gaz"}, headers={"If-Match": tag})
    async with client_with("read", "manage") as manager:
        body = {"name": "p", "vendor": "V", "model": "M", "codec": "milesight.em400", "shared": True}
        within = await manager.post("/v1/device-profiles", json=body)
    lines = await pool.fetch("SELECT entity_id, actor, details FROM audit WHERE action = 'reject' ORDER BY id")

    assert (stale.status_code, within.status_code) == (412, 403)
    assert (await client.get(path)).json()["name"] == "Eau"
    assert [(line["entity_id"], line["details"]["path"]) for line in lines] == [
        ("stale", path),
        ("right", "/v1/device-profiles"),
    ]
    assert (lines[1]["actor"], lines[1]["details"]["right"]) == ("restreinte", "operate")


async def test_bad_input_of_people_and_keys_is_rejected_in_french_changes_nothing_and_is_audited(
    app: FastAPI, client: httpx.AsyncClient, tenancy, pool: Pool
) -> None:
    """Those that need a provider of identities, or a telephone, are in test_oidc and test_people beside this."""
    made = await client.post("/v1/invitations", json={"email": "n@ville.example", "name": "N", "role": "reader"})
    await pool.execute("UPDATE invitation SET expires_at = now() - interval '1 minute'")
    token = made.json()["link"].partition("#")[2]
    state = "SELECT count(*) FROM person", "SELECT count(*) FROM membership", "SELECT count(*) FROM team"
    before = [await pool.fetchval(statement) for statement in state]
    answers: dict[str, httpx.Response] = {}
    async with client_of(app, None) as nobody:
        body = {"token": token, "password": "quatre mots pris au hasard"}
        answers["expired invitation"] = await nobody.post("/v1/invitations/accept", json=body)
    async with await person_client(app, pool, tenancy.id, "reader") as reader:
        answers["without right"] = await reader.post("/v1/teams", json={"name": "Voirie"})
        reader.headers["X-CSRF-Token"] = "x"
        answers["foreign page"] = await reader.post("/v1/teams", json={"name": "Voirie"})
    lines = await pool.fetch("SELECT entity_id, details FROM audit WHERE action = 'reject'")

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "expired invitation": 409,
        "without right": 403,
        "foreign page": 403,
    }
    assert "expiré" in answers["expired invitation"].json()["detail"]
    assert sorted(line["entity_id"] for line in lines) == ["login", "right"]
    after = [await pool.fetchval(statement) for statement in state]
    assert (after[0] - before[0], after[1] - before[1], after[2] - before[2]) == (1, 1, 0)  # The reader's own.
