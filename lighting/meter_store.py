"""SQL of lighting commands that are carried out, and wait for the meter's word."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection
from registry.rows import fetch_all

LOCK_APPLIED = """
SELECT c.id, c.applied_at, c.expected_power_w, c.power_margin_w, r.value, r.received_at
FROM lighting_command c
LEFT JOIN LATERAL (
    SELECT m.value, u.received_at
    FROM datastream s
    JOIN observation.uplink u ON u.device_id = s.device_id AND u.time > c.applied_at - interval '1 minute'
                             AND u.received_at > c.applied_at + $2::interval
    JOIN observation.measurement m ON m.datastream_id = s.id AND m.time = u.time
    WHERE s.asset_id = c.asset_id AND s.quantity = 'active_power' AND s.channel = ''
    ORDER BY u.received_at LIMIT 1
) r ON c.expected_power_w IS NOT NULL
WHERE c.state = 'applied' AND c.unconfirmed IS NULL AND c.id > $3
ORDER BY c.id LIMIT $1
FOR UPDATE OF c SKIP LOCKED
"""
SET_COMPARED = """
UPDATE lighting_command SET unconfirmed = $3, confirmed_at = $2, updated_at = now(),
       state = CASE WHEN $3::text IS NULL THEN 'confirmed' ELSE 'applied' END::lighting_command_state
WHERE id = $1
"""
# A total of its own, in watts.
HAS_METER = """
SELECT EXISTS (SELECT FROM datastream WHERE asset_id = $1 AND quantity = 'active_power' AND channel = '')
"""


@dataclass(frozen=True, slots=True)
class AppliedCommand:
    """A command that the relay has carried out, and the meter's first reading after it."""

    id: int
    applied_at: datetime
    expected_power_w: float | None
    power_margin_w: float | None
    value: float | None
    received_at: datetime | None


async def lock_applied(connection: Connection, after: int, most: int, warm_up: timedelta) -> list[AppliedCommand]:
    """Commands beyond id `after` that wait for the meter's word."""
    return await fetch_all(connection, AppliedCommand, LOCK_APPLIED, most, warm_up, after)


async def set_compared(
    connection: Connection, command_id: int, confirmed_at: datetime | None, unconfirmed: str | None
) -> None:
    """The meter has said so, or will not, and why."""
    await connection.execute(SET_COMPARED, command_id, confirmed_at, unconfirmed)


async def has_meter(connection: Connection, asset_id: int) -> bool:
    """Whether the power of this very asset is measured."""
    return await connection.fetchval(HAS_METER, asset_id)
