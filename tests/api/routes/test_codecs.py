"""Codecs over the API: published, tried, compared, put in the shadow, switched, rolled back, released."""

import json
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from ingest.workers import open_workers
from registry.codecs import quarantine_version
from registry.keys import KeyWrap

THERMOMETER = (
    "function decodeUplink(input) { console.log('lu'); return { data: { temperature: input.bytes[0] / 10 } }; }"
)
FASTER = THERMOMETER.replace("console.log('lu'); ", "")
ENDLESS = "function decodeUplink(input) { for (;;) {} }"
DECLARED = "codec: sonde\nframes:\n  - fields:\n      - {type: u8, quantity: battery_level}\n"
SWITCHING = (
    DECLARED + "commands:\n  open:\n    title: Ouvrir\n    switches: true\n    f_port: 1\n"
    "    fields:\n      - {type: u8, name: minutes, title: Durée, minimum: 1, maximum: 240}\n"
)
MAPPING = [{"path": "temperature", "quantity": "temperature", "channel": "", "unit": "°C"}]


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    async with open_workers(1) as workers:
        yield create_app(api_pool, bus, KeyWrap("kek-1", bytes(range(16))), 4, workers)


async def codec(client: httpx.AsyncClient, name: str = "acme.t", **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/codecs", json={"name": name} | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def version(
    client: httpx.AsyncClient, codec_id: int, source: str = THERMOMETER, **more: Any
) -> dict[str, Any]:
    answer = await client.post(f"/v1/codecs/{codec_id}/versions", json={"source": source} | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_versions_are_numbered_listed_compared_and_the_same_text_is_the_same_version(client) -> None:
    made = await codec(client, vendor="Acme")
    first = await version(client, made["id"], note="première")
    second = await version(client, made["id"], FASTER)
    again = await version(client, made["id"])

    listed = (await client.get(f"/v1/codecs/{made['id']}/versions")).json()["items"]
    diff = (await client.get(f"/v1/codec-versions/{second['id']}/diff", params={"against": first["id"]})).json()
    text = (await client.get(f"/v1/codec-versions/{first['id']}")).json()

    assert (first["version"], second["version"]) == (1, 2)
    assert (again["id"], again["is_new"], first["is_new"]) == (first["id"], False, True)
    assert [one["version"] for one in listed] == [2, 1]
    assert "console.log" in diff["diff"]
    assert diff["diff"].startswith("--- acme.t v1\n+++ acme.t v2")
    assert (text["source"], text["note"]) == (THERMOMETER, "première")
    assert (await client.get("/v1/codecs", params={"q": "ACME"})).json()["items"][0]["last_version_id"] == second[
        "id"
    ]


async def test_a_version_never_changes(client, pool: Pool) -> None:
    made = await version(client, (await codec(client))["id"])

    for change in ("source = 'x'", "version = 7", "author = 'x'", "tenant_id = NULL"):
        with pytest.raises(Exception, match="immutable"):
            await pool.execute(f"UPDATE codec_version SET {change} WHERE id = $1", made["id"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"source": "function decodeUplink( {"}, "ne se charge pas"),
        ({"source": "var x = 1;"}, "n'a pas de fonction"),
        ({"source": "codec: sonde\nframes: 3", "language": "declarative"}, "frames"),
        ({"source": DECLARED, "language": "declarative", "form": "Decode"}, "point d'entrée"),
        ({"source": "x" * 600_000}, "512 ko"),
    ],
)
async def test_what_cannot_be_loaded_is_not_published(client, body: dict[str, Any], message: str) -> None:
    made = await codec(client)

    answer = await client.post(f"/v1/codecs/{made['id']}/versions", json=body)

    assert answer.status_code == 422
    assert message in answer.text


async def test_the_name_of_a_native_codec_is_reserved_and_a_name_is_the_tenants_own(client, other_client) -> None:
    native = await client.post("/v1/codecs", json={"name": "milesight.em400"})
    mine, theirs = await codec(client), await codec(other_client)
    twice = await client.post("/v1/codecs", json={"name": "acme.t"})

    assert native.status_code == 422
    assert mine["id"] != theirs["id"]
    assert (twice.status_code, twice.json()["detail"]) == (409, "un décodeur porte déjà ce nom")


