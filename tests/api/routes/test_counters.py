"""Consumption as a user asks for it: across resets, rollovers, new meters and gaps, by the local calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.runtime.postgres import Pool
from ingest.rollups import roll_up

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)


def local(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=PARIS).astimezone(UTC)


@pytest.fixture
async def metered(registry, observations) -> tuple[dict, dict, int]:
    """A water meter, the device that reads it every hour, and its index."""
    asset = await registry.asset(kind="water_meter")
    profile = await registry.profile(moduli={"water_volume": 100_000})
    device = await registry.device(profile, asset_id=asset["id"])
    return asset, device, await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "L")


async def write(
    pool: Pool, datastream: int, readings: dict[datetime, float], *, is_rolled_up: bool = True
) -> None:
    """As ingest does, with the hours that are to be rolled up."""
    await pool.executemany(
        "INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)",
        [(datastream, at, value) for at, value in readings.items()],
    )
    hours = {at.replace(minute=0, second=0, microsecond=0) for at in readings}
    hours |= {hour - HOUR for hour in hours}
    await pool.executemany(
        "INSERT INTO observation.dirty VALUES ($1, $2)", [(hour, [datastream]) for hour in hours]
    )
    if is_rolled_up:
        await roll_up(pool)


async def consumed(client, datastream: int, since: datetime, until: datetime, bucket: str) -> dict:
    query = {"from": since.isoformat(), "to": until.isoformat(), "bucket": bucket}
    answer = await client.get(f"/v1/datastreams/{datastream}/aggregates", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("is_rolled_up", [True, False])
async def test_a_reset_and_a_rollover_make_no_day_null(client, metered, pool: Pool, is_rolled_up: bool) -> None:
    """By hand: 90 to the end of five digits and 10 beyond it; then 7 until a reset and 4 after it."""
    *_, datastream = metered
    first, second = local(2026, 6, 1), local(2026, 6, 2)
    readings = {first + HOUR: 99_900, first + 2 * HOUR: 99_990, first + 3 * HOUR: 10, first + 24 * HOUR: 50_000}
    readings |= {second + HOUR: 50_007, second + 1.5 * HOUR: 1, second + 1.75 * HOUR: 4}
    readings[first + 24 * HOUR] = 30
    readings |= {second + HOUR: 37}
    await write(pool, datastream, readings, is_rolled_up=is_rolled_up)

    days = await consumed(client, datastream, first, second + 24 * HOUR, "day")

    assert [item["difference"] for item in days["items"]] == [90 + 20 + 20, 7 + 1 + 3]


async def test_a_gaps_consumption_is_one_amount_over_its_span(client, metered, pool: Pool) -> None:
    *_, datastream = metered
    monday = local(2026, 6, 1)
    readings = {monday + n * HOUR: 100.0 + n for n in range(1, 11)}
    readings |= {monday + 4 * 24 * HOUR + n * HOUR: 500.0 + n for n in range(8, 24)}
    await write(pool, datastream, readings)

    days = await consumed(client, datastream, monday, monday + 7 * 24 * HOUR, "day")
    week = await consumed(client, datastream, monday, monday + 24 * HOUR, "week")

    assert [item["difference"] for item in days["items"]] == [9, 15]
    assert days["gaps"] == [
        {"from": "2026-06-01T08:00:00Z", "to": "2026-06-05T06:00:00Z", "difference": 508 - 110}
    ]
    # Of the week there is no doubt.
    assert ([item["difference"] for item in week["items"]], week["gaps"]) == ([523 - 101], [])


async def test_weeks_months_and_years_are_those_of_the_local_calendar(client, metered, pool: Pool) -> None:
    """A litre an hour, so consumption is the calendar's hours: 167 and 169 in the weeks of the clock."""
    *_, datastream = metered
    begin, end = local(2025, 12, 31, 12), local(2026, 11, 2)
    hours = int((end - begin) / HOUR)
    await write(pool, datastream, {begin + n * HOUR: 1000.0 + n for n in range(hours + 1)})

    async def differences(since: datetime, until: datetime, bucket: str) -> list[float]:
        found = await consumed(client, datastream, since, until, bucket)
        assert (found["bucket"], found["gaps"]) == (bucket, [])
        return [item["difference"] for item in found["items"]]

    assert await differences(local(2026, 3, 23), local(2026, 4, 6), "week") == [167, 168]
    assert await differences(local(2026, 10, 20), local(2026, 10, 27), "week") == [169, 168]
    months = [744, 672, 743, 720, 744, 720, 744, 744, 720, 745]
    assert await differences(local(2026, 1, 1), local(2026, 11, 1), "month") == months
    assert await differences(local(2026, 1, 1), local(2026, 2, 1), "year") == [sum(months) + 24]
    week = await consumed(client, datastream, local(2026, 3, 25), local(2026, 3, 26), "week")
    assert (week["items"][0]["from"], week["items"][0]["to"]) == ("2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z")


