import json
import secrets
from functools import partial

import pytest

from core.runtime.postgres import Pool
from lorawan.identifiers import slot_of_dev_addr, slot_of_dev_eui
from registry.keys import KeyWrap, device_owner, session_owner
from tests.entering import enter_tenant

KEYS = KeyWrap("kek-1", bytes(range(16)))
JSON = {"Content-Type": "application/json"}
ABP = {"activation": "ABP", "dev_addr": "01ab23cd", "nwk_s_key": "11" * 16, "app_s_key": "22" * 16}


def otaa(profile: dict, **fields) -> dict:
    return {
        "dev_eui": secrets.token_hex(8),
        "join_eui": "70-B3-D5-7E-D0-00-10-00",
        "name": "EM400 n° 1",
        "device_profile_id": profile["id"],
        "app_key": secrets.token_hex(16),
    } | fields


def abp(profile: dict, **fields) -> dict:
    return {"dev_eui": secrets.token_hex(8), "name": "ABP", "device_profile_id": profile["id"]} | ABP | fields


async def test_an_otaa_device_is_enrolled_with_its_key_wrapped(client, registry, pool: Pool, tenancy) -> None:
    asset = await registry.asset()
    body = otaa(await registry.profile(), asset_id=asset["id"])
    octets = bytes.fromhex(body["dev_eui"])

    answer = await client.post("/v1/devices", json=body | {"dev_eui": body["dev_eui"].upper()})
    row = await pool.fetchrow("SELECT * FROM device WHERE dev_eui = $1", octets)

    assert answer.status_code == 201
    assert (answer.json()["dev_eui"], answer.json()["join_eui"]) == (body["dev_eui"], "70b3d57ed0001000")
    assert KEYS.unwrap(row["app_key_wrapped"], device_owner(octets, "app_key")) == bytes.fromhex(body["app_key"])
    assert (row["tenant_id"], row["slot"], row["kek_id"]) == (tenancy.id, slot_of_dev_eui(octets), "kek-1")
    assert answer.json().items() <= (await client.get(f"/v1/devices/{body['dev_eui']}")).json().items()
    assert (await client.get(f"/v1/assets/{asset['id']}")).json()["devices"][0]["dev_eui"] == body["dev_eui"]


async def test_an_abp_device_brings_its_session_along(client, registry, pool: Pool) -> None:
    body = abp(await registry.profile(), skip_f_cnt_check=True)

    answer = await client.post("/v1/devices", json=body)
    row = await pool.fetchrow(
        "SELECT * FROM session s JOIN device d ON d.id = s.device_id WHERE d.dev_eui = $1",
        bytes.fromhex(body["dev_eui"]),
    )

    assert answer.status_code == 201
    assert row["dev_addr"] == bytes.fromhex("01ab23cd")
    owner = partial(session_owner, row["dev_eui"], row["dev_addr"])
    assert row["slot"] == slot_of_dev_addr(bytes.fromhex("01ab23cd"))
    assert KEYS.unwrap(row["nwk_s_key_wrapped"], owner("nwk_s_key")) == bytes.fromhex("11" * 16)
    assert KEYS.unwrap(row["app_s_key_wrapped"], owner("app_s_key")) == bytes.fromhex("22" * 16)
    assert (row["activation"], row["skip_f_cnt_check"]) == ("ABP", True)


async def test_a_session_opens_through_its_door_for_the_tenants_own_abp_devices_only(
    client, registry, other_tenancy, tenancy, api_pool: Pool, observations
) -> None:
    device = await registry.device()
    device_id = await observations.device_id(device["dev_eui"])
    opened = []

    for tenant_id in (tenancy.id, other_tenancy.id):  # The device is OTAA, then also another's.
        async with api_pool.acquire() as connection, connection.transaction():
            await enter_tenant(connection, tenant_id)
            opened.append(
                await connection.fetchval(
                    "SELECT import_session($1, $2, $3, $3, 'kek-1')", device_id, b"abcd", b"wrapped"
                )
            )

    assert opened == [None, None]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        ({"dev_eui": "70b3d5"}, "body.dev_eui"),
        ({"dev_eui": "70 b3 d5 7e d0 0"}, "body.dev_eui"),
        ({"app_key": "zz" * 16}, "body.app_key"),
        ({"app_key": None}, "body"),
        ({"join_eui": None}, "body"),
        ({"dev_addr": "01ab23cd"}, "body"),
        ({"colour": "red"}, "body.colour"),
        ({"name": ""}, "body.name"),
        ({"name": "a\x00b"}, "body.name"),
        ({"name": "\ud800"}, "body.name"),
        ({"device_profile_id": 2**40}, "body.device_profile_id"),
    ],
)
async def test_a_wrong_device_is_rejected_with_the_field_and_without_its_key(
    client, registry, spoil, field
) -> None:
    body = otaa(await registry.profile()) | spoil

    answer = await client.post("/v1/devices", content=json.dumps(body), headers=JSON)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert str(body["app_key"]) not in answer.text


