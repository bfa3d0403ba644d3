"""Forms of buildings, filled in as far as is known: what is not is empty, and says why."""

from datetime import date

import pytest

from core.runtime.postgres import Pool
from registry.weather_days import enter_day
from tests.api.metering import DAY, HOUR, Metering, daily, local
from tests.api.routes.test_building_rooms import calendar

YEAR = {"year": 2024}


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


def cells(line) -> dict[str, tuple[object, str]]:
    return {one["column"]: (one["value"], one["unknown"]) for one in line["cells"]}


async def test_a_leap_year_of_a_building_is_its_total_and_what_is_missing_is_named(
    client, other_client, metering: Metering, pool, tenancy
) -> None:
    hall = await metering.building(surface_m2=1200)
    bare = await metering.building()
    index = await metering.index(hall, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2023, 12, 31), 400, lambda _: 10_000))
    gas = await metering.index(hall, "gas_volume", kind="gas_meter", interval_s=86_400)
    await metering.write(gas, daily(date(2024, 3, 1), 400, lambda _: 2.0))
    async with pool.acquire() as connection, connection.transaction():
        for number in range(366):
            await enter_day(connection, tenancy.id, "29075001", date(2024, 1, 1) + DAY * number, 5, 11, "essai")

    answer = await client.get("/v1/indicators/buildings/operat", params=YEAR)
    file = await client.get("/v1/indicators/buildings/operat.csv", params=YEAR)
    theirs = await other_client.get("/v1/indicators/buildings/operat", params=YEAR)
    wrong = await client.get("/v1/indicators/buildings/operat", params={"year": 1800})

    assert answer.status_code == 200, answer.text
    form, (full, empty) = answer.json()["form"], answer.json()["items"]
    assert (form["status"], form["as_of"]) == ("à vérifier", "2026-11-28")
    assert (full["asset_id"], empty["asset_id"]) == (hall, bare)
    # 366 days of 10 kWh, and of 18 - (5 + 11) / 2 = 10 degree days.
    assert cells(full)["Électricité (kWh)"] == (pytest.approx(3660), "")
    assert cells(full)["Degrés-jours de chauffage, base 18 °C"] == (pytest.approx(3660), "")
    assert cells(full)["Station météo"] == ("29075001", "")
    assert cells(full)["Gaz (m³)"] == (None, "10 mois entiers sur 12")
    assert cells(empty)["Surface (m²)"] == (None, "l'attribut surface_m2 n'est pas rempli")
    assert cells(empty)["Électricité (kWh)"] == (None, "aucun compteur ne le mesure")
    header, first, second = file.text.removeprefix("\ufeff").strip().split("\r\n")
    assert header.endswith("Station météo;Ce qui manque;Statut")
    assert ";2024;1200;3660;;;3660;meteo;29075001;" in first
    assert "Gaz (m³) : 10 mois entiers sur 12" in first
    assert first.endswith(";à vérifier, colonnes du 2026-11-28")
    assert "aucun compteur ne le mesure" in second
    assert "a-verifier.csv" in file.headers["content-disposition"]
    assert theirs.json()["items"] == []
    assert wrong.status_code == 422


async def test_each_room_of_a_school_has_its_line(client, metering: Metering) -> None:
    await calendar(client, "classes")
    school = await metering.building(calendar="classes")
    await metering.building()
    room = await metering.below(school, "room", name="=CE2")
    await metering.below(school, "room", name="Muette")
    co2 = await metering.index(school, "co2", meter=room)
    hours = [local(2024, 6, 3, hour) for hour in (8, 9, 10)]  # A Monday.
    await metering.write(co2, {at + HOUR / 2: 700.0 + 800 * n for n, at in enumerate(hours)})

    answer = await client.get("/v1/indicators/buildings/schools-form", params=YEAR)
    file = await client.get("/v1/indicators/buildings/schools-form.csv", params=YEAR | {"asset_id": school})

    known, silent = (cells(line) for line in answer.json()["items"])
    assert (known["Salle"][0], known["Heures mesurées"][0]) == ("=CE2", 3)
    # 700, 1,500 and 2,300 ppm.
    assert known["CO2 moyen (ppm)"] == (pytest.approx(1500), "")
    assert known["Part à 1 500 ppm ou plus (%)"] == (pytest.approx(200 / 3), "")
    assert silent["ICONE"] == (None, "aucune heure occupée n'est connue")
    assert (silent["Salles à mesurer"][0], silent["Salles mesurées"][0]) == (2, 0)
    lines = file.text.strip().split("\r\n")
    assert len(lines) == 3
    assert ";'=CE2;" in lines[1]


async def test_pages_of_buildings_follow_each_other(client, metering: Metering) -> None:
    made = [await metering.building() for _ in range(3)]

    first = (await client.get("/v1/indicators/buildings/operat", params=YEAR | {"limit": 2})).json()
    second = (
        await client.get("/v1/indicators/buildings/operat", params=YEAR | {"limit": 2, "cursor": first["next"]})
    ).json()

    assert [line["asset_id"] for line in first["items"] + second["items"]] == made
    assert second["next"] is None
