import asyncio
from uuid import UUID

from prometheus_client import REGISTRY

from core.runtime.postgres import DATABASE_AWAY, Pool, open_pool, uuid_of
from tests.entering import tenant_transaction

TENANT = "SELECT current_setting('app.tenant', true)"


async def test_of_two_transactions_in_a_deadlock_one_is_to_be_tried_again(pool: Pool) -> None:
    first = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('a', 'A') RETURNING id")
    second = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('b', 'B') RETURNING id")
    both_hold_one = asyncio.Barrier(2)

    async def update(*tenant_ids: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE tenant SET name = 'x' WHERE id = $1", tenant_ids[0])
            await both_hold_one.wait()
            await connection.execute("UPDATE tenant SET name = 'x' WHERE id = $1", tenant_ids[1])

    outcomes = await asyncio.gather(update(first, second), update(second, first), return_exceptions=True)

    (victim,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(victim, DATABASE_AWAY)


async def test_nothing_of_a_transaction_is_left_on_a_connection_that_is_given_back(database_url: str) -> None:
    async with open_pool(database_url, "territoire-tests", size=1) as pool:
        async with tenant_transaction(pool, 7) as connection:
            assert await connection.fetchval(TENANT) == "7"
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO tenant (slug, name) VALUES ('left', 'Left open')")

        assert await pool.fetchval(TENANT) in (None, "")
        assert await pool.fetchval("SELECT count(*) FROM tenant WHERE slug = 'left'") == 0


async def test_an_erasure_may_change_as_many_compressed_rows_as_there_are(pool: Pool) -> None:
    name = "timescaledb.max_tuples_decompressed_per_dml_transaction"
    async with pool.acquire() as connection:
        await connection.execute("SELECT count(*) FROM observation.measurement")  # What brings the extension in.
        [setting, boot_value, kind] = await connection.fetchrow(
            "SELECT setting, boot_val, vartype FROM pg_settings WHERE name = $1", name
        )

    assert (setting, boot_value, kind) == ("0", "100000", "integer")


def test_a_uuid_of_the_driver_is_the_standard_library_s() -> None:
    assert uuid_of(bytes(range(16))) == UUID(bytes=bytes(range(16)))
    assert isinstance(uuid_of(bytes(16)), UUID)


async def test_the_metrics_show_how_busy_a_pool_is(database_url: str) -> None:
    def shown(what: str) -> float | None:
        return REGISTRY.get_sample_value(f"territoire_database_pool_{what}", {"pool": "busy"})

    async with open_pool(database_url, "busy", size=2) as pool:
        async with pool.acquire(), pool.acquire():
            waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
            await asyncio.sleep(0)
            while_busy = [shown(what) for what in ("size", "free", "limit", "waiting")]
        await waiting
        at_rest = [shown(what) for what in ("size", "free", "limit", "waiting")]

    assert (while_busy, at_rest) == ([2, 0, 2, 1], [2, 2, 2, 0])
    assert shown("size") is None
