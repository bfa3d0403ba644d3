"""Programs of lamps over HTTP: written, refused in French, simulated, assigned, within a syndicat's bounds."""

import pytest

PATH = "/v1/lighting-programs"
CUT = {"default": {"night_cut": ["23:30", "05:00"]}}
EARLY = {"default": {"night_cut": ["22:00", "05:00"]}}
BREST = {"latitude": 48.39, "longitude": -4.49}


async def made(client, name: str, program: dict[str, object]) -> int:
    answer = await client.post(PATH, json={"name": name, "program": program})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def test_a_program_is_versioned_assigned_by_commune_taken_back_and_archived_once_nobody_follows_it(
    client, registry, other_client
) -> None:
    cabinets = [
        (await registry.asset(kind="lighting_cabinet", commune=where, **BREST))["id"]
        for where in ("Landerneau", "Landerneau", "Brest")
    ]
    circuit = (await registry.asset(kind="lighting_circuit"))["id"]
    bin_ = (await registry.asset())["id"]
    first, second = await made(client, "Coupure", CUT), await made(client, "Toute la nuit", {})
    read = await client.get(f"{PATH}/{first}")
    stale = {"If-Match": read.headers["etag"]}
    body = {"name": "Coupure", "program": EARLY, "remark": "plus tôt"}
    changed = await client.put(f"{PATH}/{first}", json=body, headers=stale)
    too_late = await client.put(f"{PATH}/{first}", json={**body, "program": {}}, headers=stale)
    same = await client.put(f"{PATH}/{first}", json=body)
    versions = (await client.get(f"{PATH}/{first}/versions")).json()["items"]

    async def assign(**how: object) -> dict[str, object]:
        answer = await client.post(f"{PATH}/assignments", json=how)
        return answer.json() | {"status": answer.status_code}

    seen = await assign(program_id=first, commune="Landerneau", preview=True)
    nothing_yet = (await client.get(f"{PATH}/assignments")).json()["items"]
    await assign(program_id=first, version=1, commune="Landerneau")
    moved = await assign(program_id=first, following_id=first)
    replaced = await assign(program_id=second, asset_ids=[cabinets[0], cabinets[2]])
    kept = await client.put(f"{PATH}/{first}/archived", json={"archived": True})
    back = [await assign(program_id=one["program_id"], asset_ids=one["asset_ids"]) for one in replaced["replaced"]]
    now = (await client.get(f"{PATH}/assignments")).json()["items"]
    in_force = (await client.get(f"/v1/lighting/cabinets/{cabinets[0]}/program")).json()
    grant = {"tenant": "autre", "asset_id": cabinets[0], "role": "reader"}
    granted = (await client.post("/v1/grants", json=grant)).json()
    await other_client.post(f"/v1/grants/{granted['id']}/accept")
    shared = (await other_client.get(f"/v1/lighting/cabinets/{cabinets[0]}/program")).json()
    shown = [one["id"] for one in (await other_client.get(PATH)).json()["items"]]
    versions_shown = (await other_client.get(f"{PATH}/{first}/versions")).json()["items"]
    unshown = await other_client.get(f"{PATH}/{second}")
    of_others = await other_client.get(f"/v1/lighting/cabinets/{cabinets[1]}/program")
    alone = (await client.get(f"/v1/lighting/cabinets/{cabinets[2]}/program")).json()
    history = (await client.get(f"{PATH}/assignments", params={"asset_id": cabinets[0], "ended": True})).json()
    refusals = [
        await assign(program_id=first, asset_ids=[bin_]),
        await assign(program_id=first, asset_ids=[999_999]),
        await assign(program_id=first, version=9, asset_ids=[circuit]),
        await assign(program_id=999_999, asset_ids=[circuit]),
        await assign(program_id=first, commune="Nulle part"),
        await assign(program_id=first, commune="Landerneau", asset_ids=[circuit]),
    ]
    await assign(program_id=None, commune="Landerneau")
    gone = await client.put(f"{PATH}/{first}/archived", json={"archived": True})
    listed = (await client.get(PATH)).json()["items"]

    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert too_late.status_code == 412
    assert same.json()["version"] == 2
    assert [(one["version"], one["program"]) for one in versions] == [(2, EARLY), (1, CUT)]
    assert (seen["changed"], seen["unchanged"], nothing_yet) == (2, 0, [])
    assert [(one["program_id"], one["assets"]) for one in moved["replaced"]] == [(first, 2)]
    assert kept.status_code == 409
    assert [one["status"] for one in back] == [200, 200]
    assert sorted((one["asset_id"], one["program_id"], one["version"]) for one in now) == [
        (cabinets[0], first, 2),
        (cabinets[1], first, 2),
    ]
    assert (in_force["program_name"], in_force["version"], in_force["is_own"]) == ("Coupure", 2, True)
    assert in_force["next_change"] is not None
    assert shared == in_force
    assert (shown, [one["version"] for one in versions_shown]) == ([first], [2])
    assert (unshown.status_code, of_others.status_code) == (404, 404)
    assert (alone["program_id"], alone["is_own"]) == (None, False)
    assert [(one["program_name"], one["version"], one["ended_by"]) for one in history["items"]] == [
        ("Coupure", 2, None),
        ("Toute la nuit", 1, "clé de sdef"),
        ("Coupure", 2, "clé de sdef"),
        ("Coupure", 1, "clé de sdef"),
    ]
    assert [one["status"] for one in refusals] == [422, 404, 422, 404, 422, 422]
    assert "n'est ni une armoire ni un circuit" in str(refusals[0]["detail"])
    assert gone.status_code == 200
    assert [(one["id"], one["assets"]) for one in listed] == [(second, 0)]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ({"default": {"night_cut": ["25:00", "05:00"]}}, "« 25:00 » n'est pas une heure du jour"),
        ({"default": {"dimming": [["22:00", 50], ["22:00", 60]]}}, "deux paliers commencent à 22:00"),
        ({"defaut": {}}, "defaut inconnu"),
    ],
)
async def test_a_program_that_cannot_be_is_refused_in_french(client, program, why) -> None:
    answer = await client.post(PATH, json={"name": "Faux", "program": program})

    assert answer.status_code == 422
    assert why in answer.json()["detail"] or why in answer.json()["errors"][0]["message"]


