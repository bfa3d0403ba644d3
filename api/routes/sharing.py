"""What tenants let each other see: grants, members of a syndicat, and assets that go to another tenant."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, Manager, NetworkOperator, ProvenManager, Reader
from api.fields import Answer, Body, Id, IdRef, Instant, Slug, Word, answer_of, example
from api.pages import Page, Paged
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.tenants import TenantAnswer
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found, read_only
from registry import entering, sharing, tenants
from registry.sharing import Grant, History, Transfer

router = APIRouter(prefix="/v1", tags=["sharing"], responses=PROBLEM_RESPONSES)

ROLE_TEXT = (
    "`reader` lire ; `operator` aussi commander l'éclairage et acquitter les alertes, au nom du propriétaire"
)
HISTORY_TEXT = (
    "`goes_along` : tout l'historique passe au destinataire, l'ancien propriétaire ne le voit plus ; "
    "`stays` : il reste à l'ancien propriétaire, attaché à une copie de l'actif, et de nouveaux flux commencent"
)


OFFER_TEXT = (
    "Une offre attend la réponse du destinataire pendant 30 jours, et ne prend effet que s'il l'accepte. Qu'une "
    "collectivité porte ou non cet identifiant court n'est pas dit : sans réponse, l'offre expire"
)
State = Literal["offered", "accepted", "rejected", "withdrawn", "expired"]
STATE_TEXT = (
    "`offered` attend la réponse du destinataire, `accepted` acceptée, `rejected` refusée, `withdrawn` retirée, "
    "`expired` restée sans réponse"
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

    tenant: Slug = Field(
        description=f"Identifiant court de qui pourra voir. {OFFER_TEXT}", examples=["conseil-energie"]
    )
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
    grantee_name: str | None = Field(description="Son nom, une fois qu'elle a accepté")
    role: str = Field(examples=["reader"])
    state: State | Literal["revoked"] = Field(description=f"{STATE_TEXT}, `revoked` acceptée puis révoquée")
    offer_ends_at: datetime = Field(description="Jusqu'à quand l'offre attend une réponse")
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

    tenant: Slug = Field(description=f"Identifiant court du destinataire. {OFFER_TEXT}", examples=["landerneau"])
    history: Literal["goes_along", "stays"] = Field(description=HISTORY_TEXT)
    confirm: str = Field(
        max_length=200, description="Le nom de l'actif, répété pour confirmer", examples=["Borne à verre 12"]
    )


class TransferAnswer(answer_of(Transfer, {"tenant_id"})):
    """Un transfert, comme le voient celui qui donne et celui qui reçoit."""

    giver: str = Field(description="Identifiant court de l'ancien propriétaire", examples=["sdef"])
    receiver: str = Field(description="Identifiant court du destinataire", examples=["landerneau"])
    history: str = Field(description=HISTORY_TEXT, examples=["goes_along"])
    state: State = Field(description=STATE_TEXT)
    offer_ends_at: datetime = Field(description="Jusqu'à quand l'offre attend une réponse")
    kept_as: int | None = Field(
        description="Avec `stays`, pour l'ancien propriétaire : l'actif qui garde l'historique chez lui"
    )


GRANTS = Resource("grant", "partage", sharing.read_grant, GrantAnswer.model_validate)
TRANSFERS = Resource("transfer", "transfert", sharing.read_transfer, TransferAnswer.model_validate)


def _check_span(name: str, since: datetime | None, until: datetime | None) -> None:
    begins = datetime.now(UTC) if since is None and name == "valid" else since
    if begins is not None and until is not None and begins >= until:
        raise invalid(f"{name}_to", "range", f"« {name}_to » doit suivre « {name}_from »")


def _check_other(change: Change, slug: str) -> None:
    if slug == change.tenant_slug:
        raise invalid("tenant", "oneself", "une autre collectivité est attendue")


@router.post("/grants", status_code=201, summary="Proposer un partage à une autre collectivité")
async def create_grant(body: NewGrant, caller: ProvenManager) -> GrantAnswer:
    """Proposer à une autre collectivité de voir des actifs, leurs capteurs, leurs mesures et leurs alertes.

    Rien n'est ouvert avant qu'elle l'accepte (`POST /v1/grants/{id}/accept`).
    """
    _check_span("valid", body.valid_from, body.valid_to)
    _check_span("data", body.data_from, body.data_to)
    async with caller.changing() as change:
        _check_other(change, body.tenant)
        if body.asset_id is not None:
            await ASSETS.own(change, body.asset_id)
        given = body.model_dump(exclude={"tenant"})
        grant = await sharing.propose_grant(change.connection, change.tenant_id, body.tenant, change.actor, given)
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
    """Révoquer un partage que l'on a donné, ou retirer son offre : rien n'est plus ouvert, aussitôt."""
    async with caller.changing() as change:
        former = await GRANTS.find(change.connection, id)
        if former is None or not await sharing.revoke_grant(change.connection, id, change.actor):
            raise not_found(f"partage {id} en cours")
        await change.audit("revoke", "grant", id, before=GRANTS.show(former))
    return Response(status_code=204)


@router.post("/grants/{id}/accept", summary="Accepter un partage")
async def accept_grant(id: Id, caller: ProvenManager) -> GrantAnswer:
    """Accepter un partage qui est proposé à la collectivité : il prend effet aussitôt."""
    return await _answer_grant(id, caller, accepts=True)


@router.post("/grants/{id}/reject", summary="Refuser un partage")
async def reject_grant(id: Id, caller: Manager) -> GrantAnswer:
    """Refuser un partage qui est proposé à la collectivité."""
    return await _answer_grant(id, caller, accepts=False)


async def _answer_grant(grant_id: int, caller: Caller, *, accepts: bool) -> GrantAnswer:
    async with caller.changing() as change:
        former = GRANTS.show(await GRANTS.get(change.connection, grant_id))
        if not await sharing.answer_grant(change.connection, grant_id, accepts=accepts):
            raise Problem(409, "ce partage n'attend pas de réponse de cette collectivité")
        shown = GRANTS.show(await GRANTS.get(change.connection, grant_id))
        await change.audit("accept" if accepts else "reject", "grant", grant_id, before=former, after=shown)
        return shown


@router.get("/assets/{id}/visibility", operation_id="getAssetVisibility", summary="Dire qui voit un actif")
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


@router.put(
    "/tenants/{id}/member-of", operation_id="setTenantMemberOf", summary="Rattacher une collectivité à un syndicat"
)
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


@router.post("/assets/{id}/transfer", status_code=201, summary="Proposer un actif à une autre collectivité")
async def propose_transfer(id: Id, body: NewTransfer, caller: ProvenManager) -> TransferAnswer:
    """Proposer un actif et les capteurs qui le servent ; `history` dit ce que devient ce qui a été mesuré.

    Rien ne change avant que le destinataire l'accepte (`POST /v1/transfers/{id}/accept`).
    """
    async with caller.changing() as change:
        asset = await ASSETS.own(change, id)
        _check_other(change, body.tenant)
        if body.confirm != asset.name:
            raise invalid("confirm", "confirm", "répétez le nom exact de l'actif pour confirmer")
        offered = await sharing.propose_transfer(
            change.connection,
            change.tenant_id,
            id,
            body.tenant,
            History(body.history),
            actor=change.audit_actor,
            noted={"history": body.history, **change.identity},
        )
        if offered is None:
            raise Problem(409, "cet actif est déjà proposé : retirez l'offre, ou attendez sa réponse")
        shown = TRANSFERS.show(offered)
        await change.audit("create", "transfer", offered.id, after=shown)
    return shown


@router.get("/transfers", summary="Lister les transferts")
async def list_transfers(
    caller: Reader,
    paging: Paged,
    direction: Annotated[
        Literal["given", "received"] | None, Query(description="`given` donnés, `received` reçus ; absent : tous")
    ] = None,
) -> Page[TransferAnswer]:
    """Les actifs que l'on propose et ceux que l'on se voit proposer, aussi ce qui est fini."""
    return await TRANSFERS.page(
        caller, paging, sharing.list_transfers, after=paging.after, most=paging.most, direction=direction
    )


@router.get("/transfers/{id}", summary="Lire un transfert")
async def read_transfer(id: Id, caller: Reader) -> TransferAnswer:
    """Un transfert donné ou reçu."""
    return await TRANSFERS.read(caller, id)


@router.delete("/transfers/{id}", status_code=204, summary="Retirer un transfert proposé")
async def withdraw_transfer(id: Id, caller: Manager) -> Response:
    """Retirer l'offre d'un actif, tant que le destinataire n'a pas répondu."""
    async with caller.changing() as change:
        former = TRANSFERS.show(await TRANSFERS.get(change.connection, id))
        if not await sharing.withdraw_transfer(change.connection, id):
            raise Problem(409, "ce transfert n'est pas une offre de cette collectivité qui attende une réponse")
        await change.audit("withdraw", "transfer", id, before=former)
    return Response(status_code=204)


