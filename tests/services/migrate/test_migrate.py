import asyncio
import os
import sys

from core.runtime.postgres import Connection, Pool, connect
from registry.schema import migrate, migrations
from tests.core.runtime.versions import HAS_TAGS, migrate_up_to
from tests.registry.test_tenancy import plant

IS_WAITING = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND application_name = 'territoire-migrate')
"""
IS_GONE = """
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'territoire-migrate')
"""


async def start(database_url: str, nats_url: str = "nats://127.0.0.1:1") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.migrate",
        env={**os.environ, "TERRITOIRE_DATABASE_URL": database_url, "TERRITOIRE_NATS_URL": nats_url},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def answer(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def until(watcher: Connection, condition: str) -> None:
    async with asyncio.timeout(60):
        while not await watcher.fetchval(condition):  # noqa: ASYNC110 - PostgreSQL notifies nobody.
            await asyncio.sleep(0.05)


async def test_killed_in_the_middle_of_a_file_it_leaves_nothing_of_it_and_goes_on_when_run_again(
    empty_database_url: str,
) -> None:
    await migrate_up_to(8, empty_database_url)
    holder, watcher = await connect(empty_database_url), await connect(empty_database_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE tenant IN ACCESS SHARE MODE")  # 0009 waits here, in its middle.
        process = await start(empty_database_url)
        await until(watcher, IS_WAITING)
        process.kill()
        await process.communicate()
    await until(watcher, IS_GONE)
    await watcher.close()
    ledger = await holder.fetchval("SELECT max(number) FROM schema_migration")
    has_tags = await holder.fetchval(HAS_TAGS)
    await holder.close()

    assert ledger == 8
    assert not has_tags
    assert await migrate(empty_database_url) == len(migrations()) - 8


async def test_a_database_that_is_one_version_ahead_is_rejected_in_french_with_status_1(database) -> None:
    connection = await connect(database.admin_url)
    ahead = len(migrations()) + 1
    await connection.execute("INSERT INTO schema_migration (number, name, checksum) VALUES ($1, 'x', 'x')", ahead)
    await connection.close()

    status, errors = await answer(await start(database.admin_url))

    assert status == 1
    assert f"la base est à la version {ahead}, ce programme ne connaît que la {ahead - 1}" in errors
    assert "Traceback" not in errors


async def test_a_unit_that_the_catalogue_changed_is_rejected_in_french_with_status_1(database, pool: Pool) -> None:
    await plant(pool, "mine")
    await pool.execute("UPDATE datastream SET unit = 'K'")

    status, errors = await answer(await start(database.admin_url))

    assert status == 1
    assert "temperature en K au lieu de Cel" in errors


async def test_a_database_that_does_not_answer_is_said_in_french_with_status_1(free_port: int) -> None:
    status, errors = await answer(await start(f"postgresql://nobody@127.0.0.1:{free_port}/nothing"))

    assert status == 1
    assert "la base de données ne répond pas" in errors
    assert "Traceback" not in errors


async def test_what_is_missing_is_applied_with_status_0(empty_database_url: str, nats_url: str) -> None:
    await migrate_up_to(8, empty_database_url)

    status, _ = await answer(await start(empty_database_url, nats_url))

    assert status == 0
    assert await migrate(empty_database_url) == 0
