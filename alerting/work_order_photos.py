"""Photos of work orders, in the database: few, small, and gone with the work order."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_all, fetch_one, insert

SHOWN = "p.id, p.tenant_id, p.work_order_id, p.remark, p.taken_by, p.taken_at, p.octets"
CREATE = f"""
INSERT INTO work_order_photo AS p (tenant_id, work_order_id, remark, taken_by, content) VALUES ($1, $2, $3, $4, $5)
RETURNING {SHOWN}
"""
LIST = f"SELECT {SHOWN} FROM work_order_photo p WHERE p.work_order_id = $1 ORDER BY p.id DESC LIMIT $2"
READ = f"SELECT {SHOWN} FROM work_order_photo p WHERE p.id = $1"
READ_CONTENT = "SELECT work_order_id, content FROM work_order_photo WHERE id = $1"
COUNT = "SELECT count(*) FROM (SELECT FROM work_order_photo WHERE work_order_id = $1 LIMIT $2) AS p"
DELETE = "DELETE FROM work_order_photo WHERE id = $1 RETURNING true"


@dataclass(frozen=True, slots=True)
class WorkOrderPhoto:
    """A photo, without its octets."""

    id: int
    tenant_id: int
    work_order_id: int
    remark: str
    taken_by: str
    taken_at: datetime
    octets: int


async def create_photo(
    connection: Connection, tenant_id: int, order_id: int, remark: str, taken_by: str, content: bytes
) -> WorkOrderPhoto:
    """A new photo of a work order of this tenant."""
    return await insert(connection, WorkOrderPhoto, CREATE, tenant_id, order_id, remark, taken_by, content)


async def list_photos(connection: Connection, order_id: int, most: int) -> list[WorkOrderPhoto]:
    """The photos of a work order, the last one first."""
    return await fetch_all(connection, WorkOrderPhoto, LIST, order_id, most)


async def count_photos(connection: Connection, order_id: int, most: int) -> int:
    """How many a work order has; no more than `most` are counted."""
    return await connection.fetchval(COUNT, order_id, most)


async def read_photo(connection: Connection, photo_id: int) -> WorkOrderPhoto | None:
    """One photo."""
    return await fetch_one(connection, WorkOrderPhoto, READ, photo_id)


async def read_content(connection: Connection, photo_id: int) -> tuple[int, bytes] | None:
    """Its work order, and its octets."""
    row = await connection.fetchrow(READ_CONTENT, photo_id)
    return None if row is None else (row["work_order_id"], row["content"])


async def delete_photo(connection: Connection, photo_id: int) -> bool:
    """False when there is no such photo."""
    return await connection.fetchval(DELETE, photo_id) is True
