"""Baselines that are frozen, what they reject, and what was saved against them."""

import math
import random
from datetime import date, timedelta
from typing import Any

import pytest

from core.runtime.postgres import Pool
from registry.weather_days import enter_day
from tests.api.metering import DAY, Metering, daily, local

STATION = "29075001"
PERIOD = {"from": "2024-01", "to": "2024-12"}
WORKS = {"works_from": "2025-03-01", "works_to": "2025-09-30"}


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


def mean_of(day: date, seed: int = 5) -> float:
    """A temperature that no two years have alike."""
    chance = random.Random(f"{seed} {day}")
    warmer = {2024: 0.8, 2025: -0.5, 2026: 1.1}.get(day.year, 0.0)
    return 11.5 + warmer - 7 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365.25) + chance.gauss(0, 2)


async def write_weather(pool: Pool, tenant_id: int, *missing: date, station: str = STATION) -> None:
    day = date(2024, 1, 1)
    async with pool.acquire() as connection, connection.transaction():
        while day < date(2026, 11, 1):
            if day not in missing:
                mean = mean_of(day)
                await enter_day(connection, tenant_id, station, day, mean - 3, mean + 3, "essai")
            day += DAY


def heated(day: date, saved: float) -> float:
    """kWh of a day as Wh: 40 and 9 a degree below 18, a few per cent more or less; less after the works."""
    taken = 40 + 9 * max(0.0, 18 - mean_of(day))
    taken *= 1 + random.Random(f"bruit {day}").gauss(0, 0.04)
    return 1000 * taken * ((1 - saved) if day >= date(2025, 10, 1) else 1)


async def building_of(metering: Metering, saved: float) -> int:
    school = await metering.building(surface_m2=1200)
    index = await metering.index(school, "thermal_energy", kind="heat_meter", interval_s=86_400)
    await metering.write(index, daily(date(2023, 12, 31), 1040, lambda day: heated(day, saved)))
    return school


