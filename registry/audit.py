"""The audit log: one line for every change that somebody asked for, in the transaction of the change."""

from collections.abc import Mapping
from typing import Any

from core.runtime.postgres import Connection

WRITE = """
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES ($1, $2, $3, $4, $5, $6)
"""
READ_LAST_DETAILS = """
SELECT details FROM audit WHERE entity = $2 AND entity_id = $3 AND action = $1 ORDER BY id DESC LIMIT 1
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


async def read_last_details(
    connection: Connection, action: str, entity: str, entity_id: object
) -> dict[str, Any] | None:
    """The details of the last line with this action of the tenant; None: there is none."""
    return await connection.fetchval(READ_LAST_DETAILS, action, entity, str(entity_id))
