"""Energy and water of a building by month and hour, from readings that are counted by hand."""

import itertools
import random
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from core.runtime.postgres import Pool
from tests.api.metering import HOUR, PARIS, Metering, daily, local


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


async def ask(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/indicators/buildings/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_leap_february_stands_beside_january_and_beside_a_february_of_28_days(
    client, metering: Metering
) -> None:
    school = await metering.building(surface_m2=500, occupants=100)
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    # 10 kWh a day in 2023, 8 in 2024: February 280 and 232, January 2024 248.
    first = date(2022, 12, 31)
    await metering.write(index, daily(first, 800, lambda day: 10_000 if day.year < 2024 else 8_000))

    page = await ask(client, "energy", **{"from": "2024-02", "to": "2024-02"})

    [use] = page["items"]
    [month] = use["months"]
    assert (use["use"], use["unit"], use["asset_id"]) == ("electricity", "kWh", school)
    assert (month["amount"], month["is_whole"], month["completeness"]) == (pytest.approx(232), True, 1)
    assert month["per_m2"] == pytest.approx(232 / 500)
    assert month["per_occupant"] == pytest.approx(2.32)
    assert month["previous_month"]["month"] == "2024-01"
    assert month["previous_month"]["change_percent"] == pytest.approx(100 * (232 - 248) / 248)
    assert month["previous_year"]["amount"] == pytest.approx(280)
    assert month["previous_year"]["change_percent"] == pytest.approx(100 * (232 - 280) / 280)
    assert month["degree_days"] is None
    assert "index" in page["formula"]


async def test_march_and_october_have_the_hours_of_their_clocks_and_tariffs_add_up(
    client, metering: Metering
) -> None:
    hall = await metering.building()
    meter_of = await metering.index(hall, "active_energy_import", channel="hc")
    meter = await metering.pool.fetchval("SELECT asset_id FROM datastream WHERE id = $1", meter_of)
    full = await metering.index(hall, "active_energy_import", channel="hp", meter=meter)
    for month in (3, 10):
        at, end = local(2026, month, 1), local(2026, month + 1, 1)
        hours = int((end - at) / HOUR)
        # A kWh an hour off-peak, two at peak: 743 and 745 of each.
        await metering.write(meter_of, {at + HOUR * n: 1000.0 * (n + 10_000 * month) for n in range(hours + 1)})
        await metering.write(full, {at + HOUR * n: 2000.0 * (n + 10_000 * month) for n in range(hours + 1)})

    for month, hours in ((3, 743), (10, 745)):
        name = f"2026-{month:02d}"
        [use] = (await ask(client, "energy", **{"from": name, "to": name}))["items"]
        [load] = (await ask(client, "load", month=name))["items"]
        [found] = use["months"]
        assert (found["off_peak"], found["peak"]) == (pytest.approx(hours), pytest.approx(2 * hours))
        assert found["amount"] == pytest.approx(3 * hours)
        assert (load["hours"], load["known_hours"], load["is_whole"]) == (hours, hours, True)
        assert load["base"] == pytest.approx(3)
        # 30 nights of eight hours, one of seven or nine.
        assert load["night_share"] == pytest.approx((247 if month == 3 else 249) / hours)


async def test_a_month_without_readings_is_null_and_one_that_is_half_known_is_compared_with_nothing(
    client, metering: Metering
) -> None:
    gym = await metering.building()
    index = await metering.index(gym, "water_volume", kind="water_meter", interval_s=86_400)
    readings = daily(date(2025, 1, 1), 150, lambda _: 1000)
    # From 20 February to 25 March nobody hears the meter: both months lack what the gap took.
    gap = [at for at in readings if local(2025, 2, 20) < at < local(2025, 3, 25)]
    await metering.write(index, {at: one for at, one in readings.items() if at not in gap})

    [use] = (await ask(client, "energy", **{"from": "2024-12", "to": "2025-05", "use": "water"}))["items"]
    months = {one["month"]: one for one in use["months"]}

    assert (use["unit"], months["2024-12"]["amount"], months["2024-12"]["is_whole"]) == ("m3", None, False)
    assert months["2024-12"]["completeness"] == pytest.approx(1 / 31)  # Its first index ends New Year's Eve.
    assert (months["2025-01"]["amount"], months["2025-01"]["is_whole"]) == (pytest.approx(31), True)
    assert (months["2025-02"]["amount"], months["2025-02"]["is_whole"]) == (pytest.approx(19), False)
    assert months["2025-02"]["completeness"] == pytest.approx(21 / 28)  # 19 days, and two more.
    assert months["2025-03"]["is_whole"] is False
    assert months["2025-02"]["previous_month"]["change_percent"] is None
    assert (months["2025-04"]["amount"], months["2025-04"]["is_whole"]) == (pytest.approx(30), True)
    assert months["2025-04"]["previous_month"]["change_percent"] is None


async def test_a_sub_meter_counts_nothing_again_and_a_new_meter_goes_on(client, metering: Metering, pool) -> None:
    school = await metering.building()
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    sub = await metering.index(school, "active_energy_import", kind="sub_meter", interval_s=86_400)
    before = daily(date(2025, 5, 31), 15, lambda _: 1000, start=500_000)
    after = daily(date(2025, 6, 15), 30, lambda _: 1000, start=7)
    # The old meter shows 515 kWh at its end, the new one begins at 0.007.
    await metering.write(index, {**before, **{at: one for at, one in after.items() if at > max(before)}})
    await metering.write(sub, daily(date(2025, 5, 31), 45, lambda _: 600))
    change = {"at": (max(before) + HOUR).isoformat(), "final_index": 515_000, "initial_index": 7}
    assert (await client.post(f"/v1/datastreams/{index}/meter-changes", json=change)).status_code == 201

    [use] = (await ask(client, "energy", **{"from": "2025-06", "to": "2025-06"}))["items"]

    assert use["months"][0]["amount"] == pytest.approx(30)
    assert use["months"][0]["is_whole"] is True


async def test_another_tenant_sees_none_of_it_and_wrong_months_are_rejected_in_french(
    client, other_client, metering: Metering
) -> None:
    school = await metering.building()
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2025, 6, 1), 30, lambda _: 1000))

    theirs = await ask(other_client, "energy", asset_id=school, **{"from": "2025-06", "to": "2025-06"})
    backwards = await client.get("/v1/indicators/buildings/energy", params={"from": "2025-07", "to": "2025-06"})
    no_month = await client.get("/v1/indicators/buildings/energy", params={"from": "2025-13"})
    endless = await client.get("/v1/indicators/buildings/energy", params={"from": "1990-01", "to": "2025-06"})
    nowhere = await client.get("/v1/indicators/buildings/energy", params={"station": "inconnue"})

    assert theirs["items"] == []
    assert [one.status_code for one in (backwards, no_month, endless, nowhere)] == [422] * 4
    assert "60 mois au plus" in backwards.json()["detail"]
    assert "aucun jour de la station" in nowhere.json()["detail"]