async def test_a_tenant_neither_reads_nor_points_to_anothers_version(
    client, client_with, other_client, registry, pool: Pool, tenancy
) -> None:
    theirs = await version(other_client, (await codec(other_client))["id"])
    profile = await registry.profile()
    path = f"/v1/device-profiles/{profile['id']}"

    assert (await client.get(f"/v1/codec-versions/{theirs['id']}")).status_code == 404
    assert (await client.put(f"{path}/decoding", json={"codec_version_id": theirs["id"]})).status_code == 422
    assert (await client.put(f"{path}/shadow", json={"codec_version_id": theirs["id"]})).status_code == 422
    assert (
        await client.post(
            "/v1/codecs/try", json={"codec_version_id": theirs["id"], "frames": [{"f_port": 1, "payload": "15"}]}
        )
    ).status_code == 422
    with pytest.raises(Exception, match="codec version of another tenant"):  # Whichever role writes.
        await pool.execute("UPDATE device_profile SET codec_version_id = $1", theirs["id"])
    async with client_with("read", "manage") as manager:
        refused = await manager.post("/v1/codecs", json={"name": "pour.tous", "shared": True})
    assert refused.status_code == 403


async def test_frames_are_tried_with_a_proposed_mapping_and_nothing_is_stored(
    client, registry, observations, pool: Pool
) -> None:
    device = await registry.device()
    await observations.uplink(device["dev_eui"], datetime(2026, 11, 25, 12, tzinfo=UTC))

    tried = await client.post("/v1/codecs/try", json={"source": THERMOMETER, "dev_eui": device["dev_eui"]})

    assert tried.status_code == 200, tried.text
    [frame] = tried.json()["frames"]
    assert frame["values"] == [
        {
            "time": "2026-11-25T12:00:00Z",
            "channel": "",
            "quantity": "temperature",
            "value": 0.1,
            "unit": "Cel",
            "suspect": False,
            "time_suspect": False,
        }
    ]
    assert (frame["console"], frame["read"], frame["stored_status"]) == (["lu"], True, "decoded")
    assert frame["cpu_us"] > 0
    assert tried.json()["proposed"] == tried.json()["mapping"]
    assert await pool.fetchval("SELECT count(*) FROM observation.measurement") == 0


async def test_a_script_that_does_not_end_is_tried_on_few_frames_and_says_so(client) -> None:
    frames = [{"f_port": 1, "payload": f"{number:02x}"} for number in range(30)]

    tried = (await client.post("/v1/codecs/try", json={"source": ENDLESS, "frames": frames})).json()

    assert (tried["read"], tried["failed"]) == (0, 30)
    # The engine's own limit ends it, or on a busy machine the pool's, which ends the process.
    reason = tried["frames"][0]["reason"]
    assert "plus de 100 ms" in reason or "pas rendu la main" in reason
    assert tried["frames"][29]["reason"].startswith("pas essayée")


async def test_a_declared_codec_is_tried_without_a_mapping(client) -> None:
    body = {"source": DECLARED, "language": "declarative", "frames": [{"f_port": 1, "payload": "5a"}]}

    tried = (await client.post("/v1/codecs/try", json=body)).json()

    assert [(value["quantity"], value["value"]) for value in tried["frames"][0]["values"]] == [
        ("battery_level", 90)
    ]


# OMS specification volume 2, annex N, N.2.1: a gas meter in mode 5, and its key.
TELEGRAM = "2e4493157856341233037a2a0020255923c95aaa26d1b2e7493b013ec4a6f6d3529b520edff0ea6defc99d6d69ebf3"
METERS_KEY = "0102030405060708090a0b0c0d0e0f11"


async def test_a_native_codec_is_tried_with_a_meters_key_which_nobody_keeps(client, pool: Pool) -> None:
    body = {"codec": "oms.wmbus", "frames": [{"f_port": 1, "payload": TELEGRAM}]}

    sealed = (await client.post("/v1/codecs/try", json=body)).json()
    opened = await client.post("/v1/codecs/try", json=body | {"decoding_key": METERS_KEY})

    [frame] = opened.json()["frames"]
    assert (sealed["read"], sealed["failed"], opened.json()["codec"]) == (0, 1, "oms.wmbus")
    assert "on n'a pas sa clé" in sealed["frames"][0]["reason"]
    assert ("gas_volume", 28504.27) in [(value["quantity"], value["value"]) for value in frame["values"]]
    assert METERS_KEY not in opened.text
    assert await pool.fetchval("SELECT count(*) FROM device_decoding_key") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "function decodeUplink(i) { return { data: i.variables }; }", "decoding_key": METERS_KEY},
        {"codec": "oms.wmbus", "decoding_key": METERS_KEY[:-2]},
        {"codec": "oms.wmbus", "codec_options": {"key": METERS_KEY}},
        {"codec": "acme.nothing"},
        {"codec": "oms.wmbus", "source": "x"},
        {},
    ],
)
async def test_a_trial_gives_no_script_a_key_and_takes_one_codec_that_is_known(client, wrong: Any) -> None:
    answer = await client.post("/v1/codecs/try", json={"frames": [{"f_port": 1, "payload": TELEGRAM}]} | wrong)

    assert answer.status_code == 422
    assert METERS_KEY[:-2] not in answer.text


