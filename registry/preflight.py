"""Why a downlink would have to wait: the device's state, and the rows before it."""

from core.model.downlinks import OpenRow, Preflight, Reach
from core.runtime.postgres import Connection
from registry.rows import entity

MOST_OPEN = 1_000

READ = "SELECT * FROM downlink_preflight($1)"
OPEN_ROWS = f"""
SELECT id, state::text AS state, priority, not_before, sent_at FROM downlink
WHERE device_id = $1 AND lns_source_id IS NULL
  AND (state IN ('queued', 'sending') OR (state = 'sent' AND confirmed))
ORDER BY priority, id LIMIT {MOST_OPEN}
"""


async def read_preflight(connection: Connection, device_id: int) -> Preflight | None:
    """What the rows of a device wait for; None for a device that is only shared."""
    row = await connection.fetchrow(READ, device_id)
    if row is None:
        return None
    rows = await connection.fetch(OPEN_ROWS, device_id)
    return Preflight(entity(Reach, row), tuple(entity(OpenRow, found) for found in rows))
