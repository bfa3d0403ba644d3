"""Tokens that gateways prove themselves by: made and withdrawn by the API, checked by the bridge."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

PREFIX = "tgw"
ID_OCTETS, SECRET_OCTETS = 8, 32
LONGEST_TOKEN = 200

# The newest is kept for a while, the others of before end now: two are valid at once, and no more.
END_FORMER = """
UPDATE gateway_token t
SET expires_at = CASE WHEN t.id = newest.id THEN least(t.expires_at, now() + $2::interval) ELSE now() END
FROM (SELECT id FROM gateway_token WHERE gateway_id = $1 AND (expires_at IS NULL OR expires_at > now())
      ORDER BY created_at DESC, id LIMIT 1) AS newest
WHERE t.gateway_id = $1
"""
LOCK = "SELECT true FROM gateway WHERE id = $1 FOR NO KEY UPDATE"
DELETE_ENDED = "DELETE FROM gateway_token WHERE gateway_id = $1 AND expires_at <= now()"
CREATE = "INSERT INTO gateway_token (id, gateway_id, secret_sha256) VALUES ($1, $2, $3)"
SHOWN = "t.id, t.created_at, t.expires_at, t.last_used_at"
LIST = f"""
SELECT {SHOWN} FROM gateway_token t
WHERE t.gateway_id = $1 AND (t.expires_at IS NULL OR t.expires_at > now()) ORDER BY t.created_at DESC, t.id
"""
DELETE = "DELETE FROM gateway_token WHERE gateway_id = $1 AND id = $2 RETURNING true"
READ_ALL = """
SELECT t.id, g.gateway_id, t.secret_sha256, t.expires_at, t.last_used_at IS NOT NULL AS is_used
FROM gateway_token t JOIN gateway g ON g.id = t.gateway_id
"""
SAVE_USES = "UPDATE gateway_token SET last_used_at = now() WHERE id = ANY($1::text[])"
# Of a station that fetches a token (CUPS) only the one that it came with stays, or the one that it used last.
DELETE_OTHERS = """
DELETE FROM gateway_token WHERE gateway_id = $1 AND id <> coalesce($2, (
    SELECT id FROM gateway_token WHERE gateway_id = $1 AND (expires_at IS NULL OR expires_at > now())
    ORDER BY last_used_at DESC NULLS LAST, created_at DESC, id LIMIT 1))
"""
CREATE_FETCHED = """
INSERT INTO gateway_token (id, gateway_id, secret_sha256, ends_former) VALUES ($1, $2, $3, true)
RETURNING (SELECT g.gateway_id FROM gateway g WHERE g.id = $2)
"""
# One that was fetched is in use: those of before end.
END_FORMER_OF = """
UPDATE gateway_token t SET expires_at = now() FROM gateway_token n
WHERE n.id = ANY($1::text[]) AND n.ends_former AND t.gateway_id = n.gateway_id AND t.created_at < n.created_at
  AND (t.expires_at IS NULL OR t.expires_at > now())
"""
# Who has shown a credential needs no more time to get one.
SAVE_PROVED = """
UPDATE gateway SET unproved_until = NULL WHERE gateway_id = ANY($1::bytea[]) AND unproved_until IS NOT NULL
"""
# For people: two of one name are told apart by their EUI.
SHOWN_GATEWAYS = """
SELECT id, encode(gateway_id, 'hex') AS eui, unproved_until,
       name || CASE WHEN count(*) OVER (PARTITION BY name) > 1
                    THEN ' (' || encode(gateway_id, 'hex') || ')' ELSE '' END AS shown
FROM gateway
"""
READ_UNPROVED = f"""
SELECT eui, shown AS name, unproved_until AS until FROM ({SHOWN_GATEWAYS}) AS g
WHERE unproved_until IS NOT NULL ORDER BY shown
"""


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token without its secret."""

    id: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class GatewayToken:
    """A token as the bridge checks it."""

    id: str
    gateway_id: bytes
    secret_sha256: bytes
    expires_at: datetime | None
    is_used: bool

    def is_valid(self, now: datetime) -> bool:
        """Whether it is not the former one of a rotation that is over."""
        return self.expires_at is None or now < self.expires_at

    def opens_with(self, secret: str) -> bool:
        """Whether this is its secret, compared in constant time."""
        return hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), self.secret_sha256)


@dataclass(frozen=True, slots=True)
class Unproved:
    """A station that is received without a credential until then, or was."""

    eui: str
    name: str
    until: datetime


def split_token(text: str) -> tuple[str, str] | None:
    """The id and the secret of `tgw_<id>_<secret>`; None for anything else."""
    prefix, _, rest = text.partition("_")
    token_id, _, secret = rest.partition("_")
    if prefix != PREFIX or not secret or len(text) > LONGEST_TOKEN or not text.isascii():
        return None
    return token_id, secret


async def create_token(connection: Connection, gateway: int, keep_former: timedelta) -> str:
    """Another token of a gateway, shown this once; the former is valid, too, for as long as is asked."""
    await connection.execute(LOCK, gateway)
    await connection.execute(END_FORMER, gateway, keep_former)
    await connection.execute(DELETE_ENDED, gateway)
    token_id, secret = secrets.token_hex(ID_OCTETS), secrets.token_urlsafe(SECRET_OCTETS)
    await connection.execute(CREATE, token_id, gateway, hashlib.sha256(secret.encode()).digest())
    return f"{PREFIX}_{token_id}_{secret}"


async def create_fetched_token(
    connection: Connection, gateway: int, shown: str | None
) -> tuple[str, GatewayToken]:
    """A token for a station that fetches it: its first use ends the former, which is the one with the id `shown`.

    Where the station came without one, the one that it used last is good until then. The caller holds the lock.
    """
    await connection.execute(DELETE_OTHERS, gateway, shown)
    token_id, secret = secrets.token_hex(ID_OCTETS), secrets.token_urlsafe(SECRET_OCTETS)
    digest = hashlib.sha256(secret.encode()).digest()
    gateway_id = await connection.fetchval(CREATE_FETCHED, token_id, gateway, digest)
    return f"{PREFIX}_{token_id}_{secret}", GatewayToken(token_id, gateway_id, digest, None, is_used=False)


async def end_former(connection: Connection | Pool, token_ids: Sequence[str]) -> None:
    """End the tokens of before of those that were fetched, and are in use."""
    await connection.execute(END_FORMER_OF, token_ids)


async def list_tokens(connection: Connection, gateway: int) -> list[ShownToken]:
    """The valid tokens of a gateway, the newest first."""
    return await fetch_all(connection, ShownToken, LIST, gateway)


async def delete_token(connection: Connection, gateway: int, token_id: str) -> bool:
    """Withdraw a token; False when the gateway has no such token."""
    return await connection.fetchval(DELETE, gateway, token_id) is True


async def read_tokens(connection: Connection | Pool) -> list[GatewayToken]:
    """Every gateway's tokens."""
    return [GatewayToken(**row) for row in await connection.fetch(READ_ALL)]


async def save_uses(connection: Connection | Pool, token_ids: Sequence[str], gateway_ids: Sequence[bytes]) -> None:
    """Record that these tokens were used just now, and that these gateways have proved who they are."""
    await connection.execute(SAVE_USES, token_ids)
    await end_former(connection, token_ids)
    await connection.execute(SAVE_PROVED, gateway_ids)


async def read_unproved(connection: Connection) -> list[Unproved]:
    """Stations of before that have not shown a credential yet, by name."""
    return await fetch_all(connection, Unproved, READ_UNPROVED)
