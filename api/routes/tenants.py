"""Tenants, made by the operator of the network, and the API keys of each."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from alerting.defaults import create_default_rules
from api.auth import Authenticator, Caller, Manager, NetworkOperator, ProvenOperator, Reader
from api.fields import Answer, Body, Id, Instant, Name, Patch, Slug, Word, answer_of, example
from api.pages import Page
from core.model.entities import Tenant
from core.model.quotas import NAMES as QUOTA_NAMES
from core.model.rights import OF_KEYS, OF_LIMITED_KEYS, RIGHTS, Right
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, not_found
from core.runtime.postgres import Connection
from registry import entering, quotas, tenants
from registry.quotas import Quota

HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
# As browsers write it: no path, no port that goes without saying.
ORIGIN = re.compile(r"https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?")

router = APIRouter(prefix="/v1", tags=["tenants"], responses=PROBLEM_RESPONSES)

KeyRight = Literal["read", "field", "manage", "lighting", "operate", "audit", "open_data"]
FIRST_RIGHTS: tuple[KeyRight, ...] = ("read", "manage", "lighting")


def _destination(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        if HOST.fullmatch(text.lower()):
            return text.lower()
    raise PydanticCustomError("destination", "réseau (192.0.2.0/24) ou nom d'hôte attendu")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise PydanticCustomError("network", "réseau attendu, 192.0.2.0/24 par exemple") from None


def _origin(text: str) -> str:
    if ORIGIN.fullmatch(text.lower()) is None:
        raise PydanticCustomError("origin", "origine attendue, https://carte.ville.example par exemple")
    return text.lower()


def _quota_kind(text: str) -> str:
    if text not in QUOTA_NAMES:
        raise PydanticCustomError("quota", "une de : {known}", {"known": ", ".join(QUOTA_NAMES)})
    return text


DEPARTMENT_TEXT = (
    "Département ou collectivité d'outre-mer, par son code : il donne l'heure locale et les jours fériés (Alsace, "
    "Moselle, outre-mer) des règles d'alerte et des équipes ; null : l'heure de la plateforme, les jours fériés "
    "de métropole"
)
Department = Annotated[
    str, StringConstraints(pattern="^(0[1-9]|1[0-9]|2[1-9AB]|[3-8][0-9]|9[0-5]|97[1-8]|98[678])$")
]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
Destination = Annotated[str, AfterValidator(_destination)]
KeyId = Annotated[str, Path(pattern="^[0-9a-f]{1,64}$", description="`id` de la clé, dans la liste")]
ALLOW_LIST_TEXT = "Réseaux et hôtes internes où ses webhooks et ses sources d'autres LNS peuvent aller"


class NewTenant(Body):
    """Une collectivité."""

    model_config = example(
        {
            "slug": "landerneau",
            "name": "Ville de Landerneau",
            "webhook_allow_list": ["10.12.0.0/16"],
            "department": "29",
        }
    )

    slug: Slug = Field(description="Identifiant court : minuscules, chiffres et tirets", examples=["landerneau"])
    name: Name = Field(examples=["Ville de Landerneau"])
    webhook_allow_list: list[Destination] = Field(
        default_factory=list[str],
        max_length=50,
        description=ALLOW_LIST_TEXT,
        examples=[["10.12.0.0/16"]],
    )
    department: Department | None = Field(None, description=DEPARTMENT_TEXT, examples=["29"])


class TenantPatch(Patch):
    """Ce qui change d'une collectivité."""

    model_config = example({"name": "Ville de Landerneau", "department": "57"})
    EMPTIED: ClassVar[Mapping[str, Any]] = {"department": None}

    name: Name | None = Field(None, description="Son nom ; l'identifiant court reste")
    department: Department | None = Field(None, description=DEPARTMENT_TEXT, examples=["57"])


class ClosedBody(Body):
    """Si une collectivité est fermée."""

    model_config = example({"closed": True})

    closed: bool = Field(description="true : fermée ; false : rouverte, telle qu'elle était")


class AllowListBody(Body):
    """Où une collectivité peut envoyer, hors d'Internet."""

    model_config = example({"webhook_allow_list": ["10.12.0.0/16", "si.mairie.local"]})

    webhook_allow_list: list[Destination] = Field(
        max_length=50, description=f"{ALLOW_LIST_TEXT} ; remplace la liste", examples=[["10.12.0.0/16"]]
    )


class TenantAnswer(answer_of(Tenant)):
    """Une collectivité."""

    member_of: int | None = Field(description="Le syndicat qui voit cette collectivité")
    department: str | None = Field(description="Son département", examples=["29"])
    closed_at: datetime | None = Field(description="Depuis quand elle est fermée ; null : elle est ouverte")


