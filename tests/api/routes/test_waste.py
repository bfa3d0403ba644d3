"""Days of bins as the API answers them: the fixture of `tests/indicators/waste/test_fill_days.py`, whole."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from indicators.waste.refresh import refresh_fill_days

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
ADDRESS = "/v1/waste/days-above"
OCTOBER = {"from": "2026-10-01", "to": "2026-11-01"}


def at(day: int, hour: float = 0) -> datetime:
    return datetime(2026, 10, day, tzinfo=PARIS).astimezone(UTC) + hour * HOUR


@pytest.fixture
async def bins(registry, observations, pool) -> list[int]:
    """Two bins whose sensors speak every six hours: one of Brest, silent for three days, one of Plouzané."""
    profile = await registry.profile(expected_interval_s=6 * 3600)
    made = []
    for name, commune in (("Verre Mairie", "Brest"), ("Verre Port", "Plouzané")):
        asset = await registry.asset(name=name, commune=commune)
        device = await registry.device(profile, asset_id=asset["id"])
        made.append(await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%"))
    brest, port = made
    levels = {at(1, 6 * n): 10.0 for n in range(4 * 5)}  # Until the 5th, 18:00.
    levels |= {at(6, 6 * n): 75.0 for n in range(4)}  # The 6th: exactly at the threshold.
    levels |= {at(10, 6 * n): 74.9 for n in range(4)}  # Silent from the 6th, 18:00, to the 10th.
    levels |= {at(11): 90.0, at(11, 1): 90.0, at(11, 2): 20.0}
    await observations.readings(brest, levels)
    await observations.readings(port, {at(25, 6 * n): 80.0 for n in range(5)})  # A day of 25 hours.
    await refresh_fill_days(pool)
    return made


async def test_days_at_the_threshold_below_and_unknown_add_up_bin_by_bin(client, bins) -> None:
    answer = await client.get(ADDRESS, params=OCTOBER)

    brest, port = answer.json()["items"]
    assert answer.json() | {"items": []} == {"threshold": 75, "items": [], "next": None} | OCTOBER
    assert (brest["datastream_id"], brest["name"], brest["commune"], brest["bins"]) == (
        bins[0],
        "Verre Mairie",
        "Brest",
        1,
    )
    # Full: the 6th and six hours of the 7th; two hours of the 11th. Known: twelve hours after the last reading.
    assert (brest["days"], brest["above"]) == (31, round(1 + 6 / 24 + 2 / 24, 4))
    assert brest["unknown"] == round(2.75 + 10 / 24 + 20, 4)
    assert brest["below"] == pytest.approx(5 + 1 + 12 / 24, abs=1e-4)
    # From its first day, the 25th, on: twelve hours after 6:00 of the next one, of 24.
    assert (port["days"], port["above"], port["unknown"]) == (7, round(1 + 11 / 24, 4), round(5 + 13 / 24, 4))


async def test_the_threshold_is_any_whole_percentage_and_what_is_just_below_is_below(client, bins) -> None:
    above = {}
    for threshold in (10, 74, 75, 76, 90, 91):
        answer = await client.get(ADDRESS, params=OCTOBER | {"threshold": threshold, "datastream_id": bins[0]})
        [one] = answer.json()["items"]
        above[threshold] = one["above"]

    assert above[74] == round(1.25 + 1 + 2 / 24, 4)
    assert above[75] == round(1.25 + 2 / 24, 4)
    assert above[76] == above[90] == round(2 / 24, 4)
    assert above[91] == 0
    assert above[10] == round(31 - (2.75 + 10 / 24 + 20), 4)


async def test_months_and_communes_are_asked_for_by_name(client, bins) -> None:
    period = {"from": "2026-10-20", "to": "2026-11-03"}
    by_month = await client.get(ADDRESS, params=period | {"by": ["month"]})
    of_port = await client.get(ADDRESS, params=period | {"by": ["commune", "month"], "commune": "Plouzané"})

    assert [(one["month"], one["bins"], one["days"]) for one in by_month.json()["items"]] == [
        ("2026-10", 2, 12 + 7),
        ("2026-11", 2, 4),
    ]
    assert [(one["commune"], one["month"], one["name"]) for one in of_port.json()["items"]] == [
        ("Plouzané", "2026-10", None),
        ("Plouzané", "2026-11", None),
    ]


async def test_emptyings_are_listed_with_what_was_in_the_bin(client, other_client, bins) -> None:
    found = (await client.get("/v1/waste/emptyings", params=OCTOBER)).json()["items"]
    none = (await client.get("/v1/waste/emptyings", params=OCTOBER | {"commune": "Plouzané"})).json()["items"]
    theirs = (await other_client.get("/v1/waste/emptyings", params=OCTOBER)).json()["items"]

    [one] = found
    assert (one["name"], one["commune"], one["datastream_id"]) == ("Verre Mairie", "Brest", bins[0])
    assert (one["before"], one["after"], one["suspect"]) == (90, 20, True)  # Nothing was read after it.
    assert (one["not_before"], one["at"]) == ("2026-10-10T23:00:00Z", "2026-10-11T00:00:00Z")
    assert none == theirs == []


async def test_another_tenant_sees_no_days_and_a_grantee_those_of_its_instants(
    client, other_client, bins, pool
) -> None:
    asset = (await client.get(f"/v1/datastreams/{bins[0]}")).json()["asset_id"]
    before = await other_client.get(ADDRESS, params=OCTOBER)
    grant = await client.post(
        "/v1/grants", json={"tenant": "autre", "asset_id": asset, "data_from": at(10).isoformat()}
    )
    assert grant.status_code == 201, grant.text
    await other_client.post(f"/v1/grants/{grant.json()['id']}/accept")
    after = await other_client.get(ADDRESS, params=OCTOBER)

    assert before.json()["items"] == []
    [one] = after.json()["items"]
    assert (one["datastream_id"], one["days"], one["above"]) == (bins[0], 22, round(2 / 24, 4))


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("threshold", OCTOBER | {"threshold": 130}),
        ("threshold", OCTOBER | {"threshold": 0}),
        ("threshold", OCTOBER | {"threshold": "72.5"}),
        ("from", {}),
        ("from", {"from": "2026-10-02", "to": "2026-10-02"}),
        ("from", {"from": "2014-10-02", "to": "2026-10-02"}),
        ("from", {"from": "2999-10-02"}),
        ("by", OCTOBER | {"by": "week"}),
    ],
)
async def test_what_cannot_be_answered_is_rejected_with_its_field(client, field: str, query: dict) -> None:
    answer = await client.get(ADDRESS, params=query)

    assert answer.status_code == 422
    assert any(error["field"].startswith(f"query.{field}") for error in answer.json()["errors"])
