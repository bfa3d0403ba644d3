"""SQL of the circuits that lighting commands: what serves them, and how it is sent anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from core.runtime.postgres import Connection
from lighting.campaign_plan import Reach
from registry.rows import fetch_all, fetch_one

# What a lighting command may be given to; whatever else switches has its own route and never reverses by itself.
KINDS = ("lighting_cabinet", "lighting_circuit", "light_point")
# A cabinet's circuits, or the asset itself; of the devices that serve it one that switches before one that does
# not, as a meter of its own, and its own before its cabinet's.
SERVED = """
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
"""
FIND_CIRCUITS = f"""{SERVED}
WHERE CASE WHEN lighting_has_circuits($1)
           THEN s.parent_id = $1 AND s.kind = 'lighting_circuit' AND s.archived_at IS NULL
           ELSE s.id = $1 END
ORDER BY s.id
"""
FIND_CIRCUIT = f"{SERVED} WHERE s.id = $1"
FIND_SERVED = f"{SERVED} WHERE s.id = ANY($1::int[]) ORDER BY s.id"
# The circuits of cabinets, and assets that are their own.
CIRCUITS_OF = f"""{SERVED}
WHERE s.archived_at IS NULL AND (s.parent_id = ANY($1::int[]) AND s.kind = 'lighting_circuit' OR s.id = ANY($1)
    AND NOT EXISTS (SELECT FROM asset c WHERE c.parent_id = s.id AND c.kind = 'lighting_circuit'
                    AND c.archived_at IS NULL))
ORDER BY s.id
"""
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
# Cabinets; light points that a device of their own serves; of what is named or drifts, circuits, too.
FIND_TARGETS = """
SELECT a.id, a.tenant_id FROM asset a
WHERE (a.tenant_id = $1 OR a.id IN (SELECT operated_lighting())) AND a.archived_at IS NULL
  AND a.kind IN ('lighting_cabinet', 'lighting_circuit', 'light_point')
  AND ($2::int[] IS NULL OR a.id = ANY($2)) AND ($3::text IS NULL OR a.commune = $3)
  AND ($4::text IS NULL OR $4 = ANY(a.tags))
  AND ($5::int IS NULL OR EXISTS (
        SELECT FROM lighting_program_in_force f JOIN lighting_program_version v ON v.id = f.version_id
        WHERE f.asset_id = a.id AND v.program_id = $5))
  AND (NOT $6::boolean OR EXISTS (SELECT FROM lighting_shadow w WHERE w.asset_id = a.id AND w.drifts))
  AND CASE WHEN $2 IS NOT NULL OR $6 THEN true
           WHEN a.kind = 'light_point'
           THEN EXISTS (SELECT FROM assignment g WHERE g.asset_id = a.id AND g.during @> now())
           ELSE a.kind = 'lighting_cabinet' OR $4 IS NOT NULL OR $5 IS NOT NULL END
ORDER BY a.id
"""
# With the tags of its cabinet, too.
NAMES = """
SELECT s.id, s.name, s.tags || coalesce(c.tags, '{}') AS tags
FROM asset s LEFT JOIN asset c ON c.id = s.parent_id AND s.kind = 'lighting_circuit'
WHERE s.id = ANY($1::int[])
"""
PROFILES = "SELECT id, device_profile_id FROM device WHERE id = ANY($1::int[])"
REACHED = "SELECT asset_id, gateways, rx2_data_rate, source_id FROM lighting_reached($1::int[])"


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """To whom a campaign goes: what fulfils all that is given; nothing given is all that its author owns."""

    asset_ids: Sequence[int] | None = None
    commune: str | None = None
    tag: str | None = None
    program_id: int | None = None  # Those that follow it.
    drifted: bool = False  # Whose clock holds another program than it should.


@dataclass(frozen=True, slots=True)
class Named:
    """An asset by its name, with its tags and those of its cabinet."""

    id: int
    name: str
    tags: tuple[str, ...]


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


async def find_circuits_of(connection: Connection, asset_ids: Sequence[int]) -> list[Circuit]:
    """The circuits of these cabinets, circuits and light points, with the device that switches each."""
    return await fetch_all(connection, Circuit, CIRCUITS_OF, list(asset_ids))


async def find_targets(connection: Connection, tenant_id: int, wanted: Wanted) -> list[tuple[int, int]]:
    """Id and owner of the cabinets, light points and circuits that are meant.

    They are the tenant's own, and those that a grant lets it command.
    """
    given = None if wanted.asset_ids is None else list(wanted.asset_ids)
    rows = await connection.fetch(
        FIND_TARGETS, tenant_id, given, wanted.commune, wanted.tag, wanted.program_id, wanted.drifted
    )
    return [(row["id"], row["tenant_id"]) for row in rows]


async def names_of(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Named]:
    """Names and tags of assets, by id."""
    return {one.id: one for one in await fetch_all(connection, Named, NAMES, list(asset_ids))}


async def profiles_of(connection: Connection, device_ids: Sequence[int]) -> dict[int, int]:
    """The profile of each device."""
    return {row["id"]: row["device_profile_id"] for row in await connection.fetch(PROFILES, list(device_ids))}


async def read_reached(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Reach]:
    """How each circuit is reached; of those that no device serves nothing."""
    rows = await connection.fetch(REACHED, list(asset_ids))
    return {row["asset_id"]: Reach(tuple(row["gateways"]), row["rx2_data_rate"], row["source_id"]) for row in rows}
