"""What tenants let each other see: grants, members of a syndicat, and assets that go to another tenant."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Change, Manager, NetworkOperator, ProvenManager, Reader
from api.before_after import before_and_after
from api.fields import Answer, Body, Id, IdRef, Instant, Slug, Word, answer_of, example
from api.pages import Page, Paged
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.tenants import TenantAnswer
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found, read_only
from registry import entering, sharing, tenants
from registry.sharing import Grant, History

router = APIRouter(prefix="/v1", tags=["Partages"], responses=PROBLEM_RESPONSES)

ROLE_TEXT = (
    "`reader` lire ; `operator` aussi commander l'éclairage et acquitter les alertes, au nom du propriétaire"
)
HISTORY_TEXT = (
    "`goes_along` : tout l'historique passe au destinataire, l'ancien propriétaire ne le voit plus ; "
    "`stays` : il reste à l'ancien propriétaire, attaché à une copie de l'actif, et de nouveaux flux commencent"
)


class NewGrant(Body):
    """Ce qu'une autre collectivité pourra voir. Exactement un de `asset_id`, `tag`, `asset_kind`, `everything`."""

    model_config = example(
        {
            "tenant": "conseil-energie",
            "tag": "ecoles",
            "role": "reader",
            "valid_to": "2027-12-31T23:00:00Z",
            "data_from": "2025-12-31T23:00:00Z",
        }
    )

    tenant: Slug = Field(description="Identifiant court de qui pourra voir", examples=["conseil-energie"])
    asset_id: IdRef | None = Field(None, description="Un actif")
    tag: Word | None = Field(None, description="Tous les actifs qui portent cette étiquette", examples=["ecoles"])
    asset_kind: Word | None = Field(None, description="Tous les actifs de ce type", examples=["glass_container"])
    everything: bool = Field(
        False,
        description="Tous les actifs. Ceux de classe 2 (donnée personnelle) ne se partagent que par `asset_id`",
    )
    role: Literal["reader", "operator"] = Field("reader", description=ROLE_TEXT)
    valid_from: Instant | None = Field(None, description="Début du droit de regard ; absent : maintenant")
    valid_to: Instant | None = Field(None, description="Fin du droit de regard, non comprise ; absente : sans fin")
    data_from: Instant | None = Field(None, description="Premier instant visible ; absent : depuis toujours")
    data_to: Instant | None = Field(
        None, description="Fin des instants visibles, non comprise ; absente : sans fin"
    )

    @model_validator(mode="after")
    def _is_about_one_thing(self) -> Self:
        named = [self.asset_id is not None, self.tag is not None, self.asset_kind is not None, self.everything]
        if sum(named) != 1:
            raise PydanticCustomError("covered", "exactement un de asset_id, tag, asset_kind, everything attendu")
        return self


class GrantAnswer(answer_of(Grant, {"tenant_id"})):
    """Un partage, comme le voient celui qui donne et celui qui reçoit."""

    giver: str = Field(description="Identifiant court du propriétaire", examples=["landerneau"])
    grantee: str = Field(description="Identifiant court de qui peut voir", examples=["conseil-energie"])
    role: str = Field(examples=["reader"])
    holds: bool = Field(description="S'il ouvre quelque chose en ce moment")


class AboveAnswer(answer_of(sharing.Above)):
    """Un syndicat qui voit l'actif parce que la collectivité en est membre."""


class VisibilityAnswer(Answer):
    """Qui voit un actif, en plus de son propriétaire."""

    asset_id: int
    above: list[AboveAnswer] = Field(description="Les syndicats dont la collectivité est membre")
    grants: list[GrantAnswer] = Field(description="Les partages en cours et à venir qui le couvrent")


class MemberOf(Body):
    """De qui une collectivité est membre."""

    model_config = example({"tenant_id": 3})

    tenant_id: IdRef | None = Field(
        description="Le syndicat, qui verra la collectivité et ses membres ; null : aucun"
    )


class NewTransfer(Body):
    """À qui l'actif passe, et ce que devient son historique."""

    model_config = example({"tenant": "landerneau", "history": "goes_along", "confirm": "Borne à verre 12"})

    tenant: Slug = Field(description="Identifiant court du destinataire", examples=["landerneau"])
    history: Literal["goes_along", "stays"] = Field(description=HISTORY_TEXT)
    confirm: str = Field(
        max_length=200, description="Le nom de l'actif, répété pour confirmer", examples=["Borne à verre 12"]
    )


class TransferAnswer(Answer):
    """Ce qui a été transféré."""

    asset_id: int
    history: str
    kept_as: int | None = Field(
        description="Avec `stays` : l'actif qui garde l'historique chez l'ancien propriétaire"
    )


GRANTS = Resource("grant", "partage", sharing.read_grant, GrantAnswer.model_validate)


def _check_span(name: str, since: datetime | None, until: datetime | None) -> None:
    begins = datetime.now(UTC) if since is None and name == "valid" else since
    if begins is not None and until is not None and begins >= until:
        raise invalid(f"{name}_to", "range", f"« {name}_to » doit suivre « {name}_from »")


