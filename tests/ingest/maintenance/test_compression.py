import pytest

from core.runtime.postgres import Pool, PostgresError
from ingest.maintenance.compression import Compression, compress, decide


@pytest.mark.parametrize(
    ("license_name", "after_days", "decided"),
    [
        ("timescale", 30, Compression.ON),
        ("timescale", 0, Compression.SWITCHED_OFF),
        ("apache", 30, Compression.NO_LICENSE),
        (None, 30, Compression.NO_LICENSE),
    ],
)
def test_chunks_are_compressed_under_timescales_own_licence_only(
    license_name: str | None, after_days: int, decided: Compression
) -> None:
    assert decide(license_name, after_days) is decided


async def test_the_edition_at_hand_is_asked_and_nothing_fails(pool: Pool) -> None:
    license_name = await pool.fetchval("SELECT current_setting('timescaledb.license')")

    assert await compress(pool, 30) == (decide(license_name, 30), 0)


async def test_chunks_that_are_written_to_are_not_compressed(pool: Pool) -> None:
    with pytest.raises(PostgresError, match="still written to"):
        await pool.execute("SELECT observation.compress_chunk_before(now())")
