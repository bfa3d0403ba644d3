"""Tenants and their API keys."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.model.entities import Tenant
from core.model.rights import EXTRA_RIGHTS, OF_KEYS, effective_rights
from core.runtime.postgres import Connection, Pool
from registry.entering import ByKey, Proof
from registry.rows import Written, columns_of, entity, fetch_all, fetch_one, insert

KEY_PREFIX = "terr"
KEY_ID_OCTETS = 6
SECRET_OCTETS = 32
OPERATOR = "operateur"

# A right that no key has unless it was given to this very key, by the operator.
EXPORT_KEYS = "export_keys"
# Of the first key of an installation.
FIRST_RIGHTS = ("lighting", "manage", "operate", "read")

TENANT_COLUMNS = columns_of(Tenant)
READ_TENANTS = f"SELECT {TENANT_COLUMNS} FROM tenant WHERE $1::int IS NULL OR id = $1 ORDER BY id"
READ_WITH_TIMEZONE = (
    f"SELECT {TENANT_COLUMNS}, (SELECT timezone FROM deployment) AS timezone FROM tenant WHERE id = $1"
)
CREATE_TENANT = f"""
INSERT INTO tenant (slug, name, webhook_allow_list, department) VALUES ($1, $2, $3, $4)
RETURNING {TENANT_COLUMNS}
"""
FIND_TENANT = f"SELECT {TENANT_COLUMNS} FROM tenant WHERE slug = $1"
CURRENT = "SELECT current_tenant()"
CHANGED = Written("name, department")
UPDATE = f"UPDATE tenant SET {CHANGED.patched(2)} WHERE id = $1 RETURNING {TENANT_COLUMNS}"
CLOSE = "SELECT close_tenant($1, $2)"
SET_ALLOW_LIST = f"UPDATE tenant SET webhook_allow_list = $2 WHERE id = $1 RETURNING {TENANT_COLUMNS}"
CREATE_KEY = """
INSERT INTO api_key
    (id, tenant_id, name, secret_sha256, roles, expires_at, addresses, requests_per_minute, asset_kinds, made_by,
     origins)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