async def test_leaks_are_litres_and_euros_and_unknown_nights_are_counted(client, metering: Metering) -> None:
    school = await metering.building()
    index = await metering.index(school, "water_volume", kind="water_meter")
    # June 2026: 20 litres an hour day and night on the 10th and 11th, else nothing at night and 5 at noon.
    readings, total, at = {}, 0.0, local(2026, 6, 1)
    while at <= local(2026, 7, 1):
        wall = (at - HOUR).astimezone(PARIS)
        total += 20 if wall.day in (10, 11) and wall.month == 6 else 5 if wall.hour == 12 else 0
        if not (wall.day == 20 and wall.hour == 3):  # One hour of one night is unknown.
            readings[at] = total
        at += HOUR
    await metering.write(index, readings)

    page = await ask(client, "leaks", **{"from": "2026-06", "to": "2026-06", "eur_per_m3": 4})
    none = await ask(client, "leaks", **{"from": "2026-06", "to": "2026-06", "limit_l_h": 25})

    [building] = page["items"]
    assert (building["nights"], building["known_nights"]) == (30, 29)
    [leak] = building["leaks"]
    assert (leak["first"], leak["last"], leak["nights"]) == ("2026-06-10", "2026-06-11", 2)
    assert leak["litres"] == pytest.approx(2 * 24 * 20)
    assert building["eur"] == pytest.approx(0.96 * 4)
    assert (none["items"][0]["leaks"], none["items"][0]["eur"]) == ([], None)


@pytest.mark.parametrize("seed", range(4))
async def test_without_random_readings_known_time_shrinks_and_no_whole_month_jumps(
    client, metering: Metering, seed: int
) -> None:
    first = date(2025, 1, 1)
    every = daily(first, 365, lambda day: 9_000.0 + 1000 * day.weekday())
    found: list[list[dict[str, Any]]] = []
    chance = random.Random(seed)
    left = dict(every)
    for _ in range(4):
        building = await metering.building()
        index = await metering.index(building, "active_energy_import", interval_s=86_400)
        await metering.write(index, left)
        span = {"from": "2025-01", "to": "2025-12", "asset_id": building}
        [use] = (await ask(client, "energy", **span))["items"]
        found.append(use["months"])
        left = {at: value for at, value in left.items() if chance.random() > 0.25}

    whole = [month["amount"] for month in found[0]]
    # A day takes 12 kWh in the mean: 372 in a January that begins on a Wednesday, and so on, to the watt-hour.
    days = [[date(2025, month, 1) + timedelta(days=n) for n in range(31)] for month in range(1, 13)]
    counted = [sum(9 + day.weekday() for day in of if day.month == month) for month, of in enumerate(days, 1)]
    assert whole == [pytest.approx(one) for one in counted]
    for more, fewer in itertools.pairwise(found):
        assert all(b["completeness"] <= a["completeness"] for a, b in zip(more, fewer, strict=True))
    for months in found[1:]:
        for month, taken in zip(months, whole, strict=True):
            if month["is_whole"]:
                # Of each edge whose reading is gone a day may be its neighbour's, of 15 kWh at the most.
                assert abs(month["amount"] - taken) <= 2 * 15
            else:
                assert month["previous_month"]["change_percent"] is None
            assert month["amount"] is None or month["amount"] <= taken * 1.2
    assert any(not month["is_whole"] for month in found[-1])
