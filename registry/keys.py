"""Keys and secrets at rest: the database holds them wrapped (RFC 3394), and never the key that opens them."""

from dataclasses import dataclass

from core.runtime.postgres import Connection
from lorawan.crypto import WrongKek, unwrap_key, wrap_key

# What key wrap takes (RFC 3394).
WRAPPED_MULTIPLE = 8
WRAPPED_LEAST = 16


# Wherever something wrapped is kept, its key's name stands beside it: what comes later is found, too. What a
# rotation keeps for a day may be under the key before.
COLUMNS_WITH_KEK = """
SELECT w.table_name, w.column_name FROM information_schema.columns k
JOIN information_schema.columns w USING (table_schema, table_name)
WHERE table_schema = 'public' AND k.column_name = 'kek_id'
  AND w.column_name LIKE '%wrapped' AND w.column_name NOT LIKE 'previous%'
ORDER BY w.table_name, w.column_name
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column's wrapped values under one key-encryption key: how many, and one example."""

    table: str
    column: str
    kek_id: str
    rows: int
    sample: bytes


async def read_sealed(connection: Connection) -> list[Sealed]:
    """Everything that this database holds under a key-encryption key, as far as the role may see it."""
    found: list[Sealed] = []
    for place in await connection.fetch(COLUMNS_WITH_KEK):
        table, column = place["table_name"], place["column_name"]
        rows = await connection.fetch(
            f'SELECT DISTINCT ON (kek_id) kek_id, "{column}" AS sample, '
            f'count(*) OVER (PARTITION BY kek_id) AS rows FROM "{table}" '
            f'WHERE "{column}" IS NOT NULL AND kek_id IS NOT NULL ORDER BY kek_id'
        )
        found += [Sealed(table, column, row["kek_id"], row["rows"], row["sample"]) for row in rows]
    return found


@dataclass(frozen=True, slots=True)
class KeyWrap:
    """The key-encryption key of this installation; it never shows in a representation."""

    kek_id: str
    _kek: bytes

    def __repr__(self) -> str:
        return f"KeyWrap({self.kek_id!r})"

    def wrap(self, key: bytes) -> bytes:
        """The key as the database may hold it; `key` has 16 octets or a higher multiple of eight."""
        return wrap_key(self._kek, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """The key that was wrapped.

        Raises:
            WrongKek: another key-encryption key wrapped it, or the octets were altered.
        """
        return unwrap_key(self._kek, wrapped)

    def opens(self, wrapped: bytes) -> bool:
        """Whether it is this key that wrapped these octets."""
        try:
            self.unwrap(wrapped)
        except (WrongKek, ValueError):
            return False
        return True

    def wrap_text(self, secret: str) -> bytes:
        """A password; zeros fill it up to what key wrap takes, so it holds no NUL."""
        octets = secret.encode()
        length = max(WRAPPED_LEAST, -(-len(octets) // WRAPPED_MULTIPLE) * WRAPPED_MULTIPLE)
        return self.wrap(octets.ljust(length, b"\0"))

    def wrap_secret(self, secret: str | None) -> tuple[bytes | None, str | None]:
        """A password as `wrap_text` has it and the id of the key that wrapped it; of None, None and None."""
        return (None, None) if secret is None else (self.wrap_text(secret), self.kek_id)

    def unwrap_text(self, wrapped: bytes) -> str:
        """The password that was wrapped; raises WrongKek as `unwrap` does."""
        return self.unwrap(wrapped).rstrip(b"\0").decode()
