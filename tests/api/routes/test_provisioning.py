"""What an integrator does first: profiles, gateways, assets, devices, webhooks, commands."""

import secrets

from core.runtime.postgres import Pool
from lorawan.crypto import unwrap_key
from lorawan.identifiers import slot_of_dev_addr, slot_of_dev_eui

KEK = bytes(range(16))


async def test_an_otaa_device_is_enrolled_with_its_key_wrapped(client, registry, pool: Pool, tenancy) -> None:
    profile, asset = await registry.profile(), await registry.asset()
    dev_eui, app_key = secrets.token_hex(8), secrets.token_hex(16)

    answer = await client.post(
        "/v1/devices",
        json={
            "dev_eui": dev_eui.upper(),
            "join_eui": "70-B3-D5-7E-D0-00-10-00",
            "name": "EM400 n° 1",
            "device_profile_id": profile["id"],
            "app_key": app_key,
            "asset_id": asset["id"],
        },
    )
    row = await pool.fetchrow("SELECT * FROM device WHERE dev_eui = $1", bytes.fromhex(dev_eui))

    assert answer.status_code == 201
    assert (answer.json()["dev_eui"], answer.json()["asset_id"]) == (dev_eui, asset["id"])
    assert app_key not in answer.text
    assert unwrap_key(KEK, row["app_key_wrapped"]) == bytes.fromhex(app_key)
    assert (row["tenant_id"], row["slot"]) == (tenancy.id, slot_of_dev_eui(bytes.fromhex(dev_eui)))
    assert (await client.get(f"/v1/devices/{dev_eui}")).json() == answer.json()


async def test_an_abp_device_brings_its_session_along(client, registry, pool: Pool) -> None:
    profile = await registry.profile()
    dev_eui, nwk_s_key, app_s_key = secrets.token_hex(8), secrets.token_hex(16), secrets.token_hex(16)

    answer = await client.post(
        "/v1/devices",
        json={
            "dev_eui": dev_eui,
            "name": "ABP",
            "device_profile_id": profile["id"],
            "activation": "ABP",
            "dev_addr": "01ab23cd",
            "nwk_s_key": nwk_s_key,
            "app_s_key": app_s_key,
            "skip_f_cnt_check": True,
        },
    )
    row = await pool.fetchrow(
        "SELECT * FROM session s JOIN device d ON d.id = s.device_id WHERE d.dev_eui = $1", bytes.fromhex(dev_eui)
    )

    assert answer.status_code == 201, answer.text
    assert nwk_s_key not in answer.text
    assert row["dev_addr"] == bytes.fromhex("01ab23cd")
    assert row["slot"] == slot_of_dev_addr(bytes.fromhex("01ab23cd"))
    assert unwrap_key(KEK, row["nwk_s_key_wrapped"]) == bytes.fromhex(nwk_s_key)
    assert unwrap_key(KEK, row["app_s_key_wrapped"]) == bytes.fromhex(app_s_key)
    assert row["skip_f_cnt_check"] is True
