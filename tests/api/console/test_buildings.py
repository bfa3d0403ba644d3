"""Buildings in the console: months beside each other, proven savings, air, leaks, counts, what is unknown."""

import re
from datetime import date

import pytest

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden
from tests.api.metering import HOUR, Metering, daily, local
from tests.api.routes.test_building_rooms import calendar
from tests.api.routes.test_energy_baselines import PERIOD, WORKS, building_of, write_weather

YEAR = "du=2025-10&au=2026-09"


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


async def test_without_a_building_the_page_says_what_to_import_and_a_reader_may_not_freeze(
    enter, registry, tenancy, other_tenancy
) -> None:
    reader = await enter(tenancy.id, "reader")

    empty = (await reader.get("/batiments")).text
    building = await registry.asset(kind="building", name="Mairie <b>")
    listed, own = await reader.get("/batiments"), await reader.get(f"/batiments/{building['id']}")
    tabs = [
        await reader.get(f"/batiments/{building['id']}/{tab}")
        for tab in ("economies", "air", "fuites", "ouvertures")
    ]
    stranger = await enter(other_tenancy.id, "reader")

    assert "importez les températures journalières" in empty
    assert 'href="/batiments"' in listed.text
    assert "Mairie &lt;b&gt;" in listed.text
    assert "aucun compteur" in listed.text
    assert "Aucun compteur ne mesure ce bâtiment" in own.text
    forms = (await reader.get("/batiments/formulaires?annee=2024")).text
    assert "À vérifier avant tout envoi" in forms
    assert forms.count("à vérifier") >= 4
    assert 'href="/v1/indicators/buildings/schools-form.csv?year=2024"' in forms
    for tab, said in zip(
        tabs,
        ("Aucune référence encore", "Aucune salle ne dépend", "Aucun compteur d’eau", "Aucun contact"),
        strict=True,
    ):
        assert (tab.status_code, said in tab.text) == (200, True)
    assert "Figer la référence" not in tabs[0].text
    assert (await stranger.get(f"/batiments/{building['id']}")).status_code == 404
    assert (await reader.get("/batiments/999999999/air")).status_code == 404


async def test_a_leap_february_stands_beside_its_neighbours_with_the_numbers_of_each_difference(
    enter, metering: Metering, tenancy
) -> None:
    reader = await enter(tenancy.id, "reader")
    school = await metering.building(surface_m2=500)
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2022, 12, 31), 800, lambda day: 10_000 if day.year < 2024 else 8_000))

    page = (await reader.get(f"/batiments/{school}?du=2024-01&au=2024-02")).text
    listed = (await reader.get("/batiments?au=2024-02")).text
    file = await reader.get(f"/batiments/{school}/export?du=2024-02&au=2024-02")
    all_of_them = await reader.get("/batiments/export?au=2024-02")
    odd = await reader.get(f"/batiments/{school}?du=2024-13&au=<x>&methode=%27&station=nulle")

    # 232 of February 2024 beside 248 and 280: 8 kWh a day, 10 the year before.
    for text in (plain(page), plain(listed)):
        assert "-6,5 % 100 × (232 − 248) ÷ 248 kWh" in text.replace("−6,5", "-6,5")
        assert "100 × (232 − 280) ÷ 280 kWh" in text
        assert "aucune référence figée ne prouve" in text
    assert "232 ÷ 500 m²" in plain(page)
    assert "occupants inconnus" in page
    assert "Degrés-jours inconnus" in page
    assert 'data-table="electricity-months"' in page
    header, row = file.text.removeprefix("\ufeff").strip().split("\r\n")
    cells = dict(zip(header.split(";")[:9], row.split(";"), strict=False))
    assert (cells["consommation"], cells["mois entier"], cells["par m²"]) == ("232", "oui", "0,464")
    assert row in all_of_them.text
    assert odd.status_code == 200


