"""Authenticates API keys and sessions, checks rights, and opens the transaction of the caller's tenant."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from api.cookies import COOKIE, CSRF_HEADER, has_csrf_token, session_token
from api.dependencies import Dependencies
from api.origin import origin_of
from core.model.rights import RIGHTS, Right, rights_of
from core.runtime.http.errors import FieldError, Problem
from core.runtime.postgres import Connection, Pool, tenant_transaction
from registry.audit import write_audit
from registry.people import token_digest
from registry.sessions import Session, find_session
from registry.tenants import MalformedKey, Principal, authenticate

# A revoked key is rejected on every replica within this time.
REMEMBERED_S = 5.0
REMEMBERED_KEYS = 1024
LONGEST_KEY = 200
# How long a password or a code that was given again stands for what is asked for next.
PROOF_LASTS = timedelta(minutes=10)

BEARER = HTTPBearer(auto_error=False, description="Clé d'API : `terr_<id>_<secret>`", scheme_name="api_key")
COOKIE_OF_SESSION = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    scheme_name="session",
    description=f"Session d'une personne ; une modification porte aussi l'en-tête `{CSRF_HEADER}`",
)


class Authenticator:
    """Checks keys; a right one is remembered for a few seconds, by its digest."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def principal(self, key: str) -> Principal | None:
        """Whose key this is, or was at most `REMEMBERED_S` ago."""
        if len(key) > LONGEST_KEY or not key.isascii():
            return None
        now = self._clock()
        digest = hashlib.sha256(key.encode()).digest()
        remembered = self._known.get(digest)
        if remembered is not None and now < remembered[0]:
            return remembered[1]
        self._known.pop(digest, None)
        try:
            principal = await authenticate(self._pool, key)
        except MalformedKey:
            return None
        if principal is not None:
            self._known[digest] = (now + REMEMBERED_S, principal)
            if len(self._known) > REMEMBERED_KEYS:
                self._known.popitem(last=False)
        return principal

    def forget(self, key_id: str) -> None:
        """This replica rejects the key from now on; the others within `REMEMBERED_S`."""
        for digest in [digest for digest, (_, found) in self._known.items() if found.key_id == key_id]:
            del self._known[digest]


@dataclass(frozen=True, slots=True)
class Change:
    """An open transaction of the caller's tenant that changes something."""

    connection: Connection
    tenant_id: int
    tenant_slug: str
    actor: str
    """For people to read."""
    audit_actor: str
    identity: Mapping[str, Any]
    """What the audit keeps of who it was and from where."""

    async def audit(
        self, action: str, entity: str, entity_id: object, details: Mapping[str, Any] | None = None
    ) -> None:
        """Record the action in the transaction of the change."""
        recorded = {**(details or {}), **self.identity}
        await write_audit(self.connection, self.tenant_id, self.audit_actor, action, entity, entity_id, recorded)


@asynccontextmanager
async def caller_transaction(pool: Pool, principal: Principal) -> AsyncGenerator[Connection]:
    """A transaction in the tenant of a key or a session: the one place where a request enters it."""
    async with tenant_transaction(pool, principal.tenant_id) as connection:
        yield connection


