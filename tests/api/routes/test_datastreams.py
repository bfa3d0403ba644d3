from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
async def served(registry) -> tuple[dict, dict]:
    """A glass container and the device that serves it."""
    asset = await registry.asset(name="Borne 12")
    return asset, await registry.device(asset_id=asset["id"])


async def test_a_datastream_carries_its_quantity_unit_and_label(client, served, observations) -> None:
    asset, device = served
    fill = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    await observations.datastream(device["dev_eui"], asset["id"], "battery_level", "%")

    read = (await client.get(f"/v1/datastreams/{fill}")).json()
    found = await client.get(
        "/v1/datastreams",
        params={"asset_id": asset["id"], "dev_eui": device["dev_eui"].upper(), "quantity": "fill_level"},
    )

    assert read == {
        "id": fill,
        "asset_id": asset["id"],
        "asset_name": "Borne 12",
        "dev_eui": device["dev_eui"],
        "position": "",
        "channel": "",
        "quantity": "fill_level",
        "unit": "%",
        "label_fr": "Remplissage",
        "asset_kind": "glass_container",
        "commune": "Landerneau",
        "insee": None,
        "longitude": None,
        "latitude": None,
    }
    assert found.json() == {"items": [read], "next": None}


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
async def test_pages_of_measurements_leave_nothing_out(client, served, observations, sort_order) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    start = datetime(2026, 11, 24, 12, tzinfo=UTC)
    await observations.readings(datastream, {start + timedelta(microseconds=n): n for n in range(7)})
    query = {
        "from": start.isoformat(),
        "to": (start + timedelta(hours=1)).isoformat(),
        "limit": 3,
        "order": sort_order,
    }

    values, cursor = [], None
    while True:
        page = await client.get(
            f"/v1/datastreams/{datastream}/measurements", params=query | ({"cursor": cursor} if cursor else {})
        )
        values += [item["value"] for item in page.json()["items"]]
        cursor = page.json()["next"]
        if cursor is None:
            break

    assert values == sorted(range(7), reverse=sort_order == "desc")
    assert page.json()["datastream"]["label_fr"] == "Remplissage"


async def test_a_flag_is_shown_by_name_and_a_time_in_utc(client, served, observations) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    await observations.readings(datastream, {at: 140}, flags=1 | 4)

    page = (await client.get(f"/v1/datastreams/{datastream}/measurements")).json()

    expected = {"time": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "value": 140.0, "flags": ["suspect", "manual"]}
    assert page["items"] == [expected]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-01-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
        {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
        {"from": "2026-03-01T00:00:00"},
        {"from": "0001-01-01T00:00:00+10:00"},
        {"limit": "1001"},
        {"limit": "0"},
        {"cursor": "-5"},
        {"cursor": "9" * 40},
        {"cursor": "9223372036854775807"},
        {"order": "sideways"},
    ],
)
async def test_a_range_that_cannot_be_answered_is_rejected(client, served, observations, query) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")

    answer = await client.get(f"/v1/datastreams/{datastream}/measurements", params=query)

    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_day_of_a_gauge_is_local_and_leaves_suspects_out(client, served, observations) -> None:
    """The day on which the clock goes back has 25 hours in Paris."""
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    start = datetime(2026, 10, 25, tzinfo=PARIS).astimezone(UTC)
    await observations.readings(datastream, {start + timedelta(hours=n): n for n in range(25)})
    await observations.readings(datastream, {start + timedelta(minutes=30): 900}, flags=1)
    await observations.readings(datastream, {start + timedelta(hours=25): 100})

    days = await client.get(
        f"/v1/datastreams/{datastream}/aggregates",
        params={"from": "2026-10-25T12:00:00Z", "to": "2026-10-25T13:00:00Z", "bucket": "day"},
    )

    assert days.json()["items"] == [
        {
            "from": "2026-10-24T22:00:00Z",
            "to": "2026-10-25T23:00:00Z",
            "readings": 25,
            "suspects": 1,
            "minimum": 0,
            "maximum": 24,
            "mean": 12,
            "first": 0,
            "last": 24,
            "difference": None,
        }
    ]


async def test_the_two_hours_after_two_in_an_october_night_are_two(client, served, observations) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    start = datetime(2026, 10, 25, 0, tzinfo=UTC)  # 2:00, the first of two.
    await observations.readings(datastream, {start + timedelta(minutes=30 * n): n for n in range(4)})

    hours = await client.get(
        f"/v1/datastreams/{datastream}/aggregates",
        params={"from": "2026-10-25T00:00:00Z", "to": "2026-10-25T02:00:00Z", "bucket": "hour"},
    )

    assert [(item["from"], item["mean"]) for item in hours.json()["items"]] == [
        ("2026-10-25T00:00:00Z", 0.5),
        ("2026-10-25T01:00:00Z", 2.5),
    ]


