"""Tonnages as the API answers them, and tickets of weighbridges, entered and taken back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from indicators.waste.refresh import refresh_fill_days

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
ADDRESS = "/v1/waste/tonnage"
OCTOBER = {"from": "2026-10-01", "to": "2026-11-01"}
TICKET = {"ticket": "B-1", "stream": "glass", "weighed_at": "2026-10-07T15:00:00Z", "net_kg": 2100}


def at(day: int, hour: float = 0) -> datetime:
    return datetime(2026, 10, day, tzinfo=PARIS).astimezone(UTC) + hour * HOUR


@pytest.fixture
async def emptied(registry, observations, pool) -> list[int]:
    """Two bins of glass of 4 m3, emptied on the 7th from 90 to 10 and from 70 to 20 %; one of no stated volume."""
    profile = await registry.profile(expected_interval_s=6 * 3600)
    made = []
    for name, commune, volume, levels in (
        ("Verre Mairie", "Brest", 4000, (90, 10)),
        ("Verre Port", "Plouzané", 4000, (70, 20)),
        ("Verre Gare", "Brest", None, (80, 10)),
    ):
        attributes = {} if volume is None else {"volume_l": volume}
        asset = await registry.asset(name=name, commune=commune, kind="glass_container", attributes=attributes)
        device = await registry.device(profile, asset_id=asset["id"])
        stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
        before, after = levels
        readings = {at(6, 6 * n): float(before) for n in range(5)} | {
            at(7, 6 * n): float(after) for n in range(1, 6)
        }
        await observations.readings(stream, readings)
        made.append(stream)
    await refresh_fill_days(pool)
    return made


async def test_the_default_density_stands_until_a_load_was_weighed(client, emptied) -> None:
    before = (await client.get(ADDRESS, params=OCTOBER)).json()
    # 3.2 and 2 m3: two of three emptyings are known, too few for the weight of all to say anything.
    assert (await client.post("/v1/weighings", json=TICKET)).status_code == 201
    too_few = (await client.get(ADDRESS, params=OCTOBER)).json()
    assets = (await client.get("/v1/assets", params={"q": "Verre Gare"})).json()["items"]
    filled = await client.patch(f"/v1/assets/{assets[0]['id']}", json={"attributes": {"volume_l": 2000}})
    assert filled.status_code == 200, filled.text
    after = (await client.get(ADDRESS, params=OCTOBER)).json()

    [month] = before["items"]
    assert (month["month"], month["emptyings"], month["unknown"]) == ("2026-10", 2, 1)
    assert (month["cubic_metres"], month["tonnes"]) == (5.2, pytest.approx(5.2 * 0.33))
    assert (month["low"], month["weighed_tonnes"], month["weighings"]) == (None, 0, 0)
    [default] = before["calibrations"]
    assert (default["stream"], default["source"], default["factor"], default["density"]) == (
        "glass",
        "default",
        1,
        0.33,
    )
    assert [(one["source"], one["unmatched"]) for one in too_few["calibrations"]] == [("default", 1)]
    # 3.2 + 2 + 1.4 m3 weigh 2.1 t.
    [weighed] = after["calibrations"]
    assert (weighed["source"], weighed["loads"], weighed["density"]) == ("weighed", 1, round(2.1 / 6.6, 4))
    [month] = after["items"]
    assert (month["tonnes"], month["weighed_tonnes"], month["unknown"]) == (2.1, 2.1, 0)


async def test_groups_filters_and_another_tenant(client, other_client, emptied) -> None:
    by_bin = (await client.get(ADDRESS, params=OCTOBER | {"by": ["bin", "month"]})).json()["items"]
    of_port = (await client.get(ADDRESS, params=OCTOBER | {"by": "commune", "commune": "Plouzané"})).json()[
        "items"
    ]
    theirs = (await other_client.get(ADDRESS, params=OCTOBER)).json()

    assert {one["name"]: (one["tonnes"], one["unknown"]) for one in by_bin} == {
        "Verre Mairie": (pytest.approx(3.2 * 0.33), 0),
        "Verre Port": (pytest.approx(2 * 0.33), 0),
        "Verre Gare": (0, 1),
    }
    assert [(one["commune"], one["weighed_tonnes"]) for one in of_port] == [("Plouzané", None)]
    assert (theirs["items"], theirs["calibrations"]) == ([], [])


async def test_a_ticket_is_entered_once_listed_and_taken_back(client, other_client) -> None:
    made = await client.post("/v1/weighings", json=TICKET)
    again = await client.post("/v1/weighings", json=TICKET | {"net_kg": 5})
    listed = (await client.get("/v1/weighings")).json()["items"]
    theirs = (await other_client.get("/v1/weighings")).json()["items"]
    not_theirs = await other_client.delete(f"/v1/weighings/{made.json()['id']}")
    gone = await client.delete(f"/v1/weighings/{made.json()['id']}")

    assert (made.status_code, again.status_code) == (201, 409)
    assert "déjà saisi" in again.json()["detail"]
    assert [(one["ticket"], one["net_kg"]) for one in listed] == [("B-1", 2100)]
    assert theirs == []
    assert (not_theirs.status_code, gone.status_code) == (404, 204)
    assert (await client.get("/v1/weighings")).json()["items"] == []


@pytest.mark.parametrize("wrong", [{"net_kg": 0}, {"net_kg": 61_000}, {"stream": "Verre é"}, {"ticket": ""}])
async def test_a_ticket_that_cannot_be_is_refused_in_french(client, wrong) -> None:
    answer = await client.post("/v1/weighings", json=TICKET | wrong)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"body.{next(iter(wrong))}"