# A key that a key made leads on to who made that one.
FIRST_MAKER = """
WITH RECURSIVE maker (mark, depth) AS (
    SELECT $1::text, 0
    UNION ALL
    SELECT k.made_by, m.depth + 1 FROM maker m JOIN api_key k ON m.mark = 'clé ' || k.id
    WHERE k.made_by <> '' AND m.depth < 100
)
SELECT mark FROM maker ORDER BY depth DESC LIMIT 1
"""
REVOKE_KEY = "UPDATE api_key SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING true"
UPDATE_KEY = "UPDATE api_key SET name = $2, expires_at = $3 WHERE id = $1 AND revoked_at IS NULL RETURNING true"
LIST_KEYS = """
SELECT id, name, roles, created_at, expires_at, revoked_at, addresses, requests_per_minute, last_used_at,
       asset_kinds, origins
FROM api_key ORDER BY created_at, id
"""
ALLOW_EXPORT = """
WITH allowed AS (
    UPDATE api_key SET roles = array_remove(roles, $3) || CASE WHEN $2::boolean THEN ARRAY[$3] ELSE '{}' END
    WHERE id = $1 AND revoked_at IS NULL AND asset_kinds = '{}' RETURNING tenant_id, name
)
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT tenant_id, $4, CASE WHEN $2 THEN 'allow_export' ELSE 'refuse_export' END, 'api_key', $1,
       jsonb_build_object('name', name, 'before', jsonb_build_object('export_keys', NOT $2::boolean),
                          'after', jsonb_build_object('export_keys', $2::boolean))
FROM allowed RETURNING true
"""
AS_SERVICE = "SET LOCAL ROLE territoire_service"
AUTHENTICATE = """
SELECT tenant_id, tenant_slug, name, roles, addresses, requests_per_minute, asset_kinds, origins, expires_at
FROM authenticate_api_key($1, $2)
"""
READ_ORIGINS = "SELECT origin FROM origins_of_keys() AS k (origin)"
RECORD_KEY_USE = "SELECT record_key_use($1)"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it may be shown: without its secret."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    addresses: tuple[str, ...]
    requests_per_minute: int | None
    last_used_at: datetime | None
    asset_kinds: tuple[str, ...]
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, and for which tenant: a valid API key's holder, or a person with an open session."""

    key_id: str  # Of a person: empty.
    tenant_id: int
    tenant_slug: str
    name: str
    rights: frozenset[str]
    proof: Proof
    """What its transactions enter by."""
    person_id: int | None = None
    addresses: tuple[str, ...] = ()  # Networks from which a key may be used; none: from anywhere.
    requests_per_minute: int | None = None
    asset_kinds: tuple[str, ...] = ()  # Of the only assets that a key sees; none: of any kind.
    origins: tuple[str, ...] = ()  # Of the pages of others that may call with a key.
    expires_at: datetime | None = None  # Of a key.

    @property
    def actor(self) -> str:
        """As the audit calls it for good: names of people stand where they can be erased."""
        return self.name if self.person_id is None else f"personne {self.person_id}"

    @property
    def mark(self) -> str:
        """What tells it apart from all others, for good."""
        return f"clé {self.key_id}" if self.person_id is None else f"personne {self.person_id}"

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it apart from another of its name."""
        if self.person_id is None:
            return {"api_key": self.key_id}
        return {"person": self.person_id, "name": self.name}


class MalformedKey(ValueError):
    """The text is not `terr_<id>_<secret>`."""


def _digest(secret: str) -> bytes:
    # The secret has 256 random bits: a plain digest resists guessing as well as a slow one.
    return hashlib.sha256(secret.encode()).digest()


def _parts(key: str) -> tuple[str, str]:
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != KEY_PREFIX or not key_id or not secret:
        raise MalformedKey("an API key reads terr_<id>_<secret>")
    return key_id, secret


async def read_tenants(connection: Connection | Pool, tenant_id: int | None = None) -> dict[int, Tenant]:
    """Every visible tenant by id, or this one."""
    return {row["id"]: entity(Tenant, row) for row in await connection.fetch(READ_TENANTS, tenant_id)}


async def read_with_timezone(connection: Connection | Pool, tenant_id: int) -> tuple[Tenant, str]:
    """A tenant that was entered, and the time zone of the deployment, unless its department has one of its own."""
    row = await connection.fetchrow(READ_WITH_TIMEZONE, tenant_id)
    assert row is not None  # noqa: S101 - The caller has entered it.
    return entity(Tenant, row), row["timezone"]


async def find_tenant(connection: Connection | Pool, slug: str) -> Tenant | None:
    """The tenant of this slug."""
    return await fetch_one(connection, Tenant, FIND_TENANT, slug)


async def current_tenant(connection: Connection) -> int:
    """The tenant that this transaction has entered."""
    return await connection.fetchval(CURRENT)


async def create_tenant(
    connection: Connection | Pool,
    slug: str,
    name: str,
    webhook_allow_list: Sequence[str] = (),
    department: str | None = None,
) -> Tenant:
    """A new tenant; raises UniqueViolationError when the slug is taken."""
    return await insert(connection, Tenant, CREATE_TENANT, slug, name, list(webhook_allow_list), department)


async def update_tenant(connection: Connection, tenant_id: int, change: Mapping[str, Any]) -> Tenant | None:
    """Change columns in `CHANGED`; None when it is not the caller's own."""
    return await fetch_one(connection, Tenant, UPDATE, tenant_id, *CHANGED.changes(change))


async def close_tenant(connection: Connection, tenant_id: int, *, closed: bool) -> bool:
    """As the operator: nobody enters the tenant from now on, or all again; False for the operator's own."""
    return await connection.fetchval(CLOSE, tenant_id, closed) is True


async def set_allow_list(connection: Connection, tenant_id: int, allowed: Sequence[str]) -> Tenant:
    """The tenant, with the inner networks and hosts where it may reach from now on; it has been entered."""
    row = await connection.fetchrow(SET_ALLOW_LIST, tenant_id, list(allowed))
    assert row is not None  # noqa: S101 - The caller has entered the tenant, so it exists.
    return entity(Tenant, row)


async def first_maker(connection: Connection, principal: Principal) -> str:
    """The mark of the person, or of the key that nobody made here, by whose rights this one acts."""
    return await connection.fetchval(FIRST_MAKER, principal.mark)


