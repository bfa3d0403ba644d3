"""Accounts of gateways and partners at the MQTT broker: made and withdrawn by the API, brought there by intake."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from core.runtime.postgres import Connection, Pool
from registry.keys import KeyWrap, row_owner
from registry.rows import fetch_all

GATEWAY_PREFIX, PARTNER_PREFIX = "tgw", "tpa"
ID_OCTETS, SECRET_OCTETS = 8, 32
OURS = re.compile(rf"({GATEWAY_PREFIX}|{PARTNER_PREFIX})_[0-9a-f]{{{2 * ID_OCTETS}}}")
"""Names of accounts that the API made; others were made by hand."""
# Of partners' topics, before the tenant's slug: no gateway's topic begins so, whatever its region's prefix.
PARTNER_TOPICS = "territoire/partner"
# Of MQTT accesses: no account of a partner reaches these, whatever its filters.
EVENT_TOPICS = "territoire/events"

LOCK_GATEWAY = "SELECT true FROM gateway WHERE id = $1 FOR NO KEY UPDATE"
# The newest is kept for a while, the others of before end now: two are valid at once, and no more.
END_FORMER = """
UPDATE mqtt_account a
SET expires_at = CASE WHEN a.id = newest.id THEN least(a.expires_at, now() + $2::interval) ELSE now() END
FROM (SELECT id FROM mqtt_account WHERE gateway_id = $1 AND (expires_at IS NULL OR expires_at > now())
      ORDER BY created_at DESC, id LIMIT 1) AS newest
WHERE a.gateway_id = $1
"""
DELETE_ENDED = "DELETE FROM mqtt_account WHERE gateway_id = $1 AND expires_at <= now()"
DELETE_ENDED_PARTNERS = "DELETE FROM mqtt_account WHERE tenant_id = $1 AND expires_at <= now()"
CREATE_OF_GATEWAY = """
INSERT INTO mqtt_account (id, gateway_id, secret_wrapped, kek_id, sealed_for) VALUES ($1, $2, $3, $4, $5)
"""
CREATE_OF_PARTNER = """
INSERT INTO mqtt_account (id, tenant_id, name, publishes, reads, secret_wrapped, kek_id, sealed_for)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
VALID = "(a.expires_at IS NULL OR a.expires_at > now())"
LIST_OF_GATEWAY = f"""
SELECT a.id, a.created_at, a.expires_at, a.applied_at FROM mqtt_account a
WHERE a.gateway_id = $1 AND {VALID} ORDER BY a.created_at DESC, a.id
"""
OF_PARTNER = """a.id, a.name, $1 || '/' || t.slug || '/' AS prefix, a.publishes, a.reads, a.created_at,
a.expires_at, a.applied_at"""
LIST_OF_PARTNERS = f"""
SELECT {OF_PARTNER} FROM mqtt_account a JOIN tenant t ON t.id = a.tenant_id
WHERE {VALID} AND a.application_id IS NULL ORDER BY a.created_at, a.id
"""
# A former one that is valid for a while yet is not what a rotation begins with.
READ_OF_PARTNER = f"""
SELECT {OF_PARTNER} FROM mqtt_account a JOIN tenant t ON t.id = a.tenant_id
WHERE a.id = $2 AND a.expires_at IS NULL AND a.application_id IS NULL FOR UPDATE OF a
"""
END_OF_PARTNER = "UPDATE mqtt_account SET expires_at = now() + $2::interval WHERE id = $1"
DELETE_OF_GATEWAY = "DELETE FROM mqtt_account WHERE gateway_id = $1 AND id = $2 RETURNING true"
DELETE_OF_PARTNER = """
DELETE FROM mqtt_account WHERE tenant_id IS NOT NULL AND application_id IS NULL AND id = $1 RETURNING true
"""
# Of an access as long as its owner may read.
STANDS = "(a.application_id IS NULL OR application_standing(a.application_id) IS NULL)"
READ_VALID = f"""
SELECT a.id, g.gateway_id, t.slug, a.publishes, a.reads, a.secret_wrapped, a.sealed_for,
       a.application_id IS NOT NULL AS is_of_access, a.applied_at IS NOT NULL AS is_applied
FROM mqtt_account a LEFT JOIN gateway g ON g.id = a.gateway_id LEFT JOIN tenant t ON t.id = a.tenant_id
WHERE {VALID} AND {STANDS}
"""
SAVE_APPLIED = "UPDATE mqtt_account SET applied_at = now() WHERE id = ANY($1::text[]) AND applied_at IS NULL"
READ_PROVED = """
SELECT g.gateway_id, a.expires_at, a.proved_at IS NOT NULL AS is_proved
FROM mqtt_account a JOIN gateway g ON g.id = a.gateway_id
"""
SAVE_PROVED = """
UPDATE mqtt_account a SET proved_at = now() FROM gateway g
WHERE g.id = a.gateway_id AND g.gateway_id = ANY($1::bytea[]) AND a.proved_at IS NULL
"""
COUNT_WAITING = f"""
SELECT count(*) FROM mqtt_account a
WHERE {VALID} AND {STANDS} AND a.applied_at IS NULL AND a.created_at < now() - $1::interval
"""


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """An account of a gateway, without its password."""

    id: str
    created_at: datetime
    expires_at: datetime | None
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartnerAccount:
    """An account of a partner, without its password; its topic filters are below `prefix`."""

    id: str
    name: str
    prefix: str
    publishes: tuple[str, ...]
    reads: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a new account is entered by, shown this once. The broker binds it to the client id of the same name."""

    id: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class ValidAccount:
    """An account as intake brings it to the broker: a gateway's, or with a slug a partner's of that tenant.

    `is_of_access`: below the tenant's topics of events.
    """

    id: str
    gateway_id: bytes | None
    slug: str | None
    publishes: tuple[str, ...]
    reads: tuple[str, ...]
    secret_wrapped: bytes
    sealed_for: UUID
    is_of_access: bool
    is_applied: bool

    @property
    def username(self) -> str:
        """Its name at the broker."""
        return username_of(self.id, is_partner=self.gateway_id is None)

    def password(self, keys: KeyWrap) -> str:
        """Its password.

        Raises:
            WrongKek: another key-encryption key sealed it, or for another row.
        """
        return keys.unwrap_text(self.secret_wrapped, row_owner("mqtt_account", self.sealed_for))


@dataclass(frozen=True, slots=True)
class AccountProof:
    """That a gateway has an account, until when, and whether it was heard over MQTT since."""

    gateway_id: bytes
    expires_at: datetime | None
    is_proved: bool

    def is_valid(self, now: datetime) -> bool:
        """Whether it is not the former one of a rotation that is over."""
        return self.expires_at is None or now < self.expires_at


def username_of(account_id: str, *, is_partner: bool) -> str:
    """An account's name at the broker: it tells ours from those that an operator made by hand."""
    return f"{PARTNER_PREFIX if is_partner else GATEWAY_PREFIX}_{account_id}"