async def test_a_reference_is_frozen_by_form_proves_its_quarter_and_is_retired_and_resumed(
    enter, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    school, same = await building_of(metering, 0.25), await building_of(metering, 0.0)
    manager, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    address = f"/batiments/{school}/economies"
    form = {"use": "heat", "weather": "yes", "method": "meteo", "label": "Isolation <i>"} | PERIOD | WORKS

    async def send(where: str, **given: str):
        csrf = hidden(await manager.get(where.partition("/economies")[0] + "/economies"), "csrf")
        return await manager.post(where, data={"csrf": csrf} | form | given)

    late = await send(address, to="2025-06")
    none = await send(address, use="gas")
    made = await send(address)
    await send(f"/batiments/{same}/economies")
    found = (await reader.get(f"{address}?{YEAR}")).text
    unproved = (await reader.get(f"/batiments/{same}/economies?{YEAR}")).text
    energy = plain((await reader.get(f"/batiments/{school}?du=2025-02&au=2025-03")).text)
    file = (await reader.get(f"{address}/export?{YEAR}")).text
    baseline = await pool.fetchval("SELECT id FROM energy_baseline WHERE asset_id = $1", school)
    await send(f"{address}/{baseline}", act="retire")
    retired = (await reader.get(f"{address}?{YEAR}")).text
    await send(f"{address}/{baseline}", act="resume")
    again = (await reader.get(f"{address}?{YEAR}")).text

    assert (late.status_code, none.status_code, made.status_code) == (422, 422, 303)
    assert "la référence va jusque dans les travaux" in late.text
    assert 'value="2025-06"' in late.text
    assert "référence refusée : 0 mois entiers" in none.text
    assert "économie prouvée" in found
    assert "Isolation &lt;i&gt;" in found
    assert "rien de prouvé" in unproved
    assert "économie prouvée" not in unproved
    assert "aucune référence figée" not in energy
    assert file.count("\r\n") == 13
    assert ("retirée" in retired, "économie prouvée" in retired) == (True, False)
    assert ("retirée" in again, "économie prouvée" in again) == (False, True)
    assert (await reader.post(address, data=form)).status_code == 403


async def test_rooms_leaks_and_doors_are_shown_with_what_is_unknown(
    client, enter, metering: Metering, tenancy
) -> None:
    await calendar(client, "classes")
    reader = await enter(tenancy.id, "reader")
    school = await metering.building(calendar="classes")
    room = await metering.below(school, "room", name="Classe <CE2>")
    await metering.below(school, "room", name="Salle muette")
    co2 = await metering.index(school, "co2", meter=room)
    hours = [local(2026, 6, day, hour) for day in (1, 2) for hour in (8, 9, 10)]
    means = (700, 1200, 1800, 900, 390, 1000)
    await metering.write(co2, {at + HOUR / 2: mean for at, mean in zip(hours, means, strict=True)})
    door = await metering.index(school, "open", meter=await metering.below(school, "door", name="Portail"))
    at = local(2026, 6, 1)
    await metering.write(door, {at: 0, at + 3 * HOUR: 1, at + 4 * HOUR: 0, at + 9 * HOUR: 1})
    water = await metering.index(school, "water_volume", kind="water_meter")
    # Ten litres an hour on the nights of the 2nd and the 3rd, nothing before.
    first = local(2026, 6, 1)
    flows = [10.0 if 24 <= n < 72 else 0.0 for n in range(24 * 5)]
    await metering.write(water, {first + HOUR * n: 1000 + sum(flows[:n]) for n in range(len(flows) + 1)})
    months = "du=2026-06&au=2026-06"

    air = plain((await reader.get(f"/batiments/{school}/air?{months}")).text)
    leaks = plain((await reader.get(f"/batiments/{school}/fuites?{months}&prix=4,5")).text)
    free = plain((await reader.get(f"/batiments/{school}/fuites?{months}&prix=-1&limite=abc")).text)
    doors = plain((await reader.get(f"/batiments/{school}/ouvertures?au=2026-06")).text)
    files = [
        (await reader.get(f"/batiments/{school}/{tab}/export?{months}")).text
        for tab in ("air", "fuites", "ouvertures")
    ]

    # 2.5 log2(1 + 1/3 + 1/2) = 2.186, of six known hours; as in the test of the API.
    assert "Classe &lt;CE2&gt;" in air
    assert "2,2 Moyennes horaires" in air
    assert "1 heure sous 400 ppm" in air
    assert "pas encore assez pour l’évaluation" in air
    assert "1 juin 2026" in air
    assert air.count("inconnu") > 5
    assert "480 L" in leaks  # Two nights of ten litres an hour, of days of 24 hours.
    assert "480 ÷ 1000 × 4,5 €" in leaks
    assert "aucun prix n’est dit" in free
    assert "Portail" in doors
    assert "3 h : 1 · 9 h : 1" in doors.replace("\xa0", " ")
    assert "semaine du 2026-06-01" in files[0]
    assert "2026-06-02;2026-06-03;2;480;" in files[1]
    assert files[2].split("\r\n")[1].startswith("Portail;2026-06;2;")
