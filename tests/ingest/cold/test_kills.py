"""A kill -9 at drawn lines of retention and of an erasure: no reading is lost, doubled or kept that was erased."""

import asyncio
import random
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from core.runtime.leader import NotLeader
from core.runtime.postgres import Pool
from ingest.maintenance.cold_erasing import erase_from_files
from ingest.maintenance.retention import Term
from ingest.rollups import roll_up
from registry import erasures
from tests.ingest.cold.cold_world import Cold, ago, tenant_of
from tests.ingest.cold.test_keeping import left

PROGRAM = Path(__file__).with_name("killed_maintenance.py")
CHECKOUT = Path(__file__).parents[3]
KILLS = 8
Killed = Callable[..., Awaitable[bool]]


@pytest.fixture
async def killed(database, cold: Cold) -> AsyncGenerator[Killed]:
    """Runs until a line: whether it was killed there, and did not come to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(PROGRAM), database.url_of("maintenance"), str(cold.folder),
        cwd=CHECKOUT, env={"PYTHONPATH": str(CHECKOUT)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    output = process.stdout

    async def run(*words: int) -> bool:
        process.stdin.write((" ".join(map(str, words)) + "\n").encode())  # type: ignore[union-attr]
        answer = (await output.readline()).decode().strip()
        assert answer in {"killed", "done"}
        return answer == "killed"

    yield run
    process.stdin.close()
    assert await process.wait() == 0


@pytest.mark.parametrize(("months", "personal", "seed"), [(36, 12, 1), (6, 12, 2)])
async def test_readings_are_exported_as_before_after_a_kill_at_any_line(
    pool: Pool, measuring, cold: Cold, killed: Killed, months: int, personal: int, seed: int
) -> None:
    one, two, three = await measuring.datastreams("temperature", 3, privacy_class=1)
    [home] = await measuring.datastreams("water_volume", privacy_class=2)
    ages = (1, 200, 210, 320, 1200, 1300, 1310)
    for stream in (one, two, three, home):
        await measuring.write(*((stream, ago(days), days / 8, 0) for days in ages))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    before = await cold.rows(tenant, [two, one, three])
    draw = random.Random(seed)

    kills = 0
    while kills < KILLS and await killed(draw.randrange(1, 400), months, personal):
        kills += 1
        assert await cold.rows(tenant, [two, one, three]) == before
    ended = await cold.forget(Term("measurement", months, personal))

    assert (kills > 0, ended.failure) == (True, None)
    assert await cold.rows(tenant, [two, one, three]) == before
    assert cold.files() == sorted(await _names(pool))
    assert [await left(pool, stream) for stream in (one, home)] == ([4, 4] if months == 36 else [1, 4])


async def test_what_is_erased_is_in_no_file_after_kills_at_any_line(
    pool: Pool, measuring, cold: Cold, killed: Killed
) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=1)
    for stream in (one, two):
        await measuring.write(*((stream, ago(days), days / 8, 0) for days in (1200, 1300, 1310)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    kept = await cold.rows(tenant, [two])
    await cold.forget(Term("measurement", 36, 12))
    erasure = await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, datastream_ids) "
        "VALUES ($1, 'device', 1, 'essai', 'essai', 'running', $2) RETURNING id",
        *(tenant, [one]),
    )
    draw = random.Random(3)

    kills = 0
    while kills < KILLS and await killed(draw.randrange(1, 250), 36, 12, erasure):
        kills += 1
        assert await cold.rows(tenant, [two]) == kept
    await erase_from_files(cold.pool, cold.folder, erasure)

    assert kills > 0
    assert await cold.rows(tenant, [one, two]) == kept
    assert cold.files() == sorted(await _names(pool))
    found = await erasures.read_erasure(pool, erasure)
    assert found is not None
    assert found.counts == {"observation.cold_file": 3}
    assert (
        await pool.fetchval("SELECT count(*) FROM observation.cold_file WHERE $1 = ANY(datastream_ids)", one) == 0
    )


async def test_an_erasure_that_ends_has_left_its_only_file_nowhere_after_a_kill_at_each_line(
    pool: Pool, measuring, cold: Cold, killed: Killed
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=1)
    await measuring.write((one, ago(1300), 5.0, 0))
    await roll_up(pool)
    await cold.forget(Term("measurement", 36, 12))
    [row] = await pool.fetch("SELECT * FROM observation.cold_file")
    kept = cold.folder.with_name("copie")
    shutil.copytree(cold.folder, kept)
    erasure = await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, datastream_ids) "
        "VALUES ($1, 'device', 1, 'essai', 'essai', 'running', $2) RETURNING id",
        *(await tenant_of(pool, one), [one]),
    )

    line, named, lying = 1, 0, 0
    while await killed(line, 36, 12, erasure):
        has_row = await pool.fetchval("SELECT EXISTS (SELECT FROM observation.cold_file)")
        named, lying = named + has_row, lying + (not has_row and bool(cold.files()))
        await _go_on(cold, erasure)
        assert cold.files() == []
        line += 1
        shutil.copytree(kept, cold.folder, dirs_exist_ok=True)
        await pool.execute("DELETE FROM observation.cold_file_replaced")
        await pool.execute(
            "INSERT INTO observation.cold_file (tenant_id, since, until, name, readings, octets, digest, classes, "
            "datastream_ids) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *(row[name] for name in ("tenant_id", "since", "until", "name", "readings", "octets", "digest")),
            *(row["classes"], row["datastream_ids"]),
        )

    assert named > 0
    assert lying > 0
    assert cold.files() == []


async def _go_on(cold: Cold, erasure: int) -> None:
    """The next process; the server may not have seen yet that the one before is gone."""
    while True:
        try:
            return await erase_from_files(cold.pool, cold.folder, erasure)
        except NotLeader:
            await asyncio.sleep(0)


async def _names(pool: Pool) -> list[str]:
    return [row["name"] for row in await pool.fetch("SELECT name FROM observation.cold_file")]