async def test_a_dev_eui_is_registered_once_by_whichever_tenant(
    client, registry, other_client, other_registry
) -> None:
    profile = await registry.profile()
    taken = await registry.device(profile)

    again = await other_client.post(
        "/v1/devices", json=otaa(await other_registry.profile(), dev_eui=taken["dev_eui"])
    )
    own = await client.post("/v1/devices", json=otaa(profile, dev_eui=taken["dev_eui"]))

    assert (again.status_code, own.status_code) == (409, 409)
    assert again.json()["detail"] == "déjà enregistré ailleurs, adressez-vous à l'opérateur"
    assert own.json()["detail"] == "un capteur avec ce dev_eui est déjà enregistré"


async def test_a_device_names_only_what_its_tenant_can_see(client, registry, other_registry) -> None:
    theirs, mine = await other_registry.profile(), await registry.profile()
    their_asset = await other_registry.asset()

    with_their_profile = await client.post("/v1/devices", json=otaa(theirs))
    on_their_asset = await client.post("/v1/devices", json=otaa(mine, asset_id=their_asset["id"]))

    assert (with_their_profile.status_code, on_their_asset.status_code) == (404, 404)
    assert (await client.get("/v1/devices")).json()["items"] == []


async def test_a_device_is_changed_and_its_profile_must_exist(client, registry) -> None:
    device, other = await registry.device(), await registry.profile()
    path = f"/v1/devices/{device['dev_eui']}"

    changed = await client.patch(path, json={"enabled": False, "name": "neuf", "device_profile_id": other["id"]})
    unchanged = await client.patch(path, json={})
    refused = await client.patch(path, json={"device_profile_id": 999_999})

    expected = device | {"enabled": False, "name": "neuf", "device_profile_id": other["id"]}
    assert (changed.json(), unchanged.json()) == (expected, expected)
    assert refused.status_code == 404


async def test_a_device_without_history_is_removed_also_from_its_asset(client, registry) -> None:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])

    removed = await client.delete(f"/v1/devices/{device['dev_eui']}")

    assert removed.status_code == 204
    assert (await client.get(f"/v1/devices/{device['dev_eui']}")).status_code == 404
    assert (await client.get(f"/v1/assets/{asset['id']}")).json()["devices"] == []


async def test_a_device_that_was_received_is_disabled_rather_than_removed(client, registry, observations) -> None:
    device = await registry.device()
    await observations.datastream(device["dev_eui"], None, "battery_level", "%")

    refused = await client.delete(f"/v1/devices/{device['dev_eui']}")

    assert refused.status_code == 409
    assert "enabled: false" in refused.json()["detail"]


async def test_devices_are_searched_and_filtered(client, registry) -> None:
    profile = await registry.profile()
    first = await registry.device(profile, name="Borne 1")
    second = await registry.device(name="Armoire 2")
    await client.patch(f"/v1/devices/{second['dev_eui']}", json={"enabled": False})

    async def found(**query) -> list[str]:
        return [item["dev_eui"] for item in (await client.get("/v1/devices", params=query)).json()["items"]]

    assert await found(q="borne") == [first["dev_eui"]]
    assert await found(q=second["dev_eui"][4:12].upper()) == [second["dev_eui"]]
    assert await found(q="%") == []
    assert await found(device_profile_id=profile["id"]) == [first["dev_eui"]]
    assert await found(enabled=False) == [second["dev_eui"]]


async def test_a_device_is_found_by_the_address_under_which_it_speaks(
    client, other_client, registry, pool: Pool
) -> None:
    profile = await registry.profile()
    device = (await client.post("/v1/devices", json=abp(profile))).json()
    await client.post("/v1/devices", json=abp(profile, dev_addr="01ab23ce"))

    found = await client.get("/v1/devices", params={"dev_addr": "01AB23CD"})

    assert [one["dev_eui"] for one in found.json()["items"]] == [device["dev_eui"]]
    shown = await client.get(f"/v1/devices/{device['dev_eui']}")
    assert shown.json()["current_dev_addr"] == "01ab23cd"
    assert (await other_client.get("/v1/devices", params={"dev_addr": "01ab23cd"})).json()["items"] == []
    await pool.execute("UPDATE session SET closed_at = now()")
    assert (await client.get("/v1/devices", params={"dev_addr": "01ab23cd"})).json()["items"] == []
    assert (await client.get("/v1/devices", params={"dev_addr": "xyz"})).status_code == 422
