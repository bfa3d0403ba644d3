"""Exports of buckets: what the file says is what /v1/measurements/series answers, for whoever asked for it."""

import csv
import io
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.runtime.postgres import Pool, open_pool
from ingest.exports import buckets
from ingest.exports.runner import export_next
from ingest.rollups import roll_up
from registry.tenants import create_api_key
from tests.api.conftest import client_of

ROOM = 1 << 30
T0 = datetime(2026, 3, 27, 23, tzinfo=UTC)  # Midnight in Paris, the day before the one of 23 hours.
HOUR = timedelta(hours=1)
RANGE = {"from": "2026-03-27T23:00:00Z", "to": "2026-03-30T22:00:00Z"}
NAMES = (
    *("from", "to", "readings", "suspects", "completeness", "value", "value_is"),
    *("minimum", "maximum", "first", "last", "in_gap"),
)


@pytest.fixture
async def maintenance(database) -> AsyncGenerator[Pool]:
    async with open_pool(database.url_of("maintenance"), "territoire-tests", size=3) as pool:
        yield pool


@pytest.fixture
async def fleet(registry, observations, pool: Pool) -> dict[str, int]:
    """A temperature every hour for two days but for one afternoon, and an index that a gap interrupts."""
    found: dict[str, int] = {}
    profile = await registry.profile(expected_interval_s=3600)
    for kind, quantity, unit in (("room", "temperature", "Cel"), ("water_meter", "water_volume", "m3")):
        asset = await registry.asset(kind=kind, name=f"; {kind}")
        device = await registry.device(profile, asset_id=asset["id"])
        found[kind] = await observations.datastream(device["dev_eui"], asset["id"], quantity, unit)
    hours = [hour for hour in range(47) if not 36 <= hour < 42]
    await observations.readings(found["room"], {T0 + hour * HOUR: 10 + hour / 4 for hour in hours})
    await observations.readings(found["room"], {T0 + 5 * HOUR + timedelta(minutes=1): 1e6}, flags=1)
    await observations.readings(found["water_meter"], {T0 + hour * HOUR: 100 + hour for hour in hours})
    await roll_up(pool)
    return found


async def made(client, maintenance: Pool, **body: Any) -> bytes:
    answer = await client.post("/v1/exports", json=RANGE | body)
    assert answer.status_code == 201, answer.text
    assert await export_next(maintenance, "m1", ROOM) is not None
    shown = (await client.get(f"/v1/exports/{answer.json()['id']}")).json()
    assert (shown["state"], shown["reason"]) == ("done", None)
    return (await client.get(f"/v1/exports/{answer.json()['id']}/file")).content


async def test_days_are_those_of_the_series_to_the_digit(
    client, fleet, maintenance: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unit in ("hour", "day", "week", "month", "year"):
        asked = {"bucket": unit, **RANGE}
        series = (await client.get("/v1/measurements/series", params=asked)).json()["items"]
        began = {one["datastream_id"]: False for one in series}
        expected = []
        for one in series:
            began[one["datastream_id"]] |= one["readings"] + one["suspects"] > 0
            if began[one["datastream_id"]]:
                expected.append(one)
        whole = await made(client, maintenance, bucket=unit, format="ndjson")
        monkeypatch.setattr(buckets, "BUCKETS_AT_ONCE", 5)
        in_parts = await made(client, maintenance, bucket=unit, format="ndjson")
        monkeypatch.undo()

        lines = [json.loads(line) for line in whole.decode().splitlines()]
        expected.sort(key=lambda one: (list(fleet.values()).index(one["datastream_id"]), one["from"]))
        assert [[line[name] for name in ("datastream_id", *NAMES)] for line in lines] == [
            [one[name] for name in ("datastream_id", *NAMES)] for one in expected
        ], unit
        assert in_parts == whole


async def test_a_spreadsheet_has_local_days_and_their_completeness(client, fleet, maintenance: Pool) -> None:
    sheet = (await made(client, maintenance, bucket="day", spreadsheet=True)).decode()
    plain = (await made(client, maintenance, bucket="day", kind="room")).decode()

    rows = list(csv.DictReader(io.StringIO(sheet.removeprefix("\ufeff")), delimiter=";"))
    room = [row for row in rows if row["type"] == "room"]
    water = [row for row in rows if row["type"] == "water_meter"]
    # 28 March: 24 hours of 24; 29 March has 23, of which 36 to 41 are missing: 17. Of the 30th nothing.
    assert [(row["début"], row["mesures"], row["suspectes"], row["complétude"]) for row in room] == [
        ("28/03/2026 00:00:00", "24", "1", "1"),
        ("29/03/2026 00:00:00", "17", "0", "0,7391"),
        ("30/03/2026 00:00:00", "0", "0", "0"),
    ]
    # The mean of 10, 10.25 ... 15.75 is 12.875.
    assert (room[0]["valeur"], room[0]["valeur est"], room[0]["maximum"]) == ("12,875", "moyenne", "15,75")
    assert (water[0]["valeur est"], water[0]["actif"]) == ("progression", "; water_meter")
    assert plain.splitlines()[0] == (
        "datastream_id,asset,kind,commune,position,channel,quantity,unit," + ",".join(NAMES)
    )
    assert plain.splitlines()[1].endswith(
        "2026-03-27T23:00:00Z,2026-03-28T23:00:00Z,24,1,1,12.875,mean,10,15.75,10,15.75,"
    )


async def test_parquet_of_buckets_has_the_same_columns(client, fleet, maintenance: Pool) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    lines = (await made(client, maintenance, bucket="hour", format="ndjson")).decode().splitlines()
    table = pq.read_table(io.BytesIO(await made(client, maintenance, bucket="hour", format="parquet")))

    parsed = [json.loads(line) for line in lines]
    assert table.column_names == list(parsed[0])
    columns = table.to_pydict()
    for name in ("datastream_id", "asset", "readings", "completeness", "value", "value_is", "last", "in_gap"):
        assert columns[name] == [one[name] for one in parsed], name
    assert [at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in columns["from"]] == [one["from"] for one in parsed]


async def test_who_sees_less_gets_fewer_buckets(
    client, app, tenancy, other_client, other_tenancy, fleet, maintenance: Pool, pool: Pool
) -> None:
    """A key of one kind of assets; a tenant that was shared a day of one room."""
    key = await create_api_key(pool, tenancy.id, "compteurs", ("read",))
    await pool.execute("UPDATE api_key SET asset_kinds = '{water_meter}' WHERE id = $1", key.split("_")[1])
    room = await pool.fetchval("SELECT asset_id FROM datastream WHERE id = $1", fleet["room"])
    shared = {
        "tenant": "autre", "asset_id": room,
        "data_from": "2026-03-28T23:00:00Z", "data_to": "2026-03-29T22:00:00Z",
    }  # fmt: skip
    grant = (await client.post("/v1/grants", json=shared)).json()
    assert (await other_client.post(f"/v1/grants/{grant['id']}/accept")).status_code == 200

    async with client_of(app, key) as limited:
        of_kind = (await made(limited, maintenance, bucket="day", format="ndjson")).decode().splitlines()
    of_other = (await made(other_client, maintenance, bucket="day", format="ndjson")).decode().splitlines()
    answered = await other_client.get("/v1/measurements/series", params={"bucket": "day", **RANGE})

    assert {json.loads(line)["kind"] for line in of_kind} == {"water_meter"}
    seen = [one for one in answered.json()["items"] if one["readings"]]
    assert [json.loads(line)["readings"] for line in of_other if json.loads(line)["readings"]] == [17]
    assert [one["readings"] for one in seen] == [17]
