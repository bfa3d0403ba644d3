"""Programs of before go on beside a migration, and start on its schema; what they use is taken away after them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.runtime.postgres import Connection, connect, open_pool
from registry import releases
from registry.migration_files import FIRST_WITH_KIND, MalformedMigration, Migration, parse
from registry.releases import Overtaken, announced
from registry.schema import (
    MigrationFailed,
    OlderProgramsRun,
    SchemaMismatch,
    migrate,
    migrations,
    read_ledger,
    require_schema,
)

KNOWN = migrations()
NEXT = len(KNOWN) + 1


def made(number: int, kind: str, sql: str) -> Migration:
    found = parse(f"{number:04}_{kind}_of_a_test.sql", sql)
    assert found is not None
    return found


EXPAND = made(NEXT, "expand", "ALTER TABLE asset ADD COLUMN colour text;")
CONTRACT = made(NEXT + 1, "contract", f"-- needs: {NEXT:04}\nALTER TABLE asset DROP COLUMN colour;")


@pytest.fixture
async def connection(database) -> AsyncIterator[Connection]:
    connection = await connect(database.admin_url)
    yield connection
    await connection.close()


async def test_a_program_of_before_starts_on_what_was_added(database, connection: Connection) -> None:
    await migrate(database.admin_url, known=[*KNOWN, EXPAND])

    assert await require_schema(connection, KNOWN) == len(KNOWN)
    assert await require_schema(connection, [*KNOWN, EXPAND]) == NEXT


async def test_a_program_that_uses_what_was_taken_away_does_not_start(database, connection: Connection) -> None:
    await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT])

    with pytest.raises(SchemaMismatch, match=f"needs a program that knows {NEXT}") as refused:
        await require_schema(connection, KNOWN)
    assert f"demande au moins la {NEXT}" in refused.value.french
    assert await require_schema(connection, [*KNOWN, EXPAND]) == NEXT


async def test_what_an_older_living_program_uses_is_not_taken_away(database, connection: Connection) -> None:
    async with open_pool(database.admin_url, "test", size=1) as pool:
        async with announced(pool, "lighting", "lighting-0", len(KNOWN)):
            with pytest.raises(OlderProgramsRun, match="lighting lighting-0") as refused:
                await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT])
            ledger = await read_ledger(connection)
        applied = await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT])

    assert "Remplacez-les ou arrêtez-les" in refused.value.french
    assert ledger.number == NEXT
    assert applied == 1


async def test_the_release_before_may_stay_while_its_predecessor_may_not(database) -> None:
    async with open_pool(database.admin_url, "test", size=1) as pool, announced(pool, "api", "api-0", NEXT):
        assert await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT]) == 2


async def test_a_program_that_was_killed_holds_nothing_up_after_a_minute(database, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO service_release VALUES ('network', 'network-0', '0.1.0', 1, now() - interval '61 s')"
    )

    assert await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT]) == 2


async def test_a_program_that_was_away_for_a_minute_ends_once_what_it_uses_is_gone(
    database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine was frozen, or the database out of its reach: it could not be seen, and knows nothing of it."""
    monkeypatch.setattr(releases, "ANNOUNCE_EVERY_S", 0.2)
    async with open_pool(database.admin_url, "test", size=1) as pool:
        with pytest.raises(Overtaken, match=f"needs a program that knows {NEXT}") as ended:  # noqa: PT012
            async with announced(pool, "network", "network-0", len(KNOWN)), asyncio.timeout(30):
                async with pool.acquire():  # Its only connection: nothing is announced meanwhile.
                    await connection.execute("UPDATE service_release SET seen_at = now() - interval '61 s'")
                    assert await migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT]) == 2
                await asyncio.sleep(30)

    assert "il était absent" in ended.value.french


async def test_a_program_that_starts_while_a_contract_step_is_applied_is_seen_or_ends(
    database, connection: Connection
) -> None:
    """It had read the ledger before."""
    await migrate(database.admin_url, known=[*KNOWN, EXPAND])
    other = await connect(database.admin_url)
    async with open_pool(database.admin_url, "test", size=1) as pool, connection.transaction():
        await connection.execute("LOCK TABLE asset")  # The step waits in the middle.
        contracting = asyncio.create_task(migrate(database.admin_url, known=[*KNOWN, EXPAND, CONTRACT]))
        async with asyncio.timeout(30):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - rows have no event.
                await asyncio.sleep(0.02)
        with pytest.raises(Overtaken):
            async with announced(pool, "network", "network-0", len(KNOWN)):
                pass
    await other.close()

    assert await contracting == 1


async def test_rights_are_withdrawn_once_no_older_program_is_alive(database, connection: Connection) -> None:
    await connection.execute("GRANT DELETE ON tenant TO territoire_lighting")
    may = "SELECT has_table_privilege('territoire_lighting', 'tenant', 'DELETE')"
    async with open_pool(database.admin_url, "test", size=1) as pool:
        async with announced(pool, "lighting", "lighting-0", len(KNOWN)):
            await migrate(database.admin_url, known=[*KNOWN, EXPAND])
            while_it_lives = await connection.fetchval(may)
        await migrate(database.admin_url, known=[*KNOWN, EXPAND])

    assert while_it_lives
    assert not await connection.fetchval(may)


async def test_a_program_that_was_put_back_leaves_rights_alone(database, connection: Connection) -> None:
    await migrate(database.admin_url, known=[*KNOWN, EXPAND])
    await connection.execute("GRANT DELETE ON tenant TO territoire_lighting")  # The newer program's, say.

    assert await migrate(database.admin_url, known=KNOWN) == 0
    assert await connection.fetchval("SELECT has_table_privilege('territoire_lighting', 'tenant', 'DELETE')")


