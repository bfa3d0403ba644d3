import hashlib
from typing import Any

import pytest

from core.runtime.postgres import Pool
from registry.keys import KeyWrap
from registry.lns_sources import read_enabled_sources
from registry.tenants import create_api_key
from tests.api.conftest import KEK, client_of

TTS: dict[str, Any] = {
    "kind": "the_things_stack",
    "name": "TTN",
    "mqtt_url": "mqtts://eu1.cloud.thethings.network:8883",
    "mqtt_user": "bennes@ttn",
    "secret": "NNSXS.é",
}


async def test_a_token_is_shown_once_and_only_its_digest_is_kept(client, pool: Pool) -> None:
    made = (await client.post("/v1/lns-sources", json={"kind": "wanesy", "name": "Wanesy"})).json()

    shown = (await client.get(f"/v1/lns-sources/{made['id']}")).json()

    source = (await read_enabled_sources(pool))[0]
    assert made["path"] == f"/lns/{made['id']}"
    assert shown == {name: value for name, value in made.items() if name != "token"}
    assert source.token_sha256 == hashlib.sha256(made["token"].split("_", 2)[2].encode()).digest()
    assert source.opens_to(made["token"])
    assert not source.opens_to(made["token"][:-1])
    assert not source.opens_to(made["token"].replace(f"lns_{made['id']}_", f"lns_{made['id'] + 1}_"))


async def test_a_password_of_a_broker_is_kept_wrapped_and_never_shown(client, pool: Pool) -> None:
    made = await client.post("/v1/lns-sources", json=TTS)

    source = (await read_enabled_sources(pool))[0]
    assert made.status_code == 201
    assert made.json()["token"] is None
    assert made.json()["mqtt_topic"] == "v3/+/devices/#"
    assert "NNSXS" not in made.text + (await client.get("/v1/lns-sources")).text
    assert b"NNSXS" not in (source.secret_wrapped or b"")
    assert source.secret(KeyWrap("kek-1", KEK)) == "NNSXS.é"
    assert "NNSXS" not in await pool.fetchval("SELECT string_agg(details::text, '') FROM audit")


async def test_a_connection_out_of_the_operators_network_is_the_operators_to_open(client_with) -> None:
    async with client_with("read", "manage") as client:
        mqtt = await client.post("/v1/lns-sources", json=TTS)
        http = await client.post("/v1/lns-sources", json={"kind": "generic", "name": "NB-IoT"})

    assert (mqtt.status_code, http.status_code) == (403, 201)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "wanesy", "mqtt_url": "mqtt://broker"},
        {"kind": "chirpstack", "mqtt_url": "http://broker"},
        {"kind": "chirpstack", "mqtt_url": "mqtt://user:password@broker"},
        {"kind": "live_objects", "mqtt_url": "mqtts://liveobjects.orange-business.com"},
        {"kind": "generic", "mqtt_topic": "a"},
        {"kind": "generic", "secret": "a"},
        {"kind": "thingpark", "secret": "not hexadecimal"},
        {"kind": "sigfox"},
        {"kind": "generic", "downlink_url": "https://a", "secret": "a"},
        {"kind": "chirpstack", "downlink_url": "https://a", "secret": "a"},
        {"kind": "wanesy", "secret": "a"},
        {"kind": "wanesy", "downlink_url": "https://a/gms", "secret": "a"},
        {"kind": "wanesy", "downlink_url": "https://a/gms", "downlink_user": "a"},
        {"kind": "wanesy", "downlink_url": "https://a:b@c/gms", "downlink_user": "a", "secret": "a"},
        {"kind": "the_things_stack", "downlink_url": "ftp://a", "secret": "a"},
        {"kind": "the_things_stack", "downlink_url": "https://a", "downlink_user": "a", "secret": "a"},
        TTS | {"downlink_url": "https://eu1.cloud.thethings.network"},
        {"kind": "thingpark", "downlink_url": "https://a", "downlink_user": "a", "secret": "not hexadecimal"},
    ],
)
async def test_what_does_not_fit_the_kind_is_rejected(client, wrong: dict[str, Any]) -> None:
    answer = await client.post("/v1/lns-sources", json={"name": "source"} | wrong)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "the_things_stack", "downlink_url": "https://eu1.cloud.thethings.network", "secret": "NNSXS.é"},
        {"kind": "thingpark", "downlink_url": "https://a", "downlink_user": "TWA_1.1", "secret": "ab" * 16},
        {"kind": "live_objects", "secret": "key"},
        {"kind": "wanesy", "downlink_url": "https://a/gms", "downlink_user": "a", "secret": "b"},
    ],
)
async def test_an_api_that_takes_downlinks_is_kept_with_its_key_wrapped(
    client, pool: Pool, source: dict[str, Any]
) -> None:
    made = await client.post("/v1/lns-sources", json={"name": "source"} | source)

    kept = (await read_enabled_sources(pool))[0]
    assert made.status_code == 201, made.text
    assert made.json()["downlink_url"] == source.get("downlink_url") == kept.downlink_url
    assert made.json()["downlink_user"] == source.get("downlink_user") == kept.downlink_user
    assert source["secret"] not in made.json().values()
    assert kept.secret(KeyWrap("kek-1", KEK)) == source["secret"]
    assert not kept.carries


async def test_a_source_is_suspended_and_withdrawn(client, pool: Pool) -> None:
    made = (await client.post("/v1/lns-sources", json={"kind": "generic", "name": "NB-IoT"})).json()
    again = await client.post("/v1/lns-sources", json={"kind": "generic", "name": "NB-IoT"})
    path = f"/v1/lns-sources/{made['id']}"

    suspended = await client.patch(path, json={"enabled": False})
    enabled = await read_enabled_sources(pool)
    gone = [(await client.delete(path)).status_code for _ in range(2)]

    assert again.status_code == 409
    assert again.json()["detail"] == "une source porte déjà ce nom"
    assert suspended.json()["enabled"] is False
    assert enabled == []
    assert gone == [204, 404]


async def test_unknown_devices_are_listed_until_they_are_registered(client, registry, pool: Pool) -> None:
    made = (await client.post("/v1/lns-sources", json={"kind": "generic", "name": "NB-IoT"})).json()
    await pool.execute(
        "INSERT INTO lns_unknown_device "
        "SELECT id, '\\x0102030405060708', tenant_id, now(), now(), 3 FROM lns_source"
    )
    path = f"/v1/lns-sources/{made['id']}/unknown-devices"

    before = (await client.get(path)).json()["items"]
    await registry.device(dev_eui="0102030405060708")
    after = (await client.get(path)).json()["items"]

    assert [(device["dev_eui"], device["messages"]) for device in before] == [("0102030405060708", 3)]
    assert after == []


async def test_a_source_is_marked_authoritative_by_the_operator_alone(client, app, tenancy, pool: Pool) -> None:
    made = (await client.post("/v1/lns-sources", json={"kind": "generic", "name": "Index validés"})).json()
    path = f"/v1/lns-sources/{made['id']}"
    manager = await create_api_key(pool, tenancy.id, "m", ("manage",))

    async with client_of(app, manager) as managing:
        refused = await managing.patch(path, json={"authoritative": True})
    marked = await client.patch(path, json={"authoritative": True})
    nothing = await client.patch(path, json={})

    assert (made["authoritative"], refused.status_code, nothing.status_code) == (False, 403, 422)
    assert (marked.json()["authoritative"], marked.json()["enabled"]) == (True, True)
    assert (await pool.fetchval("SELECT details FROM audit ORDER BY id DESC LIMIT 1"))["after"][
        "authoritative"
    ] is True
