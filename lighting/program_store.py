"""SQL of programs, of which asset follows which version, and of bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from lighting.programs import Bounds
from registry.rows import entity, fetch_all, fetch_one, insert

COLUMNS = """p.id, p.tenant_id, p.name, p.created_at, p.archived_at, v.id AS version_id, v.version, v.program,
v.remark, v.author, v.created_at AS changed_at"""
LATEST = """lighting_program p JOIN LATERAL (
    SELECT * FROM lighting_program_version w WHERE w.program_id = p.id
    ORDER BY w.version DESC LIMIT 1) v ON true"""
READ = f"SELECT {COLUMNS} FROM {LATEST} WHERE p.id = $1"
LIST = f"""
SELECT {COLUMNS}, coalesce(g.assets, 0) AS assets, coalesce(g.outdated, 0) AS outdated FROM {LATEST}
LEFT JOIN (
    SELECT w.program_id, count(*)::int AS assets,
           (count(*) FILTER (WHERE w.version < (SELECT max(x.version) FROM lighting_program_version x
                                                WHERE x.program_id = w.program_id)))::int AS outdated
    FROM lighting_assignment a JOIN lighting_program_version w ON w.id = a.version_id
    WHERE a.ended_at IS NULL GROUP BY w.program_id) g ON g.program_id = p.id
WHERE p.id > $1 AND ($3 OR p.archived_at IS NULL) ORDER BY p.id LIMIT $2
"""
CREATE = f"""
WITH p AS (INSERT INTO lighting_program (tenant_id, name) VALUES ($1, $2) RETURNING *),
v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, remark, author)
      SELECT p.tenant_id, p.id, 1, $3, $4, $5 FROM p RETURNING *)
SELECT {COLUMNS} FROM p, v
"""
LOCK = "SELECT id FROM lighting_program WHERE id = $1 AND tenant_id = $2 FOR UPDATE"
RENAME = "UPDATE lighting_program SET name = $2 WHERE id = $1"
ADD_VERSION = """
INSERT INTO lighting_program_version (tenant_id, program_id, version, program, remark, author)
SELECT v.tenant_id, v.program_id, v.version + 1, $2, $3, $4 FROM lighting_program_version v
WHERE v.program_id = $1 AND v.program <> $2
  AND v.version = (SELECT max(w.version) FROM lighting_program_version w WHERE w.program_id = $1)
"""
ARCHIVE = """
UPDATE lighting_program SET archived_at = CASE WHEN $2 THEN coalesce(archived_at, now()) END WHERE id = $1
RETURNING id
"""
IS_IN_FORCE = """
SELECT EXISTS (SELECT FROM lighting_assignment a JOIN lighting_program_version v ON v.id = a.version_id
               WHERE v.program_id = $1 AND a.ended_at IS NULL)
"""
VERSIONS = """
SELECT id, program_id, version, program, remark, author, created_at FROM lighting_program_version
WHERE program_id = $1 AND ($2::int IS NULL OR version < $2) ORDER BY version DESC LIMIT $3
"""
READ_VERSION = """
SELECT id, program_id, version, program, remark, author, created_at FROM lighting_program_version
WHERE program_id = $1 AND ($2::int IS NULL OR version = $2) ORDER BY version DESC LIMIT 1
"""
# $1 tenant; $2 ids, or $3 commune and $4 tag of cabinets, or $5 the program that they follow of their own.
TARGETS = """
SELECT s.id, s.kind, s.name, s.commune, s.tags, s.latitude, s.longitude, g.version_id, p.id AS program_id,
       p.name AS program_name, coalesce(s.attributes -> 'protected' = 'true', false) AS protected,
       coalesce(g.switches, true) AS switches
FROM asset s
LEFT JOIN lighting_assignment g ON g.asset_id = s.id AND g.ended_at IS NULL
LEFT JOIN lighting_program_version v ON v.id = g.version_id
LEFT JOIN lighting_program p ON p.id = v.program_id
WHERE s.tenant_id = $1 AND s.archived_at IS NULL AND CASE
    WHEN $2::int[] IS NOT NULL THEN s.id = ANY($2)
    WHEN $5::int IS NOT NULL THEN v.program_id = $5
    ELSE s.kind = 'lighting_cabinet' AND ($3::text IS NULL OR s.commune = $3)
         AND ($4::text IS NULL OR $4 = ANY(s.tags)) END
