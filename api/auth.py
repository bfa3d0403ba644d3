"""Authenticates API keys and sessions, checks rights, and opens the transaction of the caller's tenant."""

import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from fastapi import Depends, Request, Response, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from api.before_after import Shown, before_and_after
from api.cookies import COOKIE, CSRF_HEADER, has_csrf_token, session_token
from api.cross_origin import origin_of_others
from api.dependencies import Dependencies
from api.idempotency import commit_once
from api.oidc import InvalidToken, Provider, ProviderAway, provider_away
from api.origin import bearer_of, origin_of
from api.shared_reading import SharedReading
from core.model.rights import RIGHTS, Right, rights_of
from core.runtime.http.errors import FieldError, Problem
from core.runtime.postgres import Connection, Pool
from core.runtime.token_bucket import TokenBucket
from registry.audit import audit_personal_reads, write_audit
from registry.entering import ByIdentity, BySession, NotAdmitted, tenant_transaction
from registry.identities import find_identity
from registry.people import token_digest
from registry.sessions import SEEN_EVERY, Session, enter_session, find_session, list_memberships, record_use
from registry.tenants import MalformedKey, Principal, authenticate, record_key_use

# A revoked key is rejected on every replica within this time.
REMEMBERED_S = 5.0
REMEMBERED_KEYS = 1024
LONGEST_KEY = 200
LONGEST_ORIGIN = 100
RECORD_USE_EVERY_S = 60.0
DOTS_OF_A_JWT = 2
TENANT_HEADER = "Territoire-Tenant"
# What a key sees that is limited to kinds of assets: row security shows it theirs alone.
OF_ASSETS = (
    *("/v1/assets", "/v1/devices", "/v1/datastreams", "/v1/measurements", "/v1/quantities"),
    *("/v1/alerts", "/v1/lighting/commands", "/v1/me", "/v1/exports", "/v1/stream", "/v1/waste"),
)
# Of whole segments: /v1/meters is not below /v1/me.
IS_OF_ASSETS = re.compile(rf"({'|'.join(OF_ASSETS)})(/|$)")
OF_OPERATORS = frozenset({"operate"})
# How long a password or a code that was given again stands for what is asked for next.
PROOF_LASTS = timedelta(minutes=10)

BEARER = HTTPBearer(auto_error=False, description="Clé d'API : `terr_<id>_<secret>`", scheme_name="api_key")
COOKIE_OF_SESSION = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    scheme_name="session",
    description=f"Session d'une personne ; une modification porte aussi l'en-tête `{CSRF_HEADER}`",
)


class MissingRight(Problem):
    """403: the caller has not this right."""

    def __init__(self, right: Right) -> None:
        super().__init__(403, f"il faut le droit « {right} » : {RIGHTS[right]}")
        self.right = right


