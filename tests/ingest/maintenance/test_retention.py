from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.leader import NotLeader
from core.runtime.postgres import Pool, PostgresError, connect
from ingest.chunks import CHUNKS_LOCK, HOLD_CHUNKS, list_chunks
from ingest.maintenance.jobs import keep_house
from ingest.maintenance.leader import LOCK
from ingest.maintenance.personal import forget_personal
from ingest.maintenance.retention import Term, forget
from ingest.maintenance.settings import RetentionSettings
from ingest.rollups import roll_up

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
SETTINGS = RetentionSettings.model_construct(keep_measurements_months=36, keep_personal_measurements_months=12)


def ago(days: float) -> datetime:
    return datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - days * DAY


async def ages(pool: Pool, datastream: int) -> list[int]:
    """In days, of what is left in raw."""
    rows = await pool.fetch(
        "SELECT round(extract(epoch FROM now() - time) / 86400)::int AS age FROM observation.measurement "
        "WHERE datastream_id = $1 ORDER BY 1",
        datastream,
    )
    return [row["age"] for row in rows]


async def uplink(pool: Pool, datastream: int, time: datetime) -> None:
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "SELECT device_id, $2, gen_random_uuid(), '', $2, 'empty' FROM datastream WHERE id = $1",
        datastream,
        time,
    )


@pytest.mark.parametrize(
    ("months", "personal", "whole", "shorter"),
    [
        (36, 12, 36, (12, True)),
        (0, 12, 0, (12, True)),
        (12, 12, 12, None),
        (0, 0, 0, None),
        (6, 12, 12, (6, False)),
        (6, 0, 0, (6, False)),
    ],
)
def test_a_chunk_goes_after_the_longer_term_and_a_class_of_its_rows_after_the_shorter(
    months: int, personal: int, whole: int, shorter: tuple[int, bool] | None
) -> None:
    term = Term("measurement", months, personal)

    assert (term.whole_months, term.shorter) == (whole, shorter)


async def test_measurements_go_by_class_and_their_rollups_stay(pool: Pool, measuring) -> None:
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    [personal] = await measuring.datastreams("water_volume", privacy_class=2)
    for datastream in (public, personal):
        await measuring.write(*((datastream, ago(days), 1.0, 0) for days in (10, 300, 400, 800, 1200, 1300)))
    await roll_up(pool)
    rollups = await pool.fetch("SELECT * FROM observation.rollup_hour ORDER BY 1, 2")

    for _ in range(2):
        await forget(pool, Term("measurement", 36, 12), NOW)

        assert await ages(pool, public) == [10, 300, 400, 800]
        assert await ages(pool, personal) == [10, 300]
        assert await pool.fetch("SELECT * FROM observation.rollup_hour ORDER BY 1, 2") == rollups


async def test_hours_and_last_values_of_a_dwelling_go_and_its_days_stay(pool: Pool, measuring) -> None:
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    [personal] = await measuring.datastreams("water_volume", privacy_class=2)
    [silent] = await measuring.datastreams("humidity", privacy_class=2)
    for datastream in (public, personal):
        await measuring.write(*((datastream, ago(days), 1.0, 0) for days in (10, 300, 400, 800)))
    await measuring.write((silent, ago(500), 1.0, 0))
    await roll_up(pool)
    await forget(pool, Term("measurement", 36, 12), NOW)
    days = await pool.fetch("SELECT * FROM observation.rollup_day ORDER BY 1, 2")

    for _ in range(2):
        await forget_personal(pool, 12, 0, NOW)
        await roll_up(pool, force=True)

        hours = await pool.fetch(
            "SELECT datastream_id, count(*) FROM observation.rollup_hour GROUP BY 1 ORDER BY 1"
        )
        assert [tuple(row) for row in hours] == [(public, 4), (personal, 2)]
        last = await pool.fetch("SELECT datastream_id FROM observation.latest ORDER BY 1")
        assert [row["datastream_id"] for row in last] == [public, personal]
        assert await pool.fetch("SELECT * FROM observation.rollup_day ORDER BY 1, 2") == days

    await forget_personal(pool, 0, 0, NOW)
    assert await pool.fetchval("SELECT count(*) FROM observation.rollup_hour") == 6


