import struct

import pytest

from core.runtime.postgres import Pool
from lab.bench.ceiling import CeilingFailed, batches_of, measure_ceiling
from tests.conftest import Database

ROWS = [(1, 1_000, 20.5, 0), (2, 1_000, 21.5, 1), (1, 1_007, 22.5, 0)]


def test_no_key_comes_twice_in_the_batches() -> None:
    batches = batches_of(ROWS, 3)

    keys = [
        struct.unpack_from(">iiq", batch, 19 + 40 * row + 6)[::2] for batch in batches for row in range(len(ROWS))
    ]
    assert keys[:3] == [(1, 1_000), (2, 1_000), (1, 1_007)]
    assert len(set(keys)) == 9


async def test_measures_two_writers_and_leaves_nothing_behind(pool: Pool, database: Database) -> None:
    await pool.execute(
        "INSERT INTO observation.measurement (datastream_id, time, value) "
        "SELECT id, now() - at * interval '1 s', 1 FROM generate_series(1, 10) id, generate_series(1, 100) at"
    )

    rows_per_s = await measure_ceiling(database.admin_url, batches=2)

    assert rows_per_s > 0
    assert not await pool.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = 'bench'")


async def test_says_when_there_are_no_rows_to_write(database: Database) -> None:
    with pytest.raises(CeilingFailed):
        await measure_ceiling(database.admin_url, batches=1)
