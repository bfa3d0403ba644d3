"""Keys leave by a right of their own, for a recipient who was registered, and encrypted for it."""

import json
from typing import Any

import httpx
import pyrage
import pytest

from core.runtime.postgres import Pool
from registry.tenants import EXPORT_KEYS, allow_export
from tests.api.routes.test_device_imports import APP_KEY, SESSION, device_of, imported

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = {"name": "Coffre", "public_key": str(IDENTITY.to_public())}


@pytest.fixture
async def allowed(pool: Pool, tenancy, other_tenancy) -> None:
    """Both tenants' keys have the right."""
    async with pool.acquire() as connection:
        for one in (tenancy, other_tenancy):
            assert await allow_export(connection, one.key.split("_")[1], "exploitant", allowed=True)


async def export(client: httpx.AsyncClient, tenancy, **fields: Any) -> dict[str, Any]:
    recipients = (await client.get("/v1/key-recipients")).json()["items"]
    if not recipients:
        recipients = [(await client.post("/v1/key-recipients", json=RECIPIENT)).json()]
    return {"api_key": tenancy.key, "reason": "Séquestre annuel", "recipient_id": recipients[0]["id"]} | fields


def opened(answer: httpx.Response) -> list[dict[str, Any]]:
    return json.loads(pyrage.decrypt(answer.json()["file"].encode(), [IDENTITY]))["devices"]


async def test_a_tenant_takes_its_keys_out_as_they_went_in_and_the_recipient_alone_reads_them(
    client, registry, tenancy, pool: Pool, allowed
) -> None:
    profile = await registry.profile()
    otaa = device_of(profile, name="a", app_key=APP_KEY, join_nonce=3)
    abp = device_of(profile, name="b", session=SESSION)
    await imported(client, otaa, abp)

    answer = await client.post("/v1/key-exports", json=await export(client, tenancy))
    body = await export(client, tenancy, dev_euis=[abp["dev_eui"].upper()])
    some = await client.post("/v1/key-exports", json=body)

    devices = opened(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["recipient"], answer.json()["devices"]) == ("Coffre", 2)
    assert APP_KEY not in answer.text
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(answer.json()["file"].encode(), [pyrage.x25519.Identity.generate()])
    assert {name: value for name, value in devices[0].items() if value is not None} == otaa
    assert devices[1]["session"] == {"rx1_dr_offset": 0, "rx2_frequency": 869_525_000} | SESSION
    assert opened(some) == devices[1:]
    assert [outcome for outcome, _ in await imported(client, *devices)] == ["unchanged", "unchanged"]
    noted = await pool.fetch(
        "SELECT actor, tenant_id, details FROM audit WHERE action = 'export_keys' ORDER BY id"
    )
    assert [row["tenant_id"] for row in noted] == [tenancy.id] * 2
    assert noted[1]["details"] == {
        "reason": "Séquestre annuel",
        "dev_euis": [abp["dev_eui"]],
        "api_key": tenancy.key.split("_")[1],
        "address": "127.0.0.1",
        "after": {"recipient": "Coffre", "public_key": RECIPIENT["public_key"]},
    }
    assert APP_KEY not in str([dict(row) for row in noted])


async def test_no_key_takes_keys_out_until_the_operator_has_allowed_it_and_none_gives_itself_the_right(
    client, registry, tenancy, pool: Pool
) -> None:
    body = await export(client, tenancy)

    refused = await client.post("/v1/key-exports", json=body)
    taken = await client.post("/v1/api-keys", json={"name": "k", "roles": ["read", EXPORT_KEYS]})

    assert (refused.status_code, taken.status_code) == (403, 422)
    assert EXPORT_KEYS in refused.json()["detail"]
    async with pool.acquire() as connection:
        assert await allow_export(connection, tenancy.key.split("_")[1], "exploitant", allowed=True)
        assert not await allow_export(connection, "ffffffffffff", "exploitant", allowed=True)
        assert await allow_export(connection, tenancy.key.split("_")[1], "exploitant", allowed=False)
    noted = await pool.fetch("SELECT action, actor FROM audit WHERE entity = 'api_key' ORDER BY id")
    assert [tuple(row) for row in noted] == [("allow_export", "exploitant"), ("refuse_export", "exploitant")]


async def test_keys_go_to_nobody_who_was_not_registered(
    client, other_client, tenancy, other_tenancy, allowed
) -> None:
    theirs = await export(other_client, other_tenancy)
    mine = await export(client, tenancy)

    unknown = await client.post("/v1/key-exports", json=mine | {"recipient_id": theirs["recipient_id"]})
    removed = await client.delete(f"/v1/key-recipients/{mine['recipient_id']}")
    gone = await client.post("/v1/key-exports", json=mine)
    no_key = await client.post("/v1/key-recipients", json=RECIPIENT | {"public_key": "age1" + "q" * 58})

    assert [answer.status_code for answer in (unknown, removed, gone, no_key)] == [404, 204, 404, 422]
    assert "age-keygen" in no_key.text


async def test_keys_are_shown_to_nobody_without_the_requests_own_key_a_second_time(
    client, client_with, registry, tenancy, other_tenancy, pool: Pool, allowed
) -> None:
    await imported(client, device_of(await registry.profile(), app_key=APP_KEY))

    body = await export(client, tenancy)
    answers = [
        await client.post("/v1/key-exports", json=await export(client, tenancy, api_key=key))
        for key in ("", "nonsense", tenancy.key[:-1], other_tenancy.key)
    ]
    revoked_meanwhile = await pool.execute(
        "UPDATE api_key SET revoked_at = now() WHERE tenant_id = $1", tenancy.id
    )
    remembered = await client.post("/v1/key-exports", json=body)

    assert revoked_meanwhile == "UPDATE 1"
    assert [answer.status_code for answer in (*answers, remembered)] == [403] * 4 + [401]
    assert APP_KEY not in "".join(answer.text for answer in answers)
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'refuse_export_keys'") == 4
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'export_keys'") == 0


async def test_keys_of_others_are_rejected_also_where_their_device_is_seen(
    client, registry, tenancy, other_client, other_tenancy, pool: Pool, allowed
) -> None:
    theirs = await registry.device(asset_id=(await registry.asset())["id"])
    await client.put(f"/v1/tenants/{tenancy.id}/member-of", json={"tenant_id": other_tenancy.id})
    seen = await other_client.get(f"/v1/devices/{theirs['dev_eui']}")

    asked = await other_client.post(
        "/v1/key-exports", json=await export(other_client, other_tenancy, dev_euis=[theirs["dev_eui"]])
    )
    everything = await other_client.post("/v1/key-exports", json=await export(other_client, other_tenancy))

    assert (seen.status_code, asked.status_code) == (200, 404)
    assert opened(everything) == []
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'export_keys'") == 1