@router.post("/transfers/{id}/accept", summary="Accepter un actif")
async def accept_transfer(id: Id, caller: ProvenManager) -> TransferAnswer:
    """Accepter un actif qui est proposé à la collectivité : il passe chez elle aussitôt, avec ses capteurs.

    Les partages de l'actif ne passent pas au destinataire ; ses alertes ouvertes sont résolues, cause
    `asset_transferred`.
    Refusé (409) tant qu'un ordre d'éclairage ou un message est en cours.
    """
    return await _answer_transfer(id, caller, accepts=True)


@router.post("/transfers/{id}/reject", summary="Refuser un actif")
async def reject_transfer(id: Id, caller: Manager) -> TransferAnswer:
    """Refuser un actif qui est proposé à la collectivité."""
    return await _answer_transfer(id, caller, accepts=False)


async def _answer_transfer(transfer_id: int, caller: Caller, *, accepts: bool) -> TransferAnswer:
    async with caller.changing() as change:
        former = TRANSFERS.show(await TRANSFERS.get(change.connection, transfer_id))
        try:
            if not await sharing.answer_transfer(change.connection, transfer_id, accepts=accepts):
                raise Problem(409, "ce transfert n'attend pas de réponse de cette collectivité")
        except sharing.AssetCommanded:
            raise Problem(409, "un ordre ou un message est en cours vers cet actif : attendez sa fin") from None
        except sharing.UnknownAsset:
            raise Problem(409, "cet actif n'est plus à transférer") from None
        shown = TRANSFERS.show(await TRANSFERS.get(change.connection, transfer_id))
        await change.audit("accept" if accepts else "reject", "transfer", transfer_id, before=former, after=shown)
        return shown
