"""Keys of meters: who sets them, who sees that they are there, and that nobody reads them back."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.runtime.postgres import InsufficientPrivilegeError, Pool
from registry.decoding_keys import decoding_key_owner, read_device_keys
from registry.keys import KeyWrap, row_owner
from tests.api.conftest import KEK

KEYS = KeyWrap("kek-1", KEK)
KEY, OTHER = "0102030405060708090a0b0c0d0e0f11", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
METER = "24271170"


async def opened(pool: Pool, device: dict[str, Any]) -> Any:
    device_id = await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))
    return (await read_device_keys(pool, [device_id], KEYS)).get(device_id)


def path_of(device: dict[str, Any]) -> str:
    return f"/v1/devices/{device['dev_eui']}/decoding-key"


async def test_a_devices_key_is_set_replaced_and_removed_and_shown_as_present_since(
    client, registry, pool: Pool
) -> None:
    device = await registry.device(await registry.profile(codec="oms.wmbus"))
    path, began = path_of(device), datetime.now(UTC)

    none = (await client.get(path)).json()
    first = (await client.put(path, json={"key": KEY})).json()
    shown = (await client.get(path)).json()
    was = await opened(pool, device)
    second = (await client.put(path, json={"key": OTHER.upper()})).json()

    assert none == {"keys": [], "profile_key_since": None}
    assert shown == {"keys": [first], "profile_key_since": None}
    assert first["meter_id"] is None
    assert datetime.fromisoformat(first["present_since"]) >= began
    assert second["present_since"] > first["present_since"]
    assert was == {"key": KEY}
    assert await opened(pool, device) == {"key": OTHER}
    assert (await client.delete(path)).status_code == 204
    assert await opened(pool, device) is None
    assert (await client.delete(path)).status_code == 404


async def test_a_bridge_has_a_key_for_each_of_its_meters(client, registry, pool: Pool) -> None:
    device = await registry.device(await registry.profile(codec="lobaro.wmbus_bridge"))
    path = path_of(device)

    await client.put(path, json={"key": KEY})
    await client.put(path, json={"key": OTHER, "meter_id": METER})
    await client.put(path, json={"key": OTHER, "meter_id": "ABCDEF01"})
    both = (await client.get(path)).json()["keys"]
    whole = await opened(pool, device)
    gone = await client.delete(path, params={"meter_id": "abcdef01"})

    assert [key["meter_id"] for key in both] == [None, METER, "abcdef01"]
    assert whole == {"key": KEY, "keys": {METER: OTHER, "abcdef01": OTHER}}
    assert gone.status_code == 204
    assert await opened(pool, device) == {"key": KEY, "keys": {METER: OTHER}}


async def test_a_profiles_key_is_for_its_devices_without_one_of_their_own(client, registry, pool: Pool) -> None:
    profile = await registry.profile(codec="oms.wmbus")
    bare, keyed = await registry.device(profile), await registry.device(profile)
    await client.put(path_of(keyed), json={"key": OTHER})
    path = f"/v1/device-profiles/{profile['id']}/decoding-key"

    none = (await client.get(path)).json()
    made = (await client.put(path, json={"key": KEY})).json()
    shown = (await client.get(path)).json()
    of_device = (await client.get(path_of(bare))).json()

    assert none == {"present_since": None}
    assert shown == made
    assert of_device == {"keys": [], "profile_key_since": made["present_since"]}
    assert await opened(pool, bare) == {"key": KEY}
    assert await opened(pool, keyed) == {"key": OTHER}
    assert (await client.delete(path)).status_code == 204
    assert await opened(pool, bare) is None
    assert (await client.delete(path)).status_code == 404


async def test_the_default_key_of_a_profile_that_all_have_is_each_tenants_own(
    client, registry, other_client, other_registry, pool: Pool
) -> None:
    profile = await registry.profile(codec="oms.wmbus", shared=True)
    mine, theirs = await registry.device(profile), await other_registry.device(profile)
    path = f"/v1/device-profiles/{profile['id']}/decoding-key"

    await client.put(path, json={"key": KEY})

    assert await opened(pool, mine) == {"key": KEY}
    assert await opened(pool, theirs) is None
    assert (await other_client.get(path)).json() == {"present_since": None}
    assert (await other_client.delete(path)).status_code == 404
    assert (await other_client.put(path, json={"key": OTHER})).status_code == 200
    assert await opened(pool, mine) == {"key": KEY}
    assert await opened(pool, theirs) == {"key": OTHER}


@pytest.mark.parametrize("wrong", ["", KEY[:-2], KEY + "00", "z" * 32, KEY[:16], " ".join(KEY)])
async def test_a_key_of_a_wrong_length_is_rejected_in_french_and_not_repeated(
    client, registry, wrong: str
) -> None:
    profile = await registry.profile(codec="oms.wmbus")
    device = await registry.device(profile)

    for path in (path_of(device), f"/v1/device-profiles/{profile['id']}/decoding-key"):
        answer = await client.put(path, json={"key": wrong})

        assert answer.status_code == 422
        assert answer.json()["errors"][0] == {
            "field": "body.key", "code": "hex", "message": "32 chiffres hexadécimaux attendus",
        }  # fmt: skip
        assert not wrong or wrong not in answer.text


async def test_a_meter_is_named_by_its_eight_digits(client, registry) -> None:
    device = await registry.device()

    answer = await client.put(path_of(device), json={"key": KEY, "meter_id": "1234"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.meter_id"


async def test_no_answer_no_audit_and_no_column_has_the_key(client, registry, pool: Pool) -> None:
    profile = await registry.profile(codec="oms.wmbus")
    device = await registry.device(profile)
    of_profile = f"/v1/device-profiles/{profile['id']}/decoding-key"
    answers = [
        await client.put(path_of(device), json={"key": KEY}),
        await client.put(of_profile, json={"key": KEY}),
        await client.get(path_of(device)),
        await client.get(of_profile),
        await client.get(f"/v1/devices/{device['dev_eui']}"),
        await client.get(f"/v1/device-profiles/{profile['id']}"),
        await client.delete(path_of(device), params={"meter_id": METER}),
        await client.delete(path_of(device)),
        await client.delete(of_profile),
    ]

    lines = await pool.fetch(
        "SELECT action, entity, entity_id, details FROM audit WHERE action ~ 'decoding_key' ORDER BY id"
    )
    assert not any(KEY in answer.text for answer in answers)
    assert [(line["action"], line["entity"], line["entity_id"]) for line in lines] == [
        ("set_decoding_key", "device", device["dev_eui"]),
        ("set_decoding_key", "device_profile", str(profile["id"])),
        ("delete_decoding_key", "device", device["dev_eui"]),
        ("delete_decoding_key", "device_profile", str(profile["id"])),
    ]
    assert all(line["details"].keys() <= {"before", "after", "api_key", "address"} for line in lines)


async def test_a_key_is_wrapped_at_rest_and_no_role_of_the_apis_reads_it(
    client, registry, pool: Pool, api_pool: Pool
) -> None:
    profile = await registry.profile(codec="oms.wmbus")
    device = await registry.device(profile)
    await client.put(path_of(device), json={"key": KEY})
    await client.put(f"/v1/device-profiles/{profile['id']}/decoding-key", json={"key": KEY})

    for table in ("device_decoding_key", "profile_decoding_key"):
        row = await pool.fetchrow(f"SELECT t::text AS whole, key_wrapped, kek_id, sealed_for FROM {table} t")
        assert row is not None
        assert KEY not in row["whole"]
        sealed_for = row["sealed_for"]
        owner = (
            row_owner(table, sealed_for)
            if sealed_for
            else decoding_key_owner(bytes.fromhex(device["dev_eui"]), "")
        )
        assert (KEYS.unwrap(row["key_wrapped"], owner).hex(), row["kek_id"]) == (KEY, "kek-1")
        for statement in (
            f"SELECT key_wrapped FROM {table}",
            f"SELECT * FROM {table}",
            f"UPDATE {table} SET set_at = now() RETURNING key_wrapped",
            f"DELETE FROM {table} RETURNING key_wrapped",
            f"UPDATE {table} SET key_wrapped = key_wrapped || ''",
        ):
            with pytest.raises(InsufficientPrivilegeError):
                await api_pool.execute(statement)


async def test_a_key_is_its_devices_owners_to_set(
    app: FastAPI, client, registry, other_client, pool: Pool
) -> None:
    device = await registry.device(await registry.profile(codec="oms.wmbus"))
    await client.put(path_of(device), json={"key": KEY})

    refused = [
        await other_client.put(path_of(device), json={"key": OTHER}),
        await other_client.delete(path_of(device)),
        await other_client.get(path_of(device)),
    ]

    assert [answer.status_code for answer in refused] == [404, 404, 404]
    assert await opened(pool, device) == {"key": KEY}


async def test_a_syndicat_does_not_see_its_members_keys(
    client, registry, other_client, tenancy, other_tenancy, pool: Pool
) -> None:
    profile = await registry.profile(codec="oms.wmbus")
    # A public building's: of a household's it would not see the meter either.
    device = await registry.device(profile, asset_id=(await registry.asset(kind="building"))["id"])
    of_profile = f"/v1/device-profiles/{profile['id']}/decoding-key"
    await client.put(path_of(device), json={"key": KEY})
    await client.put(of_profile, json={"key": KEY})
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", other_tenancy.id, tenancy.id)

    seen = await other_client.get(path_of(device))
    changed: list[httpx.Response] = [
        await other_client.put(path_of(device), json={"key": OTHER}),
        await other_client.delete(path_of(device)),
        await other_client.put(of_profile, json={"key": OTHER}),
        await other_client.delete(of_profile),
    ]

    assert seen.json() == {"keys": [], "profile_key_since": None}
    assert {answer.status_code for answer in changed} <= {403, 404}
    assert await opened(pool, device) == {"key": KEY}


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_meter_that_changes_hands_stays_readable_to_its_new_owner(
    client, other_client, registry, other_tenancy, pool: Pool, is_shared: bool
) -> None:
    profile = await registry.profile(codec="oms.wmbus", shared=is_shared)
    asset = await registry.asset(name="Compteur")
    moved, staying = await registry.device(profile, asset_id=asset["id"]), await registry.device(profile)
    await client.put(f"/v1/device-profiles/{profile['id']}/decoding-key", json={"key": KEY})

    body = {"tenant": other_tenancy.slug, "history": "stays", "confirm": "Compteur"}
    given = await client.post(f"/v1/assets/{asset['id']}/transfer", json=body)
    given = await other_client.post(f"/v1/transfers/{given.json()['id']}/accept")
    await client.put(f"/v1/device-profiles/{profile['id']}/decoding-key", json={"key": OTHER})

    assert given.is_success, given.text
    assert await opened(pool, moved) == {"key": KEY}
    assert await opened(pool, staying) == {"key": OTHER}


async def test_another_profile_of_its_owner_gives_a_device_no_key_of_its_former_one(
    client, registry, pool: Pool
) -> None:
    former, next_one = await registry.profile(codec="oms.wmbus"), await registry.profile(codec="oms.wmbus")
    device = await registry.device(former)
    await client.put(f"/v1/device-profiles/{former['id']}/decoding-key", json={"key": KEY})

    changed = await client.patch(f"/v1/devices/{device['dev_eui']}", json={"device_profile_id": next_one["id"]})

    assert changed.status_code == 200
    assert await opened(pool, device) is None
