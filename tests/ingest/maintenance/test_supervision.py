import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from core.runtime.postgres import Pool, connect
from ingest.maintenance.supervision import is_scarce, supervise
from tests.conftest import Database

LARGE = 1 << 50


def exported(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"territoire_maintenance_{name}")


@pytest.mark.parametrize(("free", "scarce"), [(0, True), (19, True), (20, False), (100, False), (-5, True)])
def test_less_than_a_fifth_is_scarce(free: int, scarce: bool) -> None:
    assert is_scarce(free, 100) is scarce


async def test_the_disk_is_the_one_of_the_folder(pool: Pool, tmp_path: Path) -> None:
    await supervise(pool, LARGE, tmp_path)

    disk = shutil.disk_usage(tmp_path)
    assert exported("disk_bytes") == disk.total
    # Others write meanwhile.
    assert exported("disk_free_bytes") == pytest.approx(disk.free, abs=disk.total / 10)


async def test_a_database_near_its_limit_is_reported(pool: Pool) -> None:
    octets = await pool.fetchval("SELECT pg_database_size(current_database())")
    with capture_logs() as at_ease:
        await supervise(pool, octets * 2, None)
        await supervise(pool, 0, None)
    with capture_logs() as nearly_full:
        await supervise(pool, round(octets * 1.1), None)

    assert at_ease == []
    assert [line["event"] for line in nearly_full] == ["database_nearly_full"]


async def test_a_folder_that_cannot_be_seen_does_not_stop_the_rest(pool: Pool, tmp_path: Path) -> None:
    with capture_logs() as lines:
        await supervise(pool, LARGE, tmp_path / "nowhere")

    assert [line["event"] for line in lines] == ["disk_not_measured"]
    assert exported("disk_limit_bytes") == LARGE


async def test_a_table_in_parts_takes_what_its_parts_take(pool: Pool) -> None:
    """A megabyte of readings, all in chunks, and one of hours, all in parts of months."""
    await pool.execute(
        "INSERT INTO observation.measurement SELECT n, now(), 1, 0 FROM generate_series(1, 20000) n"
    )
    await pool.execute(
        "INSERT INTO observation.rollup_hour (datastream_id, bucket, n, suspects) "
        "SELECT n, date_trunc('hour', now()), 1, 0 FROM generate_series(1, 20000) n"
    )

    await supervise(pool, LARGE, None)

    for table in ("measurement", "rollup_hour"):
        octets = REGISTRY.get_sample_value("territoire_maintenance_table_bytes", {"table": table})
        assert octets is not None
        assert octets > 1_000_000


async def test_an_hour_waits_from_when_it_could_be_rolled_up(pool: Pool) -> None:
    """Marked a moment ago it is not late, however old it is; the hour that goes on does not wait."""
    mark = "INSERT INTO observation.dirty (hour, datastream_ids, marked_at) VALUES ($1, '{1}', $2)"
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    await pool.execute(mark, hour, now)
    await supervise(pool, LARGE, None)
    nothing_waits = exported("dirty_waiting_since_timestamp_seconds")
    await pool.execute(mark, hour - timedelta(days=1000), now - timedelta(minutes=5))
    await supervise(pool, LARGE, None)
    late_data = exported("dirty_waiting_since_timestamp_seconds")
    await pool.execute(mark, hour - timedelta(hours=7), hour - timedelta(hours=7))
    await supervise(pool, LARGE, None)

    assert nothing_waits == 0
    assert late_data == pytest.approx((now - timedelta(minutes=5)).timestamp())
    assert exported("dirty_waiting_since_timestamp_seconds") == (hour - timedelta(hours=6)).timestamp()


async def test_the_last_good_drill_is_shown_and_before_there_is_one_since_when_it_is_due(
    pool: Pool, database: Database
) -> None:
    applied = await pool.fetchval("SELECT applied_at FROM schema_migration WHERE name LIKE '%restore_drill%'")
    await supervise(pool, LARGE, None)
    before = exported("restore_drill_success_timestamp_seconds"), exported("restore_drill_failed")
    insert = "INSERT INTO restore_drill (began_at, ended_at, outcome) VALUES ($1, $1, $2)"
    owner = await connect(database.admin_url)
    good = datetime(2026, 11, 5, 4, tzinfo=UTC)
    await owner.execute(insert, good, "good")
    await supervise(pool, LARGE, None)
    went_well = exported("restore_drill_success_timestamp_seconds"), exported("restore_drill_failed")
    await owner.execute(insert, good + timedelta(days=30), "counts_differ")
    await supervise(pool, LARGE, None)
    await owner.close()

    assert before == (applied.timestamp(), 0)
    assert went_well == (good.timestamp(), 0)
    assert exported("restore_drill_success_timestamp_seconds") == good.timestamp()
    assert exported("restore_drill_failed") == 1
