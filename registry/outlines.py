"""Outlines of communes, of a tenant or offered to all."""

from dataclasses import dataclass
from typing import Any, Literal

from core.model.outlines import Outline
from core.runtime.postgres import Connection
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
INSERT INTO commune_outline AS o (tenant_id, insee, name, polygons, west, south, east, north, is_generated)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, insee) DO UPDATE
SET name = excluded.name, polygons = excluded.polygons, west = excluded.west, south = excluded.south,
    east = excluded.east, north = excluded.north, is_generated = excluded.is_generated, taken_in_at = now()
WHERE (o.name, o.polygons, o.is_generated)
      IS DISTINCT FROM (excluded.name, excluded.polygons, excluded.is_generated)
RETURNING xmax = 0
"""


async def list_outlines(connection: Connection, commune: str | None = None) -> list[StoredOutline]:
    """Those of the tenant and, where it has something, those that are offered to all."""
    return await fetch_all(connection, StoredOutline, LIST, commune)


async def take_in(
    connection: Connection, tenant_id: int | None, outline: Outline, *, is_generated: bool = False
) -> Taken:
    """Keep an outline in place of the former one of its code; `tenant_id` None: for every tenant."""
    polygons = [[[list(point) for point in ring] for ring in polygon] for polygon in outline.polygons]
    is_new = await connection.fetchval(
        TAKE_IN, tenant_id, outline.insee, outline.name, polygons, *outline.box, is_generated
    )
    return "unchanged" if is_new is None else "created" if is_new else "updated"