async def test_a_meter_change_by_hand_is_crossed_and_can_be_completed_and_removed(
    client, metered, pool: Pool
) -> None:
    *_, datastream = metered
    begin = local(2026, 6, 1)
    await write(pool, datastream, {begin + HOUR: 8000, begin + 2 * HOUR: 8010, begin + 3 * HOUR: 5005})
    path = f"/v1/datastreams/{datastream}/meter-changes"

    async def day() -> float:
        return (await consumed(client, datastream, begin, begin + HOUR, "day"))["items"][0]["difference"]

    at = (begin + 2.5 * HOUR).isoformat()
    unknown = await day()
    created = await client.post(path, json={"at": at, "final_index": 8012, "note": "gel"})
    twice = await client.post(path, json={"at": at})
    to_the_final = await day()
    completed = await client.patch(f"{path}/{created.json()['id']}", json={"initial_index": 5000})

    assert (created.status_code, twice.status_code, completed.status_code) == (201, 409, 200)
    assert (completed.json()["final_index"], completed.json()["initial_index"]) == (8012, 5000)
    assert (unknown, to_the_final, await day()) == (10, 12, 17)
    assert (await client.get(path)).json()["items"] == [completed.json()]
    assert (await client.delete(f"{path}/{created.json()['id']}")).status_code == 204
    assert await day() == 10
    actions = await pool.fetch("SELECT action FROM audit WHERE entity = 'meter_change' ORDER BY id")
    assert [row["action"] for row in actions] == ["create", "update", "delete"]


async def test_a_meter_change_is_crossed_in_a_day_whose_raw_readings_are_gone(client, metered, pool: Pool) -> None:
    """By hand: 5, 7 since a reset, 999 to the final index; 9 of the new meter, 1 since its reset."""
    *_, datastream = metered
    begin = local(2026, 6, 1)
    indexes = [9_000, 9_005, 7, 1_000, 1_005, 2, 9, 1]
    await write(pool, datastream, {begin + n * HOUR: index for n, index in enumerate(indexes, 1)})
    path = f"/v1/datastreams/{datastream}/meter-changes"
    await pool.execute("DELETE FROM observation.measurement")
    await pool.execute("DELETE FROM observation.rollup_hour")
    await pool.execute("INSERT INTO observation.forgotten VALUES ('measurement', 0, $1)", begin + 48 * HOUR)
    at = (begin + 5.5 * HOUR).isoformat()
    created = await client.post(path, json={"at": at, "final_index": 1_006, "initial_index": 0})

    days = await consumed(client, datastream, begin, begin + HOUR, "day")

    assert created.status_code == 201
    assert [item["difference"] for item in days["items"]] == [5 + 7 + (1_006 - 7) + 9 + 1]


async def test_a_replaced_device_is_a_meter_change_of_its_counters_alone(
    client, registry, metered, observations, pool: Pool
) -> None:
    asset, _, datastream = metered
    temperature = await observations.datastream(metered[1]["dev_eui"], asset["id"], "temperature", "Cel")
    await observations.readings(datastream, {datetime.now(UTC) - HOUR: 812})
    other = await registry.device()

    assigned = await client.put(f"/v1/assets/{asset['id']}/device", json={"dev_eui": other["dev_eui"]})

    assert assigned.status_code == 200, assigned.text
    [change] = (await client.get(f"/v1/datastreams/{datastream}/meter-changes")).json()["items"]
    assert (change["cause"], change["final_index"], change["initial_index"]) == ("replacement", 812, None)
    assert (await client.get(f"/v1/datastreams/{temperature}/meter-changes")).json()["items"] == []


