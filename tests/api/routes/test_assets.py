import pytest

from core.runtime.postgres import Pool

CONTAINER = {"container": {"empty_distance_mm": 1700, "full_distance_mm": 300}}


async def test_an_asset_is_created_read_changed_and_listed(client, registry) -> None:
    asset = await registry.asset(attributes=CONTAINER, latitude=48.45, longitude=-4.25, street="4 rue du Port")
    path = f"/v1/assets/{asset['id']}"

    changed = await client.patch(path, json={"name": "Borne neuve", "privacy_class": 1})
    listed = await client.get(
        "/v1/assets", params={"kind": "glass_container", "commune": "Landerneau", "q": "PORT"}
    )
    elsewhere = await client.get("/v1/assets", params={"commune": "Brest"})

    expected = asset | {"name": "Borne neuve", "privacy_class": 1}
    assert changed.json() == expected | {"devices": []}
    assert (await client.get(path)).json() == changed.json()
    assert [{name: one[name] for name in expected} for one in listed.json()["items"]] == [expected]
    assert elsewhere.json()["items"] == []


async def test_a_search_without_accents_or_capitals_finds_what_has_them_and_the_reverse(client, registry) -> None:
    school = await registry.asset(name="École du Cœur", street="3 rue de l’Église")
    lock = await registry.asset(name="Ecluse", street="quai")
    device = await registry.device(name="Capteur d’étage")

    async def found(path: str, words: str) -> list[str]:
        return [item["name"] for item in (await client.get(path, params={"q": words})).json()["items"]]

    for words in ("ecole", "ÉCOLE", "e\u0301cole", "coeur", "CŒUR", "l'eglise"):
        assert await found("/v1/assets", words) == await found("/v1/asset-states", words) == [school["name"]], (
            words
        )
    assert await found("/v1/assets", "écluse") == [lock["name"]]
    assert await found("/v1/devices", "D'ETAGE") == [device["name"]]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"container": {"empty_distance_mm": 300, "full_distance_mm": 1700}}, "container"),
        ({"lighting": {"nigth_cut": ["23:30", "05:00"]}}, "lighting"),
        ({"note": "a\u0000b"}, "json"),
        ({"note": "x" * 40_000}, "json_too_long"),
    ],
)
async def test_attributes_that_cannot_be_used_are_rejected(client, attributes, code) -> None:
    body = {"kind": "glass_container", "name": "Borne", "attributes": attributes}

    answer = await client.post("/v1/assets", json=body)

    assert answer.status_code == 422
    assert [error["code"] for error in answer.json()["errors"]] == [code]


async def test_a_name_is_taken_once_per_kind(client, registry) -> None:
    asset = await registry.asset()

    again = await client.post("/v1/assets", json={"kind": asset["kind"], "name": asset["name"]})

    assert again.status_code == 409
    assert again.json()["detail"] == "un actif de ce type porte déjà ce nom"


async def test_a_replaced_device_stops_where_the_new_one_begins(client, registry, pool: Pool) -> None:
    asset = await registry.asset()
    former = await registry.device(asset_id=asset["id"])
    new = await registry.device()
    path = f"/v1/assets/{asset['id']}/device"

    replaced = await client.put(path, json={"dev_eui": new["dev_eui"]})
    again = await client.put(path, json={"dev_eui": new["dev_eui"]})
    rows = await pool.fetch(
        "SELECT encode(d.dev_eui, 'hex') AS dev_eui, lower(during) AS since, upper(during) AS until "
        "FROM assignment a JOIN device d ON d.id = a.device_id WHERE a.asset_id = $1 ORDER BY a.id",
        asset["id"],
    )

    assert [device["dev_eui"] for device in replaced.json()["devices"]] == [new["dev_eui"]]
    assert again.json() == replaced.json()
    assert [row["dev_eui"] for row in rows] == [former["dev_eui"], new["dev_eui"]]
    assert rows[0]["until"] == rows[1]["since"]
    assert rows[1]["until"] is None


async def test_a_device_that_moves_leaves_its_former_asset(client, registry) -> None:
    here, there = await registry.asset(), await registry.asset()
    device = await registry.device(asset_id=here["id"])

    await client.put(f"/v1/assets/{there['id']}/device", json={"dev_eui": device["dev_eui"]})

    assert (await client.get(f"/v1/assets/{here['id']}")).json()["devices"] == []
    assert (await client.get(f"/v1/devices/{device['dev_eui']}")).json()["asset_id"] == there["id"]


