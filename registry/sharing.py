"""What tenants let each other see: members of a syndicat, grants, transfers of assets."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.runtime.postgres import Connection, PostgresError
from registry.rows import Written, fetch_all, fetch_one

SET_MEMBER_OF = "SELECT set_member_of($1, $2)"
FIND_NAMED = "SELECT tenant_named($1)"
COLUMNS = """g.id, g.tenant_id, f.slug AS giver, f.name AS giver_name, t.slug AS grantee, t.name AS grantee_name,
g.asset_id, g.tag, g.asset_kind, g.everything, g.role, lower(g.valid) AS valid_from, upper(g.valid) AS valid_to,
lower(g.data) AS data_from, upper(g.data) AS data_to, g.granted_by, g.created_at, g.revoked_at, g.revoked_by,
g.revoked_at IS NULL AND g.valid @> now() AS holds"""
NAMED = """
FROM access_grant g JOIN sharing_tenant() f ON f.id = g.tenant_id JOIN sharing_tenant() t ON t.id = g.grantee_id
"""
# An asset of somebody else makes no row.
WRITTEN = Written("asset_id, tag, asset_kind, everything, role, valid_from, valid_to, data_from, data_to")
CREATE = """
INSERT INTO access_grant (tenant_id, grantee_id, granted_by, asset_id, tag, asset_kind, everything, role, valid,
                          data)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, tstzrange(coalesce($9, now()), $10), tstzrange($11, $12)
WHERE $4::int IS NULL OR EXISTS (SELECT FROM asset WHERE id = $4 AND tenant_id = $1)
RETURNING id
"""
READ = f"SELECT {COLUMNS} {NAMED} WHERE g.id = $1"
LIST = f"""
SELECT {COLUMNS} {NAMED}
WHERE g.id > $1 AND ($2::text IS NULL OR ($2 = 'given') = (g.tenant_id = current_tenant()))
ORDER BY g.id LIMIT $3
"""
REVOKE = """
UPDATE access_grant SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING true
"""
VIEWERS = f"""
SELECT {COLUMNS} {NAMED} JOIN asset a ON a.tenant_id = g.tenant_id AND a.id = $1
WHERE g.tenant_id = current_tenant() AND g.revoked_at IS NULL AND (upper_inf(g.valid) OR upper(g.valid) > now())
  AND (g.asset_id = a.id
       OR (a.privacy_class < 2 AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags))))
ORDER BY g.id
"""
# Of class 2 they see nothing.
ABOVE = """
SELECT u.slug, u.name FROM tenants_above() u WHERE EXISTS (SELECT FROM asset WHERE id = $1 AND privacy_class < 2)
"""
TRANSFER = "SELECT transfer_asset($1, $2, $3, $4, $5)"
NOT_TO_BE_GIVEN, BEING_COMMANDED = "P0002", "55006"


class History(StrEnum):
    """What becomes of the measurements when an asset goes to another tenant."""

    GOES_ALONG = "goes_along"  # The receiver reads it, the giver no longer.
    STAYS = "stays"  # The giver keeps it under a memory of the asset; for the receiver all begins anew.


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as both sides see it. `holds`: it is valid at this moment."""

    id: int
    tenant_id: int
    giver: str
    giver_name: str
    grantee: str
    grantee_name: str
    asset_id: int | None
    tag: str | None
    asset_kind: str | None
    everything: bool
    role: str
    valid_from: datetime | None
    valid_to: datetime | None
    data_from: datetime | None
    data_to: datetime | None
    granted_by: str
    created_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Above:
    """A tenant of which the owner is a member, directly or not."""

    slug: str
    name: str


class UnknownAsset(LookupError):
    """There is no such asset of this tenant's own."""


class AssetCommanded(Exception):
    """A lighting command or a downlink is under way: wait for its end."""


async def set_member_of(connection: Connection, tenant_id: int, syndicat_id: int | None) -> bool:
    """Set the syndicat that sees the tenant (None: none does); False when there is no such tenant.

    For the operator (`entering.act_as_operator`). Raises CheckViolationError (BAD_DATA) for a circle,
    ForeignKeyViolationError for a syndicat that does not exist.
    """
    return await connection.fetchval(SET_MEMBER_OF, tenant_id, syndicat_id) is True


async def find_tenant_named(connection: Connection, slug: str) -> int | None:
    """The id of a tenant by its slug, also when its rows are not visible."""
    return await connection.fetchval(FIND_NAMED, slug)


async def create_grant(
    connection: Connection, tenant_id: int, grantee_id: int, granted_by: str, grant: Mapping[str, Any]
) -> Grant:
    """Let another tenant look, while it is valid (from now on), at the instants within its data: see `WRITTEN`.

    It is about exactly one of `asset_id`, `tag`, `asset_kind` and `everything`.

    Raises:
        UnknownAsset: the asset is not this tenant's.
        DataError, CheckViolationError (BAD_DATA): a span that ends before it begins, or a grant to oneself.
    """
    values = WRITTEN.values(grant)
    grant_id = await connection.fetchval(CREATE, tenant_id, grantee_id, granted_by, *values)
    made = None if grant_id is None else await read_grant(connection, grant_id)
    if made is None:
        raise UnknownAsset(f"asset {grant['asset_id']}")
    return made


async def read_grant(connection: Connection, grant_id: int) -> Grant | None:
    """One grant, given or received."""
    return await fetch_one(connection, Grant, READ, grant_id)


async def list_grants(
    connection: Connection, *, direction: str | None = None, after: int = 0, most: int = 100
) -> list[Grant]:
    """Grants by id, beyond `after`; `direction` "given" or "received", None for both. Ended ones too."""
    return await fetch_all(connection, Grant, LIST, after, direction, most)


async def revoke_grant(connection: Connection, grant_id: int, revoked_by: str) -> bool:
    """Revoke the grant; False when there is no such grant of this tenant, or it was revoked before."""
    return await connection.fetchval(REVOKE, grant_id, revoked_by) is True


async def read_viewers(connection: Connection, asset_id: int) -> tuple[list[Above], list[Grant]]:
    """The tenants that see this tenant's own asset: those above it, and grants, also those that begin later."""
    above = await fetch_all(connection, Above, ABOVE, asset_id)
    return above, await fetch_all(connection, Grant, VIEWERS, asset_id)


async def transfer_asset(
    connection: Connection,
    asset_id: int,
    receiver_id: int,
    history: History,
    *,
    actor: str,
    noted: Mapping[str, Any],
) -> int | None:
    """Give an asset and the devices that serve it to another tenant; both sides' audit is written with it.

    Returns the id of the memory that the giver keeps when the history stays.

    Raises:
        UnknownAsset: it is not this tenant's own.
        AssetCommanded: something is under way to it.
        UniqueViolationError: the receiver has an asset of this kind and name.
    """
    try:
        return await connection.fetchval(
            TRANSFER, asset_id, receiver_id, history is History.STAYS, actor, dict(noted)
        )
    except PostgresError as refused:
        if refused.sqlstate == NOT_TO_BE_GIVEN:
            raise UnknownAsset(f"asset {asset_id}") from None
        if refused.sqlstate == BEING_COMMANDED:
            raise AssetCommanded(f"asset {asset_id}") from None
        raise
