"""SQL of circuits that must be lit again after an "off" or a dimming."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from lighting.open_command_store import STILL_SERVED
from registry.rows import fetch_all

# An "off" or a dimming that ends; or light that is owed by a device that another has replaced since, tried as
# often.
TO_RELIGHT = f"""
SELECT id, asset_id, device_id, action, octets, off_until, work_order_at FROM (
    SELECT * FROM lighting_command WHERE off_until IS NOT NULL AND relight_at <= $1
    UNION ALL
    SELECT c.* FROM lighting_command c
    WHERE relight_at IS NOT NULL AND off_until IS NULL AND EXISTS (
        SELECT FROM asset s
        JOIN assignment g ON g.asset_id = s.id OR s.kind = 'lighting_circuit' AND g.asset_id = s.parent_id
        JOIN device d ON d.id = g.device_id AND d.enabled
        JOIN device_profile p ON p.id = d.device_profile_id AND 'switch' = ANY(p.capabilities)
        WHERE s.id = c.asset_id AND g.during @> now() AND (lower(g.during) > c.updated_at OR c.relight_at <= $1)
    ) AND NOT {STILL_SERVED}) AS due
WHERE id > $2 ORDER BY id LIMIT $3
"""
# Asked once its asset is locked: a newer command may have settled it.
IS_TO_RELIGHT = """
SELECT EXISTS (SELECT FROM lighting_command
               WHERE id = $1 AND (relight_at <= $2 OR relight_at IS NOT NULL AND off_until IS NULL))
"""
SET_RELIGHT_AT = "UPDATE lighting_command SET relight_at = $2, updated_at = now() WHERE id = $1"


@dataclass(frozen=True, slots=True)
class DueRelight:
    """A circuit that must be lit again, and the "off" that left it to be."""

    id: int
    asset_id: int
    device_id: int
    action: str
    octets: Mapping[str, Any]
    off_until: datetime
    work_order_at: datetime | None


async def due_relights(connection: Connection | Pool, now: datetime, after: int, most: int) -> list[DueRelight]:
    """Circuits whose "off" has come to its end, or which another device is to light now; beyond id `after`."""
    return await fetch_all(connection, DueRelight, TO_RELIGHT, now, after, most)


async def is_to_relight(connection: Connection, command_id: int, now: datetime) -> bool:
    """Whether nobody has settled it meanwhile."""
    return await connection.fetchval(IS_TO_RELIGHT, command_id, now)


async def set_relight_at(connection: Connection, command_id: int, at: datetime | None) -> None:
    """The circuit must be lit again at `at`; None: nothing is owed."""
    await connection.execute(SET_RELIGHT_AT, command_id, at)
