"""Authenticates API keys, checks roles, and opens the transaction of the caller's tenant."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.dependencies import Dependencies
from core.runtime.http.errors import Problem
from core.runtime.postgres import Connection, Pool
from registry.audit import write_audit
from registry.entering import NotAdmitted, tenant_transaction
from registry.tenants import MalformedKey, Principal, authenticate

# A revoked key is rejected on every replica within this time.
REMEMBERED_S = 5.0
REMEMBERED_KEYS = 1024
LONGEST_KEY = 200

BEARER = HTTPBearer(auto_error=False, description="Clé d'API : `terr_<id>_<secret>`", scheme_name="api_key")


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
    key_id: str

    async def audit(
        self, action: str, entity: str, entity_id: object, details: Mapping[str, Any] | None = None
    ) -> None:
        """Record the action in the transaction of the change; the key's id tells apart two of one name."""
        noted = {**(details or {}), "api_key": self.key_id}
        await write_audit(self.connection, self.tenant_id, self.actor, action, entity, entity_id, noted)


@asynccontextmanager
async def caller_transaction(pool: Pool, principal: Principal) -> AsyncGenerator[Connection]:
    """A transaction in the tenant of a principal: the one place where a request enters it.

    Raises 401 when its key was revoked, or a session closed, since it was read.
    """
    async with AsyncExitStack() as opened:
        try:
            connection = await opened.enter_async_context(tenant_transaction(pool, principal.proof))
        except NotAdmitted:
            raise unauthenticated() from None
        yield connection


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of this request's API key; it has the role that the route asks for."""

    principal: Principal
    platform: Dependencies

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """A transaction in which only the caller's tenant is visible."""
        async with caller_transaction(self.platform.pool, self.principal) as connection:
            yield connection

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[Change]:
        """The same for a change; after the commit every process is nudged to read the registry again."""
        principal = self.principal
        async with caller_transaction(self.platform.pool, principal) as connection:
            yield Change(connection, principal.tenant_id, principal.tenant_slug, principal.name, principal.key_id)
        await self.platform.nudge_registry()

    def has(self, role: str) -> bool:
        """Whether the key has this role as well."""
        return role in self.principal.roles

    def demand(self, role: str) -> None:
        """Raises 403 when the key has not this role as well."""
        if not self.has(role):
            raise Problem(403, f"cette clé n'a pas le rôle « {role} »")


def unauthenticated() -> Problem:
    """Nobody whom we know, or no longer."""
    return Problem(401, "présentez « Authorization: Bearer terr_… »", headers={"WWW-Authenticate": "Bearer"})


def _require(role: str) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> Caller:
        state = request.app.state
        authenticator: Authenticator = state.authenticator
        principal = None if credentials is None else await authenticator.principal(credentials.credentials)
        if principal is None:
            raise unauthenticated()
        found = Caller(principal, state.platform)
        found.demand(role)
        return found

    return caller


Reader = Annotated[Caller, Depends(_require("read"))]
Manager = Annotated[Caller, Depends(_require("manage"))]
LightingOperator = Annotated[Caller, Depends(_require("lighting"))]
NetworkOperator = Annotated[Caller, Depends(_require("operate"))]