class CreatedTenant(TenantAnswer):
    """Une collectivité et sa première clé, montrée cette seule fois."""

    api_key: str = Field(examples=["terr_…"])


QUOTAS_TEXT = "Par sorte d'objets, le nombre permis ; null : celui par défaut ; absente : inchangée"
QuotaKind = Annotated[str, AfterValidator(_quota_kind)]


class QuotasBody(Body):
    """Ce qu'une collectivité peut avoir d'objets."""

    model_config = example({"quotas": {"devices": 40000, "gateways": None}})

    quotas: dict[QuotaKind, Annotated[int, Field(ge=0, le=10_000_000)] | None] = Field(
        min_length=1, description=QUOTAS_TEXT, examples=[{"devices": 40000, "gateways": None}]
    )


class QuotaAnswer(answer_of(Quota)):
    """Une sorte d'objets : combien il y en a, et combien il peut y en avoir."""

    kind: str = Field(examples=["devices"])
    name: str = Field(description="En français", examples=["capteurs"])
    used: int = Field(examples=[1840])
    most: int = Field(examples=[20000])
    by_default: int = Field(description="Sans réglage de l'exploitant", examples=[20000])


class NewApiKey(Body):
    """Une clé ; ses droits sont au plus ceux de qui la crée."""

    model_config = example({"name": "Logiciel de tournées", "roles": ["read"]})

    name: Name = Field(examples=["Logiciel de tournées"])
    roles: list[KeyRight] = Field(
        min_length=1,
        max_length=len(OF_KEYS),
        description="Ses droits : "
        + " ; ".join(f"`{right}` {RIGHTS[right]}" for right in RIGHTS if right in OF_KEYS),
        examples=[["read"]],
    )
    expires_at: Instant | None = Field(None, description="Fin de validité ; absente : sans fin")
    addresses: list[Network] = Field(
        default_factory=list[str],
        max_length=20,
        description="Réseaux d'où elle vaut ; aucun : de partout",
        examples=[["192.0.2.0/24"]],
    )
    requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Au-delà : 429, avec Retry-After ; absent : sans limite",
        examples=[600],
    )
    asset_kinds: list[Word] = Field(
        default_factory=list[str],
        max_length=50,
        description="Types des seuls actifs qu'elle voit et commande, avec leurs capteurs, mesures et alertes ; "
        "aucun : tout. Avec les droits `read`, `field` et `lighting` seulement",
        examples=[["lighting_cabinet"]],
    )
    origins: list[Origin] = Field(
        default_factory=list[str],
        max_length=20,
        description="Origines des pages qui appellent l'API avec elle depuis un navigateur (CORS) ; aucune : "
        "aucune page d'ailleurs. Une clé mise dans une page est lue par tous ses visiteurs",
        examples=[["https://carte.ville.example"]],
    )

    @model_validator(mode="after")
    def _limited_in_rights_too(self) -> Self:
        if self.asset_kinds and not OF_LIMITED_KEYS.issuperset(self.roles):
            raise PydanticCustomError(
                "asset_kinds",
                "une clé limitée à des types d'actifs a les droits read, field et lighting seulement",
            )
        return self


class ApiKeyPatch(Patch):
    """Ce qui change d'une clé. Ses droits et ses limites ne changent pas : créez-en une autre, et révoquez-la."""

    model_config = example({"name": "Logiciel de tournées", "expires_at": "2027-12-31T23:00:00Z"})
    EMPTIED: ClassVar[Mapping[str, Any]] = {"expires_at": None}

    name: Name | None = Field(None, description="Absent : inchangé", examples=["Logiciel de tournées"])
    expires_at: Instant | None = Field(None, description="Fin de validité ; null : sans fin ; absente : inchangée")


class ApiKeyAnswer(answer_of(tenants.ApiKey)):
    """Une clé, sans son secret."""


class CreatedApiKey(Answer):
    """Une clé, montrée cette seule fois."""

    id: str
    name: str
    roles: list[str]
    expires_at: datetime | None
    key: str = Field(examples=["terr_…"])


