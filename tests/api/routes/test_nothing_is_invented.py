"""What nobody has measured is missing, never zero: suspect weeks, meters that were replaced, raw that is gone.

Expected values are worked out by hand from the readings of each test.
"""

import random
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.messages.measurements import Flag
from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from tests.api.metering import DAY, HOUR, Metering, daily, local

WEEKLY = [[["08:00", "11:00"]]] * 5 + [[], []]
MARCH, APRIL, MAY = (date(2026, month, 1) for month in (3, 4, 5))


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


async def ask(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/indicators/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def months_of(client: httpx.AsyncClient, since: str, until: str) -> dict[str, dict[str, Any]]:
    [use] = (await ask(client, "buildings/energy", **{"from": since, "to": until}))["items"]
    return {one["month"]: one for one in use["months"]}


async def doubt(pool: Pool, index: int, instants: Collection[datetime]) -> None:
    """These readings are suspect, as ingest would have marked them."""
    await pool.execute(
        "UPDATE observation.measurement SET flags = $3 WHERE datastream_id = $1 AND time = ANY($2)",
        index, list(instants), Flag.SUSPECT,
    )  # fmt: skip
    await roll_up_anew(pool, index, instants)


async def roll_up_anew(pool: Pool, index: int, instants: Collection[datetime]) -> None:
    touched = {one for at in instants for one in (at, at - timedelta(microseconds=1))}
    hours = {one.replace(minute=0, second=0, microsecond=0) for one in touched}
    await pool.executemany("INSERT INTO observation.dirty VALUES ($1, $2)", [(hour, [index]) for hour in hours])
    await roll_up(pool, force=True)


async def test_a_room_whose_sensor_is_suspect_for_a_week_has_a_week_less_that_is_known(
    client, metering: Metering
) -> None:
    await client.put("/v1/alert-calendars", json={"name": "classes", "weekly": WEEKLY, "closed_on_holidays": True})
    school = await metering.building(calendar="classes")
    room = await metering.below(school, "room")
    co2 = await metering.index(school, "co2", meter=room)
    # 22 days from Monday to Friday of three hours are 66; without five of them 51, as confined as before.
    days = [day for number in range(30) if (day := date(2026, 6, 1) + DAY * number).weekday() < 5]
    readings = {local(2026, 6, day.day, hour) + HOUR / 2: 1_200.0 for day in days for hour in (8, 9, 10)}
    await metering.write(co2, readings)

    month = {"from": "2026-06", "to": "2026-06"}
    [before] = (await ask(client, "buildings/air", **month))["items"]
    await doubt(metering.pool, co2, [at for at in readings if 8 <= at.day <= 14])
    [after] = (await ask(client, "buildings/air", **month))["items"]

    shown = [
        (one["hours"], one["known_hours"], one["icone"], one["mean"], one["highest"])
        for one in (before["rooms"][0]["co2"], after["rooms"][0]["co2"])
    ]
    assert shown == [(66, 66, 2.5, 1_200, 1_200), (66, 51, 2.5, 1_200, 1_200)]


async def test_a_meter_that_is_suspect_for_a_week_lacks_its_days_and_is_compared_with_nothing(
    client, metering: Metering
) -> None:
    school = await metering.building()
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    await metering.write(index, daily(date(2026, 3, 31), 62, lambda _: 1_000))
    # Midnights from the 10th to the 16th: the days 9 to 15; a reading stands for two days more, so 11 to 15 lack.
    await doubt(metering.pool, index, [local(2026, 5, day) for day in range(10, 17)])

    month = (await months_of(client, "2026-05", "2026-05"))["2026-05"]

    assert month["completeness"] == pytest.approx(26 / 31)
    assert (month["amount"], month["is_whole"]) == (pytest.approx(31), False)
    assert (month["previous_month"]["is_whole"], month["previous_month"]["change_percent"]) == (True, None)


async def test_a_meter_replaced_by_a_used_one_without_a_word_takes_nothing_off_and_adds_no_index(
    client, metering: Metering
) -> None:
    school = await metering.building()
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    # A kWh a day; on the 15th the index falls from 514 to 400.
    before = daily(date(2026, 3, 31), 44, lambda _: 1_000, start=470_000)
    after = daily(date(2026, 5, 15), 20, lambda _: 1_000, start=400_000)
    await metering.write(index, before | after)

    months = await months_of(client, "2026-04", "2026-05")

    assert (months["2026-04"]["amount"], months["2026-04"]["is_whole"]) == (pytest.approx(30), True)
    # 13 days before and 17 after; what ran between the two readings nobody knows.
    assert months["2026-05"]["amount"] == pytest.approx(30)


@pytest.mark.parametrize("seed", range(3))
async def test_without_random_readings_known_time_shrinks_and_months_differ_by_what_ran_over_their_edges(
    client, metering: Metering, seed: int
) -> None:
    chance = random.Random(seed)
    school = await metering.building()
    index = await metering.index(school, "active_energy_import", interval_s=86_400)
    readings = daily(date(2026, 2, 28), 93, lambda _: float(chance.randrange(5_000, 15_000)))
    await metering.write(index, readings)
    whole = await months_of(client, "2026-03", "2026-05")
    left, known = dict(readings), {name: month["completeness"] for name, month in whole.items()}
    assert all(month["is_whole"] for month in whole.values())

    for share in (0.05, 0.1, 0.3, 0.5):
        gone = chance.sample(sorted(left)[1:-1], int(share * len(left)))
        await metering.pool.execute(
            "DELETE FROM observation.measurement WHERE datastream_id = $1 AND time = ANY($2)", index, gone
        )
        await roll_up_anew(metering.pool, index, gone)
        left = {at: value for at, value in left.items() if at not in gone}
        for name, month in (await months_of(client, "2026-03", "2026-05")).items():
            assert month["completeness"] <= known[name]
            known[name] = month["completeness"]
            if month["amount"] is not None:
                straddling = edges_of(name, left)
                assert abs(month["amount"] - whole[name]["amount"]) <= straddling + 0.001
                assert straddling <= 0.1 * whole[name]["amount"] or not month["is_whole"]
    assert max(known.values()) < 1


def edges_of(month: str, readings: dict[datetime, float]) -> float:
    """kWh between the readings around the month's beginning, and around its end: nobody knows whose they are."""
    year, number = map(int, month.split("-"))
    apart = 0.0
    for edge in (local(year, number, 1), local(year, number + 1, 1)):
        before, after = max(at for at in readings if at <= edge), min(at for at in readings if at >= edge)
        apart += (readings[after] - readings[before]) / 1_000
    return apart


async def test_figures_of_closed_months_stay_when_their_readings_are_gone(client, metering: Metering) -> None:
    await client.put("/v1/alert-calendars", json={"name": "classes", "weekly": WEEKLY, "closed_on_holidays": True})
    school = await metering.building(calendar="classes", surface_m2=500)
    room = await metering.below(school, "room")
    co2 = await metering.index(school, "co2", meter=room)
    index = await metering.index(school, "active_energy_import")
    water = await metering.index(school, "water_volume", kind="water_meter")
    hours = [local(2026, 4, 30) + HOUR * n for n in range(24 * 33)]
    await metering.write(index, {at: 1_000.0 * n for n, at in enumerate(hours)})
    await metering.write(water, {at: 30.0 * n for n, at in enumerate(hours)})
    await metering.write(co2, {at + HOUR / 2: 1_800.0 for at in hours})
    month = {"from": "2026-05", "to": "2026-05"}

    async def figures() -> list[dict[str, Any]]:
        return [
            *[await ask(client, f"buildings/{path}", **month) for path in ("energy", "air", "leaks")],
            await ask(client, "buildings/load", month="2026-05"),
        ]

    before = await figures()
    deleted = await metering.pool.execute("DELETE FROM observation.measurement")

    assert deleted == f"DELETE {3 * len(hours)}"
    assert await figures() == before
    energy = {use["use"]: use["months"][0]["amount"] for use in before[0]["items"]}
    assert energy == {"electricity": pytest.approx(744), "water": pytest.approx(0.03 * 744)}
    assert before[1]["items"][0]["rooms"][0]["co2"]["icone"] == 5.0
    # Thirty litres an hour in each of 31 nights.
    assert before[2]["items"][0]["litres"] == pytest.approx(30 * 744)
