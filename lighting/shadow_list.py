"""Lists what cabinets' clocks should hold and hold, for whom the database shows them to."""

from dataclasses import dataclass
from datetime import date, datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_all

# Those that drift first are found by their filter: the order is that of the assets, which does not move.
LIST = """
SELECT s.asset_id AS id, s.asset_id, s.tenant_id, a.kind, a.name, a.commune, a.street, s.holds_program,
       s.desired_version_id, encode(s.desired_hash, 'hex') AS desired_hash, s.desired_since, s.losses,
       s.exact_until,
       s.reported_version_id, encode(s.reported_hash, 'hex') AS reported_hash, s.reported_at, s.clock_valid,
       s.clock_offset_s, s.drifts, s.drifts_since
FROM lighting_shadow s JOIN asset a ON a.id = s.asset_id
WHERE s.asset_id > $1 AND ($3::boolean IS NULL OR s.drifts = $3) AND ($4::text IS NULL OR a.commune = $4)
  AND ($5::boolean IS NULL OR s.holds_program = $5)
ORDER BY s.asset_id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A cabinet or a circuit: what its clock should hold, and what it has reported; hashes in hexadecimal."""

    id: int
    asset_id: int
    tenant_id: int
    kind: str
    name: str
    commune: str
    street: str
    holds_program: bool
    desired_version_id: int | None
    desired_hash: str | None
    desired_since: datetime
    losses: tuple[str, ...]
    exact_until: date | None
    reported_version_id: int | None
    reported_hash: str | None
    reported_at: datetime | None
    clock_valid: bool | None
    clock_offset_s: float | None
    drifts: bool
    drifts_since: datetime | None


async def list_shadows(
    connection: Connection,
    *,
    after: int,
    most: int,
    drifts: bool | None,
    commune: str | None,
    holds_program: bool | None,
) -> list[Shadow]:
    """Up to `most` after an asset."""
    return await fetch_all(connection, Shadow, LIST, after, most, drifts, commune, holds_program)
