"""Bins that the network does not reach, and what somebody reads of them in every figure."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from indicators.waste.refresh import refresh_fill_days

PARIS = ZoneInfo("Europe/Paris")
ADDRESS = "/v1/waste/white-zones"
BINS = """
WITH a AS (
    INSERT INTO asset (tenant_id, kind, name, commune) SELECT $1, 'glass_container', 'Borne ' || n, 'Brest'
    FROM generate_series(1, 88) AS n RETURNING id, name
), d AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, activation, device_profile_id, name, slot)
    SELECT $1, decode(lpad(to_hex(id), 16, '0'), 'hex'), decode('0000000000000000', 'hex'), 'ABP', $2, name, 0
    FROM a RETURNING id, name
)
INSERT INTO assignment (tenant_id, asset_id, device_id, during)
SELECT $1, a.id, d.id, tstzrange(now() - interval '60 days', NULL) FROM a JOIN d USING (name)
"""
DAY = """
INSERT INTO observation.network_day
SELECT s.device_id, $1, s.asset_id, 40, r.received, r.received, r.received, 400, 2, 1, ARRAY[g.id],
       ARRAY[r.received], ARRAY[r.received], '{1}'
FROM assignment s JOIN asset a ON a.id = s.asset_id JOIN gateway g ON true
CROSS JOIN LATERAL (SELECT CASE WHEN substr(a.name, 7)::int <= 18 THEN 19 ELSE 20 END AS received) AS r
WHERE a.name LIKE 'Borne %'
"""


@pytest.fixture
async def eighty_eight(registry, tenancy, pool) -> None:
    """88 bins that sent 40 frames on each of ten days; 18 of them were received 19 times, the others 20 times."""
    profile = await registry.profile()
    await registry.gateway(name="Mairie")
    await pool.execute(BINS, tenancy.id, profile["id"])
    today = datetime.now(UTC).astimezone(PARIS).date()
    for ago in range(1, 11):
        await pool.execute(DAY, today - timedelta(days=ago))


async def test_of_88_bins_the_18_that_lose_more_than_half_of_their_frames_are_listed_and_no_other(
    client, other_client, eighty_eight
) -> None:
    found = (await client.get(ADDRESS)).json()["items"]
    theirs = (await other_client.get(ADDRESS)).json()["items"]

    assert sorted(one["name"] for one in found) == sorted(f"Borne {n}" for n in range(1, 19))
    assert {(one["state"], one["loss_percent"], one["best_gateway"]) for one in found} == {
        ("white", 52.5, "Mairie")
    }
    assert {(one["last_heard_at"], one["level"], one["source"]) for one in found} == {(None, None, None)}
    assert theirs == []


async def test_a_bin_of_which_too_few_frames_are_known_is_unknown_and_not_white(client, registry) -> None:
    asset = await registry.asset(name="Muette", commune="Brest", kind="paper_container")
    other = await registry.asset(name="Salle", kind="room")
    for one in (asset, other):
        await registry.device(asset_id=one["id"])

    found = (await client.get(ADDRESS)).json()["items"]

    assert [(one["name"], one["state"], one["loss_percent"]) for one in found] == [("Muette", "unknown", None)]
    assert (await client.get(ADDRESS, params={"state": "white"})).json()["items"] == []
    assert (await client.get(ADDRESS, params={"state": "covered"})).status_code == 422


async def test_what_somebody_reads_counts_as_a_measurement_and_says_that_somebody_read_it(
    client, registry, observations, pool
) -> None:
    profile = await registry.profile(expected_interval_s=6 * 3600)
    asset = await registry.asset(name="Sans réseau", commune="Brest", kind="glass_container")
    device = await registry.device(profile, asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    day: date = datetime.now(PARIS).date() - timedelta(days=3)
    noon = datetime.combine(day, datetime.min.time(), PARIS) + timedelta(hours=6)
    await observations.readings(stream, {noon - timedelta(days=4): 50.0})
    for hours, level in ((0, 80), (3, 5), (6, 6)):
        body = {"time": (noon + timedelta(hours=hours)).isoformat(), "value": level}
        made = await client.post(f"/v1/datastreams/{stream}/manual-readings", json=body)
        assert made.status_code == 201, made.text
    await refresh_fill_days(pool)
    period = {"from": str(day), "to": str(day + timedelta(days=1))}

    [one] = (await client.get(ADDRESS)).json()["items"]
    [above] = (await client.get("/v1/waste/days-above", params=period)).json()["items"]
    [emptied] = (await client.get("/v1/waste/emptyings", params=period)).json()["items"]

    assert (one["level"], one["source"], one["datastream_id"]) == (6, "manual", stream)
    # Full from 6:00 to 9:00, then emptied; known for twelve hours after the last reading, at noon.
    assert (above["above"], above["unknown"]) == (round(3 / 24, 4), round(6 / 24, 4))
    assert (emptied["before"], emptied["after"], emptied["suspect"]) == (80, 5, False)


async def test_what_somebody_reads_makes_a_bin_a_candidate_of_a_round_as_a_sensor_would(
    client, other_client, registry, observations
) -> None:
    profile = await registry.profile(expected_interval_s=6 * 3600)
    streams = {}
    for name in ("À la main", "Par le capteur", "Muette"):
        asset = await registry.asset(
            name=name, kind="glass_container", latitude=48.4, longitude=-4.5, attributes={"volume_l": 4000}
        )
        device = await registry.device(profile, asset_id=asset["id"])
        streams[name] = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    now = datetime.now(UTC)
    reading = {"time": (now - timedelta(hours=1)).isoformat(), "value": 82}
    made = await client.post(f"/v1/datastreams/{streams['À la main']}/manual-readings", json=reading)
    assert made.status_code == 201, made.text
    await observations.readings(streams["Par le capteur"], {now - timedelta(hours=1): 75.0})

    found = (await client.get("/v1/rounds/candidates")).json()["items"]
    stricter = (await client.get("/v1/rounds/candidates", params={"threshold": 80})).json()["items"]

    assert [(one["name"], one["level"], one["chosen_by"], one["source"]) for one in found] == [
        ("À la main", 82, "threshold", "manual"),
        ("Par le capteur", 75, "threshold", "sensor"),
        ("Muette", None, "unknown", None),
    ]
    assert [one["name"] for one in stricter] == ["À la main", "Muette"]
    assert (await other_client.get("/v1/rounds/candidates")).json()["items"] == []
    wrong = {"planned_for": "2026-12-02", "next_round_on": "2026-12-02"}
    assert (await client.get("/v1/rounds/candidates", params=wrong)).status_code == 422
