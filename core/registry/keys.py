"""Keys and secrets at rest: the database holds them wrapped (RFC 3394), and never the key that opens them."""

from dataclasses import dataclass

from core.runtime.postgres import Connection
from lorawan.crypto import unwrap_key, wrap_key

# What key wrap takes (RFC 3394).
WRAPPED_MULTIPLE = 8
WRAPPED_LEAST = 16


# Wherever something wrapped is kept, its key's name stands beside it: what comes later is found, too.
TABLES_WITH_KEK = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'kek_id' ORDER BY table_name
"""


async def read_kek_ids(connection: Connection) -> list[str]:
    """The names of the key-encryption keys under which this database holds anything."""
    found: set[str] = set()
    for table in await connection.fetch(TABLES_WITH_KEK):
        rows = await connection.fetch(f'SELECT DISTINCT kek_id FROM "{table["table_name"]}"')
        found |= {row["kek_id"] for row in rows if row["kek_id"] is not None}
    return sorted(found)


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
        """What `wrap` was given.

        Raises:
            WrongKek: another key-encryption key wrapped it, or the octets were altered.
        """
        return unwrap_key(self._kek, wrapped)

    def wrap_text(self, secret: str) -> bytes:
        """A password; zeros fill it up to what key wrap takes, so it holds no NUL."""
        octets = secret.encode()
        length = max(WRAPPED_LEAST, -(-len(octets) // WRAPPED_MULTIPLE) * WRAPPED_MULTIPLE)
        return self.wrap(octets.ljust(length, b"\0"))

    def unwrap_text(self, wrapped: bytes) -> str:
        """What `wrap_text` was given; raises WrongKek as `unwrap` does."""
        return self.unwrap(wrapped).rstrip(b"\0").decode()
