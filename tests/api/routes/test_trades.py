"""What each trade looks at first, and what nobody knows."""

from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from ingest.rollups import roll_up

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def measured(registry, observations, kind, quantity, unit, readings, **fields):
    asset = await registry.asset(kind=kind, **fields)
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], quantity, unit)
    if readings:
        await observations.readings(stream, readings)
    return asset["id"], stream


async def test_bins_come_by_fill_with_their_days_and_one_that_is_silent_is_unknown(
    client, other_client, registry, observations, pool: Pool
) -> None:
    now = datetime.now(UTC)
    filling = {now - n * DAY: 90.0 - 10 * n for n in range(6)}
    full, _ = await measured(registry, observations, "glass_container", "fill_level", "%", filling)
    half, _ = await measured(
        registry, observations, "waste_container", "fill_level", "%", {now: 50.0}, commune="Brest"
    )
    silent, _ = await measured(registry, observations, "glass_container", "fill_level", "%", {now - 9 * DAY: 99.0})
    never, _ = await measured(registry, observations, "glass_container", "fill_level", "%", {})
    await registry.asset(kind="room")
    await roll_up(pool, force=True)

    items = (await client.get("/v1/bins")).json()["items"]
    of_commune = (await client.get("/v1/bins", params={"commune": "Brest"})).json()["items"]
    first = (await client.get("/v1/bins", params={"limit": 1})).json()
    second = (await client.get("/v1/bins", params={"limit": 1, "cursor": first["next"]})).json()
    of_others = (await other_client.get("/v1/bins")).json()["items"]

    assert [item["id"] for item in items] == [full, half, silent, never]
    assert [item["fill"] and item["fill"]["known"] for item in items] == [True, True, False, None]
    assert [day["maximum"] for day in items[0]["days"]] == [40, 50, 60, 70, 80, 90]
    # A tenth more a day: the last tenth takes a day.
    assert abs(datetime.fromisoformat(items[0]["full_at"]) - now - DAY) < 0.3 * DAY
    assert [item["full_at"] for item in items[1:]] == [None, None, None]
    assert [item["id"] for item in of_commune] == [half]
    assert [item["id"] for item in first["items"] + second["items"]] == [full, half]
    assert of_others == []


async def test_a_room_says_which_share_of_its_measured_hours_was_above_which_threshold(
    client, registry, observations, pool: Pool
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    readings = {hour - n * HOUR + HOUR / 2: value for n, value in enumerate((1600, 1600, 900, 500), 1)}
    readings[hour - 9 * DAY] = 2000.0
    room, stream = await measured(registry, observations, "room", "co2", "[ppm]", readings)
    await roll_up(pool, force=True)

    [item] = (await client.get("/v1/rooms")).json()["items"]

    assert (item["id"], item["co2"]["datastream_id"], item["co2"]["value"]) == (room, stream, 1600)
    assert (item["temperature"], item["hours"]) == (None, 4)
    assert item["above"] == [{"threshold": 800, "share": 0.75}, {"threshold": 1500, "share": 0.5}]


@pytest.mark.parametrize("is_rolled_up", [True, False])
async def test_a_meter_says_what_its_index_went_by_day_and_week_and_what_a_gap_took(
    client, registry, observations, pool: Pool, is_rolled_up: bool
) -> None:
    """The figures are those that each index has alone, whose rules are tested in test_counters.py."""
    zone = await pool.fetchval("SELECT timezone FROM deployment")
    row = await pool.fetchrow(
        "SELECT date_trunc('day', now(), $1) AS today, date_trunc('week', now(), $1) AS week", zone
    )
    now, today, week = datetime.now(UTC), row["today"], row["week"]
    steady = {week - 9 * DAY + n * HOUR: 10.0 * n for n in range(1, 24 * 17) if week - 9 * DAY + n * HOUR <= now}
    gap = {at: value for at, value in steady.items() if not week - 8 * DAY < at < week - 5 * DAY}
    made = [
        await measured(registry, observations, "water_meter", "water_volume", "L", readings)
        for readings in (steady, gap, {now - 60 * DAY: 5.0})
    ]
    if is_rolled_up:
        await roll_up(pool, force=True)

    items = (await client.get("/v1/meters")).json()["items"]

    of_asset = {item["id"]: item["indexes"][0] for item in items}
    first, second, third = (of_asset[asset] for asset, _ in made)
    for (_, stream), index in zip(made[:2], (first, second), strict=True):
        for bucket, since, until, name in (
            ("day", today - DAY, today, "yesterday"),
            ("week", week - 7 * DAY, week, "last_week"),
        ):
            alone = await client.get(
                f"/v1/datastreams/{stream}/aggregates",
                params={"bucket": bucket, "from": (since + HOUR).isoformat(), "to": (until - HOUR).isoformat()},
            )
            assert [index[name]] == [one["difference"] for one in alone.json()["items"]], (name, index)
    assert (first["yesterday"], first["last_week"], first["gaps"]) == (240, 1680, [])
    assert ([one["amount"] for one in second["gaps"]], second["last_week"]) == ([720], 1200)
    assert (third["yesterday"], third["week"], third["last_week"]) == (None, None, None)
    assert (third["value"], third["known"]) == (5, False)
    if is_rolled_up:
        assert [item["id"] for item in items][2] == made[2][0]


async def test_a_cabinet_shows_its_state_only_while_it_is_known_and_its_last_command(
    client, registry, observations
) -> None:
    now = datetime.now(UTC)
    lit, off, silent = [await registry.cabinet(name=name) for name in ("a", "b", "c")]
    for asset, at, value in ((lit, now, 1.0), (off, now, 0.0), (silent, now - 9 * DAY, 0.0)):
        device = (await client.get(f"/v1/assets/{asset['id']}")).json()["devices"][0]["dev_eui"]
        stream = await observations.datastream(device, asset["id"], "switch_state", "1")
        await observations.readings(stream, {at: value})
    await client.post("/v1/lighting/commands", json={"asset_id": lit["id"], "action": "on", "reason": "essai"})

    items = (await client.get("/v1/lighting/cabinets")).json()["items"]
    alone = (await client.get(f"/v1/lighting/cabinets/{lit['id']}")).json()

    assert [item["id"] for item in items] == [silent["id"], off["id"], lit["id"]]
    assert [item["switch_state"]["known"] for item in items] == [False, True, True]
    assert [item["command"] and item["command"]["reason"] for item in items] == [None, None, "essai"]
    assert alone == items[2] | {"dims": False}
