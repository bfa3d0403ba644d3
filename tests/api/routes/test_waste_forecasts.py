"""Forecasts as the API answers them: of a bin that gains five points a day, and of its new neighbour."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.runtime.postgres import Pool
from indicators.waste.refresh import refresh_fill_days
from ingest.rollups import roll_up

PARIS = ZoneInfo("Europe/Paris")
ADDRESS = "/v1/waste/forecasts"
MINUTES = timedelta(minutes=10)


@pytest.fixture
async def bins(registry, observations, pool: Pool) -> list[int]:
    """One of ten weeks, five points a day from 0 to 100 %, emptied then; a new one near it; a new one far away."""
    made = []
    for longitude in (-4.486, -4.487, -3.0):
        asset = await registry.asset(commune="Brest", latitude=48.39, longitude=longitude)
        device = await registry.device(asset_id=asset["id"])
        made.append(await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%"))
    now = datetime.now(UTC)
    noon = datetime.combine(now.astimezone(PARIS).date(), datetime.min.time(), PARIS) + timedelta(hours=12)
    days = [(noon - timedelta(days=n)).astimezone(UTC) for n in range(73, 0, -1)]
    levels = {}
    for n, at in enumerate(days):
        level = 5.0 * (n % 20 + 1)
        levels |= {at: level, at + MINUTES: level % 100, at + 2 * MINUTES: level % 100}
    await observations.readings(made[0], levels)
    for datastream in made:
        await observations.readings(datastream, {now - timedelta(minutes=1): 70.0})
        await pool.execute(
            "INSERT INTO observation.latest VALUES ($1, $2, 70, 0) ON CONFLICT (datastream_id) DO UPDATE "
            "SET time = excluded.time, value = excluded.value",
            datastream,
            now - timedelta(minutes=1),
        )
    await roll_up(pool, force=True)
    await refresh_fill_days(pool)
    return made


async def test_a_bin_is_full_as_it_has_filled_before_and_a_new_one_as_its_neighbour(client, bins) -> None:
    items = {one["datastream_id"]: one for one in (await client.get(ADDRESS)).json()["items"]}

    old, new, far = (items[one] for one in bins)
    assert (old["basis"], old["weeks"], old["speed"], old["level"]) == ("own", 10, 5.0, 70.0)
    at = datetime.fromisoformat(old["at"])
    for quantile in ("p10", "p50", "p90"):  # Thirty points, five a day: what is emptied is no loss.
        assert datetime.fromisoformat(old[quantile]) == at + timedelta(days=6)
    assert (new["basis"], new["speed"]) == ("neighbours", None)
    assert datetime.fromisoformat(new["p50"]) == datetime.fromisoformat(new["at"]) + timedelta(days=6)
    assert [far[name] for name in ("basis", "p10", "p50", "p90", "speed")] == [None] * 5
    assert (far["level"], far["weeks"]) == (70.0, 0)


async def test_bins_are_chosen_and_another_tenant_sees_none(client, other_client, bins) -> None:
    one = await client.get(ADDRESS, params={"datastream_id": bins[1]})
    elsewhere = await client.get(ADDRESS, params={"commune": "Plouzané"})
    theirs = await other_client.get(ADDRESS)

    assert [(item["datastream_id"], item["basis"]) for item in one.json()["items"]] == [(bins[1], "neighbours")]
    assert elsewhere.json()["items"] == theirs.json()["items"] == []
