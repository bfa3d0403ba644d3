"""Photos that arrive in parts, in the database: unfinished ones are few, and gone after a day."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from registry.rows import columns_of, fetch_one, insert


@dataclass(frozen=True, slots=True)
class PhotoUpload:
    """A photo that is being sent, and of what; `photo_id` once it is there."""

    id: int
    tenant_id: int
    asset_id: int | None
    work_order_id: int | None
    octets: int
    remark: str
    requested_by: str
    created_at: datetime
    photo_id: int | None


COLUMNS = columns_of(PhotoUpload)
BEGIN = f"""
INSERT INTO photo_upload (tenant_id, requested_by, asset_id, work_order_id, octets, remark)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM photo_upload WHERE id = $1"
# Parts of one photo come one after the other, or their sum is not what it was.
LOCK = f"{READ} FOR UPDATE"
PUT_PART = """
INSERT INTO photo_upload_part (upload_id, tenant_id, number, content)
SELECT id, tenant_id, $2, $3 FROM photo_upload WHERE id = $1
ON CONFLICT (upload_id, number) DO UPDATE SET content = EXCLUDED.content
"""
RECEIVED = "SELECT number, octets FROM photo_upload_part WHERE upload_id = $1 ORDER BY number"
CONTENT = "SELECT string_agg(content, '' ORDER BY number) FROM photo_upload_part WHERE upload_id = $1"
FINISH = f"UPDATE photo_upload SET photo_id = $2 WHERE id = $1 RETURNING {COLUMNS}"
DROP_PARTS = "DELETE FROM photo_upload_part WHERE upload_id = $1"
DROP = "DELETE FROM photo_upload WHERE id = $1"


async def begin_upload(connection: Connection, tenant_id: int, requested_by: str, **given: Any) -> PhotoUpload:
    """A photo of which no part is there yet."""
    values = (given["asset_id"], given["work_order_id"], given["octets"], given["remark"])
    return await insert(connection, PhotoUpload, BEGIN, tenant_id, requested_by, *values)


async def read_upload(connection: Connection, upload_id: int) -> PhotoUpload | None:
    """One of them."""
    return await fetch_one(connection, PhotoUpload, READ, upload_id)


async def lock_upload(connection: Connection, upload_id: int) -> PhotoUpload | None:
    """One of them; others that change it wait for the end of the transaction."""
    return await fetch_one(connection, PhotoUpload, LOCK, upload_id)


async def put_part(connection: Connection, upload_id: int, number: int, content: bytes) -> None:
    """Keep a part; one of the same number is replaced."""
    await connection.execute(PUT_PART, upload_id, number, content)


async def list_received(connection: Connection, upload_id: int) -> dict[int, int]:
    """The octets of each part that is there, by its number."""
    return {row["number"]: row["octets"] for row in await connection.fetch(RECEIVED, upload_id)}


async def read_content(connection: Connection, upload_id: int) -> bytes:
    """What has arrived, in the order of its parts."""
    return await connection.fetchval(CONTENT, upload_id) or b""


async def finish_upload(connection: Connection, upload_id: int, photo_id: int) -> PhotoUpload | None:
    """Its photo is there, its parts are not needed any more."""
    await connection.execute(DROP_PARTS, upload_id)
    return await fetch_one(connection, PhotoUpload, FINISH, upload_id, photo_id)


async def drop_upload(connection: Connection, upload_id: int) -> None:
    """Nothing of it stays."""
    await connection.execute(DROP, upload_id)
