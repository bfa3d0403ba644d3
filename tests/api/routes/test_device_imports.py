"""Devices that come from another LNS, and keys that a tenant takes out."""

import secrets
from functools import partial
from typing import Any

import pytest

from core.runtime.postgres import Pool
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from registry.keys import KeyWrap, session_owner
from tests.api.conftest import KEK

APP_KEY = "000102030405060708090a0b0c0d0e0f"
SESSION: dict[str, Any] = {
    "dev_addr": "260b1234",
    "nwk_s_key": "10" * 16,
    "app_s_key": "20" * 16,
    "f_cnt_up": 1841,
    "f_cnt_down": 17,
    "rx1_delay": 5,
    "rx2_data_rate": 3,
}
READ_SESSION = """
SELECT s.*, d.slot, d.activation FROM session s JOIN device d ON d.id = s.device_id WHERE d.dev_eui = $1
ORDER BY s.id DESC LIMIT 1
"""


def device_of(profile: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "dev_eui": secrets.token_hex(8),
        "join_eui": "70b3d57ed0001000",
        "device_profile_id": profile["id"],
    } | fields


async def imported(client, *devices: dict[str, Any], dry_run: bool = False) -> list[tuple[str, str]]:
    answer = await client.post("/v1/device-imports", json={"devices": list(devices), "dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    return [(one["outcome"], one["detail"]) for one in answer.json()["devices"]]


async def test_a_device_goes_on_with_its_key_its_session_and_its_counters(client, registry, pool: Pool) -> None:
    device = device_of(await registry.profile(), app_key=APP_KEY, join_nonce=9, session=SESSION)

    first = await imported(client, device)
    again = await imported(client, device)

    session = await pool.fetchrow(READ_SESSION, bytes.fromhex(device["dev_eui"]))
    shown = (await client.get(f"/v1/devices/{device['dev_eui']}")).json()
    keys, owner = (
        KeyWrap("kek-1", KEK),
        partial(session_owner, bytes.fromhex(device["dev_eui"]), session["dev_addr"]),
    )
    assert first == [("created", "enregistré, clé racine, session 260b1234")]
    assert again == [("unchanged", "déjà à jour")]
    assert (shown["activation"], shown["name"]) == ("OTAA", device["dev_eui"])
    assert keys.unwrap(session["nwk_s_key_wrapped"], owner("nwk_s_key")).hex() == SESSION["nwk_s_key"]
    assert keys.unwrap(session["app_s_key_wrapped"], owner("app_s_key")).hex() == SESSION["app_s_key"]
    assert (session["f_cnt_up"], session["f_cnt_down"]) == (1841, 17)
    assert (session["rx1_delay"], session["rx2_data_rate"]) == (5, 3)
    assert session["slot"] == slot_of_dev_addr(DevAddr(bytes.fromhex("260b1234")))
    assert await pool.fetchval("SELECT last_join_nonce FROM join_nonce") == 9


async def test_a_counter_that_is_imported_again_only_goes_up(client, registry, pool: Pool) -> None:
    device = device_of(await registry.profile(), session=SESSION)
    await imported(client, device)

    older = await imported(client, device | {"session": SESSION | {"f_cnt_up": 5, "f_cnt_down": 2}})
    newer = await imported(client, device | {"session": SESSION | {"f_cnt_up": 5, "f_cnt_down": 40}})

    session = await pool.fetchrow(READ_SESSION, bytes.fromhex(device["dev_eui"]))
    assert [older[0][0], newer[0][0]] == ["unchanged", "updated"]
    assert (session["f_cnt_up"], session["f_cnt_down"], session["activation"]) == (1841, 40, "ABP")
    assert await pool.fetchval("SELECT count(*) FROM session") == 1


async def test_a_session_that_was_closed_here_is_not_opened_again_by_an_old_file(
    client, registry, pool: Pool
) -> None:
    device = device_of(await registry.profile(), app_key=APP_KEY, session=SESSION)
    await imported(client, device)
    await pool.execute("UPDATE session SET closed_at = now()")

    again = await imported(client, device)

    assert again == [("unchanged", "déjà à jour")]
    assert await pool.fetchval("SELECT count(*) FROM session WHERE closed_at IS NULL") == 0


async def test_a_session_is_not_imported_beside_one_that_the_device_uses_here(
    client, registry, pool: Pool
) -> None:
    """The device would go to the other's slot, and be lost to its own."""
    profile = await registry.profile()
    device = device_of(profile, app_key=APP_KEY, session=SESSION)
    await imported(client, device)
    unused = await imported(client, device | {"session": SESSION | {"dev_addr": "260b1235"}})
    await pool.execute("UPDATE session SET first_uplink_at = now() WHERE closed_at IS NULL")
    before = await pool.fetchrow("SELECT * FROM device")

    other = device | {"join_eui": "70b3d57ed0001001", "session": SESSION | {"dev_addr": "260b1236"}}
    refused = await imported(client, other, device_of(profile, app_key=APP_KEY))

    assert unused == [("updated", "session 260b1235")]
    assert [outcome for outcome, _ in refused] == ["refused", "created"]
    assert "autre session" in refused[0][1]
    assert await pool.fetchrow("SELECT * FROM device WHERE id = $1", before["id"]) == before
    assert await pool.fetch("SELECT dev_addr FROM session WHERE closed_at IS NULL") == [
        (bytes.fromhex("260b1235"),)
    ]


async def test_a_dry_run_says_the_same_and_writes_nothing(client, registry, pool: Pool) -> None:
    device = device_of(await registry.profile(), app_key=APP_KEY, session=SESSION)
    lines = await pool.fetchval("SELECT count(*) FROM audit")

    tried = await imported(client, device, device, dry_run=True)

    assert [outcome for outcome, _ in tried] == ["created", "unchanged"]
    assert await pool.fetchval("SELECT count(*) FROM device") == 0
    assert await pool.fetchval("SELECT count(*) FROM session") == 0
    assert await pool.fetchval("SELECT count(*) FROM audit") == lines


async def test_what_is_rejected_costs_itself_alone(client, registry, other_registry, pool: Pool) -> None:
    theirs, profile = await other_registry.device(), await registry.profile()
    before = await pool.fetchrow("SELECT * FROM device")

    done = await imported(
        client,
        device_of(profile, dev_eui=theirs["dev_eui"], app_key=APP_KEY),
        device_of({"id": 999_999}, app_key=APP_KEY),
        device_of(profile, app_key=APP_KEY),
    )

    assert [outcome for outcome, _ in done] == ["refused", "refused", "created"]
    assert done[0][1] == "déjà enregistré ailleurs, adressez-vous à l'opérateur"
    assert "999999" in done[1][1]
    assert await pool.fetchrow("SELECT * FROM device WHERE id = $1", before["id"]) == before
    noted = await pool.fetchval("SELECT details FROM audit WHERE action = 'import'")
    assert [len(noted["after"][outcome]) for outcome in ("refused", "created")] == [2, 1]
    assert APP_KEY not in str(noted)


async def test_a_device_that_another_network_activated_becomes_ours_with_its_key(client, registry) -> None:
    profile = await registry.profile()
    device = device_of(profile, name="benne", activation="EXTERNAL")
    made = await client.post("/v1/devices", json=device)
    has_key = await client.post("/v1/devices", json=device | {"dev_eui": "00" * 8, "app_key": APP_KEY})
    unheard = await client.post(f"/v1/devices/{device['dev_eui']}/downlinks", json={"f_port": 1, "payload": "00"})

    done = await imported(client, device_of(profile, dev_eui=device["dev_eui"], app_key=APP_KEY))

    shown = (await client.get(f"/v1/devices/{device['dev_eui']}")).json()
    assert (made.status_code, has_key.status_code, unheard.status_code) == (201, 422, 409)
    assert done == [("updated", "clé racine")]
    assert (shown["activation"], shown["name"], shown["join_eui"]) == ("OTAA", "benne", "70b3d57ed0001000")


@pytest.mark.parametrize(
    "wrong",
    [
        {"app_key": APP_KEY, "join_eui": None},
        {"app_key": "00"},
        {"session": SESSION | {"f_cnt_up": 1 << 32}},
        {"session": {"dev_addr": "260b1234"}},
    ],
)
async def test_a_row_that_cannot_be_is_named_and_nothing_is_written(
    client, registry, pool: Pool, wrong: dict[str, Any]
) -> None:
    profile = await registry.profile()
    good = device_of(profile, app_key=APP_KEY)

    answer = await client.post("/v1/device-imports", json={"devices": [good, device_of(profile) | wrong]})

    assert answer.status_code == 422
    assert all(error["field"].startswith("body.devices.1") for error in answer.json()["errors"])
    assert await pool.fetchval("SELECT count(*) FROM device") == 0


async def test_the_bearer_of_an_imported_device_is_a_source_of_its_own_tenant(
    client, registry, other_client
) -> None:
    kind = {"kind": "wanesy", "name": "W"}
    own, theirs = [(await one.post("/v1/lns-sources", json=kind)).json()["id"] for one in (client, other_client)]
    device = device_of(await registry.profile(), app_key=APP_KEY)

    refused = await client.post("/v1/device-imports", json={"devices": [device | {"lns_source_id": theirs}]})
    done = await imported(client, device | {"lns_source_id": own})
    kept = await client.delete(f"/v1/lns-sources/{own}")
    changed = await client.patch(f"/v1/devices/{device['dev_eui']}", json={"lns_source_id": theirs})
    back = await client.patch(f"/v1/devices/{device['dev_eui']}", json={"lns_source_id": 0})
    gone = await client.delete(f"/v1/lns-sources/{own}")

    assert refused.status_code == 404
    assert done[0][1].endswith(f"messages par la source {own}")
    assert (kept.status_code, changed.status_code) == (409, 404)
    assert back.json()["lns_source_id"] is None
    assert gone.status_code == 204
