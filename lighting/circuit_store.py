"""SQL of the circuits that lighting commands: what serves them, and how it is sent anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from core.runtime.postgres import Connection
from registry.rows import fetch_all, fetch_one

# What a lighting command may be given to; whatever else switches has its own route and never reverses by itself.
KINDS = ("lighting_cabinet", "lighting_circuit", "light_point")
# A cabinet's circuits, or the asset itself; of the devices that serve it one that switches before one that does
# not, as a meter of its own, and its own before its cabinet's.
FIND_CIRCUITS = """
SELECT s.id AS asset_id, s.kind, s.attributes ->> 'output' AS output,
       coalesce(s.attributes -> 'protected' = 'true', false) AS is_protected,
       v.device_id, v.dev_eui, v.codec, v.codec_version_id, v.capabilities, v.enabled, v.expected_interval,
       v.device_class, v.reported
FROM asset s
LEFT JOIN LATERAL (
    SELECT d.id AS device_id, d.dev_eui, p.codec, p.codec_version_id, p.capabilities, d.enabled,
           p.expected_interval, p.device_class::text AS device_class,
           ARRAY(SELECT DISTINCT r.channel FROM datastream r
                 WHERE r.device_id = d.id AND r.quantity = 'switch_state') AS reported
    FROM assignment a JOIN device d ON d.id = a.device_id JOIN device_profile p ON p.id = d.device_profile_id
    WHERE a.during @> now() AND (a.asset_id = s.id OR (s.kind = 'lighting_circuit' AND a.asset_id = s.parent_id))
    ORDER BY 'switch' = ANY(p.capabilities) DESC, a.asset_id = s.id DESC, a.id LIMIT 1
) v ON true
WHERE CASE WHEN lighting_has_circuits($1)
           THEN s.parent_id = $1 AND s.kind = 'lighting_circuit' AND s.archived_at IS NULL
           ELSE s.id = $1 END
ORDER BY s.id
"""
FIND_CIRCUIT = FIND_CIRCUITS.partition("WHERE CASE")[0] + "WHERE s.id = $1"
FIND_SERVED = FIND_CIRCUITS.partition("WHERE CASE")[0] + "WHERE s.id = ANY($1::int[]) ORDER BY s.id"
SERVES = f"""
SELECT EXISTS (SELECT FROM assignment g JOIN asset a ON a.id = g.asset_id
               WHERE g.device_id = $1 AND g.during @> now() AND a.kind IN {KINDS})
"""
SERVED_BY = f"""
SELECT DISTINCT a.id FROM assignment g JOIN asset a ON a.id = g.asset_id
WHERE g.device_id = $1 AND g.during @> now() AND a.kind IN {KINDS} ORDER BY a.id
"""
# Every command of a circuit waits for this lock: of two at once, the later one supersedes the earlier.
LOCK_ASSET = "SELECT id FROM asset WHERE id = $1 FOR NO KEY UPDATE"


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit, and what switches it now; without `device_id` nothing does."""

    asset_id: int
    kind: str
    output: str | None
    is_protected: bool
    device_id: int | None
    dev_eui: bytes | None
    codec: str | None
    codec_version_id: int | None
    capabilities: tuple[str, ...] | None
    enabled: bool | None
    expected_interval: timedelta | None
    device_class: str | None
    reported: tuple[str, ...] | None


async def lock_asset(connection: Connection, asset_id: int) -> bool:
    """No other command for this asset until the transaction ends; False when no such asset is visible."""
    return await connection.fetchval(LOCK_ASSET, asset_id) is not None


async def find_circuits(connection: Connection, asset_id: int) -> list[Circuit]:
    """The circuits of a cabinet that are visible, or the asset itself where it has none."""
    return await fetch_all(connection, Circuit, FIND_CIRCUITS, asset_id)


async def find_circuit(connection: Connection, asset_id: int) -> Circuit | None:
    """The asset as it stands, whether or not it has circuits."""
    return await fetch_one(connection, Circuit, FIND_CIRCUIT, asset_id)


async def find_served(connection: Connection, asset_ids: Sequence[int]) -> list[Circuit]:
    """These assets as they stand, whether or not they have circuits."""
    return await fetch_all(connection, Circuit, FIND_SERVED, asset_ids)


async def serves_lighting(connection: Connection, device_id: int) -> bool:
    """Whether a device serves a lighting circuit now."""
    return await connection.fetchval(SERVES, device_id)


async def served_by(connection: Connection, device_id: int) -> list[int]:
    """The lighting assets that a device serves now."""
    return [row["id"] for row in await connection.fetch(SERVED_BY, device_id)]
