import pytest

from core.runtime.postgres import Pool


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
