"""Photos of assets, in the database: few, small, and erased with what they show."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_all, fetch_one, insert

SHOWN = "p.id, p.tenant_id, p.asset_id, p.remark, p.taken_by, p.taken_at, p.octets"
CREATE = f"""
INSERT INTO asset_photo AS p (tenant_id, asset_id, remark, taken_by, content) VALUES ($1, $2, $3, $4, $5)
RETURNING {SHOWN}
"""
LIST = f"SELECT {SHOWN} FROM asset_photo p WHERE p.asset_id = $1 ORDER BY p.id DESC LIMIT $2"
READ = f"SELECT {SHOWN} FROM asset_photo p WHERE p.id = $1"
READ_CONTENT = "SELECT asset_id, content FROM asset_photo WHERE id = $1"
COUNT = "SELECT count(*) FROM (SELECT FROM asset_photo WHERE asset_id = $1 LIMIT $2) AS p"
DELETE = "DELETE FROM asset_photo WHERE id = $1 RETURNING true"


@dataclass(frozen=True, slots=True)
class AssetPhoto:
    """A photo, without its octets."""

    id: int
    tenant_id: int
    asset_id: int
    remark: str
    taken_by: str
    taken_at: datetime
    octets: int


async def create_photo(
    connection: Connection, tenant_id: int, asset_id: int, remark: str, taken_by: str, content: bytes
) -> AssetPhoto:
    """A new photo of an asset of this tenant."""
    return await insert(connection, AssetPhoto, CREATE, tenant_id, asset_id, remark, taken_by, content)


async def list_photos(connection: Connection, asset_id: int, most: int) -> list[AssetPhoto]:
    """The photos of an asset, the last one first."""
    return await fetch_all(connection, AssetPhoto, LIST, asset_id, most)


async def count_photos(connection: Connection, asset_id: int, most: int) -> int:
    """How many an asset has; no more than `most` are counted."""
    return await connection.fetchval(COUNT, asset_id, most)


async def read_photo(connection: Connection, photo_id: int) -> AssetPhoto | None:
    """One photo."""
    return await fetch_one(connection, AssetPhoto, READ, photo_id)


async def read_content(connection: Connection, photo_id: int) -> tuple[int, bytes] | None:
    """Its asset, and its octets."""
    row = await connection.fetchrow(READ_CONTENT, photo_id)
    return None if row is None else (row["asset_id"], row["content"])


async def delete_photo(connection: Connection, photo_id: int) -> bool:
    """False when there is no such photo."""
    return await connection.fetchval(DELETE, photo_id) is True
