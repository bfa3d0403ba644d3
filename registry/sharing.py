"""What tenants let each other see: members of a syndicat, grants, transfers of assets.

A grant or a transfer is an offer until its receiver accepts it. Who offers learns nothing of the tenant that it
names, not even whether it exists, before that one answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.runtime.postgres import Connection, PostgresError
from registry.rows import Written, fetch_all, fetch_one

SET_MEMBER_OF = "SELECT set_member_of($1, $2)"
COLUMNS = """g.id, g.tenant_id, f.slug AS giver, f.name AS giver_name, g.offered_slug AS grantee,
t.name AS grantee_name,
g.asset_id, g.tag, g.asset_kind, g.everything, g.role, lower(g.valid) AS valid_from, upper(g.valid) AS valid_to,
lower(g.data) AS data_from, upper(g.data) AS data_to, g.granted_by, g.created_at, g.revoked_at, g.revoked_by,
CASE WHEN g.revoked_at IS NOT NULL THEN CASE WHEN g.accepted_at IS NULL THEN 'withdrawn' ELSE 'revoked' END
     WHEN g.accepted_at IS NOT NULL THEN 'accepted' WHEN g.rejected_at IS NOT NULL THEN 'rejected'
     WHEN g.offer_ends_at <= now() THEN 'expired' ELSE 'offered' END AS state,