ORDER BY s.id
"""
# Locked in one order: of two requests for one asset, the later one replaces the earlier.
LOCK_ASSETS = "SELECT id FROM asset WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE"
# What an upgrade assigned switches nothing until somebody assigns it, though it be the same.
END = """
UPDATE lighting_assignment SET ended_at = now(), ended_by = $3
WHERE asset_id = ANY($1::int[]) AND ended_at IS NULL AND (version_id IS DISTINCT FROM $2 OR NOT switches)
"""
ASSIGN = """
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
SELECT $1, s, $3, $4 FROM unnest($2::int[]) s
WHERE NOT EXISTS (SELECT FROM lighting_assignment g WHERE g.asset_id = s AND g.ended_at IS NULL)
"""
ASSIGNMENTS = """
SELECT g.id, g.asset_id, s.name AS asset_name, s.kind AS asset_kind, s.commune, v.program_id,
       p.name AS program_name, v.version, g.assigned_by, g.assigned_at, g.ended_by, g.ended_at
FROM lighting_assignment g
JOIN lighting_program_version v ON v.id = g.version_id
JOIN lighting_program p ON p.id = v.program_id
JOIN asset s ON s.id = g.asset_id
WHERE ($1::int IS NULL OR v.program_id = $1) AND ($2::int IS NULL OR g.asset_id = $2)
  AND ($3 OR g.ended_at IS NULL) AND ($4::bigint IS NULL OR g.id < $4)
ORDER BY g.id DESC LIMIT $5
"""
IN_FORCE = """
SELECT f.version_id, p.id AS program_id, p.name AS program_name, v.version, f.program,
       g.asset_id IS NOT NULL AS is_own
FROM lighting_program_in_force f
JOIN lighting_program_version v ON v.id = f.version_id
JOIN lighting_program p ON p.id = v.program_id
LEFT JOIN lighting_assignment g ON g.asset_id = f.asset_id AND g.ended_at IS NULL
WHERE f.asset_id = $1
"""
CABINETS = """
SELECT s.id, s.name, s.commune, s.attributes FROM asset s
WHERE s.kind IN ('lighting_cabinet', 'lighting_circuit') AND s.archived_at IS NULL AND s.id > $1
  AND ($2::text IS NULL OR s.commune = $2)
  AND (s.kind = 'lighting_cabinet' OR s.attributes ? 'legal_category')
ORDER BY s.id LIMIT $3
"""
UNREAD = """
SELECT id, name, commune, attributes -> 'lighting_unread' AS said FROM asset
WHERE attributes ? 'lighting_unread' AND id > $1 ORDER BY id LIMIT $2
"""
BOUNDS_OF = "SELECT * FROM lighting_bounds_of($1)"
BOUNDS_COLUMNS = """b.member_id, b.tenant_id, t.name AS member_name, b.earliest_cut, b.latest_return,
b.least_level, b.protected_tags, b.set_by, b.set_at"""
LIST_BOUNDS = f"""
SELECT {BOUNDS_COLUMNS} FROM lighting_bounds b JOIN tenant t ON t.id = b.member_id
WHERE ($1::int IS NULL OR b.member_id = $1) ORDER BY b.member_id, b.tenant_id
"""
SET_BOUNDS = """
INSERT INTO lighting_bounds (tenant_id, member_id, earliest_cut, latest_return, least_level, protected_tags,
                             set_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, member_id) DO UPDATE
SET earliest_cut = excluded.earliest_cut, latest_return = excluded.latest_return,
    least_level = excluded.least_level, protected_tags = excluded.protected_tags, set_by = excluded.set_by,
    set_at = now()
