"""Assets: read by the services, created, changed and listed by the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.model.entities import Asset
from core.runtime.postgres import CheckViolationError, Connection, Pool
from registry.listing import Ask, Key, Listing, Part, planned_for_tenants, reached, rows_in_order
from registry.places import ANYWHERE, Place, distance, in_commune, values_of, within
from registry.rows import Written, columns_of, entity, fetch_all, fetch_one, insert

COLUMNS = columns_of(Asset)
WRITTEN = Written(
    "kind, name, commune, street, latitude, longitude, attributes, privacy_class, tags, external_reference, "
    "insee, quarter"
)
READ_ASSETS = f"SELECT {COLUMNS} FROM asset WHERE $1::int[] IS NULL OR id = ANY($1)"
CREATE = f"""
INSERT INTO asset (tenant_id, {WRITTEN.columns}) VALUES ($1, {WRITTEN.parameters(2)}) RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM asset WHERE id = $1"
READ_THESE = f"SELECT {COLUMNS} FROM asset WHERE id = ANY($1)"
WANTED = f"""
{reached("a")} AND (:kind::text IS NULL OR a.kind = :kind)
  AND (:search::text IS NULL OR strpos(a.words, folded(:search)) > 0)
  AND (:tag::text IS NULL OR :tag = ANY(a.tags)) AND (:tenant_id::int IS NULL OR a.tenant_id = :tenant_id)
  AND (a.archived_at IS NOT NULL) = :archived::boolean
  AND (:external_reference::text IS NULL OR a.external_reference = :external_reference)
  AND (:parent_id::int IS NULL OR a.parent_id = :parent_id)
  AND (:quarter::text IS NULL OR a.quarter = :quarter)
  AND (:model::text IS NULL OR EXISTS (
       SELECT FROM assignment s JOIN device v ON v.id = s.device_id
       JOIN device_profile p ON p.id = v.device_profile_id
       WHERE s.asset_id = a.id AND upper_inf(s.during) AND :model IN (p.model, p.name)))
  AND {in_commune("a")} AND {within("a")}
"""
# By what a list of assets is sorted, without asking how each is.
KEYS = {
    "name": Key("name COLLATE french", "text"),
    "kind": Key("kind", "text"),
    "commune": Key("commune COLLATE french", "text"),
    "distance": Key("distance", "float8"),
}
LIST = Listing(
    f"""
SELECT a.id, a.name, a.kind, a.commune,
       CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance("a")} END AS distance
FROM asset a WHERE {WANTED}
""",
    KEYS,
)
LIST_DESCRIBED = f"""
SELECT {COLUMNS} FROM asset
WHERE id > $1 AND kind = ANY($2) AND attributes <> '{{}}' AND archived_at IS NULL AND tenant_id = ANY($4::int[])
ORDER BY id LIMIT $3
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


@dataclass(frozen=True, slots=True)
class WantedAssets:
    """Which assets a list is asked for; None: whatever they are. `search` is in names, streets and references."""

    kind: str | None = None
    search: str | None = None
    tag: str | None = None
    tenant_id: int | None = None  # Of the owner.
    archived: bool = False
    external_reference: str | None = None
    parent_id: int | None = None
    quarter: str | None = None
    model: str | None = None  # Of a device that serves it, or the name of its profile.
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self)


async def list_assets(connection: Connection, ask: Ask, wanted: WantedAssets) -> Part:
    """The ids of a page of assets."""
    return await LIST.page(connection, ask, wanted.values())


async def read_in_order(connection: Connection, ids: Sequence[int]) -> list[Asset]:
    """These assets, in this order."""
    return await rows_in_order(connection, Asset, READ_THESE, ids)


async def list_described(
    connection: Connection, kinds: Sequence[str], *, after: int = 0, most: int = 100
) -> list[Asset]:
    """Assets of these kinds that have attributes, by id, beyond `after`."""
    async with planned_for_tenants(connection) as tenants:
        return await fetch_all(connection, Asset, LIST_DESCRIBED, after, kinds, most, tenants)


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
