"""SQL of unknown acts: what reached a lamp past lighting, until its circuit is brought back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from lighting.octets import Octets
from registry.rows import fetch_all

KEEP_ACT_OCTETS = "SELECT keep_act_octets($1, $2, $3)"
DUE_ACTS = """
SELECT u.id, u.asset_id, u.device_id, u.octets, coalesce(d.state::text, m.state::text) AS state,
       coalesce(d.sent_at, CASE WHEN m.state IN ('sent', 'failed') THEN m.updated_at END) AS reached_at,
       d.lns_source_id IS NOT NULL AS by_other_lns
FROM lighting_unknown_act u
LEFT JOIN downlink d ON d.id = u.downlink_id
LEFT JOIN multicast_message m ON m.id = u.multicast_message_id
WHERE u.settled_at IS NULL AND u.due_at <= $1 ORDER BY u.due_at, u.id LIMIT 100
"""
IS_ACT_DUE = (
    "SELECT EXISTS (SELECT FROM lighting_unknown_act WHERE id = $1 AND settled_at IS NULL AND due_at <= $2)"
)
POSTPONE_ACT = "UPDATE lighting_unknown_act SET due_at = $2 WHERE id = $1"
SETTLE_ACT = "UPDATE lighting_unknown_act SET settled_at = $2 WHERE id = $1"
# A command given since says what it does, or will.
IS_KNOWN_SINCE = """
SELECT EXISTS (SELECT FROM lighting_command WHERE asset_id = $1 AND (
    relight_at IS NOT NULL
    OR (state IN ('applied', 'confirmed') AND created_at > $2 AND device_id = $3)))
"""
LAST_OCTETS = """
SELECT octets FROM lighting_command WHERE asset_id = $1 AND device_id = $2 AND octets <> '{}'
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class DueAct:
    """An unknown act whose time has come, and what became of the message that it was."""

    id: int
    asset_id: int
    device_id: int
    octets: Mapping[str, Any]
    state: str | None
    reached_at: datetime | None
    by_other_lns: bool


async def keep_act_octets(connection: Connection, asset_id: int, device_id: int, octets: Octets) -> None:
    """By what an unknown act of this transaction is brought back."""
    await connection.execute(KEEP_ACT_OCTETS, asset_id, device_id, octets.as_json())


async def due_acts(connection: Connection | Pool, now: datetime) -> list[DueAct]:
    """Unknown acts whose time has come, the longest due first."""
    return await fetch_all(connection, DueAct, DUE_ACTS, now)


async def is_act_due(connection: Connection, act_id: int, now: datetime) -> bool:
    """Whether nobody has settled it meanwhile."""
    return await connection.fetchval(IS_ACT_DUE, act_id, now)


async def postpone_act(connection: Connection, act_id: int, at: datetime) -> None:
    """Look at it again at `at`."""
    await connection.execute(POSTPONE_ACT, act_id, at)


async def settle_act(connection: Connection, act_id: int, at: datetime) -> None:
    """Nothing is to be done about it any more."""
    await connection.execute(SETTLE_ACT, act_id, at)


async def is_known_since(connection: Connection, asset_id: int, device_id: int, since: datetime) -> bool:
    """Whether the device has carried out a lighting command since, or one says when the circuit is lit again."""
    return await connection.fetchval(IS_KNOWN_SINCE, asset_id, since, device_id)


async def last_octets(connection: Connection, asset_id: int, device_id: int) -> Octets | None:
    """Those of the last command of this circuit by this device."""
    kept = await connection.fetchval(LAST_OCTETS, asset_id, device_id)
    return None if kept is None else Octets.from_json(kept)