"""
REMOVE_BOUNDS = "DELETE FROM lighting_bounds WHERE tenant_id = $1 AND member_id = $2 RETURNING member_id"
DEPARTMENT = "SELECT t.department, d.timezone FROM tenant t, deployment d WHERE t.id = $1"
PLACE = """
SELECT latitude, longitude FROM asset
WHERE tenant_id = $1 AND kind = 'lighting_cabinet' AND latitude IS NOT NULL AND archived_at IS NULL
ORDER BY id LIMIT 1
"""
MEMBERS = "SELECT id, name FROM tenant WHERE id <> $1 ORDER BY name"


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """A program with its latest version."""

    id: int
    tenant_id: int
    name: str
    version_id: int
    version: int
    program: dict[str, Any]
    remark: str
    author: str
    created_at: datetime
    changed_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedProgram(StoredProgram):
    """In the list also how many assets follow it, and how many of them an older version."""

    assets: int
    outdated: int


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a program."""

    id: int
    program_id: int
    version: int
    program: dict[str, Any]
    remark: str
    author: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """An asset that a program may be assigned to, and what it follows of its own."""

    id: int
    kind: str
    name: str
    commune: str
    tags: tuple[str, ...]
    latitude: float | None
    longitude: float | None
    version_id: int | None
    program_id: int | None
    program_name: str | None
    protected: bool
    switches: bool  # False: it follows what an upgrade assigned.


@dataclass(frozen=True, slots=True)
class StoredAssignment:
    """Which version an asset follows or followed."""

    id: int
    asset_id: int
    asset_name: str
    asset_kind: str
    commune: str
    program_id: int
    program_name: str
    version: int
    assigned_by: str
    assigned_at: datetime
    ended_by: str | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class InForce:
    """What an asset follows, of its own or by the one above it."""

    version_id: int
    program_id: int
    program_name: str
    version: int
    program: dict[str, Any]
    is_own: bool


@dataclass(frozen=True, slots=True)
class Lit:
    """A cabinet or circuit of the report on legal hours."""

    id: int
    name: str
    commune: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unread:
    """What an asset said of its lamps before programs, and nobody could read."""

    id: int
    name: str
    commune: str
    said: Any


@dataclass(frozen=True, slots=True)
class StoredBounds:
    """The bounds that a syndicat has set for a member."""

    member_id: int
    tenant_id: int
    member_name: str
    earliest_cut: int | None
    latest_return: int | None
    least_level: int | None
    protected_tags: tuple[str, ...]
    set_by: str
    set_at: datetime


async def read_program(connection: Connection, program_id: int) -> StoredProgram | None:
    """A program by its number."""
    return await fetch_one(connection, StoredProgram, READ, program_id)


async def list_programs(
    connection: Connection, *, after: int = 0, most: int = 100, archived: bool = False
) -> list[ListedProgram]:
    """Programs in the order in which they were made."""
    return await fetch_all(connection, ListedProgram, LIST, after, most, archived)


async def create_program(
    connection: Connection, tenant_id: int, name: str, program: dict[str, Any], remark: str, author: str
) -> StoredProgram:
    """A program with its first version."""
    return await insert(connection, StoredProgram, CREATE, tenant_id, name, program, remark, author)


async def change_program(
    connection: Connection, stored: StoredProgram, name: str, program: dict[str, Any], remark: str, author: str
) -> StoredProgram | None:
    """Another name, and a new version unless the program is the same."""
    await connection.execute(LOCK, stored.id, stored.tenant_id)
    await connection.execute(RENAME, stored.id, name)
    await connection.execute(ADD_VERSION, stored.id, program, remark, author)
    return await read_program(connection, stored.id)


async def is_in_force(connection: Connection, program_id: int) -> bool:
    """Whether an asset follows one of its versions now."""
    return await connection.fetchval(IS_IN_FORCE, program_id)


async def archive_program(connection: Connection, program_id: int, *, archived: bool) -> bool:
    """Out of the list, or back in it."""
    return await connection.fetchval(ARCHIVE, program_id, archived) is not None


async def list_versions(
    connection: Connection, program_id: int, *, before: int | None = None, most: int = 100
) -> list[StoredVersion]:
    """The versions of a program, the last one first."""
    return await fetch_all(connection, StoredVersion, VERSIONS, program_id, before, most)


