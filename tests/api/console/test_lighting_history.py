"""The history of an asset's lamps: who, why, before, after, when; and what its meter has counted."""

from datetime import UTC, datetime, timedelta

import pytest

from api.consumption_store import CALENDAR

PATH = "/v1/lighting-programs"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BREST = {"latitude": 48.39, "longitude": -4.49}
ACT = """
INSERT INTO lighting_unknown_act (tenant_id, asset_id, device_id, due_at)
SELECT c.tenant_id, c.asset_id, c.device_id, now() + interval '11 hours' FROM lighting_command c LIMIT 1
"""
CAMPAIGN = """
WITH made AS (
    INSERT INTO lighting_campaign (tenant_id, name, action, level, reason, author, author_id, not_after)
    VALUES ($1, 'Fête', 'dim', 60, 'fête de quartier', 'Mme Riou', 'p1', now()) RETURNING id)
INSERT INTO lighting_campaign_target (campaign_id, tenant_id, asset_id, gateway, airtime_us, octets)
SELECT id, $1, $2, 'g', 1, '{}' FROM made
"""


async def test_the_history_of_a_cabinets_lamps_says_who_why_before_and_after_page_by_page(
    client, registry, observations, pool, tenancy, other_tenancy, other_client, enter
) -> None:
    cabinet = await registry.cabinet(name="Armoire 12")
    address = f"/v1/assets/{cabinet['id']}/lighting-history"
    order = {"asset_id": cabinet["id"], "reason": "Travaux"}
    ends = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    await client.post("/v1/lighting/commands", json=order | {"action": "off", "off_until": ends})
    await pool.execute(
        "UPDATE lighting_command SET state = 'failed', failure = 'no_read_back', work_order_at = now()"
    )
    await pool.execute(
        "INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, requested_by, reason, state, "
        "downlink_id, not_after) SELECT tenant_id, asset_id, device_id, 'on', 'territoire', "
        "'fin de l''extinction', 'applied', downlink_id, not_after FROM lighting_command"
    )
    await pool.execute(ACT)
    await pool.execute(
        "INSERT INTO lighting_bounds (tenant_id, member_id, set_by, earliest_cut) "
        "VALUES ($1, $2, 'M. Bras', 1320)",
        other_tenancy.id, tenancy.id,
    )  # fmt: skip
    await pool.execute("UPDATE lighting_bounds SET earliest_cut = 1380, set_at = now()")
    device = (await client.get(f"/v1/assets/{cabinet['id']}")).json()["devices"][0]["dev_eui"]
    stream = await observations.datastream(device, cabinet["id"], "local_override", "1")
    forced = (0, 0, 1, 1, 0, 0)
    await observations.readings(stream, {datetime.now(UTC) - (9 - n) * HOUR: one for n, one in enumerate(forced)})
    await pool.execute(CAMPAIGN, tenancy.id, cabinet["id"])
    programs = []
    for name, cut in (("Toute la nuit", {}), ("Coupure", {"default": {"night_cut": ["23:30", "05:00"]}})):
        made = await client.post(PATH, json={"name": name, "program": cut, "remark": "délibération 12"})
        programs.append(made.json()["id"])
        assigned = {"program_id": programs[-1], "asset_ids": [cabinet["id"]]}
        assert (await client.post(f"{PATH}/assignments", json=assigned)).status_code == 200
    await client.put(f"{PATH}/{programs[-1]}", json={"name": "Coupure", "program": {}, "remark": "essai"})

    pages, cursor = [], None
    while True:
        page = await client.get(address, params={"limit": 3} | ({} if cursor is None else {"cursor": cursor}))
        assert page.status_code == 200, page.text
        pages.append(page.json()["items"])
        cursor = page.json()["next"]
        if cursor is None:
            break
    found = [entry for page in pages for entry in page]
    whole = (await client.get(address)).json()["items"]
    wrong = await client.get(address, params={"cursor": "12"})
    of_others = await other_client.get(address)
    grant = {"tenant": "autre", "asset_id": cabinet["id"], "role": "reader"}
    granted = (await client.post("/v1/grants", json=grant)).json()
    await other_client.post(f"/v1/grants/{granted['id']}/accept")
    shared = (await other_client.get(address)).json()["items"]

    browser = await enter(tenancy.id, "reader")
    shown = (await browser.get(f"/eclairage/{cabinet['id']}/historique")).text
    short = (await browser.get(f"/eclairage/{cabinet['id']}")).text
    hours = (await browser.get("/eclairage/horaires")).text
    sheet = await browser.get("/eclairage/horaires/export")

    assert found == whole
    assert shown.count("<tr>") == len(found) + 1
    assert "fête de quartier" in shown
    assert f'href="/eclairage/{cabinet["id"]}/historique"' in short
    assert "Historique de l’éclairage" in short
    assert "aucune heure légale" in hours
    assert 'href="/eclairage/horaires/export"' in hours
    assert (sheet.headers["content-type"], sheet.text.count("Armoire 12")) == ("text/csv; charset=utf-8", 1)
    assert "aucune heure légale d'extinction" in sheet.text
    assert max(len(page) for page in pages) == 3
    said = {(one["kind"], one["who"], one["why"], one["before"], one["after"], one["outcome"]) for one in found}
    when = next(one["after"] for one in found if one["kind"] == "command")
    assert when.startswith("Éteindre jusqu'au ")
    failed = "échoué : l'armoire n'a pas relu son état après la commande : état inconnu"
    me = next(one["who"] for one in found if one["kind"] == "command")
    assert said >= {
        ("command", me, "Travaux", None, when, failed),
        ("work_order", None, "", None, when, failed),
        ("relight", None, "fin de l'extinction", None, "Allumer", "appliqué, par la parole du relais"),
        ("campaign", "Mme Riou", "fête de quartier", None, "« Fête » : Graduer à 60 %", None),
        ("assignment", me, "délibération 12", None, "« Toute la nuit », version 1", None),
        (
            "assignment", me, "délibération 12", "« Toute la nuit », version 1", "« Coupure », version 1", None,
        ),
        ("bounds", "M. Bras", "", "pas d'extinction avant 22:00", "pas d'extinction avant 23:00", None),
        ("local_override", None, "", "libre", "forcée sur place", None),
        ("local_override", None, "", "forcée sur place", "libre", None),
        ("program_version", me, "essai", "« Coupure », version 1", "« Coupure », version 2", None),
    }  # fmt: skip
    assert {one["kind"] for one in found} == {one[0] for one in said} | {"unknown_act"}
    assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)
    assert {one["label"] for one in found} >= {"Ordre", "Acte inconnu", "Retour au programme", "Programme affecté"}
    assert wrong.status_code == 422
    assert of_others.status_code == 404
    assert {one["kind"] for one in shared} >= {"command", "unknown_act", "assignment"}
    assert "campaign" not in {one["kind"] for one in shared}


