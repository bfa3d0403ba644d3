"""What somebody read and typed is a measurement with its flag; it corrects another value of its instant."""

from datetime import UTC, datetime, timedelta

import pytest

from core.messages import topics
from core.messages.measurements import MEASUREMENT_BATCHES, Flag
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from ingest.rollups import roll_up

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def stream(registry, observations) -> int:
    asset = await registry.asset()
    device = await registry.device(asset_id=asset["id"])
    return await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")


async def test_a_reading_is_stored_with_its_flag_last_value_and_dirty_hour_and_published_to_alerting(
    client, stream: int, pool: Pool, bus: Bus
) -> None:
    await bus.ensure_measurements_stream()
    heard: list[bytes] = []
    for shard in range(4):
        await bus.subscribe(topics.measurements(shard), lambda _subject, data: _keep(heard, data))

    answer = await client.post(
        f"/v1/datastreams/{stream}/manual-readings", json={"time": NOW.isoformat(), "value": 80, "note": "tournée"}
    )

    assert answer.status_code == 201, answer.text
    assert (answer.json()["unit"], answer.json()["manual"], answer.json()["suspect"]) == ("%", True, False)
    row = await pool.fetchrow("SELECT time, value, flags FROM observation.measurement")
    assert row is not None
    assert tuple(row) == (NOW, 80.0, Flag.MANUAL)
    assert await pool.fetchval("SELECT value FROM observation.latest WHERE datastream_id = $1", stream) == 80
    hours = await pool.fetch("SELECT hour, datastream_ids FROM observation.dirty")
    assert (NOW.replace(minute=0, second=0), [stream]) in [(hour, ids) for hour, ids in hours]
    assert (
        await pool.fetchval(
            "SELECT details -> 'after' ->> 'note' FROM audit WHERE action = 'create' AND entity = 'manual_reading'"
        )
        == "tournée"
    )
    [item] = MEASUREMENT_BATCHES.decode(heard[0])
    assert (item.datastream_id, item.value, item.flags) == (stream, 80.0, Flag.MANUAL)


async def _keep(messages: list[bytes], data: bytes) -> None:
    messages.append(data)


async def test_an_older_reading_leaves_the_last_value_and_the_same_one_again_is_rejected(
    client, stream: int, pool: Pool
) -> None:
    path = f"/v1/datastreams/{stream}/manual-readings"
    await client.post(path, json={"time": NOW.isoformat(), "value": 80})
    older = await client.post(path, json={"time": (NOW - timedelta(hours=3)).isoformat(), "value": 60})
    twice = await client.post(path, json={"time": NOW.isoformat(), "value": 80})

    assert (older.status_code, twice.status_code) == (201, 409)
    assert await pool.fetchval("SELECT value FROM observation.latest") == 80
    assert await pool.fetchval("SELECT value FROM observation.measurement WHERE time = $1", NOW) == 80


async def test_what_is_implausible_is_flagged_and_what_is_out_of_time_is_rejected(client, stream: int) -> None:
    path = f"/v1/datastreams/{stream}/manual-readings"

    odd = await client.post(path, json={"time": NOW.isoformat(), "value": 400})
    future = await client.post(path, json={"time": (NOW + timedelta(hours=1)).isoformat(), "value": 80})
    past = await client.post(path, json={"time": (NOW - timedelta(days=400)).isoformat(), "value": 80})

    assert (odd.status_code, odd.json()["suspect"]) == (201, True)
    assert (future.status_code, past.status_code) == (422, 422)


async def test_another_tenants_datastream_takes_no_reading(other_client, stream: int, pool: Pool) -> None:
    answer = await other_client.post(
        f"/v1/datastreams/{stream}/manual-readings", json={"time": NOW.isoformat(), "value": 80}
    )

    assert answer.status_code == 404
    assert await pool.fetchval("SELECT count(*) FROM observation.measurement") == 0


async def test_a_reading_corrects_what_was_measured_at_its_instant_and_nobody_is_notified(
    client, stream: int, observations, pool: Pool, bus: Bus
) -> None:
    await bus.ensure_measurements_stream()
    heard: list[bytes] = []
    for shard in range(4):
        await bus.subscribe(topics.measurements(shard), lambda _subject, data: _keep(heard, data))
    hour = NOW.replace(minute=0, second=0) - timedelta(hours=3)
    at = hour + timedelta(minutes=30)
    await observations.readings(stream, {hour + timedelta(minutes=15): 20, at: 40})
    await roll_up(pool, force=True)
    path = f"/v1/datastreams/{stream}"

    corrected = await client.post(f"{path}/manual-readings", json={"time": at.isoformat(), "value": 70})
    again = await client.post(f"{path}/manual-readings", json={"time": at.isoformat(), "value": 75})
    listed = (await client.get(f"{path}/corrections")).json()["items"]
    measured = (await client.get(f"{path}/measurements", params={"from": hour.isoformat()})).json()["items"]
    while_dirty = await client.get(f"{path}/aggregates", params={"from": hour.isoformat(), "bucket": "hour"})
    await roll_up(pool, force=True)
    rolled_up = await client.get(f"{path}/aggregates", params={"from": hour.isoformat(), "bucket": "hour"})
    # Had a correction been published, it would be there before this one.
    later = await client.post(f"{path}/manual-readings", json={"time": NOW.isoformat(), "value": 90})

    assert (corrected.status_code, corrected.json()["corrected"], again.json()["corrected"]) == (201, True, True)
    assert [(one["value"], one["flags"], one["in_force"]) for one in listed] == [
        (75, ["manual"], True),
        (70, ["manual"], False),
        (40, [], False),
    ]
    assert [(one["value"], one["flags"]) for one in measured] == [(20, []), (75, ["manual", "corrected"])]
    assert while_dirty.json()["items"][0]["mean"] == rolled_up.json()["items"][0]["mean"] == 47.5
    assert later.status_code == 201
    assert [item.value for data in heard for item in MEASUREMENT_BATCHES.decode(data)] == [90]


async def test_a_correction_is_seen_by_its_tenant_alone(client, other_client, stream: int, observations) -> None:
    await observations.readings(stream, {NOW: 40})
    path = f"/v1/datastreams/{stream}"
    await client.post(f"{path}/manual-readings", json={"time": NOW.isoformat(), "value": 70})

    assert (await other_client.get(f"{path}/corrections")).status_code == 404
    query = {"to": (NOW + timedelta(seconds=1)).isoformat()}
    assert len((await client.get(f"{path}/corrections", params=query)).json()["items"]) == 2