async def test_a_profile_is_pointed_put_in_the_shadow_switched_and_rolled_back(
    client, registry, pool: Pool
) -> None:
    made = await codec(client)
    first, second = await version(client, made["id"]), await version(client, made["id"], FASTER)
    profile = await registry.profile(codec=None, codec_version_id=first["id"], mapping=MAPPING)
    path = f"/v1/device-profiles/{profile['id']}"
    assert (profile["codec"], profile["codec_version_id"]) == ("acme.t", first["id"])

    nothing = await client.post(f"{path}/switch", json={})
    shadowed = await client.put(f"{path}/shadow", json={"codec_version_id": second["id"]})
    empty = (await client.get(f"{path}/shadow")).json()
    switched = (await client.post(f"{path}/switch", json={})).json()
    back = (await client.post(f"{path}/rollback", json={})).json()

    assert nothing.status_code == 409
    assert (shadowed.json()["codec_version_id"], shadowed.json()["shadow_version_id"]) == (
        first["id"],
        second["id"],
    )
    assert (empty["items"], empty["count"]) == ([], None)
    assert (switched["codec_version_id"], switched["shadow_version_id"]) == (second["id"], None)
    assert switched["mapping"] == MAPPING
    assert back["codec_version_id"] == first["id"]
    undone_at = datetime.fromisoformat(back.pop("undone_at"))
    assert (await client.get(f"{path}/decoding")).json() == back
    switched_at = await pool.fetchval(
        "SELECT at FROM audit WHERE action = 'point' ORDER BY id DESC OFFSET 1 LIMIT 1"
    )
    assert undone_at == switched_at
    changes = await pool.fetch("SELECT entity_id FROM registry_change WHERE entity = 'device_profile'")
    assert len(changes) >= 4  # Every replica is nudged each time.


async def test_a_tenant_overrides_a_profile_that_is_offered_to_all_for_itself_alone(
    client, client_with, other_client
) -> None:
    shared_codec = await codec(client, "partage.t", shared=True)
    offered = await version(client, shared_codec["id"])
    body = {"name": "Thermomètre", "vendor": "A", "model": "T", "codec_version_id": offered["id"], "shared": True}
    profile = (await client.post("/v1/device-profiles", json=body)).json()
    path = f"/v1/device-profiles/{profile['id']}/decoding"
    async with client_with("read", "manage") as manager:
        own = await version(manager, (await codec(manager, "mien.t"))["id"], FASTER)
        for_all = await manager.put(path, json={"codec_version_id": offered["id"], "for_all": True})
        mine = (await manager.put(path, json={"codec_version_id": own["id"], "mapping": MAPPING})).json()
        publishing = await manager.post(f"/v1/codecs/{shared_codec['id']}/versions", json={"source": FASTER})
        theirs = (await other_client.get(path)).json()
        rolled = (await manager.post(path.replace("decoding", "rollback"), json={})).json()
        again = await manager.delete(path)

    assert profile["tenant_id"] is None
    assert (for_all.status_code, publishing.status_code) == (403, 403)
    assert (mine["source"], mine["codec"], mine["codec_version_id"]) == ("override", "mien.t", own["id"])
    assert (theirs["source"], theirs["codec_version_id"]) == ("shared", offered["id"])
    assert (rolled["source"], rolled["codec_version_id"]) == ("shared", offered["id"])
    assert again.status_code == 409