async def test_the_kwh_of_a_cabinet_stand_beside_those_of_its_program_over_a_swap_and_apart_from_a_gap(
    client, registry, observations, pool, tenancy, other_client, enter
) -> None:
    calendar = await pool.fetchrow(CALENDAR)
    today, week = calendar["today"], calendar["week"]
    lamps = {"rated_power_w": 1000}
    swapped, gappy, _ = [
        await registry.cabinet(name=name, attributes=lamps, **BREST)
        for name in ("Échangé", "Lacune", "Sans compteur")
    ]
    for cabinet, is_gappy in ((swapped, False), (gappy, True)):
        device = (await client.get(f"/v1/assets/{cabinet['id']}")).json()["devices"][0]["dev_eui"]
        stream = await observations.datastream(device, cabinet["id"], "active_energy_import", "W.h")
        first, change = week - 8 * DAY, today - 12 * HOUR
        hours = [first + number * HOUR for number in range(int((today - first) / HOUR) + 1)]
        index = {at: 50_000 + 400 * number for number, at in enumerate(hours)}
        if is_gappy:
            index = {at: value for at, value in index.items() if not today - 60 * HOUR < at < today - 10 * HOUR}
        else:
            # Another meter at noon: the former had counted 200 Wh more, the new one begins at 10.
            before = index[change]
            index = {at: value if at <= change else 10 + value - before - 200 for at, value in index.items()}
            await pool.execute(
                "INSERT INTO observation.meter_change (datastream_id, at, final_index, initial_index, cause) "
                "VALUES ($1, $2, $3, 10, 'replacement')",
                stream, change + HOUR / 2, before + 200.0,
            )  # fmt: skip
        await observations.readings(stream, index)

    report = (await client.get("/v1/lighting/reports/energy", params={"commune": "Landerneau"})).json()["items"]
    alone = (await client.get(f"/v1/lighting/cabinets/{swapped['id']}/energy")).json()
    program = {"name": "Coupure", "program": {"default": {"night_cut": ["23:30", "05:00"]}}}
    made = (await client.post(PATH, json=program)).json()["id"]
    await client.post(f"{PATH}/assignments", json={"program_id": made, "asset_ids": [gappy["id"]]})
    changed = (await client.get(f"/v1/lighting/cabinets/{gappy['id']}/energy")).json()
    of_others = await other_client.get(f"/v1/lighting/cabinets/{swapped['id']}/energy")
    browser = await enter(tenancy.id, "reader")
    page = (await browser.get(f"/eclairage/{swapped['id']}")).text

    whole, gap, none = report
    assert whole == alone
    assert whole["yesterday"]["measured_kwh"] == pytest.approx(0.4 * 24)
    assert whole["last_week"]["measured_kwh"] == pytest.approx(0.4 * 24 * 7, abs=0.5)
    # A night in Brest between the solstices.
    assert 7 < whole["yesterday"]["expected_kwh"] < 16.5
    assert whole["yesterday"]["percent"] == pytest.approx(960 / whole["yesterday"]["expected_kwh"])
    assert gap["yesterday"]["percent"] is None
    assert gap["yesterday"]["measured_kwh"] == pytest.approx(0.4 * 10)
    assert (none["yesterday"]["measured_kwh"], none["yesterday"]["percent"]) == (None, None)
    assert changed["yesterday"]["expected_kwh"] is None
    assert of_others.status_code == 404
    assert "9,6 kWh" in page.replace("\xa0", " ").replace("\u202f", " ")
