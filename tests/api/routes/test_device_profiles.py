from typing import Any

import pytest

from core.runtime.postgres import Pool
from decoders.catalogue import CODECS


async def test_a_profile_is_created_changed_and_listed(client, registry) -> None:
    profile = await registry.profile(codec_options={"a": 1}, expected_interval_s=1800)
    path = f"/v1/device-profiles/{profile['id']}"

    changed = await client.patch(
        path, json={"expected_interval_s": 90.5, "capabilities": ["switch"], "codec": "watteco.triphaso"}
    )
    listed = await client.get("/v1/device-profiles")

    expected = profile | {"expected_interval_s": 90.5, "capabilities": ["switch"], "codec": "watteco.triphaso"}
    assert changed.json() == expected
    assert (await client.get(path)).json() == expected
    assert listed.json()["items"] == [expected]


async def test_a_profile_says_how_its_devices_radio_is_run(client, registry) -> None:
    profile = await registry.profile(rx1_delay=5, rx2_data_rate=0, adr=True, adr_max_data_rate=4)
    path = f"/v1/device-profiles/{profile['id']}"

    changed = await client.patch(path, json={"adr": False, "adr_min_data_rate": 2})
    crossed = await client.patch(path, json={"adr_min_data_rate": 5})
    never = await client.post(
        "/v1/device-profiles",
        json={"name": "x", "vendor": "v", "model": "m", "codec": "milesight.em400", "rx1_delay": 16},
    )

    assert (profile["rx1_delay"], profile["rx2_data_rate"]) == (5, 0)
    assert (profile["adr"], profile["adr_max_data_rate"]) == (True, 4)
    assert (profile["adr_min_data_rate"], profile["adr_max_tx_power"]) == (None, None)
    assert changed.json() == profile | {"adr": False, "adr_min_data_rate": 2}
    assert (crossed.status_code, "adr_max_data_rate" in crossed.json()["detail"]) == (422, True)
    assert never.status_code == 422
    assert (await client.get(path)).json() == changed.json()


async def test_an_unknown_codec_is_rejected_with_those_that_are_known(client, registry) -> None:
    profile = await registry.profile()
    body = {"name": "x", "vendor": "v", "model": "m", "codec": "acme.nothing"}

    created = await client.post("/v1/device-profiles", json=body)
    changed = await client.patch(f"/v1/device-profiles/{profile['id']}", json={"codec": "acme.nothing"})

    for answer in (created, changed):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "body.codec"
        assert all(codec in answer.json()["detail"] for codec in CODECS)


async def test_a_profile_that_is_offered_to_all_is_read_and_not_changed(client, client_with, pool: Pool) -> None:
    shared = await pool.fetchval(
        "INSERT INTO device_profile (name, vendor, model, codec) "
        "VALUES ('EM400', 'Milesight', 'EM400', 'milesight.em400') RETURNING id"
    )

    read = await client.get(f"/v1/device-profiles/{shared}")
    async with client_with("read", "manage") as manager:
        changed = await manager.patch(f"/v1/device-profiles/{shared}", json={"name": "à moi"})

    assert read.json()["tenant_id"] is None
    assert changed.status_code == 403


@pytest.mark.parametrize("options", [{"key": "00" * 16}, {"keys": {"12345678": "00" * 16}, "medium": "heat"}])
async def test_a_key_among_a_codecs_settings_is_rejected_with_where_it_goes(
    client, registry, pool: Pool, options: dict[str, Any]
) -> None:
    profile = await registry.profile(codec="oms.wmbus", codec_options={"medium": "heat"})
    path = f"/v1/device-profiles/{profile['id']}"
    body = {"name": "x", "vendor": "v", "model": "m", "codec": "oms.wmbus", "codec_options": options}

    created = await client.post("/v1/device-profiles", json=body)
    changed = await client.patch(path, json={"codec_options": options})

    for answer in (created, changed):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "body.codec_options"
        assert "posez la clé sur le capteur (PUT /v1/devices/<dev_eui>/decoding-key)" in answer.json()["detail"]
        assert "00" * 16 not in answer.text
    assert (await client.get(path)).json()["codec_options"] == {"medium": "heat"}
    assert "00" * 16 not in await pool.fetchval("SELECT string_agg(details::text, '') FROM audit")
