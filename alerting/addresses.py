"""Addresses that are passwords: who knows them may write there. Sealed at rest, they are shown as their host."""

import re
from urllib.parse import urlsplit
from uuid import UUID

from alerting.message_formats import CHAT, EMAIL, TEAMS
from core.runtime.postgres import Connection
from registry.keys import KeyWrap, row_owner

TABLE = "webhook_endpoint"
# What a service draws, and no person writes: letters of both cases, or letters and digits, and long.
DRAWN = re.compile(r"(?=[A-Za-z0-9_.~-]*[a-z])(?=[A-Za-z0-9_.~-]*[A-Z0-9])[A-Za-z0-9_.~-]{20,}|[A-Z0-9_-]{20,}")
BATCH = 200
READ_OPEN = f"""
SELECT id, url, form, sealed_for FROM webhook_endpoint
WHERE url_wrapped IS NULL AND form <> '{EMAIL}' AND id > $1 ORDER BY id LIMIT {BATCH} FOR UPDATE SKIP LOCKED
"""
SEAL = "UPDATE webhook_endpoint SET url = $2, url_wrapped = $3 WHERE id = $1"
QUIETLY = "SELECT set_config('app.resealing', 'on', true)"


def is_password(form: str, url: str) -> bool:
    """Whether who knows it may write there: a chat's address, one with a query, or with a part that was drawn."""
    if form == EMAIL:
        return False
    parts = urlsplit(url)
    drawn = any(DRAWN.fullmatch(part) for part in parts.path.split("/"))
    return form in (CHAT, TEAMS) or bool(parts.query) or bool(parts.fragment) or drawn


def shown_url(form: str, url: str) -> str:
    """What is shown of an address."""
    if not is_password(form, url):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def url_owner(sealed_for: UUID) -> str:
    """The owner that an endpoint's address is sealed for."""
    return row_owner(TABLE, sealed_for, "url")


def stored_url(keys: KeyWrap, sealed_for: UUID, form: str, url: str) -> tuple[str, bytes | None]:
    """What is shown of the address, and where it is a password, the whole of it sealed: so the database has it."""
    if not is_password(form, url):
        return url, None
    return shown_url(form, url), keys.wrap_text(url, url_owner(sealed_for))


async def seal_addresses(connection: Connection, keys: KeyWrap) -> int:
    """Seal the addresses that an earlier version kept as they are; how many."""
    sealed, last = 0, 0
    while True:
        async with connection.transaction():
            await connection.execute(QUIETLY)
            rows = await connection.fetch(READ_OPEN, last)
            for row in rows:
                shown, wrapped = stored_url(keys, row["sealed_for"], row["form"], row["url"])
                if wrapped is not None:
                    await connection.execute(SEAL, row["id"], shown, wrapped)
                    sealed += 1
        if not rows:
            return sealed
        last = rows[-1]["id"]
