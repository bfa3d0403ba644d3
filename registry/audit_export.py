"""Sealed lines of the audit in the order of the chain, and how far each destination has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from registry.rows import fetch_all

# The first time from the beginning of the chain; what its term has removed meanwhile is skipped.
POSITION = """
INSERT INTO audit_export (destination, sequence) SELECT $1, b.sequence FROM audit_start b
ON CONFLICT (destination) DO UPDATE SET destination = excluded.destination RETURNING sequence
"""
MOVE = "UPDATE audit_export SET sequence = $2, moved_at = now() WHERE destination = $1"
READ_SEALED = """
SELECT s.sequence, encode(s.digest, 'hex') AS seal, l.id, l.at, t.slug AS tenant, l.actor, l.action, l.entity,
       l.entity_id, d.details
FROM audit_seal s JOIN audit_line l ON l.id = s.line_id LEFT JOIN audit_detail d ON d.line_id = l.id
LEFT JOIN tenant t ON t.id = l.tenant_id
WHERE s.sequence > $1 ORDER BY s.sequence LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class SealedLine:
    """A line with its place in the chain; `details` None: they were erased."""

    sequence: int
    seal: str
    id: int
    at: datetime
    tenant: str | None
    actor: str
    action: str
    entity: str
    entity_id: str
    details: Mapping[str, Any] | None


async def read_position(connection: Connection, destination: str) -> int:
    """The last seal that this destination has; the row stays locked until the transaction ends."""
    return await connection.fetchval(POSITION, destination)


async def move_position(connection: Connection, destination: str, sequence: int) -> None:
    """It has the lines up to this seal."""
    await connection.execute(MOVE, destination, sequence)


async def read_sealed(connection: Connection, after: int, most: int) -> list[SealedLine]:
    """The lines that follow this seal, in the order of the chain."""
    return await fetch_all(connection, SealedLine, READ_SEALED, after, most)