async def test_a_year_is_simulated_against_another_program(client, registry) -> None:
    cabinet = await registry.asset(
        kind="lighting_cabinet", commune="Brest", attributes={"rated_power_w": 4000}, **BREST
    )
    program = await made(client, "Coupure", CUT)
    money = {"asset_id": cabinet["id"], "year": 2026, "price_eur_per_kwh": 0.25, "co2_g_per_kwh": 50}

    year = (await client.post(f"{PATH}/{program}/simulation", json=money)).json()
    unsaved = await client.post(
        f"{PATH}/simulation", json=money | {"program": EARLY, "against_id": program, "nights": True}
    )

    # From 23:30 to 05:00 five hours and a half go out in every night; the night of March is an hour shorter there.
    assert year["saved"]["hours"] == pytest.approx(365 * 5.5 - 1 + 1, abs=3)
    assert year["saved"]["kwh"] == pytest.approx(year["saved"]["hours"] * 4)
    assert year["saved"]["eur"] == pytest.approx(year["saved"]["kwh"] * 0.25)
    assert year["saved"]["co2_kg"] == pytest.approx(year["saved"]["kwh"] * 0.05)
    assert sum(one["hours"] for one in year["program"]["months"]) == pytest.approx(
        year["program"]["total"]["hours"]
    )
    assert (len(year["program"]["months"]), year["rated_power_w"]) == (12, 4000)
    assert (len(unsaved.json()["nights"]), year["nights"]) == (365, [])
    assert [one["level"] for one in unsaved.json()["nights"][0]["stretches"]] == [100, 0, 100]
    # Of summer nights the hour and a half before 23:30 are partly day.
    assert 0 < unsaved.json()["saved"]["hours"] < 365 * 1.5


