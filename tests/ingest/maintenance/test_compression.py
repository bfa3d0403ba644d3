"""Compression on the edition at hand, and on Timescale's where there is a server of it.

Debian's package has the Apache edition only. `TIMESCALE_EDITION_URL` is the address of a superuser on a server of
the other one, the image timescale/timescaledb:2.19.3-pg17 for instance: a database is made there, and dropped.
"""

import os
import secrets
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from core.runtime.postgres import Pool, PostgresError, connect, open_pool
from ingest.maintenance.compression import Compression, compress, decide
from registry.schema import migrate
from registry.timescale import DECOMPRESS, compressed_under_apache
from tests.registry.test_timescale import FILL

TIMESCALE_EDITION_URL = "TIMESCALE_EDITION_URL"
DAYS = 70
CHUNKS = """
SELECT count(*) FILTER (WHERE is_compressed) AS compressed,
       count(*) FILTER (WHERE range_end <= now() - interval '30 days') AS old, count(*) AS chunks
FROM timescaledb_information.chunks WHERE hypertable_schema = 'observation' AND hypertable_name = 'measurement'
"""
READ = "SELECT count(*), sum(value), min(time), max(time) FROM observation.measurement"
OF_A_DAY = "SELECT count(*), min(value), max(value) FROM observation.measurement WHERE time >= $1 AND time < $2"


@pytest.fixture(params=["at_hand", "timescale"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncGenerator[Pool]:
    """As maintenance's owner sees it, on the server of the tests and on one of Timescale's edition."""
    if request.param == "at_hand":
        async with open_pool(request.getfixturevalue("database").admin_url, "test", size=2) as pool:
            yield pool
        return
    server = os.environ.get(TIMESCALE_EDITION_URL)
    if server is None:
        pytest.skip(f"{TIMESCALE_EDITION_URL} names no server of Timescale's edition")
    name = f"test_{secrets.token_hex(6)}"
    admin = await connect(server)
    await admin.execute(f'CREATE DATABASE "{name}"')
    url = server.rpartition("/")[0] + f"/{name}"
    try:
        await migrate(url)
        async with open_pool(url, "test", size=2) as pool:
            yield pool
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


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


@pytest.mark.starts_processes
async def test_old_chunks_are_compressed_once_where_the_edition_can_and_nothing_changes_in_them(
    anywhere: Pool,
) -> None:
    await anywhere.execute(FILL.format(hours=DAYS * 24))
    before = tuple(await anywhere.fetchrow(READ))
    can = await anywhere.fetchval("SELECT current_setting('timescaledb.license')") == "timescale"
    there = await anywhere.fetchrow(CHUNKS)

    off = await compress(anywhere, 0)
    decided, compressed = await compress(anywhere, 30)
    again = await compress(anywhere, 30)
    after = await anywhere.fetchrow(CHUNKS)

    # 70 days in chunks of 7: at least five of them ended a month ago.
    assert there["old"] >= 5
    assert off == (Compression.SWITCHED_OFF, 0)
    assert decided is (Compression.ON if can else Compression.NO_LICENSE)
    assert compressed == after["compressed"] == (there["old"] if can else 0)
    assert again == (decided, 0)
    assert tuple(await anywhere.fetchrow(READ)) == before
    assert before[:2] == (DAYS * 24, sum(range(1, DAYS * 24 + 1)))
    assert await compressed_under_apache(anywhere) is None


@pytest.mark.starts_processes
async def test_what_is_compressed_is_still_corrected_and_dropped_and_can_be_decompressed(anywhere: Pool) -> None:
    """Late measurements, a day that is decoded again, retention: as without compression, on both editions."""
    await anywhere.execute(FILL.format(hours=DAYS * 24))
    await compress(anywhere, 30)
    [stream] = [row["id"] for row in await anywhere.fetch("SELECT id FROM datastream")]
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=50)

    await anywhere.execute(
        "INSERT INTO observation.measurement VALUES ($1, $2, 7, 0)", stream, day + timedelta(minutes=1)
    )
    with pytest.raises(PostgresError, match="duplicate key"):
        await anywhere.execute("INSERT INTO observation.measurement VALUES ($1, $2, 7, 0)", stream, day)
    late = tuple(await anywhere.fetchrow(OF_A_DAY, day, day + timedelta(days=1)))
    deleted = await anywhere.execute(
        "DELETE FROM observation.measurement WHERE datastream_id = $1 AND time >= $2 AND time < $3",
        stream, day, day + timedelta(days=1),
    )  # fmt: skip
    await anywhere.execute(
        "INSERT INTO observation.measurement SELECT $1, $2::timestamptz + n * interval '1 hour', 5, 8 "
        "FROM generate_series(0, 23) n",
        stream, day,
    )  # fmt: skip

    assert late[0] == 25
    assert deleted == "DELETE 25"
    assert tuple(await anywhere.fetchrow(OF_A_DAY, day, day + timedelta(days=1))) == (24, 5, 5)

    # What CompressedUnderApache prints, each -c by itself, as psql does.
    if await anywhere.fetchval("SELECT current_setting('timescaledb.license')") == "timescale":
        every, settings = DECOMPRESS.removeprefix('psql -X -c "').split('" -c ')
        await anywhere.execute(every)
        await anywhere.execute(settings.strip("'"))
        assert (await anywhere.fetchrow(CHUNKS))["compressed"] == 0
        assert tuple(await anywhere.fetchrow(OF_A_DAY, day, day + timedelta(days=1))) == (24, 5, 5)
        assert (await compress(anywhere, 30))[1] > 0  # And it can be had again.

    gone = await anywhere.fetchval(
        "SELECT observation.drop_chunks_before('measurement', now() - interval '40 days')"
    )
    assert gone >= 4
    assert await anywhere.fetchval("SELECT count(*) FROM observation.measurement WHERE time < $1", day) == 0


async def test_chunks_that_are_written_to_are_not_compressed(pool: Pool) -> None:
    with pytest.raises(PostgresError, match="still written to"):
        await pool.execute("SELECT observation.compress_chunk_before(now())")