def client_id_of(username: str | None, otherwise: str) -> str:
    """The client id for a broker that may be ours, which binds an account to the client id of its name."""
    return username if username is not None and OURS.fullmatch(username) else otherwise


def seal_account(keys: KeyWrap, *, is_partner: bool) -> tuple[Credentials, tuple[bytes, str, UUID]]:
    """A new account, and what the database keeps of its password."""
    account_id, password, sealed_for = secrets.token_hex(ID_OCTETS), secrets.token_urlsafe(SECRET_OCTETS), uuid4()
    wrapped = keys.wrap_text(password, row_owner("mqtt_account", sealed_for))
    made = Credentials(account_id, username_of(account_id, is_partner=is_partner), password)
    return made, (wrapped, keys.kek_id, sealed_for)


async def create_gateway_account(
    connection: Connection, keys: KeyWrap, gateway: int, keep_former: timedelta
) -> Credentials:
    """Another account of a gateway; the former is valid, too, for as long as is asked."""
    await connection.execute(LOCK_GATEWAY, gateway)
    await connection.execute(END_FORMER, gateway, keep_former)
    await connection.execute(DELETE_ENDED, gateway)
    made, sealed = seal_account(keys, is_partner=False)
    await connection.execute(CREATE_OF_GATEWAY, made.id, gateway, *sealed)
    return made


async def list_gateway_accounts(connection: Connection, gateway: int) -> list[GatewayAccount]:
    """The valid accounts of a gateway, the newest first."""
    return await fetch_all(connection, GatewayAccount, LIST_OF_GATEWAY, gateway)


async def delete_gateway_account(connection: Connection, gateway: int, account_id: str) -> bool:
    """Withdraw an account; False when the gateway has no such account."""
    return await connection.fetchval(DELETE_OF_GATEWAY, gateway, account_id) is True


async def create_partner_account(
    connection: Connection,
    keys: KeyWrap,
    tenant_id: int,
    name: str,
    publishes: Sequence[str],
    reads: Sequence[str],
) -> Credentials:
    """An account of a partner of a tenant, for topics below the tenant's prefix."""
    await connection.execute(DELETE_ENDED_PARTNERS, tenant_id)
    made, sealed = seal_account(keys, is_partner=True)
    await connection.execute(CREATE_OF_PARTNER, made.id, tenant_id, name, publishes, reads, *sealed)
    return made


async def rotate_partner_account(
    connection: Connection, keys: KeyWrap, tenant_id: int, former: PartnerAccount, keep_former: timedelta
) -> Credentials:
    """Another account with the same rights; the former is valid, too, for as long as is asked."""
    await connection.execute(END_OF_PARTNER, former.id, keep_former)
    return await create_partner_account(connection, keys, tenant_id, former.name, former.publishes, former.reads)


async def list_partner_accounts(connection: Connection) -> list[PartnerAccount]:
    """Every valid account of a partner that is visible, oldest first."""
    return await fetch_all(connection, PartnerAccount, LIST_OF_PARTNERS, PARTNER_TOPICS)


async def read_partner_account(connection: Connection, account_id: str) -> PartnerAccount | None:
    """One account, locked, that no rotation has ended."""
    found = await fetch_all(connection, PartnerAccount, READ_OF_PARTNER, PARTNER_TOPICS, account_id)
    return found[0] if found else None


async def delete_partner_account(connection: Connection, account_id: str) -> bool:
    """Withdraw an account; False when there is none."""
    return await connection.fetchval(DELETE_OF_PARTNER, account_id) is True


async def read_valid_accounts(pool: Pool) -> list[ValidAccount]:
    """Every account that the broker has to have, of every tenant."""
    return await fetch_all(pool, ValidAccount, READ_VALID)


async def save_applied(pool: Pool, account_ids: Sequence[str]) -> None:
    """Record that the broker has these accounts."""
    await pool.execute(SAVE_APPLIED, account_ids)


async def read_account_proofs(pool: Pool) -> list[AccountProof]:
    """Which gateways have accounts, and whether they have proved themselves by them."""
    return await fetch_all(pool, AccountProof, READ_PROVED)


async def save_proved_accounts(pool: Pool, gateway_ids: Sequence[bytes]) -> None:
    """Record that these gateways were heard over MQTT while they had accounts."""
    await pool.execute(SAVE_PROVED, gateway_ids)


async def count_waiting_accounts(connection: Connection, longer_than: timedelta) -> int:
    """How many accounts the broker should have had for so long, and has not."""
    return await connection.fetchval(COUNT_WAITING, longer_than)