class Authenticator:
    """Checks keys; a right one is remembered for a few seconds, by its digest."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        # By the id of a key; there are as many as keys.
        self._buckets: dict[str, TokenBucket] = {}
        self._recorded: dict[str, float] = {}

    async def principal(self, key: str) -> Principal | None:
        """Whose key this is, or was at most `REMEMBERED_S` ago."""
        if len(key) > LONGEST_KEY or not key.isascii():
            return None
        now = self._clock()
        digest = hashlib.sha256(key.encode()).digest()
        remembered = self._known.get(digest)
        if remembered is not None and now < remembered[0]:
            return remembered[1]
        try:
            principal = await authenticate(self._pool, key)
        except MalformedKey:
            return None
        if principal is None:
            self._known.pop(digest, None)
        else:
            self._known[digest] = (now + REMEMBERED_S, principal)
            if len(self._known) > REMEMBERED_KEYS:
                self._known.popitem(last=False)
        return principal

    def remembers(self, key: str) -> bool:
        """Whether this key was right lately."""
        return hashlib.sha256(key.encode()).digest() in self._known

    async def use(self, principal: Principal) -> dict[str, str]:
        """Count a request of a key, and say its limit in headers; raises 429 when it makes too many."""
        now = self._clock()
        if now >= self._recorded.get(principal.key_id, 0.0):
            self._recorded[principal.key_id] = now + RECORD_USE_EVERY_S
            await record_key_use(self._pool, principal.key_id)
        limit = principal.requests_per_minute
        if limit is None:
            return {}
        bucket = self._buckets.get(principal.key_id)
        if bucket is None or bucket.burst != limit:
            bucket = self._buckets[principal.key_id] = TokenBucket.full(limit / 60, limit, now)
        is_within = bucket.take_token(now)
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(int(bucket.tokens)),
            "RateLimit-Reset": str(math.ceil((bucket.burst - bucket.tokens) / bucket.per_second)),
        }
        if not is_within:
            wait = {"Retry-After": str(max(1, math.ceil(bucket.wait_s())))}
            raise Problem(429, f"cette clé fait plus de {limit} requêtes par minute", headers=headers | wait)
        return headers

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
        self,
        action: str,
        entity: str,
        entity_id: object,
        details: Mapping[str, Any] | None = None,
        *,
        before: Shown = None,
        after: Shown = None,
    ) -> None:
        """Record the action in the transaction of the change: what differs, of what is shown before and after."""
        recorded = {**(details or {}), **before_and_after(before, after), **self.identity}
        await write_audit(self.connection, self.tenant_id, self.audit_actor, action, entity, entity_id, recorded)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """The session of a request, with the digest of its token."""

    digest: bytes
    token: str
    row: Session


@asynccontextmanager
async def caller_transaction(pool: Pool, principal: Principal) -> AsyncGenerator[Connection]:
    """A transaction in the tenant of a principal: the one place where a request enters it.

    Raises 401 when its key was revoked, or a session closed or switched to another tenant, since it was read.
    """
    async with AsyncExitStack() as opened:
        try:
            connection = await opened.enter_async_context(tenant_transaction(pool, principal.proof))
        except NotAdmitted:
            raise _unauthenticated() from None
        yield connection


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request; they have the right that the route demands."""

    principal: Principal
    platform: Dependencies
    address: str = ""
    session: OpenSession | None = None
    shared: SharedReading | None = None
    """In which everything is read while a page is made."""

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Connection]:
        """A transaction in which only the caller's tenant is visible; a page has one for all its readings."""
        connection = None if self.shared is None else self.shared.connection
        if self.shared is None or connection is None:
            opened = caller_transaction(self.platform.pool, self.principal)
        else:
            opened = self.shared.reading(connection)
        async with opened as connection:
            yield connection

    @asynccontextmanager
    async def reading_alone(self) -> AsyncGenerator[Connection]:
        """The same in a transaction that nobody else reads in: an operator looks at all tenants."""
        await self.end_sharing()
        async with caller_transaction(self.platform.pool, self.principal) as connection:
            yield connection

    async def end_sharing(self) -> None:
        """From now on each reading has its transaction: what follows waits, or writes what a page has written."""
        if self.shared is not None:
            await self.shared.end()

    @asynccontextmanager
    async def changing(self) -> AsyncGenerator[Change]:
        """The same for a change; after the commit every process is nudged to read the registry again."""
        await self.end_sharing()
        async with caller_transaction(self.platform.pool, self.principal) as connection:
            await commit_once(connection)
            yield self.change_in(connection)
        await self.platform.nudge_registry()

    def change_in(self, connection: Connection) -> Change:
        """A change of the caller's in a transaction that is open already."""
        principal = self.principal
        identity = principal.identity | {"address": self.address}
        return Change(
            connection, principal.tenant_id, principal.tenant_slug, principal.name, principal.actor, identity
        )

    async def audit_personal(
        self,
        connection: Connection,
        *,
        assets: Sequence[int] = (),
        streams: Sequence[int] = (),
        devices: Sequence[int] = (),
    ) -> None:
        """Record that what these show is read, where it is personal data; every route that shows some calls it."""
        if assets or streams or devices:
            given = self.principal.identity | {"address": self.address}
            await audit_personal_reads(
                connection, self.principal.actor, given, assets=assets, streams=streams, devices=devices
            )

    def has(self, right: Right) -> bool:
        """Whether the caller has this right as well."""
        return right in self.principal.rights

    def demand(self, right: Right) -> None:
        """Raises 403 when the caller has not this right as well."""
        if not self.has(right):
            raise MissingRight(right)

    def person(self) -> OpenSession:
        """The session of the request; raises 403 for an application's key."""
        if self.session is None:
            raise Problem(403, "il faut la session d'une personne ; une clé d'API n'en a pas")
        return self.session

    def demand_proof(self, *, of_person: bool = False) -> None:
        """Raises 403 unless the person has given the password or a code in the last ten minutes.

        A key is its own proof; with `of_person` it is none, and raises 403, too.
        """
        is_person = of_person or self.principal.person_id is not None
        session = self.person() if is_person else None  # A bearer token of a person proves nothing of now.
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
        response: Response,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
        _cookie: Annotated[str | None, Security(COOKIE_OF_SESSION)],
    ) -> Caller:
        """The caller, who has the right."""
        if credentials is None:
            found = await by_session(request)
        else:
            found = await _by_bearer(request, credentials.credentials)
            if found.principal.key_id:
                authenticator: Authenticator = request.app.state.authenticator
                response.headers.update(await authenticator.use(found.principal))
        if found.principal.person_id is not None:
            found.platform.limits.count_person(found.principal.person_id)
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