async def test_a_tenant_tries_a_version_on_a_shared_profile_and_goes_on_following_it(
    client, client_with, other_client
) -> None:
    shared = await codec(client, "partage.t", shared=True)
    first, second = await version(client, shared["id"]), await version(client, shared["id"], FASTER)
    body = {"name": "T", "vendor": "A", "model": "T", "codec": "milesight.em400", "shared": True}
    profile = (await client.post("/v1/device-profiles", json=body)).json()
    path = f"/v1/device-profiles/{profile['id']}"
    async with client_with("read", "manage") as manager:
        trying = (await manager.put(f"{path}/shadow", json={"codec_version_id": second["id"]})).json()
        everybody = {"codec_version_id": first["id"], "for_all": True}
        pointed = (await client.put(f"{path}/decoding", json=everybody)).json()
        following = (await manager.get(f"{path}/decoding")).json()
        theirs = (await other_client.get(f"{path}/decoding")).json()
        switched = (await manager.post(f"{path}/switch", json={})).json()
        back = (await manager.post(f"{path}/rollback", json={})).json()
        undone = (await client.post(f"{path}/rollback", json={"for_all": True})).json()

    assert (trying["source"], trying["codec_version_id"], trying["shadow_version_id"]) == (
        "shared",
        None,
        second["id"],
    )
    assert (pointed["codec_version_id"], pointed["shadow_version_id"]) == (first["id"], None)
    assert (following["codec_version_id"], following["shadow_version_id"]) == (first["id"], second["id"])
    assert theirs["shadow_version_id"] is None
    assert (switched["source"], switched["codec_version_id"]) == ("override", second["id"])
    assert (back["source"], back["codec_version_id"]) == ("shared", first["id"])
    assert (undone["codec"], undone["codec_version_id"]) == ("milesight.em400", None)


async def test_what_is_offered_to_all_points_to_what_is_offered_to_all(client) -> None:
    own = await version(client, (await codec(client))["id"])
    body = {"name": "T", "vendor": "A", "model": "T", "codec_version_id": own["id"], "shared": True}

    answer = await client.post("/v1/device-profiles", json=body)

    assert answer.status_code == 409
    assert "n'est pas proposée à toutes" in answer.json()["detail"]


async def test_the_operator_releases_a_suspended_version(client, client_with, pool: Pool) -> None:
    made = await version(client, (await codec(client))["id"])
    path = f"/v1/codec-versions/{made['id']}"
    assert await quarantine_version(pool, made["id"], "cinq dépassements")

    suspended = (await client.get(path)).json()
    async with client_with("read", "manage") as manager:
        refused = await manager.post(f"{path}/release")
    released = await client.post(f"{path}/release")
    twice = await client.post(f"{path}/release")

    assert suspended["quarantine_reason"] == "cinq dépassements"
    assert (refused.status_code, released.status_code, twice.status_code) == (403, 200, 409)
    assert (released.json()["quarantined_at"], released.json()["released_by"]) == (None, "clé de sdef")
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'release'") == 1


async def test_a_codec_that_switches_asks_for_the_capability(client, registry) -> None:
    made = await version(client, (await codec(client))["id"], SWITCHING, language="declarative")
    body = {"name": "V", "vendor": "A", "model": "V", "codec_version_id": made["id"]}

    refused = await client.post("/v1/device-profiles", json=body)
    taken = await client.post("/v1/device-profiles", json=body | {"capabilities": ["switch"]})

    assert (refused.status_code, taken.status_code) == (422, 201)


@pytest.mark.parametrize(
    "rules",
    [
        [{"path": "t", "quantity": "nonsense"}],
        [{"path": "t", "quantity": "temperature", "unit": "kg"}],
        [{"path": "t"}],
    ],
)
async def test_a_mapping_that_means_nothing_is_rejected_in_french(client, registry, rules: list[Any]) -> None:
    made = await version(client, (await codec(client))["id"])
    profile = await registry.profile()

    answer = await client.put(
        f"/v1/device-profiles/{profile['id']}/decoding", json={"codec_version_id": made["id"], "mapping": rules}
    )

    assert answer.status_code == 422
    assert "règle 1" in answer.json()["detail"]


GUIDE = Path(__file__).parents[3] / "docs" / "decoders.md"


def last_chapter() -> list[tuple[str, str, dict[str, Any]]]:
    """The requests of the guide's end: method, path and body."""
    chapter = GUIDE.read_text("utf-8").rpartition("\n## ")[2]
    found = re.findall(r"curl -X (\w+) \"\$API(\S+)\".*?-d '(\{.*?\})'", chapter, re.DOTALL)
    return [(method, path, json.loads(body)) for method, path, body in found]


async def test_guide_ends_with_an_alert_rule_on_the_new_sensor(client, registry) -> None:
    device = await registry.device()
    (_, assets, asset), (assign, _, assigned), (_, trial, rule) = last_chapter()

    made = await client.post(assets, json=asset)
    served = await client.request(
        assign, f"/v1/assets/{made.json()['id']}/device", json=assigned | {"dev_eui": device["dev_eui"]}
    )
    tried = await client.post(trial, json=rule)
    created = await client.post("/v1/alert-rules", json=rule)

    assert (made.status_code, served.status_code) == (201, 200), served.text
    assert tried.status_code == 200, tried.text
    assert created.status_code == 201, created.text
    assert created.json()["tags"] == asset["tags"]