async def test_another_tenant_neither_sees_nor_makes_a_meter_change(client, other_client, metered) -> None:
    *_, datastream = metered
    path = f"/v1/datastreams/{datastream}/meter-changes"
    created = await client.post(path, json={"at": "2026-06-01T00:00:00Z"})

    assert (await other_client.get(path)).status_code == 404
    assert (await other_client.post(path, json={"at": "2026-06-02T00:00:00Z"})).status_code == 404
    assert (await other_client.delete(f"{path}/{created.json()['id']}")).status_code == 404


async def test_what_is_no_counter_has_no_meter_change_and_no_modulus(client, metered, observations) -> None:
    asset, device, _ = metered
    fill = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")

    changed = await client.post(f"/v1/datastreams/{fill}/meter-changes", json={"at": "2026-06-01T00:00:00Z"})
    profile = await client.post(
        "/v1/device-profiles",
        json={"name": "p", "vendor": "v", "model": "m", "codec": "milesight.em400", "moduli": {"fill_level": 100}},
    )

    assert (changed.status_code, profile.status_code) == (422, 422)


async def test_the_mean_of_a_state_is_weighted_by_time_and_says_so(
    client, metered, observations, pool: Pool
) -> None:
    """Open from 10:00 to 10:15 and from 13:30 to 14:30, by hand; nobody reads in between."""
    asset, device, _ = metered
    door = await observations.datastream(device["dev_eui"], asset["id"], "open", "1")
    await pool.execute("UPDATE device_profile SET expected_interval = '1 day'")
    midnight = local(2026, 6, 1)
    minutes = {0: 0, 600: 1, 605: 1, 610: 1, 615: 0, 810: 1, 870: 0}
    await write(pool, door, {midnight + minute * HOUR / 60: value for minute, value in minutes.items()})
    temperature = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    await write(pool, temperature, {midnight + HOUR: 10, midnight + 1.1 * HOUR: 30})

    day = await consumed(client, door, midnight, midnight + 24 * HOUR, "day")
    hours = await consumed(client, door, midnight + 10 * HOUR, midnight + 15 * HOUR, "hour")
    month = await consumed(client, door, midnight, midnight + HOUR, "month")
    gauge = await consumed(client, temperature, midnight, midnight + 24 * HOUR, "day")

    assert (day["mean_by"], gauge["mean_by"]) == ("time", "count")
    assert day["items"][0]["mean"] == pytest.approx(75 / (24 * 60))
    assert [item["mean"] for item in hours["items"]] == [0.25, 0.5, 0.5]
    # What is 48 hours after the last reading, nobody knows.
    assert month["items"][0]["mean"] == pytest.approx(75 / (870 + 48 * 60))
    assert gauge["items"][0]["mean"] == 20
    assert (await consumed(client, metered[2], midnight, midnight + HOUR, "day"))["mean_by"] is None


async def test_the_mean_of_a_state_is_null_where_raw_is_gone_and_its_duration_was_not_kept(
    client, metered, observations, pool: Pool
) -> None:
    asset, device, _ = metered
    door = await observations.datastream(device["dev_eui"], asset["id"], "open", "1")
    at = local(2026, 6, 1, 10)
    await write(pool, door, {at: 1, at + HOUR / 2: 0})
    for table in ("rollup_hour", "rollup_day"):
        await pool.execute(f"UPDATE observation.{table} SET seconds = NULL, weighted = NULL, first_at = NULL")
    await pool.execute("DELETE FROM observation.measurement")

    day = await consumed(client, door, at, at + HOUR, "day")

    assert [(item["readings"], item["mean"]) for item in day["items"]] == [(2, None)]
