"""Terms of dwellings on a virtual clock, what goes with a consent, and days of ten dwellings."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core.runtime.postgres import CheckViolationError, Pool
from ingest.maintenance.dwelling_days import make_dwelling_days
from ingest.maintenance.jobs import keep_house
from ingest.maintenance.personal import forget_ended_uplinks, forget_personal
from ingest.maintenance.retention import terms
from ingest.maintenance.settings import RetentionSettings
from ingest.rollups import roll_up

# Long past for the database's own clock, which nothing here asks.
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
THIRTEEN_MONTHS, SIX_MONTHS = datetime(2025, 5, 15, 12, tzinfo=UTC), datetime(2025, 12, 15, 12, tzinfo=UTC)
# Local midnights around 36 and 12 months ago.
DAYS_36, DAYS_12 = datetime(2023, 6, 15, 22, tzinfo=UTC), datetime(2025, 6, 15, 22, tzinfo=UTC)
ADD = """
INSERT INTO observation.{} (datastream_id, bucket, n, suspects, sum, first, last) VALUES ($1, $2, 1, 0, $3, $3, $3)
"""
STATE = """
INSERT INTO processing (tenant_id, asset_id, purpose, basis, keep_hours_months, keep_days_months, stated_by)
SELECT s.tenant_id, s.asset_id, 'p', $2, $3, $4, 'a' FROM datastream s WHERE s.id = $1
"""
CONSENT = """
INSERT INTO consent (tenant_id, asset_id, given_by, given_at, document, noted_by, ended_at, ended_by)
SELECT s.tenant_id, s.asset_id, 'g', '2026-01-01', 'd', 'a', $2, 'a' FROM datastream s WHERE s.id = $1
"""


async def add_bucket(pool: Pool, table: str, datastream: int, bucket: datetime, value: float = 1.0) -> None:
    await pool.execute(ADD.format(table), datastream, bucket, value)


async def times(pool: Pool, table: str, datastream: int) -> list[datetime]:
    column = "bucket" if table.startswith("rollup") else "time"
    rows = await pool.fetch(
        f"SELECT {column} AS at FROM observation.{table} WHERE datastream_id = $1 ORDER BY 1", datastream
    )
    return [row["at"] for row in rows]


async def test_of_a_dwelling_13_months_of_hours_and_36_of_days_are_kept_to_the_hour_and_no_class_but_it(
    pool: Pool, measuring
) -> None:
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    [shorter] = await measuring.datastreams("temperature", privacy_class=2)
    await pool.execute(STATE, shorter, "public_task", 6, 12)
    hours = [THIRTEEN_MONTHS - HOUR, THIRTEEN_MONTHS, SIX_MONTHS - HOUR, SIX_MONTHS]
    days = [DAYS_36 - DAY, DAYS_36, DAYS_12 - DAY, DAYS_12]
    for stream in (public, personal, shorter):
        for hour in hours:
            await add_bucket(pool, "rollup_hour", stream, hour)
        for day in days:
            await add_bucket(pool, "rollup_day", stream, day)
        await measuring.write(*((stream, SIX_MONTHS + step, 1.0, 0) for step in (-SECOND, SECOND)))
    await pool.execute("DELETE FROM observation.dirty")

    await forget_personal(pool, 0, 0, NOW)
    for_ever = [await times(pool, "rollup_hour", personal), await times(pool, "rollup_day", personal)]
    for _ in range(2):
        await forget_personal(pool, 13, 36, NOW)

    assert for_ever == [hours, days]
    assert [await times(pool, "rollup_hour", stream) for stream in (public, personal, shorter)] == [
        hours,
        hours[1:],
        hours[3:],
    ]
    assert [await times(pool, "rollup_day", stream) for stream in (public, personal, shorter)] == [
        days,
        days[1:],
        days[3:],
    ]
    assert await times(pool, "measurement", shorter) == [SIX_MONTHS + SECOND]
    # What comes late to a day whose hours have begun to go makes neither anew, and does not stay.
    await add_bucket(pool, "rollup_day", personal, datetime(2025, 5, 14, 22, tzinfo=UTC), 7.0)
    await measuring.write((personal, THIRTEEN_MONTHS + HOUR / 2, 99.0, 0))
    made = await roll_up(pool, force=True)
    assert (made.forgotten, made.days) == (1, 0)
    assert await times(pool, "rollup_hour", personal) == hours[1:]
    assert await pool.fetchval("SELECT max(sum) FROM observation.rollup_day") == 7.0
    assert len(await times(pool, "measurement", personal)) == 2


def test_a_dwellings_readings_do_not_outlive_its_hours_and_both_can_be_set() -> None:
    def personal(**given: int) -> int:
        return terms(RetentionSettings.model_construct(**given))[0].personal_months

    assert personal() == 12
    assert personal(keep_personal_hours_months=6) == 6
    assert personal(keep_personal_hours_months=0) == 12
    assert personal(keep_personal_measurements_months=0) == 13


async def test_with_the_end_of_a_consent_what_is_finer_than_days_goes_when_the_day_is_over_and_days_go_on(
    pool: Pool, measuring
) -> None:
    [stream] = await measuring.datastreams("temperature", privacy_class=2)
    await pool.execute(STATE, stream, "consent", None, None)
    before, same_day, next_day = NOW - 30 * DAY, NOW + 3 * HOUR, datetime(2026, 6, 15, 23, tzinfo=UTC)
    uplinks = "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) SELECT "
    uplinks += "device_id, $2, gen_random_uuid(), '', $2, 'empty' FROM datastream WHERE id = $1"
    for at in (before, same_day, next_day):
        await pool.execute(uplinks, stream, at)
    await measuring.write(*((stream, at, 20.0, 0) for at in (before, same_day, next_day)))
    await roll_up(pool, force=True)
    days = await pool.fetch("SELECT * FROM observation.rollup_day ORDER BY 1, 2")
    await pool.execute(CONSENT, stream, NOW)

    async def left() -> list[int]:
        tables = [await times(pool, table, stream) for table in ("measurement", "rollup_hour", "latest")]
        return [*map(len, tables), await pool.fetchval("SELECT count(*) FROM observation.uplink")]

    async def a_pass(now: datetime) -> None:
        await forget_personal(pool, 13, 36, now)
        await forget_ended_uplinks(pool, now)

    await a_pass(NOW + HOUR)
    on_the_day = await left()
    await a_pass(next_day + HOUR / 4)
    over = await left()
    await measuring.write((stream, same_day + HOUR / 2, 99.0, 0))
    await roll_up(pool, force=True)
    late = await left()
    await a_pass(next_day + DAY)

    assert on_the_day == [3, 3, 1, 3]
    assert over == late == [1, 1, 1, 1]
    assert await left() == [0, 0, 0, 0]
    assert await pool.fetch("SELECT * FROM observation.rollup_day ORDER BY 1, 2") == days


async def test_the_frames_of_a_meter_that_was_replaced_go_with_the_consent_of_the_dwelling_that_it_served(
    pool: Pool, measuring
) -> None:
    [stream] = await measuring.datastreams("temperature", privacy_class=2)
    [other] = await measuring.datastreams("temperature", privacy_class=2)
    await pool.execute(STATE, stream, "consent", None, None)
    former, current = [
        await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", one) for one in (stream, other)
    ]
    for device in (former, current):
        await pool.execute(
            "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
            "VALUES ($1, $2, gen_random_uuid(), '', $2, 'empty')",
            device,
            NOW - 30 * DAY,
        )
    # Another meter takes over, as by `PUT /v1/assets/{id}/device`: the curve goes on, the former one is idle.
    await pool.execute("UPDATE assignment SET during = tstzrange(lower(during), '2026-06-01')")
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
        "SELECT tenant_id, asset_id, $2, '[2026-06-01,)' FROM datastream WHERE id = $1",
        stream,
        current,
    )
    await pool.execute("DELETE FROM datastream WHERE id = $1", other)
    await pool.execute("UPDATE datastream SET device_id = $2 WHERE id = $1", stream, current)
    await pool.execute(CONSENT, stream, NOW)

    await forget_ended_uplinks(pool, NOW + DAY)

    assert await pool.fetchval("SELECT count(*) FROM observation.uplink") == 0


async def test_days_of_dwellings_are_of_ten_of_a_commune_at_least_and_are_made_once(pool: Pool, measuring) -> None:
    first = datetime(2026, 6, 9, 22, tzinfo=UTC)
    streams = {}
    for commune, count in (("Landerneau", 10), ("Brest", 9)):
        for number in range(count):
            index, second = await measuring.datastreams("water_volume", 2, privacy_class=2)
            await pool.execute(
                "UPDATE asset SET commune = $2 WHERE id = (SELECT asset_id FROM datastream WHERE id = $1)",
                index,
                commune,
            )
            streams[commune, number] = index
            for stream in (index, second):  # Two meters of one dwelling are one dwelling.
                for day in range(3):
                    await add_bucket(pool, "rollup_day", stream, first + day * DAY, 1000 + 10 * number * day)
    # On the last day one has no reading: the nine others are not shown.
    await pool.execute(
        "DELETE FROM observation.rollup_day WHERE datastream_id = $1 AND bucket = $2",
        streams["Landerneau", 3],
        first + 2 * DAY,
    )
    await pool.execute(
        "DELETE FROM observation.rollup_day WHERE datastream_id = $1 + 1 AND bucket = $2",
        streams["Landerneau", 3],
        first + 2 * DAY,
    )
    shown = "SELECT commune, day, dwellings, mean FROM observation.dwelling_day ORDER BY 1, 2"

    early = await make_dwelling_days(pool, first + 2 * DAY)
    assert (early, await pool.fetch(shown)) == (0, [])
    await make_dwelling_days(pool, first + 20 * DAY)
    made = [tuple(row) for row in await pool.fetch(shown)]
    await pool.execute("UPDATE observation.rollup_day SET last = last + 5 * extract(day FROM bucket)")
    await pool.execute("DELETE FROM observation.dwelling_days_made")  # As after a confirmation.
    await make_dwelling_days(pool, first + 20 * DAY)

    # Of two meters each: 2 * (0 + 10 + ... + 90) / 10.
    assert made == [("Landerneau", date(2026, 6, 11), 10, 90.0)]
    assert [tuple(row) for row in await pool.fetch(shown)] == made
    with pytest.raises(CheckViolationError):
        await pool.execute("UPDATE observation.dwelling_day SET dwellings = 9")


async def test_one_pass_of_maintenance_does_all_of_it_and_writes_down_the_terms(pool: Pool, measuring) -> None:
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    await add_bucket(pool, "rollup_hour", personal, datetime.now(UTC) - 30 * DAY)
    await add_bucket(pool, "rollup_hour", personal, datetime.now(UTC) - 200 * DAY)

    await keep_house(pool, RetentionSettings.model_construct(keep_personal_hours_months=3))

    assert len(await times(pool, "rollup_hour", personal)) == 1
    assert await pool.fetchval("SELECT hours FROM personal_term") == 3
