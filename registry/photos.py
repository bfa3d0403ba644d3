"""Photos of one kind of thing, in a table of their own: few, small, and gone with what they show."""

from typing import Generic, TypeVar

from core.runtime.postgres import Connection
from registry.rows import fetch_all, fetch_one, insert

PhotoT = TypeVar("PhotoT")


class PhotoTable(Generic[PhotoT]):
    """The statements over a table of photos, of which `owner` is the column of what each shows.

    `PhotoT` is a row of it without its octets.
    """

    def __init__(self, shape: type[PhotoT], table: str, owner: str) -> None:
        shown = f"p.id, p.tenant_id, p.{owner}, p.remark, p.taken_by, p.taken_at, p.octets"
        self._shape = shape
        self.statements = {
            "create": f"INSERT INTO {table} AS p (tenant_id, {owner}, remark, taken_by, content) "
            f"VALUES ($1, $2, $3, $4, $5) RETURNING {shown}",
            "list": f"SELECT {shown} FROM {table} p WHERE p.{owner} = $1 ORDER BY p.id DESC LIMIT $2",
            "read": f"SELECT {shown} FROM {table} p WHERE p.id = $1",
            "read_content": f"SELECT {owner} AS owner, content FROM {table} WHERE id = $1",
            "count": f"SELECT count(*) FROM (SELECT FROM {table} WHERE {owner} = $1 LIMIT $2) AS p",
            "delete": f"DELETE FROM {table} WHERE id = $1 RETURNING true",
        }

    async def create(
        self, connection: Connection, tenant_id: int, owner_id: int, remark: str, taken_by: str, content: bytes
    ) -> PhotoT:
        """A new photo of something of this tenant."""
        given = (tenant_id, owner_id, remark, taken_by, content)
        return await insert(connection, self._shape, self.statements["create"], *given)

    async def list(self, connection: Connection, owner_id: int, most: int) -> list[PhotoT]:
        """Those of one thing, the last one first."""
        return await fetch_all(connection, self._shape, self.statements["list"], owner_id, most)

    async def count(self, connection: Connection, owner_id: int, most: int) -> int:
        """How many one thing has; no more than `most` are counted."""
        return await connection.fetchval(self.statements["count"], owner_id, most)

    async def read(self, connection: Connection, photo_id: int) -> PhotoT | None:
        """One photo."""
        return await fetch_one(connection, self._shape, self.statements["read"], photo_id)

    async def read_content(self, connection: Connection, photo_id: int) -> tuple[int, bytes] | None:
        """What it shows, and its octets."""
        row = await connection.fetchrow(self.statements["read_content"], photo_id)
        return None if row is None else (row["owner"], row["content"])

    async def delete(self, connection: Connection, photo_id: int) -> bool:
        """False when there is no such photo."""
        return await connection.fetchval(self.statements["delete"], photo_id) is True