async def create_api_key(
    connection: Connection | Pool,
    tenant_id: int,
    name: str,
    roles: Sequence[str],
    expires_at: datetime | None = None,
    addresses: Sequence[str] = (),
    requests_per_minute: int | None = None,
    asset_kinds: Sequence[str] = (),
    made_by: str = "",
    origins: Sequence[str] = (),
) -> str:
    """A new key's full text, `terr_<id>_<secret>`; it is shown once, only its digest is kept.

    `made_by` is the mark of who makes it.
    """
    key = f"{KEY_PREFIX}_{secrets.token_hex(KEY_ID_OCTETS)}_{secrets.token_urlsafe(SECRET_OCTETS)}"
    limits = (expires_at, addresses, requests_per_minute, asset_kinds, made_by, origins)
    await enter_api_key(connection, tenant_id, name, roles, key, *limits)
    return key


async def enter_api_key(
    connection: Connection | Pool,
    tenant_id: int,
    name: str,
    roles: Sequence[str],
    key: str,
    expires_at: datetime | None = None,
    addresses: Sequence[str] = (),
    requests_per_minute: int | None = None,
    asset_kinds: Sequence[str] = (),
    made_by: str = "",
    origins: Sequence[str] = (),
) -> None:
    """Enter a key that was made elsewhere, an installation's first one for example.

    Raises:
        MalformedKey: it does not have the form of a key.
        ValueError: a right that no key may have.
    """
    unknown = set(roles) - OF_KEYS - EXTRA_RIGHTS
    if unknown:
        raise ValueError(f"unknown rights: {', '.join(sorted(unknown))}")
    key_id, secret = _parts(key)
    limits = (expires_at, list(addresses), requests_per_minute, list(asset_kinds), made_by, list(origins))
    await connection.execute(CREATE_KEY, key_id, tenant_id, name, _digest(secret), list(roles), *limits)


async def revoke_api_key(connection: Connection | Pool, key_id: str) -> bool:
    """Revoke the key; False when there is no such key, or it was revoked before."""
    return await connection.fetchval(REVOKE_KEY, key_id) is True


async def update_api_key(
    connection: Connection | Pool, key_id: str, name: str, expires_at: datetime | None
) -> bool:
    """Change a key's name and end; False when there is no such key, or it was revoked."""
    return await connection.fetchval(UPDATE_KEY, key_id, name, expires_at) is True


async def allow_export(connection: Connection, key_id: str, actor: str, *, allowed: bool) -> bool:
    """Let this key take the keys of its tenant's devices out, or no longer; False: there is no such key."""
    return await connection.fetchval(ALLOW_EXPORT, key_id, allowed, EXPORT_KEYS, actor) is True


async def list_api_keys(connection: Connection | Pool) -> list[ApiKey]:
    """Every visible key, oldest first."""
    return await fetch_all(connection, ApiKey, LIST_KEYS)


async def authenticate(connection: Connection | Pool, key: str) -> Principal | None:
    """The key's tenant, name and rights; None when it is unknown, revoked or expired.

    Raises:
        MalformedKey: it does not have the form of a key.
    """
    key_id, secret = _parts(key)
    proof = ByKey(key_id, _digest(secret))
    row = await connection.fetchrow(AUTHENTICATE, proof.key_id, proof.digest)
    if row is None:
        return None
    return Principal(
        key_id,
        row["tenant_id"],
        row["tenant_slug"],
        row["name"],
        effective_rights(row["roles"]),
        proof,
        addresses=tuple(row["addresses"]),
        requests_per_minute=row["requests_per_minute"],
        asset_kinds=tuple(row["asset_kinds"]),
        origins=tuple(row["origins"]),
        expires_at=row["expires_at"],
    )


async def read_origins(connection: Connection | Pool) -> frozenset[str]:
    """The origins of pages that any valid key names."""
    return frozenset(row["origin"] for row in await connection.fetch(READ_ORIGINS))


async def record_key_use(connection: Connection | Pool, key_id: str) -> None:
    """That the key was used just now, to the minute."""
    await connection.execute(RECORD_KEY_USE, key_id)


async def create_operator(connection: Connection, key: str) -> Tenant | None:
    """The operator's own tenant with its first key, which can make the others; None: there is one already."""
    await connection.execute(AS_SERVICE)
    if await find_tenant(connection, OPERATOR) is not None:
        return None
    tenant = await create_tenant(connection, OPERATOR, "Opérateur du réseau")
    await enter_api_key(connection, tenant.id, "première clé", FIRST_RIGHTS, key)
    return tenant
