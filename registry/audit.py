"""The audit log: one line for every change that somebody asked for, in the transaction of the change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

WRITE = """
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES ($1, $2, $3, $4, $5, $6)
"""
READ_LAST = """
SELECT at, details FROM audit WHERE entity = $2 AND entity_id = $3 AND action = $1 ORDER BY id DESC LIMIT 1
"""
LIST = """
SELECT id, tenant_id, at, actor, action, entity, entity_id, details FROM audit
WHERE ($1::bigint IS NULL OR id < $1) AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR entity = $4) AND ($5::text IS NULL OR entity_id = $5)
  AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY id DESC LIMIT $8
"""
PERSONAL_READS = "SELECT audit_personal_reads($1, $2, $3, $4, $5)"
REJECTED_LOGIN = "SELECT record_rejected_login($1, $2, $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what; `details` say from where, and what was before and after."""

    id: int
    tenant_id: int | None
    at: datetime
    actor: str
    action: str
    entity: str
    entity_id: str
    details: dict[str, Any]


async def write_audit(
    connection: Connection,
    tenant_id: int | None,
    actor: str,
    action: str,
    entity: str,
    entity_id: object,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add a line, which no role can change; `details` holds no secret. None: of the installation, no tenant's."""
    await connection.execute(WRITE, tenant_id, actor, action, entity, str(entity_id), details or {})


async def record_rejected_login(
    connection: Connection | Pool,
    address: str,
    tenant_id: int | None,
    actor: str,
    reason: str,
    given: Mapping[str, Any],
) -> bool:
    """Add a line about a login or a right that was rejected; False: there is one of this minute and address."""
    return await connection.fetchval(REJECTED_LOGIN, address, tenant_id, actor, reason, given) is True


async def audit_personal_reads(
    connection: Connection,
    reader: str,
    given: Mapping[str, Any],
    *,
    assets: Sequence[int] = (),
    streams: Sequence[int] = (),
    devices: Sequence[int] = (),
) -> int:
    """Add a line for each asset of privacy class 2 among these, or that they measure or serve; how many.

    One a reader, asset and day, in the audit of the asset's owner and of the reader's tenant, which was entered.
    """
    asked = list(assets), list(streams), list(devices)
    return await connection.fetchval(PERSONAL_READS, *asked, reader, given)


async def list_audit(
    connection: Connection,
    *,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    entity: str | None = None,
    entity_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int = 100,
) -> list[AuditLine]:
    """Lines of the tenant that was entered, the last first, before the line of this number."""
    return await fetch_all(
        connection, AuditLine, LIST, before, actor, action, entity, entity_id, since, until, most
    )


async def read_last(
    connection: Connection, action: str, entity: str, entity_id: object
) -> tuple[datetime, dict[str, Any]] | None:
    """When the tenant did this the last time, and what was noted of it; None: never."""
    row = await connection.fetchrow(READ_LAST, action, entity, str(entity_id))
    return None if row is None else (row["at"], row["details"])
