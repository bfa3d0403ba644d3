"""Aggregates put together from rollups and raw are those of the raw measurements alone, at every moment."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.model import consumption
from core.model.consumption import IndexReading
from core.model.quantities import Kind
from core.runtime.postgres import Connection, Pool
from ingest.rollups import roll_up
from ingest.series.buckets import AT_THE_EDGE, Bucket
from tests.entering import tenant_transaction
from tests.ingest.series.from_raw import read_buckets

HOUR = timedelta(hours=1)
PARIS = ZoneInfo("Europe/Paris")
EDGES = """
SELECT date_trunc($3, $1::timestamptz, $4),
       date_add(date_trunc($3, $2::timestamptz - interval '1 microsecond', $4), ('1 ' || $3)::interval, $4)
"""

# $4: hour, day...; $5: time zone; $6: the edge's microsecond.
RAW_BUCKETS = """
SELECT bucket AS since, date_add(bucket, ('1 ' || $4)::interval, $5) AS until,
       (count(*) FILTER (WHERE sound))::int AS readings, (count(*) FILTER (WHERE NOT sound))::int AS suspects,
       min(value) FILTER (WHERE sound) AS minimum, max(value) FILTER (WHERE sound) AS maximum,
       avg(value) FILTER (WHERE sound) AS mean,
       first(value, time) FILTER (WHERE sound) AS first, last(value, time) FILTER (WHERE sound) AS last
FROM (
    SELECT date_trunc($4, time - $6::interval, $5) AS bucket, time, value, flags & 3 = 0 AS sound
    FROM measurement WHERE datastream_id = $1 AND time >= $2 AND time < $3
) AS readings
GROUP BY bucket ORDER BY bucket
"""
RAW_INDEXES = """
SELECT time, value FROM measurement WHERE datastream_id = $1 AND time < $2 AND flags & 3 = 0 ORDER BY time
"""


async def from_raw(
    connection: Connection,
    datastream: int,
    since: datetime,
    until: datetime,
    bucket: str,
    zone: str,
    kind: Kind,
) -> list[Bucket]:
    """What aggregates were before there were rollups; consumption from every single reading."""
    begin, end = await connection.fetchrow(EDGES, since, until, bucket, zone)
    edge = AT_THE_EDGE if kind is Kind.COUNTER else timedelta(0)
    rows = await connection.fetch(RAW_BUCKETS, datastream, begin + edge, end + edge, bucket, zone, edge)
    buckets = [Bucket(*row) for row in rows]
    if kind is not Kind.COUNTER or not rows:
        return buckets
    readings = [IndexReading(*row) for row in await connection.fetch(RAW_INDEXES, datastream, end + edge)]
    spans = [consumption.Bucket(one.since, one.until) for one in buckets]
    earlier = [reading for reading in readings if reading.at <= begin]
    if earlier:
        first, last = await connection.fetchrow(EDGES, earlier[-1].at - edge, earlier[-1].at, bucket, zone)
        spans.insert(0, consumption.Bucket(first, last))
    inside = earlier[-1:] + [reading for reading in readings if reading.at > begin]
    found = consumption.consumption(spans, inside, unknown_after=2 * HOUR).by_bucket
    differences = found[1:] if earlier else found
    return [one._replace(difference=value, mean=None) for one, value in zip(buckets, differences, strict=True)]


def near(buckets: list[Bucket]) -> list[tuple]:
    """Sums are added up in another order."""
    return [
        (
            *bucket._replace(mean=None, difference=None),
            *(None if one is None else pytest.approx(one, abs=1e-9) for one in (bucket.mean, bucket.difference)),
        )
        for bucket in buckets
    ]


async def tenant_of(pool: Pool) -> int:
    return await pool.fetchval("SELECT id FROM tenant WHERE slug = 'mesures'")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_rolled_up_the_answer_is_that_of_raw(
    pool: Pool, api_pool: Pool, measuring, seed: int
) -> None:
    """Both nights of the clock, indexes at edges, suspects, late readings, this very hour, and the next."""
    chance = random.Random(seed)
    gauge, index = await measuring.datastreams("temperature") + await measuring.datastreams("water_volume")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    starts = [
        datetime(2026, 3, 28, tzinfo=UTC),
        datetime(2026, 10, 24, tzinfo=UTC),
        now - 50 * HOUR,
    ]
    rows = {}
    for start in starts:
        for _ in range(120):
            at = start + chance.choice((HOUR, HOUR / 4, HOUR / 7)) * chance.randrange(60)
            datastream = chance.choice((gauge, index))
            rows[datastream, at] = (datastream, at, chance.uniform(-5, 5), chance.choice((0, 0, 0, 1, 2, 5)))
    for minutes in (0, 10, 50, 60, 65):
        for datastream in (gauge, index):
            at = now + timedelta(minutes=minutes)
            rows[datastream, at] = (datastream, at, chance.uniform(-5, 5), 0)
    shuffled = list(rows.values())
    chance.shuffle(shuffled)
    tenant = await tenant_of(pool)
    for place in range(0, len(shuffled), 120):
        if place and chance.random() < 0.7:
            await roll_up(pool, force=chance.random() < 0.5)
        await measuring.write(*shuffled[place : place + 120])
        async with tenant_transaction(api_pool, tenant) as connection:
            for _ in range(25):
                since = chance.choice(starts) + HOUR * chance.uniform(-30, 60)
                asked = {
                    "datastream": chance.choice((gauge, index)),
                    "since": since,
                    "until": since + HOUR * chance.choice((1, 3, 30, 100)),
                    "bucket": chance.choice(("hour", "day", "week", "month", "year")),
                    "zone": chance.choice(("Europe/Paris", "UTC", "America/Cayenne", "Asia/Kolkata")),
                }
                asked["kind"] = Kind.COUNTER if asked["datastream"] == index else Kind.GAUGE
                wanted = await from_raw(connection, **asked)
                found = await read_buckets(
                    connection,
                    asked["datastream"],
                    since,
                    asked["until"],
                    bucket=asked["bucket"],
                    timezone=asked["zone"],
                )

                assert near(found.buckets) == near(wanted), asked


def by_calendar(rows: list[tuple], zone: ZoneInfo, bucket: str, is_index: bool) -> list[tuple]:
    """Hours and local days as Python's own calendar has them: begin, end, readings, suspects, extremes, edges."""
    groups: dict[tuple[datetime, datetime], list[tuple[datetime, float, int]]] = {}
    for _, at, value, flags in rows:
        instant = at - AT_THE_EDGE if is_index else at
        if bucket == "hour":
            begin = instant.replace(minute=0, second=0, microsecond=0)
            end = begin + HOUR
        else:
            day = instant.astimezone(zone).date()
            begin = datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)
            end = datetime.combine(day + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)
        groups.setdefault((begin, end), []).append((at, value, flags))
    buckets: list[tuple] = []
    for (begin, end), readings in sorted(groups.items()):
        sound = [value for _, value, flags in sorted(readings) if not flags & 3]
        extremes = (min(sound), max(sound), sound[0], sound[-1]) if sound else (None,) * 4
        buckets.append((begin, end, len(sound), len(readings) - len(sound), *extremes))
    return buckets


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)])
@pytest.mark.parametrize("quantity", ["temperature", "water_volume"])
async def test_days_of_23_and_of_25_hours_are_those_of_the_calendar(
    pool: Pool, api_pool: Pool, measuring, night: datetime, quantity: str
) -> None:
    chance = random.Random(quantity)
    [datastream] = await measuring.datastreams(quantity)
    instants = chance.sample([night + n * HOUR / 4 for n in range(4 * 72)], 200)
    rows = [(datastream, at, chance.uniform(-5, 5), chance.choice((0, 0, 1))) for at in instants]
    await measuring.write(*rows[:120])
    await roll_up(pool)
    await measuring.write(*rows[120:])
    await roll_up(pool)
    tenant = await tenant_of(pool)
    is_index = quantity == "water_volume"

    for bucket in ("hour", "day"):
        async with tenant_transaction(api_pool, tenant) as connection:
            read = await read_buckets(
                connection,
                datastream,
                night - 48 * HOUR,
                night + 120 * HOUR,
                bucket=bucket,
                timezone="Europe/Paris",
            )

        found = read.buckets
        assert [(*one[:6], *one[7:9]) for one in found] == by_calendar(rows, PARIS, bucket, is_index)
    lengths = {(one.until - one.since) / HOUR for one in found}
    assert lengths == {24, 23 if night.month == 3 else 25}


