"""Who asks: what a program finds out about its own key, and a person about their session."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.auth import PROOF_LASTS, Caller, OpenSession, Reader
from api.fields import Answer
from core.runtime.http.errors import PROBLEM_RESPONSES
from core.runtime.postgres import Connection
from registry import sessions
from registry.tenants import Principal, read_tenants

router = APIRouter(prefix="/v1", tags=["sessions"], responses=PROBLEM_RESPONSES)


class OwnTenant(Answer):
    """Une collectivité où l'on peut travailler."""

    id: int
    slug: str = Field(examples=["landerneau"])
    name: str = Field(examples=["Ville de Landerneau"])
    role: str | None = Field(description="Le rôle de la personne ; null : une clé n'en a pas")


class OwnKey(Answer):
    """La clé de la requête, sans son secret."""

    id: str
    expires_at: datetime | None = Field(description="Fin de validité ; null : sans fin")
    addresses: list[str] = Field(description="Réseaux d'où elle vaut ; aucun : de partout")
    origins: list[str] = Field(description="Origines des pages qui peuvent l'employer")
    asset_kinds: list[str] = Field(description="Types des seuls actifs qu'elle voit ; aucun : tous")
    requests_per_minute: int | None = Field(description="null : sans limite")


class OwnProof(Answer):
    """La session, et jusqu'à quand vaut la preuve de qui l'on est."""

    expires_at: datetime
    has_totp: bool = Field(description="Si le compte demande un code à chaque connexion")
    proved_until: datetime = Field(
        description="Jusque-là, ce qui demande une preuve récente est permis ; ensuite POST /v1/session/proof"
    )


class MeAnswer(Answer):
    """Qui présente cette requête."""

    kind: Literal["api_key", "session", "token"] = Field(
        description="Une clé d'application, la session d'une personne, ou son jeton d'un fournisseur d'identité"
    )
    name: str = Field(description="De la clé, ou de la personne", examples=["Logiciel de tournées"])
    person_id: int | None = Field(description="null : une clé n'est pas une personne")
    tenant: OwnTenant = Field(description="La collectivité de cette requête")
    tenants: list[OwnTenant] = Field(description="Toutes celles où l'on peut travailler")
    rights: list[str] = Field(examples=[["read"]])
    key: OwnKey | None
    session: OwnProof | None


@router.get("/me", summary="Lire qui l'on est")
async def read_me(caller: Reader) -> MeAnswer:
    """Qui présente cette requête, pour quelle collectivité, avec quels droits, et jusqu'à quand."""
    principal, session = caller.principal, caller.session
    async with caller.reading() as connection:
        tenants = await _tenants(caller, connection)
    return MeAnswer(
        kind="api_key" if principal.key_id else "token" if session is None else "session",
        name=principal.name,
        person_id=principal.person_id,
        tenant=next(one for one in tenants if one.id == principal.tenant_id),
        tenants=tenants,
        rights=sorted(principal.rights),
        key=_key(principal) if principal.key_id else None,
        session=None if session is None else _proof(session),
    )


def _key(principal: Principal) -> OwnKey:
    return OwnKey(
        id=principal.key_id,
        expires_at=principal.expires_at,
        addresses=list(principal.addresses),
        origins=list(principal.origins),
        asset_kinds=list(principal.asset_kinds),
        requests_per_minute=principal.requests_per_minute,
    )


def _proof(session: OpenSession) -> OwnProof:
    row = session.row
    return OwnProof(expires_at=row.expires_at, has_totp=row.has_totp, proved_until=row.proved_at + PROOF_LASTS)


async def _tenants(caller: Caller, connection: Connection) -> list[OwnTenant]:
    principal = caller.principal
    if principal.person_id is not None:
        found = await sessions.list_memberships(caller.platform.pool, principal.person_id)
        return [OwnTenant(id=one.tenant_id, slug=one.slug, name=one.name, role=one.role) for one in found]
    own = (await read_tenants(connection, principal.tenant_id))[principal.tenant_id]
    return [OwnTenant(id=own.id, slug=own.slug, name=own.name, role=None)]