async def read_version(
    connection: Connection, program_id: int, version: int | None = None
) -> StoredVersion | None:
    """One version, or the last."""
    return await fetch_one(connection, StoredVersion, READ_VERSION, program_id, version)


async def find_targets(
    connection: Connection,
    tenant_id: int,
    *,
    asset_ids: Sequence[int] | None = None,
    commune: str | None = None,
    tag: str | None = None,
    program_id: int | None = None,
) -> list[Target]:
    """The tenant's own assets of a list, those that follow a program, or cabinets of a commune and a tag."""
    ids = None if asset_ids is None else list(asset_ids)
    return await fetch_all(connection, Target, TARGETS, tenant_id, ids, commune, tag, program_id)


async def assign(
    connection: Connection, tenant_id: int, asset_ids: Sequence[int], version_id: int | None, actor: str
) -> None:
    """From now on these follow this version; None: what the asset above them follows."""
    ids = list(asset_ids)
    await connection.execute(LOCK_ASSETS, ids)
    await connection.execute(END, ids, version_id, actor)
    if version_id is not None:
        await connection.execute(ASSIGN, tenant_id, ids, version_id, actor)


async def list_assignments(
    connection: Connection,
    *,
    program_id: int | None = None,
    asset_id: int | None = None,
    ended: bool = False,
    before: int | None = None,
    most: int = 100,
) -> list[StoredAssignment]:
    """Who follows what, the last assigned first; with `ended` also who followed what."""
    return await fetch_all(connection, StoredAssignment, ASSIGNMENTS, program_id, asset_id, ended, before, most)


async def read_in_force(connection: Connection, asset_id: int) -> InForce | None:
    """What an asset follows; None: nothing, its lamps burn from dusk to dawn."""
    return await fetch_one(connection, InForce, IN_FORCE, asset_id)


async def list_lit(connection: Connection, *, commune: str | None, after: int, most: int) -> list[Lit]:
    """Cabinets, and circuits that have a legal category of their own."""
    return await fetch_all(connection, Lit, CABINETS, after, commune, most)


async def list_unread(connection: Connection, *, after: int = 0, most: int = 100) -> list[Unread]:
    """Assets with a former setting that nobody could read."""
    return await fetch_all(connection, Unread, UNREAD, after, most)


async def bounds_of(connection: Connection, member_id: int) -> list[Bounds]:
    """What those above a member have set for it."""
    return [entity(Bounds, row) for row in await connection.fetch(BOUNDS_OF, member_id)]


async def list_bounds(connection: Connection, member_id: int | None = None) -> list[StoredBounds]:
    """Those that are visible: one's own, and those of one's members."""
    return await fetch_all(connection, StoredBounds, LIST_BOUNDS, member_id)


async def set_bounds(connection: Connection, tenant_id: int, member_id: int, bounds: Bounds, actor: str) -> None:
    """In place of those that this tenant had set for this member."""
    await connection.execute(
        SET_BOUNDS,
        tenant_id,
        member_id,
        bounds.earliest_cut,
        bounds.latest_return,
        bounds.least_level,
        list(bounds.protected_tags),
        actor,
    )


async def remove_bounds(connection: Connection, tenant_id: int, member_id: int) -> bool:
    """Whether there were any."""
    return await connection.fetchval(REMOVE_BOUNDS, tenant_id, member_id) is not None


async def list_members(connection: Connection, tenant_id: int) -> list[tuple[int, str]]:
    """The tenants below this one, by name."""
    return [(row["id"], row["name"]) for row in await connection.fetch(MEMBERS, tenant_id)]


async def read_department(connection: Connection, tenant_id: int) -> tuple[str | None, str]:
    """A tenant's department, and the deployment's time zone."""
    row = await connection.fetchrow(DEPARTMENT, tenant_id)
    return (None, "Europe/Paris") if row is None else (row["department"], row["timezone"])


async def find_place(connection: Connection, tenant_id: int) -> tuple[float, float] | None:
    """Where some cabinet of a tenant is; None where nobody knows it of any."""
    row = await connection.fetchrow(PLACE, tenant_id)
    return None if row is None else (row["latitude"], row["longitude"])