async def test_a_quarter_that_was_saved_is_found_and_where_nothing_was_saved_nothing_is(
    client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    saving, same = await building_of(metering, 0.25), await building_of(metering, 0.0)
    made = []
    for building in (saving, same):
        body = {"asset_id": building, "use": "heat"} | PERIOD | WORKS
        answer = await client.post("/v1/energy-baselines", json=body)
        assert answer.status_code == 201, answer.text
        made.append(answer.json())

    span = {"from": "2025-10", "to": "2026-09"}
    page = (await client.get("/v1/indicators/buildings/savings", params=span)).json()
    found, none = page["items"]

    assert (made[0]["n"], made[0]["station"], made[0]["method"], made[0]["unit"]) == (12, STATION, "meteo", "kWh")
    assert made[0]["r2"] > 0.95
    assert (made[0]["intercept"], made[0]["slope"]) == (pytest.approx(40, abs=8), pytest.approx(9, abs=0.6))
    assert [month["days"] for month in made[0]["months"]][:2] == [31, 29]
    assert (found["n"], found["reason"], found["is_found"]) == (12, None, True)
    assert abs(found["percent"] - 25) <= 2
    assert found["percent_low"] < 25 < found["percent_high"]
    assert abs(none["percent"]) <= 2
    assert none["is_found"] is False
    assert none["percent_low"] < 0 < none["percent_high"]
    assert "IPMVP option C" in page["formula"]


async def test_a_baseline_stays_what_it_was_when_its_readings_and_its_weather_go(
    client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    school = await building_of(metering, 0.25)
    body = {"asset_id": school, "use": "heat", "method": "energy_professionals"} | PERIOD | WORKS
    made = (await client.post("/v1/energy-baselines", json=body)).json()

    await pool.execute("DELETE FROM observation.measurement WHERE time < '2025-01-01'")
    await pool.execute("DELETE FROM weather_day WHERE day < '2025-01-01'")
    read = (await client.get(f"/v1/energy-baselines/{made['id']}")).json()
    retired = await client.put(f"/v1/energy-baselines/{made['id']}/retired", json={"retired": True})
    left = (await client.get("/v1/energy-baselines")).json()["items"]
    every = (await client.get("/v1/energy-baselines", params={"retired": True})).json()["items"]
    again = await client.put(f"/v1/energy-baselines/{made['id']}/retired", json={"retired": False})

    assert read == made
    assert retired.json()["retired_at"] is not None
    assert (left, [one["id"] for one in every]) == ([], [made["id"]])
    assert again.json() == made


async def test_what_is_no_baseline_is_rejected_in_french(
    client, other_client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id, date(2024, 5, 20))
    school = await building_of(metering, 0.0)
    room = await metering.below(school, "room")
    body = {"asset_id": school, "use": "heat"} | PERIOD | WORKS

    async def rejected(**change: Any) -> str:
        answer = await client.post("/v1/energy-baselines", json=body | change)
        assert answer.status_code == 422, answer.text
        return answer.json()["detail"]

    assert "la référence va jusque dans les travaux" in await rejected(to="2025-03")
    assert "la référence va jusque dans les travaux" in await rejected(works_from="2024-12-31")
    assert "les travaux finissent avant de commencer" in await rejected(works_to="2025-02-01")
    # A day of May is missing: its month is, too.
    assert "11 mois entiers et à météo connue : il en faut 12" in await rejected()
    assert "0 mois entiers" in await rejected(use="gas")
    assert "n'est pas un bâtiment" in await rejected(asset_id=room)
    assert "aucun jour de la station" in await rejected(station="inconnue")
    assert (await client.post("/v1/energy-baselines", json=body | {"asset_id": 2**30})).status_code == 404
    assert (await other_client.post("/v1/energy-baselines", json=body)).status_code == 404
    assert (await client.get("/v1/energy-baselines")).json()["items"] == []


async def test_a_use_that_the_weather_does_not_explain_is_rejected_and_compared_by_its_mean(
    client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    school = await metering.building()
    index = await metering.index(school, "water_volume", kind="water_meter", interval_s=86_400)
    # 2 m3 a day but on 12 days of each month; 1.5 from October 2025 on.
    taken = {day: 2000 + 400 * (day.month % 2) for day in (date(2023, 12, 31) + DAY * n for n in range(1040))}
    await metering.write(
        index,
        daily(date(2023, 12, 31), 1039, lambda day: taken[day] * (0.75 if day >= date(2025, 10, 1) else 1)),
    )
    body = {"asset_id": school, "use": "water"} | PERIOD | WORKS

    by_weather = await client.post("/v1/energy-baselines", json=body)
    by_mean = await client.post("/v1/energy-baselines", json=body | {"depends_on_weather": False})
    span = {"from": "2025-10", "to": "2026-09"}
    [found] = (await client.get("/v1/indicators/buildings/savings", params=span)).json()["items"]

    assert by_weather.status_code == 422
    assert "sous 0,7, la météo n'explique pas" in by_weather.json()["detail"]
    assert (by_mean.status_code, by_mean.json()["r2"], by_mean.json()["method"]) == (201, None, None)
    assert found["percent"] == pytest.approx(25, abs=1)
    assert found["unit"] == "m3"


async def test_before_the_works_are_over_there_is_no_figure_but_a_reason(
    client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    school = await building_of(metering, 0.25)
    await client.post("/v1/energy-baselines", json={"asset_id": school, "use": "heat"} | PERIOD | WORKS)

    early = await client.get("/v1/indicators/buildings/savings", params={"from": "2025-01", "to": "2025-09"})

    [found] = early.json()["items"]
    assert (found["percent"], found["n"], found["months"]) == (None, 0, [])
    assert found["reason"] == "aucun mois entier à comparer"


async def test_degree_days_are_named_by_their_method_and_a_missing_day_is_counted(
    client, other_client, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id, date(2024, 2, 29))
    query = {"from": "2024-02", "to": "2024-03"}

    february, march = (await client.get("/v1/indicators/degree-days", params=query)).json()["items"]
    [station] = (await client.get("/v1/weather-stations")).json()["items"]
    days = (await client.get("/v1/weather-days", params=query)).json()["items"]
    theirs = (await other_client.get("/v1/indicators/degree-days", params=query)).json()["items"]
    await enter_day(pool, tenancy.id, "autre", date(2024, 2, 1), 0, 8, "")  # type: ignore[arg-type]
    of_two = (await client.get("/v1/indicators/degree-days", params=query)).json()["items"]

    by_mean = sum(max(0.0, 18 - mean_of(date(2024, 3, 1) + timedelta(days=n))) for n in range(31))
    assert [one["method"] for one in march["methods"]] == ["meteo", "energy_professionals"]
    assert march["methods"][0]["total"] == pytest.approx(by_mean)
    assert (february["methods"][0]["total"], february["methods"][0]["missing"]) == (None, 1)
    assert february["methods"][0]["days"] == 29
    assert (station["station"], station["missing"], station["first"]) == (STATION, 1, "2024-01-01")
    assert len(days) == 28 + 31
    assert (theirs, of_two) == ([], [])
    assert local(2024, 3, 1) < local(2024, 4, 1)


async def test_the_year_before_is_brought_to_this_years_weather_where_a_baseline_proves_it(
    client, metering: Metering, pool, tenancy
) -> None:
    await write_weather(pool, tenancy.id)
    school = await building_of(metering, 0.0)
    water = await metering.index(school, "water_volume", kind="water_meter", interval_s=86_400)
    await metering.write(water, daily(date(2023, 12, 31), 1040, lambda _: 2000))
    span = {"from": "2025-02", "to": "2025-04", "asset_id": school}

    async def months_of(use: str) -> list[dict[str, Any]]:
        [found] = (await client.get("/v1/indicators/buildings/energy", params=span | {"use": use})).json()["items"]
        return found["months"]

    before = await months_of("heat")
    made = (
        await client.post("/v1/energy-baselines", json={"asset_id": school, "use": "heat"} | PERIOD | WORKS)
    ).json()
    by_mean = {"asset_id": school, "use": "water", "depends_on_weather": False} | PERIOD | WORKS
    assert (await client.post("/v1/energy-baselines", json=by_mean)).status_code == 201
    [february, march, _] = await months_of("heat")
    [wet, *_] = await months_of("water")
    await pool.execute("DELETE FROM weather_day WHERE day = '2024-03-07'")
    [_, unknown, april] = await months_of("heat")

    def degree_days(year: int, month: int, days: int) -> float:
        return sum(max(0.0, 18 - mean_of(date(year, month, 1 + n))) for n in range(days))

    # February 2024 has a day more than that of 2025.
    expected = (
        february["previous_year"]["amount"]
        + made["intercept"] * (28 - 29)
        + made["slope"] * (degree_days(2025, 2, 28) - degree_days(2024, 2, 29))
    )
    corrected = february["corrected"]
    assert corrected["amount"] == pytest.approx(expected, rel=1e-9)
    assert corrected["change_percent"] == pytest.approx(100 * (february["amount"] - expected) / expected)
    assert (corrected["baseline_id"], corrected["station"], corrected["method"]) == (made["id"], STATION, "meteo")
    # The winter is a colder one, and nothing was saved: most of the difference is the weather's.
    assert abs(corrected["change_percent"]) < abs(february["previous_year"]["change_percent"])
    assert march["corrected"]["reason"] is None
    assert [one["corrected"]["reason"] for one in before] == ["no_baseline"] * 3
    assert (wet["corrected"]["reason"], wet["corrected"]["amount"]) == ("no_weather_use", None)
    assert unknown["corrected"] == corrected | {
        "amount": None,
        "change_percent": None,
        "reason": "weather_missing",
    }
    assert april["corrected"]["reason"] is None
