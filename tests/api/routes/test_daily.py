from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
async def bins(registry, observations) -> list[int]:
    """The fill levels of two containers, on three October days of Paris: one is above 75 % on two of them."""
    made = []
    for levels in ((70, 80, 90), (10, 20, 75)):
        asset = await registry.asset()
        device = await registry.device(asset_id=asset["id"])
        datastream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
        start = datetime(2026, 10, 24, 12, tzinfo=PARIS).astimezone(UTC)
        await observations.readings(
            datastream, {start + timedelta(days=n): level for n, level in enumerate(levels)}
        )
        made.append(datastream)
    return made


async def test_days_of_several_datastreams_come_by_datastream_and_day(client, bins) -> None:
    days = await client.get(
        "/v1/measurements/daily", params={"from": "2026-10-25T00:00:00Z", "to": "2026-10-26T00:00:00Z"}
    )

    day = {"from": "2026-10-24T22:00:00Z", "readings": 1, "suspects": 0}
    next_day = day | {"from": "2026-10-25T23:00:00Z"}
    assert days.json()["items"] == [
        {"datastream_id": datastream, "mean_by": "count"}
        | day
        | dict.fromkeys(("minimum", "maximum", "mean", "first", "last"), level)
        for datastream, day, level in (
            (bins[0], day, 80),
            (bins[0], next_day, 90),
            (bins[1], day, 20),
            (bins[1], next_day, 75),
        )
    ]


async def test_an_index_has_no_mean_and_another_tenants_datastream_no_days(
    client, other_client, bins, registry, observations
) -> None:
    device = await registry.device()
    index = await observations.datastream(device["dev_eui"], None, "water_volume", "L")
    await observations.readings(index, {datetime(2026, 10, 24, 12, tzinfo=UTC): 10})
    query = {"from": "2026-10-24T00:00:00Z", "to": "2026-10-25T00:00:00Z", "datastream_id": [index, bins[0]]}

    ours = (await client.get("/v1/measurements/daily", params=query)).json()["items"]
    theirs = (await other_client.get("/v1/measurements/daily", params=query)).json()["items"]

    assert {item["datastream_id"]: item["mean"] for item in ours if item["from"] < "2026-10-24T"} == {
        bins[0]: 70,
        index: None,
    }
    assert theirs == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("daily", {}),
        ("daily", {"from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}),
        ("daily", {"from": "2026-06-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}),
        (
            "daily",
            {"from": "2026-06-01T00:00:00Z", "to": "2026-06-02T00:00:00Z", "datastream_id": list(range(1, 2002))},
        ),
    ],
)
async def test_what_cannot_be_answered_is_rejected(client, path: str, query: dict) -> None:
    answer = await client.get(f"/v1/measurements/{path}", params=query)

    assert answer.status_code == 422
    assert answer.json()["errors"]
