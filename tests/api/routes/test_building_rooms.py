"""The air of rooms in occupied hours, and openings of doors, counted by hand."""

from datetime import timedelta

import pytest

from core.runtime.postgres import Pool
from tests.api.metering import HOUR, PARIS, Metering, local

# Monday to Friday, eight to eleven.
WEEKLY = [[["08:00", "11:00"]]] * 5 + [[], []]


@pytest.fixture
def metering(pool: Pool, registry, tenancy) -> Metering:
    return Metering(pool, registry, tenancy.id)


async def calendar(client, name: str) -> None:
    body = {"name": name, "weekly": WEEKLY, "closed_on_holidays": True}
    answer = await client.put("/v1/alert-calendars", json=body)
    assert answer.is_success, answer.text


async def test_a_room_is_judged_in_the_hours_in_which_people_are_there(
    client, metering: Metering, registry
) -> None:
    await calendar(client, "classes")
    school = await metering.building(calendar="classes")
    room = await metering.below(school, "room")
    silent = await metering.below(school, "room")
    co2 = await metering.index(school, "co2", meter=room)
    heat = await metering.index(school, "temperature", meter=room)
    humid = await metering.index(school, "relative_humidity", meter=room)
    # Two school days of June 2026 (Monday 1st, Tuesday 2nd): 8, 9, 10 o'clock each, and a night that is in no
    # share.
    hours = [local(2026, 6, day, hour) for day in (1, 2) for hour in (8, 9, 10)]
    means = dict(zip(hours, (700, 1200, 1800, 900, 390, 1000), strict=True))
    await metering.write(co2, {at + HOUR / 2: mean for at, mean in means.items()} | {local(2026, 6, 2, 23): 4000})
    await metering.write(heat, {at + HOUR / 2: 18.0 + 2 * n for n, at in enumerate(hours)})
    await metering.write(humid, {local(2026, 6, 2, hour): 65.0 + hour for hour in range(10)})

    answer = await client.get("/v1/indicators/buildings/air", params={"from": "2026-06", "to": "2026-06"})
    [found] = answer.json()["items"]

    air, nothing = found["rooms"]
    # June 2026 has 22 days from Monday to Friday, none of them a holiday: 66 hours.
    assert (air["asset_id"], air["calendar"], air["co2"]["hours"], air["co2"]["known_hours"]) == (
        room,
        "classes",
        66,
        6,
    )
    assert (air["co2"]["highest"], air["co2"]["below_400"]) == (1800, 1)
    assert air["co2"]["above_800"] == pytest.approx(4 / 6)
    assert air["co2"]["above_1500"] == pytest.approx(1 / 6)
    # f1 = 2/6, f2 = 1/6: 2.5 log2(1 + 1/3 + 1/2) = 2.5 x 0.874469 = 2.186173.
    assert air["co2"]["icone"] == pytest.approx(2.186173, abs=1e-6)
    # June 2026 begins on a Monday: four weeks and two days, measured on two days of the first.
    assert [week["monday"] for week in air["weeks"]] == [f"2026-06-{day:02d}" for day in (1, 8, 15, 22, 29)]
    assert [week["hours"] for week in air["weeks"]] == [15, 15, 15, 15, 6]
    assert [week["known_hours"] for week in air["weeks"]] == [6, 0, 0, 0, 0]
    assert (air["weeks"][0]["icone"], air["weeks"][1]["icone"]) == (air["co2"]["icone"], None)
    assert (air["comfort"]["below"], air["comfort"]["within"], air["comfort"]["above"]) == (1, 4, 1)
    assert (air["humidity"]["humid"], air["humidity"]["longest"], air["humidity"]["hours"]) == (5, 5, 720)
    assert (nothing["asset_id"], nothing["co2"]["known_hours"], nothing["co2"]["icone"]) == (silent, 0, None)
    # Two rooms, both to be measured; six hours of 66 are no measurement.
    evaluation = found["evaluation"]
    assert (evaluation["rooms"], evaluation["to_measure"], evaluation["measured"]) == (2, 2, 0)
    assert evaluation["is_enough"] is False


async def test_without_a_calendar_nothing_is_occupied_and_bounds_are_checked(client, metering: Metering) -> None:
    await calendar(client, "classes")  # Beside the one that every tenant begins with: none is the only one.
    school = await metering.building()
    room = await metering.below(school, "room")
    co2 = await metering.index(school, "co2", meter=room)
    await metering.write(co2, {local(2026, 6, 1, 9): 900})
    query = {"from": "2026-06", "to": "2026-06"}

    [found] = (await client.get("/v1/indicators/buildings/air", params=query)).json()["items"]
    upside_down = await client.get("/v1/indicators/buildings/air", params={"lowest_c": 27})
    too_long = await client.get("/v1/indicators/buildings/air", params={"from": "2025-01", "to": "2026-06"})

    assert (found["rooms"][0]["calendar"], found["rooms"][0]["co2"]["hours"]) == (None, 0)
    assert (upside_down.status_code, too_long.status_code) == (422, 422)
    assert "12 mois au plus" in too_long.json()["detail"]


async def test_doors_are_counted_by_hour_and_outside_opening_hours(
    client, other_client, metering: Metering
) -> None:
    await calendar(client, "classes")
    school = await metering.building(calendar="classes")
    door = await metering.index(school, "open", meter=await metering.below(school, "door"))
    at = local(2026, 6, 1)  # A Monday.
    states = {
        at - timedelta(minutes=5): 0, at + 3 * HOUR: 1, at + 3.1 * HOUR: 0, at + 9 * HOUR: 1, at + 9.2 * HOUR: 1,
        at + 9.3 * HOUR: 0, at + 9.5 * HOUR: 1, at + 40 * HOUR: 0,
    }  # fmt: skip
    await metering.write(door, states)

    page = (await client.get("/v1/indicators/buildings/openings", params={"month": "2026-06"})).json()
    theirs = (await other_client.get("/v1/indicators/buildings/openings", params={"month": "2026-06"})).json()

    [found] = page["items"]
    assert (found["datastream_id"], found["building_id"], found["count"], found["outside"]) == (door, school, 3, 1)
    assert {hour: n for hour, n in enumerate(found["by_hour"]) if n} == {3: 1, 9: 2}
    assert "personne n'y est nommé" in page["formula"]
    assert theirs["items"] == []
    assert at.astimezone(PARIS).hour == 0
