from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool, PostgresError
from registry.tenants import create_tenant
from tests.entering import tenant_transaction


async def test_the_operator_makes_a_tenant_that_can_start_at_once(client, client_of_key, tenancy) -> None:
    body = {
        "slug": "landerneau",
        "name": "Ville de Landerneau",
        "webhook_allow_list": ["10.12.0.0/16", "SI.local"],
    }

    created = await client.post("/v1/tenants", json=body)
    async with client_of_key(created.json()["api_key"]) as theirs:
        rules = (await theirs.get("/v1/alert-rules")).json()["items"]
        seen = (await theirs.get("/v1/tenants")).json()["items"]
        may_operate = await theirs.get("/v1/gateways/unknown")

    assert created.status_code == 201
    assert created.json()["webhook_allow_list"] == ["10.12.0.0/16", "si.local"]
    assert {"bin_75", "device_silent"} <= {rule["name"] for rule in rules}
    assert [tenant["slug"] for tenant in seen] == ["landerneau"]
    assert may_operate.status_code == 403
    all_seen = (await client.get("/v1/tenants")).json()["items"]
    assert [tenant["slug"] for tenant in all_seen] == [tenancy.slug, "landerneau"]
    assert (await client.get(f"/v1/tenants/{created.json()['id']}")).json()["slug"] == "landerneau"


async def test_without_the_operators_role_a_tenant_sees_itself_only(client_with, tenancy, other_tenancy) -> None:
    async with client_with("read", "manage") as manager:
        listed = await manager.get("/v1/tenants")
        other = await manager.get(f"/v1/tenants/{other_tenancy.id}")
        made = await manager.post("/v1/tenants", json={"slug": "x", "name": "X"})

    assert [tenant["id"] for tenant in listed.json()["items"]] == [tenancy.id]
    assert (other.status_code, made.status_code) == (404, 403)


async def test_the_database_itself_lets_only_the_operator_make_or_see_tenants(
    api_pool: Pool, tenancy, other_tenancy
) -> None:
    async with tenant_transaction(api_pool, tenancy.id) as connection:
        seen = await connection.fetchval("SELECT count(*) FROM tenant")
    with pytest.raises(PostgresError, match="row-level security"):
        async with tenant_transaction(api_pool, tenancy.id) as connection:
            await create_tenant(connection, "x", "X")

    assert seen == 1


async def test_a_slug_is_taken_once_and_an_allow_list_names_networks_and_hosts(client, tenancy) -> None:
    taken = await client.post("/v1/tenants", json={"slug": tenancy.slug, "name": "encore"})
    wrong = await client.post("/v1/tenants", json={"slug": "x", "name": "X", "webhook_allow_list": ["http://a/"]})

    assert taken.status_code == 409
    assert wrong.json()["errors"][0]["field"] == "body.webhook_allow_list.0"


async def test_the_operator_allows_inner_addresses_to_any_tenant_and_replaces_them(client, other_tenancy) -> None:
    path = f"/v1/tenants/{other_tenancy.id}"
    allowed = await client.put(
        f"{path}/webhook-allow-list", json={"webhook_allow_list": ["10.12.0.0/16", "SI.mairie.local"]}
    )
    seen = (await client.get(path)).json()["webhook_allow_list"]
    wrong = await client.put(f"{path}/webhook-allow-list", json={"webhook_allow_list": ["http://a/"]})
    nobody = await client.put("/v1/tenants/999999/webhook-allow-list", json={"webhook_allow_list": []})
    emptied = await client.put(f"{path}/webhook-allow-list", json={"webhook_allow_list": []})

    assert (allowed.status_code, seen) == (200, ["10.12.0.0/16", "si.mairie.local"])
    assert (wrong.status_code, nobody.status_code) == (422, 404)
    assert emptied.json()["webhook_allow_list"] == []


async def test_a_tenant_says_its_own_department_and_nobody_elses(client, other_tenancy, tenancy) -> None:
    made = await client.post("/v1/tenants", json={"slug": "metz", "name": "Metz", "department": "57"})
    changed = await client.patch(f"/v1/tenants/{tenancy.id}", json={"department": "974"})
    theirs = await client.patch(f"/v1/tenants/{other_tenancy.id}", json={"department": "974"})
    wrong = [
        await client.patch(f"/v1/tenants/{tenancy.id}", json={"department": one}) for one in ("20", "999", "7")
    ]

    assert (made.json()["department"], changed.json()["department"]) == ("57", "974")
    assert theirs.status_code == 404
    assert [answer.status_code for answer in wrong] == [422] * 3
    freed = await client.patch(f"/v1/tenants/{tenancy.id}", json={"department": None})
    assert freed.json()["department"] is None


async def test_a_key_is_shown_once_and_revoked_at_once_on_this_replica(client, client_of_key) -> None:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    created = await client.post(
        "/v1/api-keys", json={"name": "tournées", "roles": ["read"], "expires_at": expires_at.isoformat()}
    )
    key, key_id = created.json()["key"], created.json()["id"]

    async with client_of_key(key) as theirs:
        before = await theirs.get("/v1/assets")
        listed = await client.get("/v1/api-keys")
        revoked = await client.delete(f"/v1/api-keys/{key_id}")
        after = await theirs.get("/v1/assets")
        again = await client.delete(f"/v1/api-keys/{key_id}")

    assert created.status_code == 201
    assert (before.status_code, after.status_code) == (200, 401)
    assert (revoked.status_code, again.status_code) == (204, 404)
    assert key.split("_", 2)[2] not in listed.text
    assert [item["roles"] for item in listed.json()["items"] if item["id"] == key_id] == [["read"]]


async def test_a_key_is_renamed_and_prolonged_by_who_has_its_rights(client, client_with, client_of_key) -> None:
    expires_at = "2030-01-01T00:00:00Z"
    created = (await client.post("/v1/api-keys", json={"name": "x", "roles": ["read", "operate"]})).json()
    address = f"/v1/api-keys/{created['id']}"

    async with client_with("read", "manage") as manager:
        forbidden = await manager.patch(address, json={"expires_at": None})
    changed = await client.patch(address, json={"name": "SIG", "expires_at": expires_at})
    kept = await client.patch(address, json={})
    ended = await client.patch(address, json={"expires_at": "2020-01-01T00:00:00Z"})
    async with client_of_key(created["key"]) as theirs:
        after = await theirs.get("/v1/assets")
    await client.delete(address)

    assert forbidden.status_code == 403
    assert "operate" in forbidden.json()["detail"]
    for answer in (changed, kept):
        assert (answer.status_code, answer.json()["name"], answer.json()["expires_at"]) == (200, "SIG", expires_at)
    assert (ended.status_code, after.status_code) == (200, 401)
    assert (await client.patch(address, json={"name": "y"})).status_code == 404
    assert (await client.patch(address, json={"roles": ["manage"]})).status_code == 422


async def test_nobody_hands_out_a_role_that_they_lack(client_with) -> None:
    async with client_with("read", "manage") as manager:
        answers = [
            await manager.post("/v1/api-keys", json={"name": "x", "roles": [role]})
            for role in ("read", "lighting", "operate", "emperor")
        ]

    assert [answer.status_code for answer in answers] == [201, 403, 403, 422]
