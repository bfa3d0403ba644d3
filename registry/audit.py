"""The audit log: one line for every change that somebody asked for, in the transaction of the change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection

WRITE = """
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES ($1, $2, $3, $4, $5, $6)
"""
READ_LAST = """
SELECT at, details FROM audit WHERE entity = $2 AND entity_id = $3 AND action = $1 ORDER BY id DESC LIMIT 1
"""


async def write_audit(
    connection: Connection,
    tenant_id: int,
    actor: str,
    action: str,
    entity: str,
    entity_id: object,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add a line, which no role can change; `details` holds no secret."""
    await connection.execute(WRITE, tenant_id, actor, action, entity, str(entity_id), details or {})


async def read_last(
    connection: Connection, action: str, entity: str, entity_id: object
) -> tuple[datetime, dict[str, Any]] | None:
    """When the tenant did this the last time, and what was noted of it; None: never."""
    row = await connection.fetchrow(READ_LAST, action, entity, str(entity_id))
    return None if row is None else (row["at"], row["details"])