async def _other(change: Change, slug: str) -> int:
    found = await sharing.find_tenant_named(change.connection, slug)
    if found is None:
        raise not_found(f"collectivité {slug}")
    if found == change.tenant_id:
        raise invalid("tenant", "oneself", "une autre collectivité est attendue")
    return found


@router.post("/grants", status_code=201, summary="Partager des actifs avec une autre collectivité")
async def create_grant(body: NewGrant, caller: ProvenManager) -> GrantAnswer:
    """Laisser une autre collectivité voir des actifs, leurs capteurs, leurs mesures et leurs alertes."""
    _check_span("valid", body.valid_from, body.valid_to)
    _check_span("data", body.data_from, body.data_to)
    async with caller.changing() as change:
        if body.asset_id is not None:
            await ASSETS.own(change, body.asset_id)
        grantee_id, given = await _other(change, body.tenant), body.model_dump(exclude={"tenant"})
        grant = await sharing.create_grant(change.connection, change.tenant_id, grantee_id, change.actor, given)
        shown = GRANTS.show(grant)
        await change.audit("create", "grant", grant.id, after=shown)
    return shown


@router.get("/grants", summary="Lister les partages")
async def list_grants(
    caller: Reader,
    paging: Paged,
    direction: Annotated[
        Literal["given", "received"] | None, Query(description="`given` donnés, `received` reçus ; absent : tous")
    ] = None,
) -> Page[GrantAnswer]:
    """Les partages donnés et reçus, aussi ceux qui sont finis ou révoqués."""
    return await GRANTS.page(
        caller, paging, sharing.list_grants, after=paging.after, most=paging.most, direction=direction
    )


@router.get("/grants/{id}", summary="Lire un partage")
async def read_grant(id: Id, caller: Reader) -> GrantAnswer:
    """Un partage donné ou reçu."""
    return await GRANTS.read(caller, id)


@router.delete("/grants/{id}", status_code=204, summary="Révoquer un partage")
async def revoke_grant(id: Id, caller: Manager) -> Response:
    """Révoquer un partage que l'on a donné : il n'ouvre plus rien, dès la requête suivante."""
    async with caller.changing() as change:
        former = await GRANTS.find(change.connection, id)
        if former is None or not await sharing.revoke_grant(change.connection, id, change.actor):
            raise not_found(f"partage {id} en cours")
        await change.audit("revoke", "grant", id, before=GRANTS.show(former))
    return Response(status_code=204)


@router.get("/assets/{id}/visibility", summary="Dire qui voit un actif")
async def read_visibility(id: Id, caller: Reader) -> VisibilityAnswer:
    """Qui voit un actif que l'on possède : les syndicats dont on est membre, et par quels partages."""
    async with caller.reading() as connection:
        asset = await ASSETS.get(connection, id)
        if asset.tenant_id != caller.principal.tenant_id:
            raise read_only(f"actif {id}")
        above, grants = await sharing.read_viewers(connection, id)
    return VisibilityAnswer(
        asset_id=id,
        above=[AboveAnswer.model_validate(one) for one in above],
        grants=[GRANTS.show(grant) for grant in grants],
    )


@router.put("/tenants/{id}/member-of", summary="Rattacher une collectivité à un syndicat")
async def set_member_of(id: Id, body: MemberOf, caller: NetworkOperator) -> TenantAnswer:
    """Le syndicat voit la collectivité et les membres de celle-ci ; elle ne voit toujours qu'elle-même."""
    async with caller.changing() as change:
        await entering.act_as_operator(change.connection)
        known = await tenants.read_tenants(change.connection)
        for asked in (id, body.tenant_id):
            if asked is not None and asked not in known:
                raise not_found(f"collectivité {asked}")
        await sharing.set_member_of(change.connection, id, body.tenant_id)
        former = {"tenant_id": known[id].member_of}
        await change.audit("set_member_of", "tenant", id, before=former, after=body)
        found = await tenants.read_tenants(change.connection, id)
    return TenantAnswer.model_validate(found[id])


@router.post("/assets/{id}/transfer", summary="Transférer un actif à une autre collectivité")
async def transfer_asset(id: Id, body: NewTransfer, caller: Manager) -> TransferAnswer:
    """Transférer un actif et les capteurs qui le servent ; `history` dit ce que devient ce qui a été mesuré.

    Les partages de l'actif ne passent pas au destinataire ; ses alertes ouvertes sont résolues, cause
    `asset_transferred`.
    Refusé (409) tant qu'un ordre d'éclairage ou un message est en cours.
    """
    async with caller.changing() as change:
        asset = await ASSETS.own(change, id)
        receiver = await _other(change, body.tenant)
        if body.confirm != asset.name:
            raise invalid("confirm", "confirm", "répétez le nom exact de l'actif pour confirmer")
        owner = {"tenant": change.tenant_slug}
        try:
            kept_as = await sharing.transfer_asset(
                change.connection,
                id,
                receiver,
                History(body.history),
                actor=change.audit_actor,
                noted={
                    "history": body.history,
                    **before_and_after(owner, {"tenant": body.tenant}),
                    **change.identity,
                },
            )
        except sharing.AssetCommanded:
            raise Problem(409, "un ordre ou un message est en cours vers cet actif : attendez sa fin") from None
    return TransferAnswer(asset_id=id, history=body.history, kept_as=kept_as)
