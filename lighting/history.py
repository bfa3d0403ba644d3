"""What was done to the lamps of an asset: by whom, why, and what there was before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from core.runtime.postgres import Connection
from registry.rows import fetch_all

# In this order where several happened at one instant, the last of them first.
KINDS = (
    "bounds",
    "program_version",
    "assignment",
    "assignment_ended",
    "campaign",
    "unknown_act",
    "command",
    "work_order",
    "local_override",
)
# A hand at the cabinet is looked for in what was measured so lately.
OVERRIDES_OF = "400 days"
# $1: the asset; $2, $3, $4: instant, kind's place and number of the last entry of the page before; $5: how many.
HISTORY = f"""
WITH RECURSIVE above (id, parent_id, depth) AS (
    SELECT a.id, a.parent_id, 0 FROM asset a WHERE a.id = $1
    UNION ALL
    SELECT p.id, p.parent_id, above.depth + 1 FROM asset p JOIN above ON p.id = above.parent_id
    WHERE above.depth < 16
), mine AS (
    SELECT id, name FROM asset WHERE id = $1
    UNION ALL
    SELECT c.id, c.name FROM asset c WHERE c.parent_id = $1 AND c.kind IN ('lighting_circuit', 'light_point')
), followed AS (
    SELECT g.*, s.name, lag(g.version_id) OVER (PARTITION BY g.asset_id ORDER BY g.id) AS former,
           lag(g.ended_at) OVER (PARTITION BY g.asset_id ORDER BY g.id) AS former_until
    FROM lighting_assignment g JOIN asset s ON s.id = g.asset_id
    WHERE g.asset_id IN (SELECT id FROM mine) OR g.asset_id IN (SELECT id FROM above)
), named AS (
    SELECT v.id, v.program_id, p.name, v.version, v.remark, v.author, v.created_at,
           jsonb_build_object('program', p.name, 'version', v.version) AS said
    FROM lighting_program_version v JOIN lighting_program p ON p.id = v.program_id
    WHERE v.program_id IN (SELECT o.program_id FROM lighting_program_version o
                           WHERE o.id IN (SELECT version_id FROM followed))
), entry AS (
    SELECT b.set_at AS at, 0 AS place, b.tenant_id::bigint AS id, NULL::int AS asset_id, NULL::text AS asset_name,
           b.set_by AS who, '' AS why, b.former AS was, to_jsonb(b) - 'former' AS became, NULL::text AS state,
           NULL::text AS failure
    FROM lighting_bounds b WHERE b.member_id = (SELECT tenant_id FROM asset WHERE id = $1)
    UNION ALL
    SELECT n.created_at, 1, n.id, NULL, NULL, n.author, n.remark,
           (SELECT f.said FROM named f WHERE f.program_id = n.program_id AND f.version = n.version - 1), n.said,
           NULL, NULL
    FROM named n WHERE n.version > 1
    UNION ALL
    SELECT f.assigned_at, 2, f.id, f.asset_id, f.name, f.assigned_by, coalesce(n.remark, ''),
           CASE WHEN f.former_until = f.assigned_at THEN w.said END, n.said, NULL, NULL
    FROM followed f LEFT JOIN named n ON n.id = f.version_id LEFT JOIN named w ON w.id = f.former
    UNION ALL
    SELECT f.ended_at, 3, f.id, f.asset_id, f.name, f.ended_by, '', n.said, NULL, NULL, NULL
    FROM followed f LEFT JOIN named n ON n.id = f.version_id
    WHERE f.ended_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM followed o WHERE o.asset_id = f.asset_id AND o.assigned_at = f.ended_at)
    UNION ALL
    SELECT c.created_at, 4, c.id, t.asset_id, m.name, c.author, c.reason,
           CASE WHEN c.approved_by IS NOT NULL THEN jsonb_build_object('approved_by', c.approved_by) END,
           jsonb_build_object('name', c.name, 'action', c.action, 'level', c.level, 'off_until', c.off_until),
           c.state, t.rejected
    FROM lighting_campaign_target t
    JOIN lighting_campaign c ON c.id = t.campaign_id JOIN mine m ON m.id = t.asset_id
    UNION ALL
    SELECT u.created_at, 5, u.id, u.asset_id, m.name, NULL,
           coalesce('message n° ' || u.downlink_id, 'message n° ' || u.multicast_message_id || ' à un groupe',
                    'message d''avant l''affectation de l''équipement'),
           NULL, jsonb_build_object('due_at', u.due_at, 'settled_at', u.settled_at), NULL, NULL
    FROM lighting_unknown_act u JOIN mine m ON m.id = u.asset_id
    UNION ALL
    SELECT c.created_at, 6, c.id, c.asset_id, m.name, c.requested_by, c.reason,
           (SELECT jsonb_build_object('action', o.action, 'level', o.level, 'off_until', o.off_until)
            FROM lighting_command o WHERE o.asset_id = c.asset_id AND o.id < c.id
              AND o.state IN ('sent', 'acknowledged', 'applied', 'confirmed', 'unproven', 'superseded')
            ORDER BY o.id DESC LIMIT 1),
           jsonb_build_object('action', c.action, 'level', c.level, 'off_until', c.off_until),
           c.state::text, c.failure
    FROM lighting_command c JOIN mine m ON m.id = c.asset_id
    UNION ALL
    SELECT c.work_order_at, 7, c.id, c.asset_id, m.name, NULL, '', NULL,
           jsonb_build_object('action', c.action, 'level', c.level, 'off_until', c.off_until),
           c.state::text, c.failure
    FROM lighting_command c JOIN mine m ON m.id = c.asset_id WHERE c.work_order_at IS NOT NULL
    UNION ALL
    SELECT o.time, 8, o.datastream_id, o.asset_id, o.name, NULL, '',
           to_jsonb(o.former), to_jsonb(o.value), NULL, NULL
    FROM (SELECT v.time, v.datastream_id, v.value, s.asset_id, m.name,
                 lag(v.value) OVER (PARTITION BY v.datastream_id ORDER BY v.time) AS former
          FROM mine m JOIN datastream s ON s.asset_id = m.id AND s.quantity = 'local_override'
          JOIN measurement v ON v.datastream_id = s.id AND v.time > now() - interval '{OVERRIDES_OF}') AS o
    WHERE o.value <> coalesce(o.former, 0)
)
SELECT * FROM entry
WHERE $2::timestamptz IS NULL OR (at, place, id) < ($2, $3::int, $4::bigint)
ORDER BY at DESC, place DESC, id DESC LIMIT $5
"""


class Position(NamedTuple):
    """Where a page ended."""

    at: datetime
    place: int
    id: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done; `was` and `became` as its kind has them, None: nothing, or nobody knows."""

    at: datetime
    place: int
    id: int
    asset_id: int | None
    asset_name: str | None
    who: str | None
    why: str
    was: Any
    became: Any
    state: str | None
    failure: str | None

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return KINDS[self.place]

    @property
    def position(self) -> Position:
        """For the page that begins after it."""
        return Position(self.at, self.place, self.id)


async def read_history(
    connection: Connection, asset_id: int, after: Position | None, most: int
) -> Sequence[Entry]:
    """What was done to an asset and its circuits, the last first; of what is not visible nothing."""
    at, place, number = (None, None, None) if after is None else after
    return await fetch_all(connection, Entry, HISTORY, asset_id, at, place, number, most)


def order_of(said: Mapping[str, Any]) -> tuple[str, int | None, datetime | None]:
    """The action, level and end of a command as an entry has them."""
    until = said.get("off_until")
    return said["action"], said.get("level"), None if until is None else datetime.fromisoformat(until)
