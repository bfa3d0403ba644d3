"""Outlines of communes, of a tenant or offered to all; and the commune of each asset by them.

A trigger gives an asset that is made or moved its commune (`0107_communes_of_assets.sql`). Assets that were there
before an outline are compared with it by `settle`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from core.model.outlines import Outline
from core.runtime.postgres import Connection, Pool
from registry.rows import columns_of, fetch_all

Taken = Literal["created", "updated", "unchanged"]
SERVED_MOST = 500


@dataclass(frozen=True, slots=True)
class StoredOutline:
    """A commune's outline."""

    insee: str
    name: str
    polygons: list[Any]
    is_generated: bool


@dataclass(frozen=True, slots=True)
class CommuneConflict:
    """An asset whose stated commune is not the one of its position."""

    id: int
    kind: str
    name: str
    commune: str
    insee: str | None
    position_insee: str
    position_commune: str


# What is offered to all covers a country: of that, where there is something of one's own. A name is a commune's of
# several departments, and so the place counts, too.
LIST = f"""
SELECT DISTINCT ON (insee) {columns_of(StoredOutline)} FROM commune_outline o
WHERE ($1::text IS NULL OR lower(name) = lower($1))
  AND (tenant_id IS NOT NULL OR EXISTS (
       SELECT FROM asset a WHERE lower(a.commune) = lower(o.name) AND a.archived_at IS NULL
       AND (a.longitude IS NULL
            OR (a.longitude BETWEEN o.west AND o.east AND a.latitude BETWEEN o.south AND o.north))))
ORDER BY insee, tenant_id NULLS LAST LIMIT {SERVED_MOST}
"""
TAKE_IN = """
INSERT INTO commune_outline AS o (tenant_id, insee, name, polygons, west, south, east, north, is_generated,
                                  borders, border_parts, borders_digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, borders_of($10), border_parts_of($10), md5($10::text))
ON CONFLICT (tenant_id, insee) DO UPDATE
SET name = excluded.name, polygons = excluded.polygons, west = excluded.west, south = excluded.south,
    east = excluded.east, north = excluded.north, is_generated = excluded.is_generated, taken_in_at = now(),
    borders = excluded.borders, border_parts = excluded.border_parts, borders_digest = excluded.borders_digest
WHERE (o.name, o.polygons, o.is_generated, o.borders_digest)
      IS DISTINCT FROM (excluded.name, excluded.polygons, excluded.is_generated, excluded.borders_digest)
RETURNING xmax = 0
"""
CONFLICTS = """
SELECT a.id, a.kind, a.name, a.commune, a.insee, a.position_insee,
       coalesce((SELECT o.name FROM commune_outline o
                 WHERE o.insee = a.position_insee AND (o.tenant_id = a.tenant_id OR o.tenant_id IS NULL)
                 ORDER BY o.tenant_id NULLS LAST LIMIT 1), '') AS position_commune
FROM asset a
WHERE a.id > $1 AND a.position_insee IS NOT NULL AND NOT a.commune_by_position
  AND a.position_insee IS DISTINCT FROM a.insee AND a.archived_at IS NULL
ORDER BY a.id LIMIT $2
"""


async def list_conflicts(connection: Connection, *, after: int = 0, most: int = 100) -> list[CommuneConflict]:
    """Assets by id, beyond `after`, whose stated commune is not the one of their position."""
    return await fetch_all(connection, CommuneConflict, CONFLICTS, after, most)


async def list_outlines(connection: Connection, commune: str | None = None) -> list[StoredOutline]:
    """Those of the tenant and, where it has something, those that are offered to all."""
    return await fetch_all(connection, StoredOutline, LIST, commune)


async def take_in(
    connection: Connection, tenant_id: int | None, outline: Outline, *, is_generated: bool = False
) -> Taken:
    """Keep an outline in place of the former one of its code; `tenant_id` None: for every tenant."""
    drawn, borders = (
        [[[list(point) for point in ring] for ring in polygon] for polygon in polygons]
        for polygons in (outline.polygons, outline.borders)
    )
    is_new = await connection.fetchval(
        TAKE_IN, tenant_id, outline.insee, outline.name, drawn, *outline.box, is_generated, borders
    )
    return "unchanged" if is_new is None else "created" if is_new else "updated"


UNSETTLED = "SELECT id, taken_in_at FROM commune_outline WHERE settled_at IS NULL"
IDS = "SELECT coalesce(max(id), 0) FROM asset"
SETTLE = "SELECT settle_communes($1, $2)"
# What was taken in again meanwhile has to be compared again.
SETTLED = """
UPDATE commune_outline o SET settled_at = now()
FROM unnest($1::int[], $2::timestamptz[]) AS done (id, taken_in_at)
WHERE o.id = done.id AND o.taken_in_at = done.taken_in_at AND o.settled_at IS NULL
"""
SETTLED_AT_ONCE = 5_000


async def settle(pool: Pool) -> int:
    """Give assets the communes of the outlines that were taken in since the last call; how many changed."""
    unsettled = await pool.fetch(UNSETTLED)
    if not unsettled:
        return 0
    changed = 0
    for after in range(0, await pool.fetchval(IDS), SETTLED_AT_ONCE):
        changed += await pool.fetchval(SETTLE, after, after + SETTLED_AT_ONCE)
    await pool.execute(SETTLED, [row["id"] for row in unsettled], [row["taken_in_at"] for row in unsettled])
    return changed
