import random
from datetime import UTC, datetime, timedelta

import pytest

from api.daily_store import Day, read_daily
from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from tests.entering import tenant_transaction
from tests.ingest.series.from_raw import read_buckets

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("seed", range(2))
async def test_days_of_many_are_the_days_of_each(pool: Pool, api_pool: Pool, measuring, seed: int) -> None:
    chance = random.Random(seed)
    gauges, indexes = await measuring.datastreams("temperature", 3), await measuring.datastreams("pulse_count", 3)
    states = await measuring.datastreams("open", 3)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = {}
    for _ in range(400):
        at = now + chance.choice((HOUR, HOUR / 4)) * chance.randrange(-90, 2)
        datastream = chance.choice(gauges + indexes + states)
        value = chance.choice((0, 1)) if datastream in states else chance.uniform(0, 100)
        rows[datastream, at] = (datastream, at, value, chance.choice((0, 0, 1)))
    shuffled = list(rows.values())
    tenant = await pool.fetchval("SELECT id FROM tenant WHERE slug = 'mesures'")
    for place in range(0, len(shuffled), 100):
        await roll_up(pool, force=chance.random() < 0.5)
        await measuring.write(*shuffled[place : place + 100])
        since = now - HOUR * chance.randrange(100)
        until = since + HOUR * chance.choice((1, 20, 200))
        async with tenant_transaction(api_pool, tenant) as connection:
            daily = await read_daily(connection, gauges + indexes + states, since, until)
            each = []
            for datastream in gauges + indexes + states:
                read = await read_buckets(
                    connection,
                    datastream,
                    since,
                    until,
                    bucket="day",
                    timezone="Europe/Paris",
                )
                each += [
                    (datastream, Day(day.since, *day[2:9])) for day in read.buckets if day.since < now + 48 * HOUR
                ]

        listed = [(datastream, day) for datastream, days in daily.items() for day in days]
        assert [(id_, day._replace(mean=None)) for id_, day in listed] == [
            (id_, day._replace(mean=None)) for id_, day in each
        ]
        assert [day.mean for id_, day in listed if id_ not in indexes] == [
            day.mean if day.mean is None else pytest.approx(day.mean, abs=1e-3)
            for id_, day in each
            if id_ not in indexes
        ]
