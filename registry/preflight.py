"""What a downlink waits for: the device's state, and the rows before it."""

from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether our network can tell a device something."""

    device_class: str
    activation: str
    enabled: bool
    has_session: bool
    heard_at: datetime | None  # Under the newest session in use; None: the network may not speak first.
    rx1_delay: int | None  # Seconds.
    gateways: int  # That heard the last uplink.
    gateways_online: int  # Of these.


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that is not done with."""

    id: int
    state: str  # queued, sending, or sent and to be acknowledged
    priority: int
    not_before: datetime | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preflight:
    """All that decides when a device's next row goes out; `rows` in the order in which they will."""

    reach: Reach
    rows: tuple[OpenRow, ...]


async def read_preflight(connection: Connection, device_id: int) -> Preflight | None:
    """What the rows of a device wait for; None for a device that is only shared."""
    row = await connection.fetchrow(READ, device_id)
    if row is None:
        return None
    rows = await connection.fetch(OPEN_ROWS, device_id)
    return Preflight(entity(Reach, row), tuple(entity(OpenRow, found) for found in rows))