async def test_a_member_decides_within_the_bounds_of_its_syndicat_and_is_refused_beyond(
    client, registry, other_client, tenancy, other_tenancy, pool
) -> None:
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", other_tenancy.id, tenancy.id)
    cabinet = await registry.asset(kind="lighting_cabinet", tags=["carrefour"], **BREST)
    plain = await registry.asset(kind="lighting_cabinet", **BREST)
    bounds = {"earliest_cut": "23:00", "latest_return": "05:30", "least_level": 30}
    set_ = await other_client.put(
        f"/v1/lighting/bounds/{tenancy.id}", json=bounds | {"protected_tags": ["carrefour"]}
    )
    stranger = await client.put(f"/v1/lighting/bounds/{other_tenancy.id}", json=bounds)
    shown = (await client.get("/v1/lighting/bounds")).json()["items"]

    async def follow(program: dict[str, object], asset: int) -> tuple[int, str]:
        id_ = await made(client, f"{program} {asset}", program)
        answer = await client.post(f"{PATH}/assignments", json={"program_id": id_, "asset_ids": [asset]})
        return answer.status_code, answer.json().get("detail", "")

    within = await follow(CUT, plain["id"])
    early = await follow(EARLY, plain["id"])
    late = await follow({"default": {"night_cut": ["23:30", "06:00"]}}, plain["id"])
    # A cut by another name.
    by_clock = await follow({"default": {"off": "22:00"}}, plain["id"])
    unlit = await follow({"rules": [{"schedule": {"lit": False}, "dates": ["2029-07-14"]}]}, plain["id"])
    dim = await follow({"default": {"dimming": [["22:00", 20]]}}, plain["id"])
    protected = await follow(CUT, cabinet["id"])
    lifted = await other_client.delete(f"/v1/lighting/bounds/{tenancy.id}")
    free = await follow({"default": {"night_cut": ["21:00", "06:00"]}}, cabinet["id"])

    assert (set_.status_code, stranger.status_code, lifted.status_code) == (200, 404, 204)
    assert [(one["member_id"], one["earliest_cut"]) for one in shown] == [(tenancy.id, "23:00")]
    assert within == (200, "")
    refused = {"early": early, "late": late, "by_clock": by_clock, "unlit": unlit, "dim": dim, "no": protected}
    assert {status for status, _ in refused.values()} == {403}
    assert "pas avant 23:00" in early[1]
    assert "pas après 05:30" in late[1]
    assert "pas avant 23:00" in by_clock[1]
    assert "le 14/07/2029" in unlit[1]
    assert "pas moins de 30 %" in dim[1]
    assert "protégé" in protected[1]
    assert free[0] == 200


async def test_the_report_on_legal_hours_says_that_roads_have_none_and_names_who_oversteps(
    client, registry
) -> None:
    await registry.asset(kind="lighting_cabinet", name="=Rue", commune="Brest", **BREST)
    await registry.asset(
        kind="lighting_cabinet", name="Parc", commune="Brest", attributes={"legal_category": "b"}, **BREST
    )
    parking = {"legal_category": "e", "activity": ["08:00", "19:00"]}
    shop = await registry.asset(
        kind="lighting_cabinet", name="Parking", commune="Brest", attributes=parking, **BREST
    )
    work = {"legal_category": "g"}
    await registry.asset(kind="lighting_cabinet", name="Chantier", commune="Brest", attributes=work, **BREST)
    off_at_nine = await made(client, "Parking", {"default": {"off": "21:00"}})
    await client.post(f"{PATH}/assignments", json={"program_id": off_at_nine, "asset_ids": [shop["id"]]})

    report = (await client.get("/v1/lighting/reports/legal-hours", params={"commune": "Brest"})).json()
    sheet = await client.get("/v1/lighting/reports/legal-hours", params={"format": "csv"})

    assert {one["name"]: (one["category"], one["verdict"]) for one in report["items"]} == {
        "=Rue": ("a", "no_hour"),
        "Parc": ("b", "not_held"),
        "Parking": ("e", "held"),
        "Chantier": ("g", "unknown"),
    }
    assert "aucune heure légale" in report["items"][0]["reason"]
    assert report["items"][1]["nights"] == 366
    assert "JORFTEXT000037864346" in report["note"]
    assert sheet.headers["content-type"].startswith("text/csv")
    assert "'=Rue" in sheet.text
    assert "aucune heure légale" in sheet.text