g.offer_ends_at, g.accepted_at, g.rejected_at,
g.accepted_at IS NOT NULL AND g.revoked_at IS NULL AND g.valid @> now() AS holds"""
NAMED = """
FROM access_grant g JOIN sharing_tenant() f ON f.id = g.tenant_id
LEFT JOIN sharing_tenant() t ON t.id = g.grantee_id
"""
# An asset of somebody else makes no row.
WRITTEN = Written("asset_id, tag, asset_kind, everything, role, valid_from, valid_to, data_from, data_to")
OFFER = """
INSERT INTO access_grant (tenant_id, offered_slug, granted_by, asset_id, tag, asset_kind, everything, role, valid,
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
ANSWER_GRANT = "SELECT answer_grant($1, $2)"
REVOKE = """
UPDATE access_grant SET revoked_at = now(), revoked_by = $2
WHERE id = $1 AND revoked_at IS NULL AND rejected_at IS NULL RETURNING true
"""
VIEWERS = f"""
SELECT {COLUMNS} {NAMED} JOIN asset a ON a.tenant_id = g.tenant_id AND a.id = $1
WHERE g.tenant_id = current_tenant() AND g.accepted_at IS NOT NULL AND g.revoked_at IS NULL
  AND (upper_inf(g.valid) OR upper(g.valid) > now())
  AND (g.asset_id = a.id
       OR (a.privacy_class < 2 AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags))))
ORDER BY g.id
"""
# Of class 2 they see nothing.
ABOVE = """
SELECT u.slug, u.name FROM tenants_above() u WHERE EXISTS (SELECT FROM asset WHERE id = $1 AND privacy_class < 2)
"""
TRANSFER_COLUMNS = """o.id, o.tenant_id, f.slug AS giver, f.name AS giver_name, o.offered_slug AS receiver,
o.asset_id, o.asset_kind, o.asset_name, o.history,
CASE WHEN o.accepted_at IS NOT NULL THEN 'accepted' WHEN o.rejected_at IS NOT NULL THEN 'rejected'
     WHEN o.withdrawn_at IS NOT NULL THEN 'withdrawn' WHEN o.offer_ends_at <= now() THEN 'expired'
     ELSE 'offered' END AS state,
o.created_at, o.offer_ends_at, coalesce(o.accepted_at, o.rejected_at) AS answered_at,
CASE WHEN o.tenant_id = current_tenant() THEN o.kept_as END AS kept_as
FROM asset_transfer o JOIN sharing_tenant() f ON f.id = o.tenant_id"""
READ_TRANSFER = f"SELECT {TRANSFER_COLUMNS} WHERE o.id = $1"
LIST_TRANSFERS = f"""
SELECT {TRANSFER_COLUMNS}
WHERE o.id > $1 AND ($2::text IS NULL OR ($2 = 'given') = (o.tenant_id = current_tenant()))
ORDER BY o.id LIMIT $3
"""
# One offer of an asset at a time.
OFFER_TRANSFER = """
INSERT INTO asset_transfer (tenant_id, asset_id, asset_kind, asset_name, history, offered_slug, offered_by, noted)
SELECT tenant_id, id, kind, name, $3, $4, $5, $6 FROM asset WHERE id = $2 AND tenant_id = $1
AND NOT EXISTS (SELECT FROM asset_transfer o WHERE o.asset_id = $2 AND o.tenant_id = $1 AND o.offer_ends_at > now()
                AND num_nonnulls(o.accepted_at, o.rejected_at, o.withdrawn_at) = 0)
RETURNING id
"""
ANSWER_TRANSFER = "SELECT answer_transfer($1, $2)"
WITHDRAW_TRANSFER = """
UPDATE asset_transfer SET withdrawn_at = now()
WHERE id = $1 AND num_nonnulls(accepted_at, rejected_at, withdrawn_at) = 0 RETURNING true
"""
NOT_TO_BE_GIVEN, BEING_COMMANDED = "P0002", "55006"


class History(StrEnum):
    """What becomes of the measurements when an asset goes to another tenant."""

    GOES_ALONG = "goes_along"  # The receiver reads it, the giver no longer.
    STAYS = "stays"  # The giver keeps it under a memory of the asset; for the receiver all begins anew.


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as both sides see it. `holds`: it is valid at this moment.

    The name of the grantee is told once it has accepted.
    """

    id: int
    tenant_id: int
    giver: str
    giver_name: str
    grantee: str
    grantee_name: str | None
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
    state: str
    offer_ends_at: datetime
    accepted_at: datetime | None
    rejected_at: datetime | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """An asset that is offered to another tenant, or went there, as both sides see it.

    `kept_as`: the memory of the asset that its giver keeps when the history stays, told to the giver alone.
    """

    id: int
    tenant_id: int
    giver: str
    giver_name: str
    receiver: str
    asset_id: int | None
    asset_kind: str
    asset_name: str
    history: str
    state: str
    created_at: datetime
    offer_ends_at: datetime
    answered_at: datetime | None
    kept_as: int | None


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


async def propose_grant(
    connection: Connection, tenant_id: int, grantee: str, granted_by: str, grant: Mapping[str, Any]
) -> Grant:
    """Offer another tenant to look, while it is valid (from now on), at the instants within its data (`WRITTEN`).

    It is about exactly one of `asset_id`, `tag`, `asset_kind` and `everything`. That no tenant has the name is not
    told: the offer expires.

    Raises:
        UnknownAsset: the asset is not this tenant's.
        DataError, CheckViolationError (BAD_DATA): a span that ends before it begins.
    """
    values = WRITTEN.values(grant)
    grant_id = await connection.fetchval(OFFER, tenant_id, grantee, granted_by, *values)
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


async def answer_grant(connection: Connection, grant_id: int, *, accepts: bool) -> bool:
    """Accept or refuse a grant that is offered to this tenant; False when none waits for its answer."""
    return await connection.fetchval(ANSWER_GRANT, grant_id, accepts)


async def revoke_grant(connection: Connection, grant_id: int, revoked_by: str) -> bool:
    """Revoke the grant, or withdraw the offer; False when there is none of this tenant, or it has ended before."""
    return await connection.fetchval(REVOKE, grant_id, revoked_by) is True


async def read_viewers(connection: Connection, asset_id: int) -> tuple[list[Above], list[Grant]]:
    """The tenants that see this tenant's own asset: those above it, and grants, also those that begin later."""
    above = await fetch_all(connection, Above, ABOVE, asset_id)
    return above, await fetch_all(connection, Grant, VIEWERS, asset_id)


async def propose_transfer(
    connection: Connection,
    tenant_id: int,
    asset_id: int,
    receiver: str,
    history: History,
    *,
    actor: str,
    noted: Mapping[str, Any],
) -> Transfer | None:
    """Offer an asset, with the devices that serve it, to another tenant; None while it is offered already.

    `actor` and `noted` are for the giver's audit of what is done when the receiver accepts.
    """
    offered = await connection.fetchval(
        OFFER_TRANSFER, tenant_id, asset_id, history.value, receiver, actor, dict(noted)
    )
    return None if offered is None else await read_transfer(connection, offered)


async def read_transfer(connection: Connection, transfer_id: int) -> Transfer | None:
    """One transfer, given or received."""
    return await fetch_one(connection, Transfer, READ_TRANSFER, transfer_id)


async def list_transfers(
    connection: Connection, *, direction: str | None = None, after: int = 0, most: int = 100
) -> list[Transfer]:
    """Transfers by id, beyond `after`; `direction` "given" or "received", None for both. Ended ones too."""
    return await fetch_all(connection, Transfer, LIST_TRANSFERS, after, direction, most)


async def answer_transfer(connection: Connection, transfer_id: int, *, accepts: bool) -> bool:
    """Accept or refuse an asset; False when no such offer waits for this tenant's answer.

    Accepted, it goes to this tenant at once, with the devices that serve it; both sides' audit is written with it.

    Raises:
        UnknownAsset: it is no longer the giver's.
        AssetCommanded: something is under way to it.
        UniqueViolationError: this tenant has an asset of this kind and name.
    """
    try:
        return await connection.fetchval(ANSWER_TRANSFER, transfer_id, accepts)
    except PostgresError as refused:
        if refused.sqlstate == NOT_TO_BE_GIVEN:
            raise UnknownAsset(f"transfer {transfer_id}") from None
        if refused.sqlstate == BEING_COMMANDED:
            raise AssetCommanded(f"transfer {transfer_id}") from None
        raise


async def withdraw_transfer(connection: Connection, transfer_id: int) -> bool:
    """Withdraw an offer; False when there is none of this tenant, or it was answered."""
    return await connection.fetchval(WITHDRAW_TRANSFER, transfer_id) is True
