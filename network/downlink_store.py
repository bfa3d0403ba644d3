"""SQL of the downlink rows that a shard's owner has to send; `registry.downlinks` writes them."""

from collections.abc import Sequence

from core.model.downlinks import DueDownlink
from core.runtime.postgres import Connection, Pool
from registry.rows import entity

_QUEUED_AND_DUE = """
l.state = 'queued' AND (l.not_before IS NULL OR l.not_before <= now()) AND l.not_after > now()
  AND NOT EXISTS (SELECT FROM downlink w WHERE w.slot = l.slot AND w.device_id = l.device_id
                  AND (w.state = 'sending' OR (w.state = 'sent' AND w.confirmed)))
"""
# The states that the index downlink_open covers.
_OPEN = "(state IN ('queued', 'sending') OR (state = 'sent' AND confirmed))"
# With more open rows than this, the devices in question are looked up one by one instead.
MAX_CONCERNED = 1_000
READ_CONCERNED = f"""
SELECT DISTINCT device_id FROM downlink WHERE slot = ANY($1::smallint[]) AND {_OPEN} LIMIT {MAX_CONCERNED + 1}
"""
_DUE_COLUMNS = """l.id, l.device_id, l.slot, l.f_port, l.payload, l.confirmed, l.priority, l.attempts, l.not_after,
       l.created_at, count(*) OVER (PARTITION BY l.device_id) AS waiting, l.keys_of_group,
       l.by_lighting AND l.not_before IS NOT NULL AS is_paced"""

READ_DUE_OF_DEVICES = f"""
SELECT DISTINCT ON (l.device_id) {_DUE_COLUMNS}
FROM downlink l
WHERE l.slot = ANY($1::smallint[]) AND l.device_id = ANY($2::int[]) AND {_QUEUED_AND_DUE}
ORDER BY l.device_id, l.priority, l.id
"""
READ_DUE_CLASS_C = f"""
SELECT DISTINCT ON (l.device_id) {_DUE_COLUMNS}
FROM downlink l JOIN device d ON d.id = l.device_id JOIN device_profile p ON p.id = d.device_profile_id
WHERE l.slot = ANY($1::smallint[]) AND p.device_class = 'C' AND d.enabled AND {_QUEUED_AND_DUE}
ORDER BY l.device_id, l.priority, l.id
"""


async def read_due_of_devices(
    connection: Connection, slots: Sequence[int], device_ids: Sequence[int]
) -> dict[int, DueDownlink]:
    """The first due row of each of these devices; none while an earlier one is being sent or acknowledged."""
    rows = await connection.fetch(READ_DUE_OF_DEVICES, slots, device_ids)
    return {row["device_id"]: entity(DueDownlink, row) for row in rows}


async def read_due_class_c(connection: Connection, slots: Sequence[int]) -> dict[int, DueDownlink]:
    """The first due row of every class C device of these slots."""
    rows = await connection.fetch(READ_DUE_CLASS_C, slots)
    return {row["device_id"]: entity(DueDownlink, row) for row in rows}


async def read_concerned(connection: Connection | Pool, slots: Sequence[int]) -> set[int] | None:
    """The devices of these slots with an open row; None when there are too many to list."""
    rows = await connection.fetch(READ_CONCERNED, slots)
    return {row["device_id"] for row in rows} if len(rows) <= MAX_CONCERNED else None
