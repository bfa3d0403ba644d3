"""SQL of how bins are now: their last level, who read it, and when their sensor was last heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.messages.measurements import SOUND, Flag
from core.runtime.postgres import Connection
from registry.rows import fetch_all

# By the end of its kind, or because its level is measured. $1: assets.
BINS = f"""
SELECT a.id AS asset_id, a.name, a.street, a.commune, l.datastream_id, l.time AS level_at, l.value AS level,
       l.is_manual,
       (SELECT max(greatest(h.last_seen_at, p.last_seen_at))
        FROM assignment s JOIN device_heard(ARRAY(
                SELECT g.device_id FROM assignment g WHERE g.asset_id = ANY($1::int[]) AND upper_inf(g.during)
            ), 'seen') h ON h.device_id = s.device_id
        LEFT JOIN device_heard_in_part(ARRAY(
                SELECT g.device_id FROM assignment g WHERE g.asset_id = ANY($1::int[]) AND upper_inf(g.during)
            )) p ON p.device_id = s.device_id
        WHERE s.asset_id = a.id AND upper_inf(s.during)) AS last_heard_at
FROM asset a LEFT JOIN LATERAL (
    SELECT d.id AS datastream_id, v.time, v.value, (v.flags & {Flag.MANUAL:d} <> 0) AS is_manual
    FROM datastream d LEFT JOIN latest v ON v.datastream_id = d.id AND v.{SOUND}
    WHERE d.asset_id = a.id AND d.quantity = 'fill_level' AND d.privacy_class < 2
    ORDER BY v.time DESC NULLS LAST, d.id LIMIT 1
) AS l ON true
WHERE a.id = ANY($1::int[]) AND (a.kind ~ '_container$' OR l.datastream_id IS NOT NULL)
ORDER BY a.id
"""


@dataclass(frozen=True, slots=True)
class BinNow:
    """A bin: which level of it is measured, what was read last and by whom, when its sensor was last heard."""

    asset_id: int
    name: str
    street: str
    commune: str
    datastream_id: int | None
    level_at: datetime | None
    level: float | None
    is_manual: bool | None
    last_heard_at: datetime | None

    @property
    def source(self) -> Literal["sensor", "manual"] | None:
        """Who read the last level; None: there is none."""
        return None if self.level is None else "manual" if self.is_manual else "sensor"


async def read_bins_now(connection: Connection, assets: Sequence[int]) -> dict[int, BinNow]:
    """Those of these assets that are bins."""
    return {one.asset_id: one for one in await fetch_all(connection, BinNow, BINS, assets)}