async def test_hours_and_days_outlive_the_raw_that_they_were_made_from(
    pool: Pool, api_pool: Pool, measuring
) -> None:
    [index] = await measuring.datastreams("water_volume")
    midnight = datetime(2024, 10, 3, tzinfo=PARIS).astimezone(UTC)
    await measuring.write(*((index, midnight + HOUR * n, 100.0 + n, 0) for n in range(49)))
    await roll_up(pool)
    tenant = await tenant_of(pool)

    async def days() -> list[Bucket]:
        async with tenant_transaction(api_pool, tenant) as connection:
            read = await read_buckets(
                connection,
                index,
                midnight + 30 * HOUR,
                midnight + 31 * HOUR,
                bucket="day",
                timezone="Europe/Paris",
            )
        return read.buckets

    before = await days()
    await pool.execute("DELETE FROM observation.measurement")
    await pool.execute("INSERT INTO observation.forgotten VALUES ('measurement', 0, $1)", midnight + 90 * HOUR)
    await measuring.write((index, midnight + 30 * HOUR + HOUR / 2, 5.0, 0))
    while_it_is_dirty = await days()
    await roll_up(pool)

    assert before == while_it_is_dirty == await days()
    assert (before[0].last, before[0].difference) == (148, 24)


async def test_another_tenant_sees_no_rollup_and_no_dirty_hour(pool: Pool, api_pool: Pool, measuring) -> None:
    [gauge] = await measuring.datastreams("temperature")
    at = datetime(2026, 10, 3, 9, 30, tzinfo=UTC)
    await measuring.write((gauge, at, 3.0, 0))
    await roll_up(pool)
    await measuring.write((gauge, at + HOUR, 3.0, 0))
    tables = ("rollup_hour", "rollup_day", "unrolled")

    async def counts(tenant: int) -> list[int]:
        async with tenant_transaction(api_pool, tenant) as connection:
            return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    other = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('autre', 'Autre') RETURNING id")

    assert await counts(await tenant_of(pool)) == [1, 1, 1]
    assert await counts(other) == [0, 0, 0]