async def test_two_devices_serve_one_asset_in_two_positions(client, registry) -> None:
    asset = await registry.asset()
    first = await registry.device(asset_id=asset["id"], position="haut")
    second = await registry.device()

    both = await client.put(
        f"/v1/assets/{asset['id']}/device", json={"dev_eui": second["dev_eui"], "position": "bas"}
    )
    ended = await client.delete(f"/v1/assets/{asset['id']}/device", params={"position": "bas"})

    assert [device["position"] for device in both.json()["devices"]] == ["bas", "haut"]
    assert ended.status_code == 204
    left = (await client.get(f"/v1/assets/{asset['id']}")).json()["devices"]
    assert [device["dev_eui"] for device in left] == [first["dev_eui"]]


async def test_a_taken_position_is_not_taken_over_by_enrolment(client, registry) -> None:
    asset = await registry.asset()
    await registry.device(asset_id=asset["id"])
    profile = await registry.profile()

    body = {"dev_eui": "70b3d57ed0001234", "join_eui": "00" * 8, "app_key": "00" * 16, "name": "second"}
    refused = await client.post(
        "/v1/devices", json=body | {"device_profile_id": profile["id"], "asset_id": asset["id"]}
    )

    assert refused.status_code == 409
    assert "PUT /v1/assets/{id}/device" in refused.json()["detail"]
    assert (await client.get("/v1/devices/70b3d57ed0001234")).status_code == 404


async def test_what_is_unknown_is_not_found(client, registry) -> None:
    asset = await registry.asset()

    no_device = await client.put(f"/v1/assets/{asset['id']}/device", json={"dev_eui": "ff" * 8})
    nothing_to_end = await client.delete(f"/v1/assets/{asset['id']}/device")
    no_asset = await client.delete("/v1/assets/999999/device")

    assert [answer.status_code for answer in (no_device, nothing_to_end, no_asset)] == [404, 404, 404]


async def test_attributes_of_lighting_are_those_that_there_are_and_rows_of_before_keep_theirs(
    client, registry, pool: Pool
) -> None:
    cabinet = await registry.asset(
        kind="lighting_cabinet",
        external_reference="ARM-1",
        insee="29103",
        attributes={"contract_power_kva": 18, "pdl": "12345678901234", "calendar": "ecoles"},
    )
    body = {"kind": "lighting_cabinet", "name": "Autre"}
    wrong = [
        {"contract_power_kw": 18},
        {"contract_power_kva": "18"},
        {"contract_power_kva": -1},
        {"contract_power_kva": True},
        {"phases": 2},
        {"pdl": "12"},
    ]
    answers = [await client.post("/v1/assets", json=body | {"attributes": one}) for one in wrong]
    twice = await client.post("/v1/assets", json=body | {"external_reference": "ARM-1"})
    lamps = [
        await client.post("/v1/assets", json={"kind": kind, "name": "1", "external_reference": f"R{number}"})
        for number, kind in enumerate(("light_point", "light_point", "bin", "bin"))
    ]
    old = await pool.fetchval(
        "UPDATE asset SET attributes = '{\"ancien\": 1}' WHERE id = $1 RETURNING id", cabinet["id"]
    )
    kept = await client.patch(f"/v1/assets/{old}", json={"attributes": {"ancien": 1, "phases": 3}})
    changed = await client.patch(f"/v1/assets/{old}", json={"attributes": {"ancien": 2}})
    listed = await client.get("/v1/assets", params={"external_reference": "ARM-1"})

    assert cabinet["attributes"] == {"contract_power_kva": 18, "pdl": "**********1234", "calendar": "ecoles"}
    assert [answer.status_code for answer in answers] == [422] * len(wrong)
    assert "vouliez-vous dire « contract_power_kva »" in answers[0].json()["errors"][0]["message"]
    assert [answer.status_code for answer in (twice, *lamps)] == [409, 201, 201, 201, 409]
    assert (kept.status_code, changed.status_code) == (200, 422)
    assert [(one["id"], one["insee"]) for one in listed.json()["items"]] == [(cabinet["id"], "29103")]
