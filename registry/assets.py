"""Assets: read by the services, created, changed and listed by the API."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.model.entities import Asset
from core.runtime.postgres import CheckViolationError, Connection, Pool
from registry.rows import Written, columns_of, entity, fetch_all, fetch_one, insert

COLUMNS = columns_of(Asset)
WRITTEN = Written(
    "kind, name, commune, street, latitude, longitude, attributes, privacy_class, tags, external_reference, insee"
)
READ_ASSETS = f"SELECT {COLUMNS} FROM asset WHERE $1::int[] IS NULL OR id = ANY($1)"
CREATE = f"""
INSERT INTO asset (tenant_id, {WRITTEN.columns}) VALUES ($1, {WRITTEN.parameters(2)}) RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM asset WHERE id = $1"
LIST = f"""
SELECT {COLUMNS} FROM asset
WHERE id > $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR commune = $3)
  AND ($4::text IS NULL OR strpos(folded(name), folded($4)) > 0 OR strpos(folded(street), folded($4)) > 0
       OR strpos(folded(external_reference), folded($4)) > 0)
  AND ($5::text IS NULL OR $5 = ANY(tags)) AND ($6::int IS NULL OR tenant_id = $6)
  AND (archived_at IS NOT NULL) = $8::boolean
  AND ($9::text IS NULL OR external_reference = $9) AND ($10::int IS NULL OR parent_id = $10)
ORDER BY id LIMIT $7
"""
ARCHIVE = f"""
UPDATE asset SET archived_at = CASE WHEN $2::boolean THEN coalesce(archived_at, now()) END WHERE id = $1
RETURNING {COLUMNS}
"""
UPDATE = f"UPDATE asset SET {WRITTEN.patched(2)} WHERE id = $1 RETURNING {COLUMNS}"
# Of the same tenant, and not of what hangs on it.
SET_PARENT = f"""
WITH RECURSIVE above (id, parent_id, depth) AS (
    SELECT id, parent_id, 0 FROM asset WHERE id = $2
    UNION ALL
    SELECT p.id, p.parent_id, above.depth + 1 FROM asset p JOIN above ON p.id = above.parent_id
    WHERE above.depth < 8
)
UPDATE asset a SET parent_id = $2
WHERE a.id = $1 AND ($2::int IS NULL OR (EXISTS (SELECT FROM asset p WHERE p.id = $2 AND p.tenant_id = a.tenant_id)
                                         AND NOT EXISTS (SELECT FROM above WHERE above.id = a.id)))
RETURNING {COLUMNS}
"""


class ClassToConfirm(Exception):
    """It would become a dwelling's, with what was measured of it: its owner confirms its class first."""


async def read_assets(connection: Connection | Pool, ids: Sequence[int] | None = None) -> dict[int, Asset]:
    """Every asset by id, or those with these ids."""
    return {row["id"]: entity(Asset, row) for row in await connection.fetch(READ_ASSETS, ids)}


async def create_asset(connection: Connection, tenant_id: int, asset: Mapping[str, Any]) -> Asset:
    """A new asset, of the columns in `WRITTEN`; raises UniqueViolationError when kind and name are taken."""
    return await insert(connection, Asset, CREATE, tenant_id, *WRITTEN.values(asset))


async def read_asset(connection: Connection, asset_id: int) -> Asset | None:
    """One asset."""
    return await fetch_one(connection, Asset, READ, asset_id)


async def list_assets(
    connection: Connection,
    *,
    after: int = 0,
    kind: str | None = None,
    commune: str | None = None,
    search: str | None = None,
    tag: str | None = None,
    tenant_id: int | None = None,
    archived: bool = False,
    external_reference: str | None = None,
    parent_id: int | None = None,
    most: int = 100,
) -> list[Asset]:
    """Assets by id, beyond `after`; `search` looks in names, streets and references, `tenant_id` is the owner."""
    given = (after, kind, commune, search, tag, tenant_id, most, archived, external_reference, parent_id)
    return await fetch_all(connection, Asset, LIST, *given)


async def archive_asset(connection: Connection, asset_id: int, *, archived: bool) -> Asset | None:
    """The asset, out of lists and alerts from now on, or in them again; None when there is no such asset."""
    return await fetch_one(connection, Asset, ARCHIVE, asset_id, archived)


async def update_asset(connection: Connection, asset_id: int, change: Mapping[str, Any]) -> Asset | None:
    """The asset after the change of columns in `WRITTEN`; None when there is no such asset.

    Raises:
        ClassToConfirm: it would become a dwelling, with what was measured of it.
    """
    return await _changed(connection, UPDATE, asset_id, *WRITTEN.changes(change))


async def set_parent(connection: Connection, asset_id: int, parent_id: int | None) -> Asset | None:
    """The asset after it was hung on another (None: on nothing).

    None when there is no such asset, or the other is another tenant's or hangs on this one.

    Raises:
        ClassToConfirm: the other is a dwelling's, and something was measured of this one.
    """
    return await _changed(connection, SET_PARENT, asset_id, parent_id)


async def _changed(connection: Connection, statement: str, *values: Any) -> Asset | None:
    try:
        return await fetch_one(connection, Asset, statement, *values)
    except CheckViolationError as refused:
        if refused.constraint_name == "asset_class_is_confirmed_first":
            raise ClassToConfirm from None
        raise
