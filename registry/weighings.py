"""Tickets of weighbridges, of a tenant: written by imports and by people, read for tonnages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.runtime.postgres import Connection
from registry.rows import columns_of, fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class WeighedLoad:
    """A ticket: what a truck had of one stream, net; of a round, or of all that was emptied on the local day."""

    id: int
    ticket: str
    stream: str
    weighed_at: datetime
    net_kg: float
    round_id: int | None
    entered_at: datetime


_COLUMNS = columns_of(WeighedLoad)
LIST = f"""
SELECT {_COLUMNS} FROM weighing WHERE $1::int IS NULL OR id < $1 ORDER BY id DESC LIMIT $2
"""
FIND = f"SELECT {_COLUMNS} FROM weighing WHERE id = $1"
CREATE = f"""
INSERT INTO weighing (tenant_id, ticket, stream, weighed_at, net_kg, round_id) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, ticket) DO NOTHING RETURNING {_COLUMNS}
"""
DELETE = "DELETE FROM weighing WHERE id = $1 RETURNING true"
ENTER = """
INSERT INTO weighing AS w (tenant_id, ticket, stream, weighed_at, net_kg, round_id) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, ticket) DO UPDATE
SET stream = excluded.stream, weighed_at = excluded.weighed_at, net_kg = excluded.net_kg,
    round_id = excluded.round_id
WHERE (w.stream, w.weighed_at, w.net_kg, w.round_id)
      IS DISTINCT FROM (excluded.stream, excluded.weighed_at, excluded.net_kg, excluded.round_id)
RETURNING xmax = 0
"""


async def list_weighings(connection: Connection, before: int | None, most: int) -> list[WeighedLoad]:
    """The last entered first."""
    return await fetch_all(connection, WeighedLoad, LIST, before, most)


async def find_weighing(connection: Connection, id_: int) -> WeighedLoad | None:
    """One of them."""
    return await fetch_one(connection, WeighedLoad, FIND, id_)


async def create_weighing(
    connection: Connection,
    tenant_id: int,
    ticket: str,
    stream: str,
    weighed_at: datetime,
    net_kg: float,
    round_id: int | None,
) -> WeighedLoad | None:
    """A new one; None: there is a ticket of this number."""
    return await fetch_one(
        connection, WeighedLoad, CREATE, tenant_id, ticket, stream, weighed_at, net_kg, round_id
    )


async def delete_weighing(connection: Connection, id_: int) -> bool:
    """Remove one that was entered by mistake; False: there is none."""
    return await connection.fetchval(DELETE, id_) is True


async def enter_weighing(
    connection: Connection,
    tenant_id: int,
    ticket: str,
    stream: str,
    weighed_at: datetime,
    net_kg: float,
    round_id: int | None,
) -> Literal["created", "updated", "unchanged"]:
    """Keep a ticket in place of what was known of it."""
    is_new = await connection.fetchval(ENTER, tenant_id, ticket, stream, weighed_at, net_kg, round_id)
    return "unchanged" if is_new is None else "created" if is_new else "updated"