BACKFILL = made(
    NEXT,
    "expand",
    """
-- outside a transaction

-- step
ALTER TABLE asset ADD COLUMN IF NOT EXISTS initial text;

-- step: until nothing changes
UPDATE asset SET initial = left(name, 1)
WHERE id IN (SELECT id FROM asset WHERE initial IS NULL ORDER BY id LIMIT 10);

-- step
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS asset_initial ON asset (id, initial);
""",
)
INDEX = made(
    NEXT,
    "expand",
    "-- outside a transaction\n\n-- step\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_name ON asset (name);\n",
)
MAKE_ASSETS = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id)
INSERT INTO asset (tenant_id, kind, name) SELECT t.id, 'bin', 'Bac ' || n FROM t, generate_series(1, 25) n
"""


async def test_rows_are_filled_in_batches_and_an_index_is_made_beside_writers(
    database, connection: Connection
) -> None:
    await connection.execute(MAKE_ASSETS)

    assert await migrate(database.admin_url, known=[*KNOWN, BACKFILL]) == 1

    assert await connection.fetchval("SELECT count(*) FROM asset WHERE initial = 'B'") == 25
    assert await connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'asset_initial'::regclass"
    )


async def test_a_run_that_was_cut_short_is_resumed(database, connection: Connection) -> None:
    """Two rows are equal: the last step fails and leaves an index that is invalid, as a kill does."""
    await connection.execute(MAKE_ASSETS)
    await connection.execute("CREATE TABLE observation.twice AS SELECT 1 AS n FROM generate_series(1, 2)")
    unique = "-- step\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS only_once ON observation.twice (n);\n"
    known = [*KNOWN, made(NEXT, "expand", BACKFILL.sql + unique)]

    with pytest.raises(MigrationFailed, match="étape 4") as refused:
        await migrate(database.admin_url, known=known)
    ledger = await read_ledger(connection)
    await connection.execute(
        "DELETE FROM observation.twice WHERE ctid = (SELECT max(ctid) FROM observation.twice)"
    )
    applied = await migrate(database.admin_url, known=known)

    assert "3 étapes avant elle sont faites" in refused.value.french
    assert ledger.number == len(KNOWN)
    assert applied == 1
    assert await connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'observation.only_once'::regclass"
    )


async def test_an_index_waits_for_a_backup_s_transaction_however_long_it_lasts(
    database, connection: Connection
) -> None:
    """What is made anew at each attempt would never be there."""
    other = await connect(database.admin_url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("SELECT count(*) FROM asset")
        running = asyncio.create_task(migrate(database.admin_url, known=[*KNOWN, INDEX], lock_timeout_s=0.3))
        async with asyncio.timeout(60):
            while not await other.fetchval(WAITS_FOR_SNAPSHOT):  # noqa: ASYNC110 - rows have no event.
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.6)
        still_waits = not running.done()
    await other.close()

    assert await running == 1
    assert still_waits


FROZEN = """
import asyncio, os, signal, sys
from registry.migration_files import parse
from registry.schema import migrate, migrations

sql = "ALTER TABLE asset ADD COLUMN colour text; SELECT pg_sleep(0.5);"
migration = parse(f"{len(migrations()) + 1:04}_expand_of_a_test.sql", sql)
asyncio.run(migrate(sys.argv[1], known=[*migrations(), migration], idle_timeout_s=0.5))
"""
WAITS_FOR_SNAPSHOT = """
SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
               WHERE a.query LIKE '%INDEX CONCURRENTLY IF NOT%' AND a.state = 'active' AND NOT l.granted
                 AND a.pid <> pg_backend_pid())
"""
IS_LOCKED = """
SELECT EXISTS (SELECT FROM pg_locks
               WHERE relation = 'asset'::regclass AND mode = 'AccessExclusiveLock' AND granted)
"""


async def test_a_runner_that_is_frozen_in_a_file_keeps_nobody_waiting(database, connection: Connection) -> None:
    checkout = Path(__file__).parents[2]
    runner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", FROZEN, database.admin_url), env={**os.environ, "PYTHONPATH": str(checkout)}
    )
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval(IS_LOCKED):  # noqa: ASYNC110 - Another process has no event.
                await asyncio.sleep(0.02)
        runner.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            await connection.fetchval("SELECT count(*) FROM asset")
        applied = await migrate(database.admin_url, known=[*KNOWN, EXPAND])
    finally:
        runner.kill()
        await runner.wait()

    assert applied == 1


async def test_two_runners_do_each_step_of_a_file_once(database, connection: Connection) -> None:
    await connection.execute(MAKE_ASSETS)

    applied = await asyncio.gather(*(migrate(database.admin_url, known=[*KNOWN, BACKFILL]) for _ in range(2)))

    assert sorted(applied) == [0, 1]


@pytest.mark.parametrize(
    ("name", "sql", "says"),
    [
        (f"{FIRST_WITH_KIND:04}_what.sql", "", "a name says expand or contract"),
        ("0130_contract_what.sql", "", "needs one number from before it"),
        ("0130_contract_what.sql", "-- needs: 0130", "needs one number from before it"),
        ("0130_expand_what.sql", "-- needs: 0125", "needs one number from before it"),
        ("0130_expand_what.sql", "-- locks: asset ACCESS EXCLUSIVE briefly", "a lock is TABLE MODE"),
        ("0130_expand_what.sql", "-- outside a transaction\nSELECT 1", "outside a transaction there are steps"),
    ],
)
def test_a_file_that_does_not_say_what_it_must_is_rejected(name: str, sql: str, says: str) -> None:
    with pytest.raises(MalformedMigration, match=says):
        parse(name, sql)
