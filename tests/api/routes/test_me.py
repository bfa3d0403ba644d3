"""Who one is, and a tenant that is renamed, closed and opened again."""

import httpx
from fastapi import FastAPI

from core.runtime.postgres import Pool
from registry.tenants import create_api_key
from tests.api.conftest import client_of, person_client


async def test_key_and_person_read_who_they_are(app: FastAPI, tenancy, pool: Pool) -> None:
    key = await create_api_key(pool, tenancy.id, "carte", ("read",), origins=["https://carte.example"])
    async with client_of(app, key) as program:
        of_key = (await program.get("/v1/me")).json()
    async with await person_client(app, pool, tenancy.id, "field_agent") as person:
        of_person = (await person.get("/v1/me")).json()

    tenant = {"id": tenancy.id, "slug": tenancy.slug, "name": tenancy.slug.upper()}
    assert (of_key["kind"], of_key["name"], of_key["rights"]) == ("api_key", "carte", ["read"])
    assert of_key["key"]["id"] == key.split("_")[1]
    assert of_key["key"]["origins"] == ["https://carte.example"]
    assert of_key["tenants"] == [of_key["tenant"]] == [tenant | {"role": None}]
    assert of_key["session"] is of_key["person_id"] is None
    assert (of_person["kind"], of_person["rights"], of_person["key"]) == ("session", ["field", "read"], None)
    assert of_person["tenants"] == [tenant | {"role": "field_agent"}]
    assert of_person["session"]["proved_until"] < of_person["session"]["expires_at"]


async def test_gateways_show_whose_they_are(client: httpx.AsyncClient, registry, tenancy) -> None:
    gateway = await registry.gateway()

    listed = (await client.get("/v1/gateways")).json()["items"]

    assert {one["gateway_id"]: one["tenant_id"] for one in listed} == {gateway["gateway_id"]: tenancy.id}


# To a group, as its owner has begun it or not.
TO_GROUP = """
INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, not_after, state)
SELECT tenant_id, id, slot, 1, '', now() + interval '1 h', $2::text::downlink_state
FROM multicast_group WHERE id = $1
RETURNING state::text
"""


async def test_closed_tenant_admits_nobody_and_sends_nothing_until_it_is_opened_again(
    app: FastAPI, client: httpx.AsyncClient, other_client, other_registry, other_tenancy, pool: Pool
) -> None:
    device = await other_registry.device()
    waiting = {"f_port": 1, "payload": "00"}
    queued = await other_client.post(f"/v1/devices/{device['dev_eui']}/downlinks", json=waiting)
    group = {"name": "rue", "dev_addr": "00c0ffee", "nwk_s_key": "00" * 16, "app_s_key": "11" * 16}
    group_id = (await other_client.post("/v1/multicast-groups", json=group)).json()["id"]
    for state in ("queued", "sending", "sent"):
        await pool.fetchval(TO_GROUP, group_id, state)
    person = await person_client(app, pool, other_tenancy.id, "reader")
    path = f"/v1/tenants/{other_tenancy.id}"
    renamed = await other_client.patch(path, json={"name": "Ville d'ailleurs"})

    closed = await client.put(f"{path}/closed", json={"closed": True})
    app.state.authenticator.forget(other_tenancy.key.split("_")[1])
    async with person:
        rejected = [(await one.get("/v1/assets")).status_code for one in (other_client, person)]
        states = await pool.fetch("SELECT state::text, reason FROM downlink WHERE id = $1", queued.json()["id"])
        late = await pool.fetchval(
            "INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after) "
            "SELECT tenant_id, id, slot, 1, '', now() FROM device WHERE dev_eui = $1 RETURNING state::text",
            bytes.fromhex(device["dev_eui"]),
        )
        late_to_group = await pool.fetchval(TO_GROUP, group_id, "queued")
        to_group = await pool.fetch("SELECT state::text FROM multicast_message ORDER BY id")
        again = await client.put(f"{path}/closed", json={"closed": False})
        admitted = [(await one.get("/v1/assets")).status_code for one in (other_client, person)]

    assert renamed.json()["name"] == "Ville d'ailleurs"
    assert closed.status_code == 200, closed.text
    assert closed.json()["closed_at"] is not None
    assert rejected == [401, 401]
    assert ([tuple(row) for row in states], late) == ([("cancelled", "WITHDRAWN")], "cancelled")
    assert late_to_group == "cancelled"
    assert [row["state"] for row in to_group] == ["cancelled", "cancelled", "sent", "cancelled"]
    assert again.json()["closed_at"] is None
    assert admitted == [200, 200]


async def test_own_tenant_of_the_operator_is_never_closed(client: httpx.AsyncClient, tenancy) -> None:
    answer = await client.put(f"/v1/tenants/{tenancy.id}/closed", json={"closed": True})

    assert answer.status_code == 409
    assert (await client.get("/v1/me")).status_code == 200