@dataclass(frozen=True, slots=True)
class OpenSession:
    """The session of a request, with the digest of its token."""

    digest: bytes
    token: str
    row: Session


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request; they have the right that the route demands."""

    principal: Principal
    platform: Dependencies
    address: str = ""
    session: OpenSession | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """A transaction in which only the caller's tenant is visible."""
        async with caller_transaction(self.platform.pool, self.principal) as connection:
            yield connection

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[Change]:
        """The same for a change; after the commit every process is nudged to read the registry again."""
        async with caller_transaction(self.platform.pool, self.principal) as connection:
            yield self.change_in(connection)
        await self.platform.nudge_registry()

    def change_in(self, connection: Connection) -> Change:
        """A change of the caller's in a transaction that is open already."""
        principal = self.principal
        identity = principal.identity | {"address": self.address}
        return Change(
            connection, principal.tenant_id, principal.tenant_slug, principal.name, principal.actor, identity
        )

    def has(self, right: Right) -> bool:
        """Whether the caller has this right as well."""
        return right in self.principal.rights

    def demand(self, right: Right) -> None:
        """Raises 403 when the caller has not this right as well."""
        if not self.has(right):
            raise Problem(403, f"il faut le droit « {right} » : {RIGHTS[right]}")

    def person(self) -> OpenSession:
        """The session of the request; raises 403 for an application's key."""
        if self.session is None:
            raise Problem(403, "il faut la session d'une personne ; une clé d'API n'en a pas")
        return self.session

    def demand_proof(self, *, of_person: bool = False) -> None:
        """Raises 403 unless the person has given the password or a code in the last ten minutes.

        A key is its own proof; with `of_person` it is none, and raises 403, too.
        """
        session = self.person() if of_person else self.session
        if session is not None and datetime.now(UTC) - session.row.proved_at > PROOF_LASTS:
            message = "confirmez d'abord votre mot de passe ou un code : POST /v1/session/proof"
            raise Problem(
                403, message, errors=[FieldError(field="session", code="proof_required", message=message)]
            )


class RequireRight:
    """The dependency of a route that demands a right; its matrix is read from the router by tests.

    With `proved` also that the person gave the password or a code again.
    """

    def __init__(self, right: Right, *, proved: bool = False) -> None:
        self.right: Right = right
        self._proved = proved

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
        _cookie: Annotated[str | None, Security(COOKIE_OF_SESSION)],
    ) -> Caller:
        """The caller, who has the right."""
        if credentials is not None:
            found = await _by_key(request, credentials.credentials)
        else:
            found = await _by_session(request)
        found.demand(self.right)
        if self._proved:
            found.demand_proof()
        return found


def _unauthenticated() -> Problem:
    return Problem(
        401,
        "présentez « Authorization: Bearer terr_… », ou ouvrez une session",
        headers={"WWW-Authenticate": "Bearer"},
    )


async def _by_key(request: Request, key: str) -> Caller:
    platform: Dependencies = request.app.state.platform
    authenticator: Authenticator = request.app.state.authenticator
    principal = await authenticator.principal(key)
    if principal is None:
        raise _unauthenticated()
    return Caller(principal, platform, origin_of(request, platform.access.proxies))


async def _by_session(request: Request) -> Caller:
    platform: Dependencies = request.app.state.platform
    token = session_token(request)
    if not token:
        raise _unauthenticated()
    digest = token_digest(token)
    # Read with each request: a session that was closed is closed at once.
    row = await find_session(platform.pool, digest)
    if row is None:
        raise _unauthenticated()
    if not has_csrf_token(request, token):
        raise Problem(403, f"l'en-tête « {CSRF_HEADER} » de la session manque ou ne correspond pas")
    principal = Principal(
        "",
        row.tenant_id,
        row.tenant_slug,
        row.person_name,
        rights_of(row.role, row.extra_rights),
        row.person_id,
    )
    address = origin_of(request, platform.access.proxies)
    return Caller(principal, platform, address, OpenSession(digest, token, row))


Reader = Annotated[Caller, Depends(RequireRight("read"))]
FieldAgent = Annotated[Caller, Depends(RequireRight("field"))]
Manager = Annotated[Caller, Depends(RequireRight("manage"))]
ProvenManager = Annotated[Caller, Depends(RequireRight("manage", proved=True))]
LightingOperator = Annotated[Caller, Depends(RequireRight("lighting"))]
NetworkOperator = Annotated[Caller, Depends(RequireRight("operate"))]
PeopleManager = Annotated[Caller, Depends(RequireRight("people"))]
ProvenPeopleManager = Annotated[Caller, Depends(RequireRight("people", proved=True))]
Auditor = Annotated[Caller, Depends(RequireRight("audit"))]