async def _by_bearer(request: Request, text: str) -> Caller:
    platform: Dependencies = request.app.state.platform
    if platform.access.provider is None or text.startswith("terr_") or text.count(".") != DOTS_OF_A_JWT:
        return await _by_key(request, text)
    return await _by_token(request, platform.access.provider, text)


async def _by_token(request: Request, provider: Provider, token: str) -> Caller:
    """A person by a token of the provider; the header `Territoire-Tenant` says for which of their tenants."""
    platform: Dependencies = request.app.state.platform
    address = origin_of(request, platform.access.proxies)
    try:
        identity = await provider.identity_of(token)
    except InvalidToken as wrong:
        raise await _rejected_token(platform, address, str(wrong)) from None
    except ProviderAway:
        raise provider_away() from None
    known = await find_identity(platform.pool, identity.issuer, identity.subject)
    if known is None:
        raise await _rejected_token(platform, address, "aucun compte n'est lié à cette identité")
    wanted = request.headers.get(TENANT_HEADER)
    memberships = await list_memberships(platform.pool, known.person_id)
    chosen = next((one for one in memberships if wanted in {None, one.slug}), None)
    if chosen is None:
        raise Problem(403, "ce compte n'a de rôle dans aucune collectivité, ou pas dans celle-ci")
    # Whoever exploits the network opens a session for it: the database, too, admits no token as an operator's.
    rights = rights_of(chosen.role) - OF_OPERATORS
    proof = ByIdentity(identity.issuer, identity.subject, chosen.tenant_id)
    principal = Principal("", chosen.tenant_id, chosen.slug, known.name, rights, proof, known.person_id)
    return _known(request, principal)


async def _rejected_token(dependencies: Dependencies, address: str, why: str) -> Problem:
    dependencies.limits.count_wrong(address)
    await dependencies.rejections.record(address, "token", {"why": why})
    return Problem(401, why, headers={"WWW-Authenticate": "Bearer"})


async def principal_of(request: Request) -> Principal | None:
    """Who makes a request that has not reached its route; None: nobody whom the route will let in."""
    bearer = bearer_of(request)
    try:
        if not request.headers.get("authorization"):
            return (await by_session(request)).principal
        return None if bearer is None else (await _by_bearer(request, bearer)).principal
    except Problem:
        return None


async def session_of(request: Request) -> Caller | None:
    """The open session of a browser on a route that demands none; None: none is open."""
    try:
        return await by_session(request)
    except Problem:
        return None