async def test_an_index_gives_its_difference_at_the_edges_of_a_short_day(client, served, observations) -> None:
    """The day on which the clock goes forward has 23 hours in Paris; the index rises by 10 each hour."""
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "L")
    start = datetime(2026, 3, 28, tzinfo=PARIS).astimezone(UTC)
    await observations.readings(datastream, {start + timedelta(hours=n): 1000 + 10 * n for n in range(-2, 49)})

    days = await client.get(
        f"/v1/datastreams/{datastream}/aggregates",
        params={"from": "2026-03-28T00:00:00Z", "to": "2026-03-29T20:00:00Z", "bucket": "day"},
    )

    assert [(item["from"], item["difference"], item["mean"]) for item in days.json()["items"]] == [
        ("2026-03-27T23:00:00Z", 240, None),
        ("2026-03-28T23:00:00Z", 230, None),
    ]


async def test_an_index_without_a_past_counts_from_its_first_reading(client, served, observations) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "L")
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    await observations.readings(datastream, {start + timedelta(hours=n): 500 + n for n in range(1, 4)})

    days = await client.get(
        f"/v1/datastreams/{datastream}/aggregates",
        params={"from": "2026-06-01T00:00:00Z", "to": "2026-06-01T12:00:00Z", "bucket": "day", "timezone": "UTC"},
    )

    assert [item["difference"] for item in days.json()["items"]] == [2]


async def test_an_unknown_time_zone_is_rejected(client, served, observations) -> None:
    asset, device = served
    datastream = await observations.datastream(device["dev_eui"], asset["id"], "water_volume", "L")

    answer = await client.get(
        f"/v1/datastreams/{datastream}/aggregates", params={"bucket": "day", "timezone": "Europe/Landerneau"}
    )

    assert answer.status_code == 422


async def test_last_values_are_found_by_asset_kind_and_quantity(client, registry, served, observations) -> None:
    asset, device = served
    other = await registry.asset(kind="water_meter")
    meter = await registry.device(asset_id=other["id"])
    fill = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    volume = await observations.datastream(meter["dev_eui"], other["id"], "water_volume", "L")
    await observations.datastream(meter["dev_eui"], other["id"], "leak", "1")  # Nothing measured yet.
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    await observations.readings(fill, {at: 70, at + timedelta(hours=1): 80})
    await observations.readings(volume, {at: 12})

    async def latest(**query) -> dict[int, float]:
        page = (await client.get("/v1/measurements/latest", params=query)).json()
        return {item["id"]: item["value"] for item in page["items"]}

    everything = await client.get("/v1/measurements/latest")
    assert everything.json()["items"][0]["label_fr"] == "Remplissage"
    assert everything.json()["items"][0]["time"] == "2026-11-24T13:00:00Z"
    assert await latest() == {fill: 80, volume: 12}
    assert await latest(kind="water_meter") == {volume: 12}
    assert await latest(asset_id=[asset["id"], 999]) == {fill: 80}
    assert await latest(quantity="fill_level") == {fill: 80}
    assert await latest(limit=1) == {fill: 80}


async def test_last_values_of_a_replaced_device_that_the_new_one_does_not_send_are_stale(
    client, registry, served, observations
) -> None:
    asset, device = served
    fill = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    tilt = await observations.datastream(device["dev_eui"], asset["id"], "tilt", "1")
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for stream, value in ((fill, 70), (tilt, 0)):
        await observations.readings(stream, {at: value})

    async def stale() -> dict[int, bool]:
        page = (await client.get("/v1/measurements/latest")).json()
        return {item["id"]: item["stale"] for item in page["items"]}

    before = await stale()
    new = await registry.device()
    body = {"dev_eui": new["dev_eui"]}
    assert (await client.put(f"/v1/assets/{asset['id']}/device", json=body)).status_code == 200
    at_once = await stale()
    assert await observations.datastream(new["dev_eui"], asset["id"], "fill_level", "%") == fill
    await observations.readings(fill, {at + timedelta(hours=1): 20})

    assert before == {fill: False, tilt: False}
    assert at_once == {fill: True, tilt: True}
    assert await stale() == {fill: False, tilt: True}


async def test_the_catalogue_names_units_and_labels(client) -> None:
    quantities = {item["name"]: item for item in (await client.get("/v1/quantities")).json()["items"]}

    assert quantities["fill_level"]["label_fr"] == "Remplissage"
    assert (quantities["water_volume"]["unit"], quantities["water_volume"]["kind"]) == ("L", "counter")
