"""Buckets of many datastreams at once are those of their readings, one by one, at every moment."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.model.calendar_buckets import Unit, any_edges_of
from core.model.consumption import Amount, MeterChange
from core.runtime.postgres import Pool
from ingest.rollups import roll_up
from ingest.series.buckets import Bucket
from ingest.series.series_choice import select_series, with_profiles
from ingest.series.series_store import read_series
from registry.wanted_datastreams import WantedDatastreams
from tests.entering import tenant_transaction
from tests.ingest.series.from_raw import buckets_from_raw

HOUR, PARIS = timedelta(hours=1), ZoneInfo("Europe/Paris")
UNITS: tuple[Unit, ...] = ("hour", "day", "week", "month", "year")
NIGHTS = (
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2025, 12, 29, tzinfo=UTC),
)


def near(buckets: list[Bucket], gaps: list[Amount]) -> tuple:
    def close(one: float | None) -> object:
        return None if one is None else pytest.approx(one, abs=1e-6)

    return (
        [(*bucket[:6], close(bucket.mean), *bucket[7:9], close(bucket.difference)) for bucket in buckets],
        [(gap.since, gap.until, close(gap.amount)) for gap in gaps],
    )


async def compare(
    api_pool: Pool,
    tenant: int,
    written: list[tuple[int, datetime, float, int]],
    changes: dict[int, list[MeterChange]],
    chance: random.Random,
    starts: list[datetime],
    units: tuple[Unit, ...],
) -> None:
    """Some ranges of every datastream, at once and from each reading; one calendar is on no hour of UTC."""
    async with tenant_transaction(api_pool, tenant) as connection:
        series = await with_profiles(connection, await select_series(connection, None, WantedDatastreams(), 100))
        assert len(series) == 9
        for _ in range(6):
            since = chance.choice(starts) + HOUR * chance.uniform(-30, 60)
            until = since + HOUR * chance.choice((1, 3, 30, 100))
            unit = chance.choice(units)
            zone = ZoneInfo(
                chance.choice(("Europe/Paris", "Europe/Paris", "UTC", "America/Cayenne", "Pacific/Marquesas"))
            )
            edges = any_edges_of(since, until, unit, zone)
            found = (await read_series(connection, series, edges, unit, zone)).series
            now = await connection.fetchval("SELECT now()")
            for one in series:
                readings = [row[1:] for row in written if row[0] == one.id]
                wanted, gaps = buckets_from_raw(
                    readings, edges, unit, zone, one.kind, one.expected, now, one.moduli, changes.get(one.id, ())
                )
                asked = (one.id, one.quantity, since, until, unit, zone)
                if wanted:
                    assert near(found[one.id].buckets, found[one.id].gaps) == near(wanted, gaps), asked
                else:
                    assert one.id not in found, asked


async def test_buckets_of_many_are_those_of_every_reading(pool: Pool, api_pool: Pool, measuring) -> None:
    """Both nights of the clock, a new year, suspects, late data, resets, meter changes, this very hour."""
    chance = random.Random(20261128)
    gauges, indexes = await measuring.datastreams("temperature", 2), await measuring.datastreams("water_volume", 5)
    # Weeks and longer come from days in one row each, but of what falls: here never, and there at each midnight.
    rising, daily = indexes[-1], indexes[-2]
    states = await measuring.datastreams("open", 2)
    await pool.execute(
        "UPDATE device_profile SET expected_interval = '2 hours', moduli = '{\"water_volume\": 200}'"
    )
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    starts = [*NIGHTS, now - 50 * HOUR]
    rows = {}
    for start in starts:
        for id_ in (*gauges, *indexes, *states):
            index = chance.uniform(0, 100)
            for _ in range(35):
                at = start + chance.choice((HOUR, HOUR / 4)) * chance.randrange(60)
                if at <= now + HOUR:
                    index = max(0.0, index + chance.choice((1, 1, 2, 5, -1, -80)))
                    state, risen = chance.choice((0.0, 1.0)), float((at - NIGHTS[-1]) // (HOUR / 4))
                    of_day = (at - timedelta(microseconds=1)).astimezone(PARIS)
                    since_midnight = 50.0 + of_day.hour + of_day.minute / 60
                    others = {rising: risen, daily: since_midnight, **dict.fromkeys(states, state)}
                    value = others.get(id_, index)
                    rows[id_, at] = (id_, at, value, chance.choice((0, 0, 0, 0, 1)))
    shuffled = list(rows.values())
    chance.shuffle(shuffled)
    changed = chance.choice(NIGHTS) + 20 * HOUR
    await pool.execute(
        "INSERT INTO observation.meter_change (datastream_id, at, final_index, initial_index, cause) "
        "VALUES ($1, $2, 120, 3, 'manual')",
        indexes[0],
        changed,
    )
    changes = {indexes[0]: [MeterChange(changed, 120, 3)]}
    tenant = await pool.fetchval("SELECT id FROM tenant WHERE slug = 'mesures'")
    for place in range(0, len(shuffled), 200):
        if place:
            await roll_up(pool, force=chance.random() < 0.5)
        await measuring.write(*shuffled[place : place + 200])
        written = shuffled[: place + 200]
        await compare(api_pool, tenant, written, changes, chance, starts, units=UNITS)
    # Nothing waits any more: what may be read whole is.
    await roll_up(pool, force=True)
    await compare(api_pool, tenant, shuffled, changes, chance, starts, units=UNITS[1:])
