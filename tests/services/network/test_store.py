import pytest

from core.runtime.postgres import Pool
from services.network import downlink_store, store

STATEMENTS = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": text
    for module in (store, downlink_store)
    for name, text in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(text, str)
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_statement_is_valid_on_the_migrated_schema(pool: Pool, name: str) -> None:
    async with pool.acquire() as connection:
        await connection.prepare(STATEMENTS[name])


@pytest.mark.parametrize(
    "condition",
    [
        "state = 'queued'",
        "state = 'sent' AND confirmed",
        "confirmed AND (state = 'sending' OR (state = 'sent' AND confirmed))",
    ],
)
async def test_open_downlinks_are_found_by_their_index(pool: Pool, condition: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(
            f"EXPLAIN SELECT FROM downlink WHERE slot = 1 AND device_id = 1 AND {condition}"
        )

    assert any("downlink_open" in row[0] for row in rows)
