"""Public keys for which a tenant's keys may be taken out, and the encryption for them (age)."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import columns_of, fetch_all, fetch_one, insert


@dataclass(frozen=True, slots=True)
class KeyRecipient:
    """Who may read keys that are taken out, and who said so."""

    id: int
    tenant_id: int
    name: str
    public_key: str
    registered_by: str
    created_at: datetime


class RejectedPublicKey(ValueError):
    """This is no X25519 public key of age."""


COLUMNS = columns_of(KeyRecipient)
CREATE = f"""
INSERT INTO key_recipient (tenant_id, name, public_key, registered_by) VALUES ($1, $2, $3, $4) RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM key_recipient WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM key_recipient ORDER BY id"
DELETE = "DELETE FROM key_recipient WHERE id = $1 RETURNING true"


def check_public_key(text: str) -> str:
    """The key itself, in lower case.

    Raises:
        RejectedPublicKey: it is none.
    """
    import pyrage  # noqa: PLC0415 - Rarely used, and three megabytes.

    try:
        return str(pyrage.x25519.Recipient.from_str(text.strip().lower()))
    except pyrage.RecipientError as wrong:
        raise RejectedPublicKey(str(wrong)) from None


def encrypt_for(public_key: str, content: bytes) -> str:
    """The content as an age file in letters, which the owner of the private key alone reads."""
    import pyrage  # noqa: PLC0415 - As above.

    return pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(public_key)], armored=True).decode("ascii")


async def create_recipient(
    connection: Connection, tenant_id: int, name: str, public_key: str, registered_by: str
) -> KeyRecipient:
    """A new recipient; raises UniqueViolationError when the tenant has the name or the key."""
    return await insert(connection, KeyRecipient, CREATE, tenant_id, name, public_key, registered_by)


async def read_recipient(connection: Connection, recipient_id: int) -> KeyRecipient | None:
    """One recipient."""
    return await fetch_one(connection, KeyRecipient, READ, recipient_id)


async def list_recipients(connection: Connection) -> list[KeyRecipient]:
    """Every recipient of the tenant."""
    return await fetch_all(connection, KeyRecipient, LIST)


async def delete_recipient(connection: Connection, recipient_id: int) -> bool:
    """Take nothing out for it any more; False when there is none."""
    return await connection.fetchval(DELETE, recipient_id) is True