@router.post("/tenants", status_code=201, summary="Créer une collectivité")
async def create_tenant(body: NewTenant, caller: NetworkOperator) -> CreatedTenant:
    """Créer une collectivité, ses règles d'alerte et sa première clé (read, manage, lighting)."""
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        tenant = await tenants.create_tenant(change.connection, **body.model_dump())
        shown = TenantAnswer.model_validate(tenant)
        await change.audit("create", "tenant", tenant.id, after=shown)
        await entering.enter_as_operator(change.connection, tenant.id)
        await create_default_rules(change.connection, tenant.id)
        key = await tenants.create_api_key(change.connection, tenant.id, "première clé", FIRST_RIGHTS)
    return CreatedTenant(**shown.model_dump(), api_key=key)


async def _visible(caller: Caller, tenant_id: int | None = None) -> dict[int, Tenant]:
    async with caller.reading_alone() as connection:
        if caller.has("operate"):
            await entering.act_as_operator(connection)
        return await tenants.read_tenants(connection, tenant_id)


@router.get("/tenants", summary="Lister les collectivités")
async def list_tenants(caller: Reader) -> Page[TenantAnswer]:
    """La collectivité de la clé et ses membres ; pour l'exploitant du réseau, toutes."""
    found = await _visible(caller)
    return Page(items=[TenantAnswer.model_validate(tenant) for tenant in found.values()], next=None)


@router.get("/tenants/{id}", summary="Lire une collectivité")
async def read_tenant(id: Id, caller: Reader) -> TenantAnswer:
    """Une collectivité."""
    found = await _visible(caller, id)
    if id not in found:
        raise not_found(f"collectivité {id}")
    return TenantAnswer.model_validate(found[id])


@router.patch("/tenants/{id}", summary="Renommer une collectivité, ou dire son département")
async def update_tenant(id: Id, body: TenantPatch, caller: Manager) -> TenantAnswer:
    """Sa propre collectivité : nom, heure et jours fériés de ses règles et de ses équipes, en 5 secondes."""
    async with caller.changing() as change:
        former = (await tenants.read_tenants(change.connection, id)).get(id)
        tenant = await tenants.update_tenant(change.connection, id, body.changed())
        if tenant is None or former is None:
            raise not_found(f"collectivité {id}")
        shown = TenantAnswer.model_validate(tenant)
        await change.audit("update", "tenant", id, before=TenantAnswer.model_validate(former), after=shown)
    return shown


@router.put("/tenants/{id}/closed", operation_id="closeTenant", summary="Fermer une collectivité, ou la rouvrir")
async def close_tenant(id: Id, body: ClosedBody, caller: ProvenOperator) -> TenantAnswer:
    """Fermer, en exploitant du réseau, une autre collectivité que la sienne ; elle se rouvre de même.

    Personne n'y entre plus (clés, sessions, événements de partenaires : dans les 5 secondes), et rien n'est envoyé
    à ses capteurs : ce qui attendait est annulé. Ce qu'ils envoient est gardé comme avant, jusqu'à son terme.
    """
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        former = (await tenants.read_tenants(change.connection, id)).get(id)
        if former is None:
            raise not_found(f"collectivité {id}")
        if not await tenants.close_tenant(change.connection, id, closed=body.closed):
            raise Problem(409, "on ne ferme pas sa propre collectivité : personne ne pourrait la rouvrir")
        shown = TenantAnswer.model_validate((await tenants.read_tenants(change.connection, id))[id])
        before = TenantAnswer.model_validate(former)
        await change.audit("close" if body.closed else "reopen", "tenant", id, before=before, after=shown)
    return shown


@router.put(
    "/tenants/{id}/webhook-allow-list",
    operation_id="setWebhookAllowList",
    summary="Autoriser des adresses internes à une collectivité",
)
async def allow_destinations(id: Id, body: AllowListBody, caller: NetworkOperator) -> TenantAnswer:
    """Dire, en exploitant du réseau, quelles adresses internes ses messages peuvent atteindre, dès le prochain."""
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        former = (await tenants.read_tenants(change.connection, id)).get(id)
        if former is None:
            raise not_found(f"collectivité {id}")
        before = {"webhook_allow_list": former.webhook_allow_list}
        await change.audit("update", "tenant", id, before=before, after=body)
        await entering.enter_as_operator(change.connection, id)
        tenant = await tenants.set_allow_list(change.connection, id, body.webhook_allow_list)
    return TenantAnswer.model_validate(tenant)


@router.get("/tenants/{id}/quotas", operation_id="listQuotas", summary="Lire les quotas d'une collectivité")
async def read_quotas(id: Id, caller: Reader) -> Page[QuotaAnswer]:
    """Ce qu'une collectivité a d'objets de chaque sorte, et ce qu'elle peut avoir ; pour l'exploitant, toutes."""
    async with caller.reading_alone() as connection:
        if caller.has("operate"):
            await entering.act_as_operator(connection)
        found = await quotas.read_quotas(connection, id) if await tenants.read_tenants(connection, id) else []
    if not found:
        raise not_found(f"collectivité {id}")
    return _quotas_page(found)


