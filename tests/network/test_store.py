import pytest

from core.runtime.postgres import connect


@pytest.mark.parametrize(
    "condition",
    [
        "state = 'queued'",
        "state = 'sent' AND confirmed",
        "confirmed AND (state = 'sending' OR (state = 'sent' AND confirmed))",
    ],
)
async def test_open_downlinks_are_found_by_their_index(database, condition: str) -> None:
    admin = await connect(database.admin_url)
    # An empty table prefers any of its indexes, as its size happens to be estimated.
    await admin.execute("SET enable_seqscan = off; DROP INDEX downlink_of_device")
    rows = await admin.fetch(f"EXPLAIN SELECT FROM downlink WHERE slot = 1 AND device_id = 1 AND {condition}")
    await admin.close()

    assert any("downlink_open" in row[0] for row in rows)
