"""A kit is commissioned whole or not at all, seen device by device, and accepted with its record."""

import secrets
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from api.routes import kit_commissionings
from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Pool
from tests.api.conftest import Observations, Registry
from tests.api.photos import jpeg

COUNTED = """
SELECT (SELECT count(*) FROM device) + (SELECT count(*) FROM asset) + (SELECT count(*) FROM kit_commissioning)
       + (SELECT count(*) FROM alert_rule WHERE name LIKE 'air_%')
"""
RULE: dict[str, Any] = {
    "name": "air",
    "kind": "threshold",
    "quantity": "co2",
    "fire_op": ">=",
    "fire_value": 1000,
    "clear_op": "<=",
    "clear_value": 800,
    "severity": "warning",
    "message": "{asset} : aérer",
}


async def test_a_kit_of_thirteen_is_commissioned_at_once_seen_and_accepted(
    client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    registry: Registry,
    other_registry: Registry,
    observations: Observations,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile = await registry.profile()
    lines: list[dict[str, Any]] = [
        {
            "key": f"salle_{n}",
            "device_profile_id": profile["id"],
            "asset_kind": "room",
            "asset_name": f"{{site}} – salle {n}",
        }
        for n in range(1, 14)
    ]
    twice = await client.post("/v1/kits", json={"name": "École", "items": [*lines, lines[0]]})
    wrong_rule = await client.post(
        "/v1/kits", json={"name": "École", "items": lines, "rules": [RULE | {"clear_value": 1200}]}
    )
    first = await client.post("/v1/kits", json={"name": "École", "items": lines[:1]})
    kit = (
        await client.post(f"/v1/kits/{first.json()['id']}/versions", json={"items": lines, "rules": [RULE]})
    ).json()
    assert (twice.status_code, wrong_rule.status_code, first.status_code) == (422, 422, 201), wrong_rule.text
    assert (kit["name"], kit["version"]) == ("École", 2)
    assert [one["version"] for one in (await client.get("/v1/kits")).json()["items"]] == [2]
    assert len((await client.get("/v1/kits?name=École")).json()["items"]) == 2

    def devices() -> list[dict[str, str]]:
        return [
            {
                "item": line["key"],
                "dev_eui": secrets.token_hex(8),
                "join_eui": "70b3d57ed0001000",
                "app_key": secrets.token_hex(16),
            }
            for line in lines
        ]

    path = f"/v1/kits/{kit['id']}/commissionings"
    site = {"site": "École œuvre", "commune": "Landerneau", "latitude": 48.45, "longitude": -4.25}
    known, foreign = await registry.device(), await other_registry.device()
    before = await pool.fetchval(COUNTED)
    doubled, registered, missing, unknown = devices(), devices(), devices()[1:], devices()
    elsewhere = devices()
    elsewhere[12]["dev_eui"] = foreign["dev_eui"]
    doubled[12]["dev_eui"] = doubled[3]["dev_eui"]
    registered[12]["dev_eui"] = known["dev_eui"]
    unknown[2]["item"] = "cave"
    for sent, said in (
        (doubled, "donné deux fois"),
        (registered, "est déjà enregistré"),
        (elsewhere, REGISTERED_ELSEWHERE),
        (missing, "salle_1"),
        (unknown, "cave"),
    ):
        answer = await client.post(path, json=site | {"devices": sent})
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    theirs = (await other_client.post("/v1/kits", json={"name": "K", "items": lines[:1]})).status_code
    assert (theirs, await pool.fetchval(COUNTED)) == (422, before)  # Another tenant's profile; nothing half made.

    given = devices()
    made = await client.post(path, json=site | {"devices": given})
    assert made.status_code == 201, made.text
    record = made.json()
    assert (record["expected"], record["seen"], {one["state"] for one in record["items"]}) == (13, 0, {"expected"})
    again = await client.post(path, json=site | {"devices": devices()})
    assert (again.status_code, "s'appelle déjà" in again.text) == (422, True)
    (rule,) = [
        one for one in (await client.get("/v1/alert-rules")).json()["items"] if one["name"].startswith("air")
    ]
    assert (rule["name"], rule["tags"]) == (f"air_{record['id']}", [f"kit_{record['id']}"])
    assert rule["tags"] == (await client.get(f"/v1/assets/{record['items'][0]['asset_id']}")).json()["tags"]

    gateway = await registry.gateway(name="Château d’eau")
    heard = record["items"][4]
    await observations.uplink(given[4]["dev_eui"], datetime.now(UTC), gateways=[gateway["gateway_id"]])
    photo = {"content": b64encode(jpeg()).decode()}
    await client.post(f"/v1/assets/{heard['asset_id']}/photos", json=photo)
    one = f"/v1/kit-commissionings/{record['id']}"
    seen = (await client.get(one)).json()
    item = seen["items"][4]
    assert (seen["seen"], item["state"], item["gateway"], item["gateway_id"], item["rssi"]) == (
        1,
        "seen",
        "Château d’eau",
        gateway["gateway_id"],
        -80,
    )
    assert (item["latitude"], item["photo_id"] is not None) == (48.45, True)
    early = await client.post(one + "/acceptance", json={})
    accepted = await client.post(one + "/acceptance", json={"reservations": "douze à venir"})
    twice = await client.post(one + "/acceptance", json={"reservations": "x"})
    assert (early.status_code, accepted.status_code, twice.status_code) == (422, 200, 409)
    printed = await client.get(one + "/record.pdf")
    assert (printed.status_code, printed.headers["content-type"]) == (200, "application/pdf")
    assert printed.content.startswith(b"%PDF-")
    assert b"/DCTDecode" in printed.content  # The photo.
    with monkeypatch.context() as patched:  # What is too much for a document is named in it.
        patched.setattr(kit_commissionings, "PRINTED_MOST", 0)
        named = await client.get(one + "/record.pdf")
    assert (named.status_code, b"/DCTDecode" in named.content) == (200, False)
    assert (await other_client.get(one + "/record.pdf")).status_code == 404
    assert (await other_client.get("/v1/kit-commissionings")).json()["items"] == []