async def test_what_comes_late_to_a_forgotten_hour_goes_too_and_its_rollup_stays(pool: Pool, measuring) -> None:
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    await measuring.write((personal, ago(800), 20.0, 0), (personal, ago(1), 21.0, 0))
    await roll_up(pool)
    await forget(pool, Term("measurement", 36, 12), NOW)
    rollups = await pool.fetch("SELECT * FROM observation.rollup_hour ORDER BY 1, 2")
    await measuring.write((personal, ago(800) + timedelta(minutes=5), 99.0, 0))

    made = await roll_up(pool)

    assert made.forgotten == 1
    assert await ages(pool, personal) == [1]
    assert await pool.fetch("SELECT * FROM observation.rollup_hour ORDER BY 1, 2") == rollups


async def test_an_asset_that_becomes_personal_has_its_past_forgotten(pool: Pool, measuring) -> None:
    [datastream] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write((datastream, ago(500), 20.0, 0), (datastream, ago(600), 21.0, 0))
    await roll_up(pool)
    await forget(pool, Term("measurement", 36, 12), NOW)
    before = await ages(pool, datastream)
    await pool.execute("UPDATE asset SET privacy_class = 2")

    await forget(pool, Term("measurement", 36, 12), NOW)

    assert before == [500, 600]
    assert await ages(pool, datastream) == []


async def test_nothing_is_forgotten_before_it_is_rolled_up(pool: Pool, measuring) -> None:
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    await measuring.write((personal, ago(800), 20.0, 0), (personal, ago(1300), 21.0, 0))

    await forget(pool, Term("measurement", 36, 12), NOW)

    assert await ages(pool, personal) == [800, 1300]


async def test_zero_months_is_for_ever(pool: Pool, measuring) -> None:
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    await measuring.write((personal, ago(3000), 20.0, 0))
    await roll_up(pool)

    await forget(pool, Term("measurement", 0, 0), NOW)

    assert await ages(pool, personal) == [3000]


async def test_uplinks_of_a_device_that_served_a_dwelling_go_first(pool: Pool, measuring) -> None:
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    [personal] = await measuring.datastreams("temperature", privacy_class=2)
    for datastream in (public, personal):
        for days in (300, 385, 500):
            await uplink(pool, datastream, ago(days))

    await forget(pool, Term("uplink", 13, 12), NOW)

    left = await pool.fetch(
        "SELECT d.id, count(*) FROM datastream d JOIN observation.uplink u USING (device_id) GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in left] == [(public, 2), (personal, 1)]


@pytest.mark.parametrize("hypertable", ["measurement", "dirty", "uplink'; --"])
async def test_the_door_opens_for_old_chunks_of_three_tables_only(pool: Pool, hypertable: str) -> None:
    with pytest.raises(PostgresError, match="not to be dropped"):
        await pool.execute("SELECT observation.drop_chunks_before($1, now() - interval '20 days')", hypertable)


async def test_retention_runs_at_one_replica_at_a_time(pool: Pool) -> None:
    async with pool.acquire() as leader, leader.transaction():
        await leader.execute("SELECT pg_advisory_xact_lock($1)", LOCK)

        with pytest.raises(NotLeader):
            await forget(pool, Term("measurement", 36, 12), NOW)


@pytest.mark.parametrize("held_by", ["a backup", "a long query"])
async def test_chunks_that_are_held_stay_and_all_else_of_the_night_is_done(
    pool: Pool, database, measuring, monkeypatch: pytest.MonkeyPatch, held_by: str
) -> None:
    monkeypatch.setattr("ingest.maintenance.leader.SOON_OR_LATER", "SET LOCAL lock_timeout = '50ms'")
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    await measuring.write(*((public, ago(days), 1.0, 0) for days in (10, 1300)))
    await roll_up(pool)
    await pool.execute(
        "INSERT INTO unknown_gateway (gateway_id, frontend, address, first_seen_at, last_seen_at) "
        "VALUES ('\\x0102030405060708', 'udp', '', now() - interval '10 years', now() - interval '10 years')"
    )
    [chunk] = await list_chunks(pool, "measurement", 36, NOW)
    holding = await connect(database.admin_url)
    async with holding.transaction():
        if held_by == "a backup":
            await holding.execute(HOLD_CHUNKS, CHUNKS_LOCK)
        else:
            await holding.execute(f"LOCK TABLE {chunk.table} IN ACCESS SHARE MODE")

        await keep_house(pool, SETTINGS)

        assert await ages(pool, public) == [10, 1300]
        assert await pool.fetchval("SELECT count(*) FROM unknown_gateway") == 0
    await holding.close()

    await keep_house(pool, SETTINGS)

    assert await ages(pool, public) == [10]
