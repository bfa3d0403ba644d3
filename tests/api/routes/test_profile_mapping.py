"""A proposed mapping never invents: what is to be confirmed is shown, and measures once a person accepts it."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from ingest.workers import open_workers
from registry.keys import KeyWrap
from tests.api.conftest import Tenancy, client_of, make_tenancy

SOURCE = (
    "function decodeUplink(input) { return { data: { temperature: 21.5, distance: input.bytes[0], "
    "Bat_status: 3 } }; }"
)
ANSWER = {"temperature": 21.5, "distance": 85, "Bat_status": 3}
LIVE = {"path": "temperature", "quantity": "temperature", "channel": ""}
DOUBTFUL = {"path": "distance", "quantity": "distance", "channel": "", "to_confirm": "unit_not_stated"}
# As an import of before wrote it: the code is a percentage, and nothing is flagged.
INVENTED = {"path": "Bat_status", "quantity": "battery_level", "channel": ""}


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    async with open_workers(1) as workers:
        yield create_app(api_pool, bus, KeyWrap("kek-1", bytes(range(16))), 4, workers)


async def imported(client: httpx.AsyncClient, mapping: list[dict[str, Any]], *, shared: bool = False) -> int:
    example = {"name": "1", "operation": "decodeUplink", "input": {}, "expected": {"data": ANSWER}}
    profile = {"name": "Acme Niveau 3", "vendor": "Acme", "model": "Niveau 3", "mapping": mapping}
    body = {
        "name": "acme.niveau",
        "source": SOURCE,
        "examples": [example],
        "profiles": [profile],
        "shared": shared,
    }
    answer = await client.post("/v1/codec-imports", json=body)
    assert answer.status_code == 200, answer.text
    waiting = sum("to_confirm" in rule for rule in mapping)
    proposed = f"grandeurs proposées : {len(mapping) - waiting}"
    (said,) = [one["detail"] for one in answer.json()["profiles"]]
    assert said == (f"{proposed} ; à confirmer : {waiting}" if waiting else proposed)
    profiles = (await client.get("/v1/device-profiles?limit=1000")).json()["items"]
    return next(one["id"] for one in profiles if one["name"] == "Acme Niveau 3")


async def test_a_rule_to_confirm_is_listed_with_why_and_measures_once_it_is_confirmed_with_its_unit(
    client: httpx.AsyncClient, pool: Pool
) -> None:
    profile = await imported(client, [LIVE, DOUBTFUL])
    path = f"/v1/device-profiles/{profile}/mapping"

    before = (await client.get(path)).json()
    decided = await client.post(path, json={"confirm": [{"path": "distance", "unit": "cm"}]})
    after = (await client.get(path)).json()

    assert before["to_confirm"] == [
        {"path": "distance", "quantity": "distance", "channel": "", "unit": "", "why": "l'unité n'est pas dite"}
    ]
    assert decided.status_code == 200, decided.text
    assert decided.json()["mapping"] == [
        LIVE,
        {"path": "distance", "quantity": "distance", "channel": "", "unit": "cm", "confirmed": True},
    ]
    assert after["to_confirm"] == []
    assert [one["path"] for one in after["differences"]] == ["Bat_status"]  # What a person confirmed is not asked.
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'point'") == 1


async def test_a_trial_shows_what_is_to_be_confirmed_beside_the_values(client: httpx.AsyncClient) -> None:
    body = {"source": SOURCE, "mapping": [LIVE, DOUBTFUL], "frames": [{"f_port": 1, "payload": "55"}]}

    (frame,) = (await client.post("/v1/codecs/try", json=body)).json()["frames"]

    assert [one["quantity"] for one in frame["values"]] == ["temperature"]
    assert [(one["quantity"], one["value"], one["unit"]) for one in frame["to_confirm"]] == [
        ("distance", 85, "mm")
    ]


async def test_a_profile_imported_before_is_listed_with_what_would_change_and_nothing_changes_without_a_person(
    client: httpx.AsyncClient,
) -> None:
    profile = await imported(client, [LIVE, INVENTED])

    (listed,) = (await client.get("/v1/mapping-revisions")).json()["items"]
    (_, untouched) = (await client.get(f"/v1/device-profiles/{profile}/decoding")).json()["mapping"]
    decided = await client.post(
        f"/v1/device-profiles/{profile}/mapping", json={"adopt": ["Bat_status"], "remove": []}
    )

    assert listed["device_profile_id"] == profile
    by_path = {one["path"]: one for one in listed["differences"]}
    assert by_path["Bat_status"]["now"] == INVENTED
    assert by_path["Bat_status"]["why"] == "peut être un code, pas une mesure"
    assert by_path["distance"]["now"] is None
    assert untouched == INVENTED
    assert {one["path"]: one.get("to_confirm") for one in decided.json()["mapping"]} == {
        "temperature": None,
        "Bat_status": "may_be_a_code",
    }


async def test_a_tenant_confirms_for_itself_what_is_offered_to_all(
    client: httpx.AsyncClient, app: FastAPI, pool: Pool
) -> None:
    profile = await imported(client, [LIVE, DOUBTFUL], shared=True)
    other: Tenancy = await make_tenancy(pool, "brest", ("read", "manage"))
    path = f"/v1/device-profiles/{profile}/mapping"
    async with client_of(app, other.key) as theirs:
        refused = await theirs.post(path, json={"confirm": [{"path": "distance"}], "for_all": True})
        own = await theirs.post(path, json={"confirm": [{"path": "distance", "unit": "cm"}]})

    assert (refused.status_code, own.status_code) == (403, 200)
    assert own.json()["source"] == "override"
    assert len((await client.get(path)).json()["to_confirm"]) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"confirm": [{"path": "inconnu"}]}, "aucune règle"),
        ({"confirm": [{"path": "distance", "unit": "V"}]}, "unité"),
        ({"remove": ["inconnu"]}, "aucune règle"),
        ({"adopt": ["inconnu"]}, "ni proposé aujourd'hui"),
    ],
)
async def test_a_decision_about_what_is_not_there_is_rejected_and_changes_nothing(
    client: httpx.AsyncClient, body: dict[str, Any], said: str
) -> None:
    profile = await imported(client, [LIVE, DOUBTFUL])

    answer = await client.post(f"/v1/device-profiles/{profile}/mapping", json=body)

    assert answer.status_code == 422
    assert said in answer.text
    mapping = (await client.get(f"/v1/device-profiles/{profile}/decoding")).json()["mapping"]
    assert mapping == [LIVE, DOUBTFUL]


async def test_a_profile_of_a_native_codec_has_no_mapping_to_confirm(client: httpx.AsyncClient, registry) -> None:
    profile = await registry.profile()

    answer = await client.post(f"/v1/device-profiles/{profile['id']}/mapping", json={"confirm": [{"path": "x"}]})

    assert answer.status_code == 409
