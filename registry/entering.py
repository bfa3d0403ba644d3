"""The one place where a transaction enters a tenant: by a proof that a function of the database checks.

Policies believe what such a function has sealed, for this transaction alone, and nothing that a role sets by
itself (`0063_sealed_tenant.sql`). A new way to enter is a kind of proof here and a function there.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from core.runtime.postgres import Connection, Pool
from registry.vouching import vouched_value

# By identity: in these several read, each of which expects to be where the session is.
_SHARED: set[int] = set()

ENTER_BY_KEY = "SELECT enter_by_key($1, $2)"
ENTER_BY_EVENT_SOURCE = "SELECT enter_by_event_source($1, $2)"
ENTER_BY_SESSION = "SELECT enter_by_session($1, $2)"
ENTER_BY_IDENTITY = "SELECT enter_by_identity($1, $2, $3)"
ACT_AS_OPERATOR = "SELECT act_as_operator()"
ENTER_AS_OPERATOR = "SELECT enter_as_operator($1)"
ENTER_OWNER_OF = "SELECT enter_owner_of($1)"
ENTER_HOME = "SELECT enter_home()"
ENTER_REPORT = "SELECT enter_report($1)"
AS_TENANT = "SET LOCAL ROLE territoire_as_tenant"


class NotAdmitted(Exception):
    """The proof holds no more: the key was revoked since, the session closed, the source switched off."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """An API key, by the digest of its secret."""

    key_id: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ByEventSource:
    """A partner's system, by the digest of the secret with which it signed."""

    source_id: int
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BySession:
    """A person's session, by the digest of its token, in the tenant for which the request was checked."""

    digest: bytes = field(repr=False)
    tenant_id: int


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """A person by a token of the provider of identities, which the caller has verified; never an operator."""

    issuer: str
    subject: str
    tenant_id: int


Proof = ByKey | ByEventSource | BySession | ByIdentity


async def enter(connection: Connection, proof: Proof) -> int:
    """For the rest of this transaction the rows of one tenant are visible: its id.

    Raises:
        NotAdmitted: the proof holds no more.
    """
    match proof:
        case ByKey(key_id, digest):
            tenant_id = await connection.fetchval(ENTER_BY_KEY, key_id, digest)
        case ByEventSource(source_id, digest):
            # A source of before is learnt by its first event, from us alone.
            tenant_id = await vouched_value(connection, ENTER_BY_EVENT_SOURCE, source_id, digest)
        case BySession(digest, tenant):
            tenant_id = await connection.fetchval(ENTER_BY_SESSION, digest, tenant)
        case ByIdentity(issuer, subject, tenant):
            tenant_id = await vouched_value(connection, ENTER_BY_IDENTITY, issuer, subject, tenant)
    if tenant_id is None:
        raise NotAdmitted
    return tenant_id


@asynccontextmanager
async def tenant_transaction(pool: Pool, proof: Proof) -> AsyncGenerator[Connection]:
    """A transaction in which row security shows the rows of the tenant of this proof and no others.

    Raises:
        NotAdmitted: the proof holds no more.
    """
    async with pool.acquire() as connection, connection.transaction():
        await enter(connection, proof)
        yield connection


@asynccontextmanager
async def reading_as(pool: Pool, tenant_id: int) -> AsyncGenerator[Connection]:
    """A transaction of the service that makes reports: it sees what a tenant sees, and writes nothing.

    Raises:
        NotAdmitted: there is no such tenant any more.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(ENTER_REPORT, tenant_id):
            raise NotAdmitted
        await connection.execute(AS_TENANT)
        yield connection


@asynccontextmanager
async def shared_transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """A transaction for several readings that know nothing of each other; it enters by `sessions.enter_session`.

    None of them leaves the tenant for the others: who would act as somebody else has a transaction of their own.
    """
    async with pool.acquire() as connection, connection.transaction():
        _SHARED.add(id(connection))
        try:
            yield connection
        finally:
            _SHARED.discard(id(connection))


def _demand_own(connection: Connection) -> None:
    if id(connection) in _SHARED:
        raise RuntimeError("others read in this transaction, too: it stays in its tenant")


async def act_as_operator(connection: Connection) -> None:
    """For the rest of this transaction: see every tenant, and make new ones, by a proof that may `operate`.

    Raises:
        NotAdmitted: it may not.
    """
    _demand_own(connection)
    if not await connection.fetchval(ACT_AS_OPERATOR):
        raise NotAdmitted


async def enter_as_operator(connection: Connection, tenant_id: int) -> None:
    """After `act_as_operator`: the rows of another tenant are visible from now on.

    Raises:
        NotAdmitted: this is no operator's transaction.
    """
    if not await connection.fetchval(ENTER_AS_OPERATOR, tenant_id):
        raise NotAdmitted


async def enter_owner_of(connection: Connection, asset_id: int) -> int | None:
    """Enter the tenant of an asset on which a grant lets one act in its owner's name; None: there is none."""
    _demand_own(connection)
    return await connection.fetchval(ENTER_OWNER_OF, asset_id)


async def enter_home(connection: Connection) -> None:
    """Back to the tenant whose proof it was."""
    await connection.fetchval(ENTER_HOME)