@router.put("/tenants/{id}/quotas", summary="Régler les quotas d'une collectivité")
async def set_quotas(id: Id, body: QuotasBody, caller: NetworkOperator) -> Page[QuotaAnswer]:
    """Dire, en exploitant du réseau, ce qu'une collectivité peut avoir. Ce qui est là reste, même au-delà."""
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        if id not in await tenants.read_tenants(change.connection, id):
            raise not_found(f"collectivité {id}")
        former = await quotas.read_quotas(change.connection, id)
        await quotas.set_quotas(change.connection, id, body.quotas)
        found = await quotas.read_quotas(change.connection, id)
        before, after = ({one.kind: one.most for one in several} for several in (former, found))
        await change.audit("update", "quota", id, body.model_dump(), before=before, after=after)
    return _quotas_page(found)


def _quotas_page(found: list[Quota]) -> Page[QuotaAnswer]:
    items = [QuotaAnswer(**asdict(one), name=QUOTA_NAMES[one.kind]) for one in found]
    return Page(items=items, next=None)


@router.post("/api-keys", status_code=201, summary="Créer une clé d'API")
async def create_api_key(body: NewApiKey, caller: Manager) -> CreatedApiKey:
    """Créer une clé. Son texte n'est montré que dans cette réponse."""
    roles = sorted(set(body.roles))
    for right in roles:
        caller.demand(right)
    async with caller.changing() as change:
        key = await tenants.create_api_key(
            change.connection,
            change.tenant_id,
            body.name,
            roles,
            body.expires_at,
            body.addresses,
            body.requests_per_minute,
            sorted(set(body.asset_kinds)),
            caller.principal.mark,
            sorted(set(body.origins)),
        )
        key_id = key.split("_")[1]
        await change.audit("create", "api_key", key_id, after={**dict(body), "roles": roles})
    return CreatedApiKey(id=key_id, name=body.name, roles=list(roles), expires_at=body.expires_at, key=key)


@router.get("/api-keys", summary="Lister les clés d'API")
async def list_api_keys(caller: Manager) -> Page[ApiKeyAnswer]:
    """Les clés de la collectivité, la plus ancienne d'abord."""
    async with caller.reading() as connection:
        keys = await tenants.list_api_keys(connection)
    return Page(items=[ApiKeyAnswer.model_validate(key) for key in keys], next=None)


@router.patch("/api-keys/{id}", summary="Modifier une clé d'API")
async def update_api_key(id: KeyId, body: ApiKeyPatch, caller: Manager, request: Request) -> ApiKeyAnswer:
    """Changer son nom ou sa fin ; partout en 5 secondes. Son secret reste le même.

    Il faut soi-même tous les droits de la clé : une plus longue durée en donne aussi.
    """
    async with caller.changing() as change:
        former = await _key(change.connection, id)
        for right in former.roles:
            caller.demand(cast(Right, right))
        name = former.name if body.name is None else body.name
        expires_at = body.expires_at if "expires_at" in body.model_fields_set else former.expires_at
        if not await tenants.update_api_key(change.connection, id, name, expires_at):
            raise not_found(f"clé {id}")
        shown = ApiKeyAnswer.model_validate(await _key(change.connection, id))
        await change.audit("update", "api_key", id, before=ApiKeyAnswer.model_validate(former), after=shown)
    authenticator: Authenticator = request.app.state.authenticator
    authenticator.forget(id)
    return shown


async def _key(connection: Connection, key_id: str) -> tenants.ApiKey:
    known = await tenants.list_api_keys(connection)
    found = next((one for one in known if one.id == key_id), None)
    if found is None:
        raise not_found(f"clé {key_id}")
    return found


@router.delete("/api-keys/{id}", status_code=204, summary="Révoquer une clé d'API")
async def revoke_api_key(id: KeyId, caller: Manager, request: Request) -> Response:
    """Révoquer une clé : elle n'ouvre plus rien, partout en 5 secondes."""
    async with caller.changing() as change:
        former = await _key(change.connection, id)
        if not await tenants.revoke_api_key(change.connection, id):
            raise not_found(f"clé {id}")
        await change.audit("revoke", "api_key", id, before=ApiKeyAnswer.model_validate(former))
    authenticator: Authenticator = request.app.state.authenticator
    authenticator.forget(id)
    return Response(status_code=204)
