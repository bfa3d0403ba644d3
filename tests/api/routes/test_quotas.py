"""Objects of a tenant: quotas that the operator sets, kept without races and by imports, and shown."""

import asyncio
from datetime import time
from typing import Any

from alerting.teams import create_team
from core.runtime.postgres import Pool
from tests.entering import tenant_transaction

NO_QUIET_HOURS = {
    "quiet_from": None,
    "quiet_until": None,
    "quiet_on_days_off": False,
    "digest_at": time(7, 30),
    "sensor_health": False,
}
WAITS = "SELECT true FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def set_quotas(client, tenant_id: int, **quotas: int | None) -> dict[str, Any]:
    answer = await client.put(f"/v1/tenants/{tenant_id}/quotas", json={"quotas": quotas})
    assert answer.status_code == 200, answer.text
    return {one["kind"]: one for one in answer.json()["items"]}


async def test_of_two_requests_at_the_last_place_one_passes_and_the_other_is_told_why(
    client, tenancy, other_tenancy, other_client, pool: Pool, api_pool: Pool
) -> None:
    shown = await set_quotas(client, tenancy.id, teams=2)
    first = await client.post("/v1/teams", json={"name": "Voirie"})

    async with tenant_transaction(api_pool, tenancy.id) as connection:  # Not committed yet.
        await create_team(connection, tenancy.id, {"name": "Espaces verts", **NO_QUIET_HOURS})
        second = asyncio.create_task(client.post("/v1/teams", json={"name": "Déchets"}))
        others = await other_client.post("/v1/teams", json={"name": "Voirie"})
        while not await pool.fetchval(WAITS):
            assert not second.done()
            await asyncio.sleep(0.01)
    answer = await second

    assert (shown["teams"]["used"], shown["teams"]["most"], shown["teams"]["by_default"]) == (0, 2, 200)
    assert (first.status_code, others.status_code, answer.status_code) == (201, 201, 409)
    assert answer.json()["detail"] == (
        "quota « teams » atteint : 2 équipes au plus pour cette collectivité, qui en a 2 ; "
        "l'exploitant du réseau peut l'élever"
    )
    assert answer.json()["errors"][0]["code"] == "teams"
    await what_is_there_stays_and_goes(client, tenancy.id, first.json()["id"])
    async with api_pool.acquire() as connection:
        assert not await connection.fetchval("SELECT has_table_privilege('quota', 'SELECT, INSERT, UPDATE')")


async def what_is_there_stays_and_goes(client, tenant_id: int, team_id: int) -> None:
    """Below what there is: nothing is taken away, what goes makes no room before there is some."""
    lowered = await set_quotas(client, tenant_id, teams=1)
    renamed = await client.put(f"/v1/teams/{team_id}", json={"name": "Voirie, nuit"})
    gone = await client.delete(f"/v1/teams/{team_id}")
    full = await client.post("/v1/teams", json={"name": "de trop"})
    raised = await set_quotas(client, tenant_id, teams=None)
    again = await client.post("/v1/teams", json={"name": "de nouveau"})

    assert (lowered["teams"]["used"], lowered["teams"]["most"]) == (2, 1)
    assert (renamed.status_code, gone.status_code, full.status_code, again.status_code) == (200, 204, 409, 201)
    assert raised["teams"]["most"] == 200


async def test_an_import_stops_at_the_quota_and_says_so_of_each_device(client, registry, tenancy) -> None:
    profile = await registry.profile()
    await set_quotas(client, tenancy.id, devices=2)
    body = {"devices": [{"dev_eui": f"{n:016x}", "device_profile_id": profile["id"]} for n in range(1, 4)]}

    tried = (await client.post("/v1/device-imports", json=body | {"dry_run": True})).json()
    done = (await client.post("/v1/device-imports", json=body)).json()
    shown = {one["kind"]: one for one in (await client.get(f"/v1/tenants/{tenancy.id}/quotas")).json()["items"]}

    for answer in (tried, done):
        assert [one["outcome"] for one in answer["devices"]] == ["created", "created", "refused"]
        assert "2 capteurs au plus" in answer["devices"][2]["detail"]
    assert (shown["devices"]["used"], shown["devices"]["name"]) == (2, "capteurs")


async def test_a_tenant_reads_its_own_quotas_and_sets_none(client_with, tenancy, other_tenancy) -> None:
    async with client_with("read", "manage") as manager:
        own = await manager.get(f"/v1/tenants/{tenancy.id}/quotas")
        other = await manager.get(f"/v1/tenants/{other_tenancy.id}/quotas")
        raised = await manager.put(f"/v1/tenants/{tenancy.id}/quotas", json={"quotas": {"teams": 9}})
    async with client_with("operate") as operator:
        unknown = await operator.put(f"/v1/tenants/{tenancy.id}/quotas", json={"quotas": {"chaises": 9}})

    assert {one["kind"] for one in own.json()["items"]} >= {"devices", "gateways", "api_keys", "webhook_endpoints"}
    assert (other.status_code, raised.status_code, unknown.status_code) == (404, 403, 422)