async def _by_key(request: Request, key: str) -> Caller:
    platform: Dependencies = request.app.state.platform
    authenticator: Authenticator = request.app.state.authenticator
    address = origin_of(request, platform.access.proxies)
    principal = await authenticator.principal(key)
    if principal is None:
        given = {"api_key": key.split("_")[1][:20]} if key.startswith("terr_") else {}
        platform.limits.count_wrong(address)
        await platform.rejections.record(address, "key", given)
        raise _unauthenticated()
    found = _known(request, principal)
    if principal.asset_kinds and not IS_OF_ASSETS.match(request.url.path):
        raise Problem(403, f"cette clé est limitée à des types d'actifs : {', '.join(principal.asset_kinds)}")
    origin = origin_of_others(request)
    if origin is not None and origin not in principal.origins:
        raise Problem(403, f"cette clé ne vaut pas depuis les pages de {origin[:LONGEST_ORIGIN]}")
    if principal.addresses and not _is_within(found.address, principal.addresses):
        raise Problem(403, f"cette clé ne vaut pas depuis {found.address}")
    return found


def _known(
    request: Request,
    principal: Principal,
    session: OpenSession | None = None,
    shared: SharedReading | None = None,
) -> Caller:
    """The caller, whom `api.forbidden` finds when what they ask for is rejected."""
    platform: Dependencies = request.app.state.platform
    found = Caller(principal, platform, origin_of(request, platform.access.proxies), session, shared)
    request.state.caller = found
    return found


def _is_within(address: str, networks: Sequence[str]) -> bool:
    try:
        return any(ip_address(address) in ip_network(network) for network in networks)
    except ValueError:
        return False


async def by_session(
    request: Request,
    is_ours: Callable[[Request, str], bool] = has_csrf_token,
    shared: SharedReading | None = None,
) -> Caller:
    """The person of an open session, if the request comes from a page of ours; raises 401 or 403.

    A transaction that a page shares enters the tenant with the same statement.
    """
    platform: Dependencies = request.app.state.platform
    token = session_token(request)
    if not token:
        raise _unauthenticated()
    address = origin_of(request, platform.access.proxies)
    platform.limits.require_unlocked(address)
    digest = token_digest(token)
    # Read with each request: a session that was closed is closed at once.
    if shared is None or shared.connection is None:
        row = await find_session(platform.pool, digest)
    else:
        row = await enter_session(shared.connection, digest)
    if row is None:
        platform.limits.count_wrong(address)
        await platform.rejections.record(address, "session", {})
        raise _unauthenticated()
    principal = Principal(
        "",
        row.tenant_id,
        row.tenant_slug,
        row.person_name,
        rights_of(row.role, row.extra_rights),
        BySession(digest, row.tenant_id),
        row.person_id,
    )
    found = _known(request, principal, OpenSession(digest, token, row), shared)
    if not is_ours(request, token):
        raise Problem(403, f"l'en-tête « {CSRF_HEADER} » de la session manque ou ne correspond pas")
    if datetime.now(UTC) - row.last_seen_at > SEEN_EVERY:
        await record_use(platform.pool, digest, found.address)
    return found


Reader = Annotated[Caller, Depends(RequireRight("read"))]
FieldAgent = Annotated[Caller, Depends(RequireRight("field"))]
Manager = Annotated[Caller, Depends(RequireRight("manage"))]
Publisher = Annotated[Caller, Depends(RequireRight("open_data"))]
ProvenManager = Annotated[Caller, Depends(RequireRight("manage", proved=True))]
LightingOperator = Annotated[Caller, Depends(RequireRight("lighting"))]
ProvenLightingOperator = Annotated[Caller, Depends(RequireRight("lighting", proved=True))]
LightingApprover = Annotated[Caller, Depends(RequireRight("lighting_approve", proved=True))]
NetworkOperator = Annotated[Caller, Depends(RequireRight("operate"))]
ProvenOperator = Annotated[Caller, Depends(RequireRight("operate", proved=True))]
KeyExporter = Annotated[Caller, Depends(RequireRight("export_keys", proved=True))]
PeopleManager = Annotated[Caller, Depends(RequireRight("people"))]
ProvenPeopleManager = Annotated[Caller, Depends(RequireRight("people", proved=True))]
Auditor = Annotated[Caller, Depends(RequireRight("audit"))]
