"""Lighting campaigns: prepared with a preview, approved by somebody else, followed, halted; and all on at once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, LightingApprover, LightingOperator, ProvenLightingOperator, Reader
from api.campaign_targets import Prepared, outside_bounds, prepare
from api.fields import Answer, Body, Id, IdRef, Instant, Name, ShortText, Text, answer_of, example
from api.impersonation import as_owner
from api.pages import Page, Paged, page_of
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from core.runtime.postgres import Connection
from lighting import campaign_store as store
from lighting.campaign_plan import GatewayShare, shares_of
from lighting.campaign_store import Author, Campaign, NewTarget, Wanted
from lighting.campaigns import HALT_FR, RejectedCampaign, State, canary_of, check_approval, check_move
from lighting.commands import LONGEST_OFF
from lighting.compilers import SET_PROGRAM
from lighting.requests import LightingRequest
from lorawan.instants import from_us, to_us
from registry.tenants import first_maker

router = APIRouter(prefix="/v1", tags=["lighting"], responses=PROBLEM_RESPONSES)

StateQuery = Annotated[
    Literal[
        "draft", "approved", "canary", "running", "paused", "halted", "ended", "cancelled", "expired", "refused"
    ]
    | None,
    Query(description="Celles qui en sont là"),
]
HOUR = timedelta(hours=1)
USUALLY_WITHIN = timedelta(hours=2)
LONGEST_CAMPAIGN = timedelta(hours=24)
LOSS_OVER = timedelta(days=30)
MOST_TARGETS = 20_000


class CampaignTargets(Body):
    """À qui s'adresse une campagne : une liste, une commune, une étiquette ou un programme ; l'un des quatre.

    `drifted` ne garde que les horloges en écart ; seul, toutes celles de la collectivité.
    """

    model_config = example({"commune": "Plouzané"})

    asset_ids: list[IdRef] | None = Field(None, min_length=1, max_length=MOST_TARGETS)
    commune: ShortText | None = Field(None, min_length=1, examples=["Plouzané"])
    tag: ShortText | None = Field(None, min_length=1, examples=["centre-bourg"])

    program_id: IdRef | None = Field(None, description="Ce qui suit ce programme, affecté à soi ou au-dessus")
    drifted: bool = Field(False, description="Les horloges qui tiennent un autre programme que prévu")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = sum(one is not None for one in (self.asset_ids, self.commune, self.tag, self.program_id))
        if given > 1 or not (given or self.drifted):
            raise PydanticCustomError(
                "targets", "donnez une liste d'actifs, une commune, une étiquette ou un programme"
            )
        return self


class NewCampaign(Body):
    """Un ordre à beaucoup d'armoires. Rien ne part avant qu'une autre personne, ou une autre clé, l'approuve."""

    model_config = example(
        {
            "name": "Coupure du 14 juillet",
            "action": "off",
            "off_until": "2026-07-15T04:00:00Z",
            "reason": "Feu d'artifice",
            "targets": {"commune": "Plouzané"},
        }
    )

    name: Name = Field(examples=["Coupure du 14 juillet"])
    action: Literal["on", "off", "dim", "set_program"] = Field(
        description="`on` allumer, `off` éteindre, `dim` graduer, `set_program` donner à chaque horloge le "
        "programme de son armoire"
    )
    level: int | None = Field(None, ge=1, le=100, description="Niveau d'une gradation, en pour cent")
    off_until: Instant | None = Field(None, description="Fin de l'extinction, 12 heures au plus")
    reason: Text = Field(min_length=1, description="Motif, gardé dans l'historique de chaque armoire")
    targets: CampaignTargets
    not_after: Instant | None = Field(
        None, description="Rien ne part plus tard, 24 heures au plus ; absent : dans deux heures"
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.action == "dim") != (self.level is not None):
            raise PydanticCustomError("level", "un niveau va avec une gradation, et elle en a un")
        if (self.action == "off") != (self.off_until is not None):
            raise PydanticCustomError("off_until", "une extinction a une fin (off_until) ; un allumage n'en a pas")
        if self.targets.drifted and self.action != SET_PROGRAM:
            raise PydanticCustomError("drifted", "des horloges en écart reçoivent leur programme (set_program)")
        return self


class AllOn(Body):
    """Tout allumer, une commune ou tout ce qu'on a : sans approbation, avant tout le reste."""

    model_config = example({"commune": "Plouzané", "reason": "Accident rue du Port", "preview": False})

    commune: ShortText | None = Field(None, min_length=1, description="Absente : toutes", examples=["Plouzané"])
    reason: Text = Field(min_length=1, examples=["Accident rue du Port"])
    preview: bool = Field(True, description="Montrer quand tout sera allumé, sans rien envoyer")


class GatewayShareAnswer(Answer):
    """Ce qu'une campagne demande à une passerelle, dans sa part de l'heure."""

    gateway: str = Field(
        description="Sa passerelle, ou le serveur d'un autre réseau", examples=["0016c001f0000001"]
    )
    targets: int
    airtime_s: float = Field(description="Temps d'antenne des ordres et de leurs questions, sans répétition")
    used_s: float = Field(description="Ce que des campagnes ont pris de l'heure passée")
    left_s: float = Field(description="Ce qui en reste à prendre")
    loss: float = Field(description="Part des ordres à répéter, mesurée ; 0,1 où rien n'a été mesuré")
    ends_at: datetime = Field(description="Quand la dernière sera partie, répétitions comprises")


class RejectedTargetAnswer(Answer):
    """Un circuit que la campagne ne peut pas commander."""

    asset_id: int
    name: str
    reason: str = Field(examples=["ce circuit est protégé : il ne s'éteint jamais"])


class PreviewAnswer(Answer):
    """Ce qui se passera : combien, par qui, jusqu'à quand, et qui n'est pas commandé."""

    targets: int
    canary: int = Field(description="Ceux qui partent d'abord ; les autres suivent quand ils l'ont prouvé")
    rejected: list[RejectedTargetAnswer]
    gateways: list[GatewayShareAnswer]
    ends_at: datetime | None = Field(description="Fin prévue si elle part maintenant")


class CountsAnswer(Answer):
    """Où en sont les circuits d'une partie de la campagne."""

    waiting: int
    under_way: int
    proved: int = Field(description="L'équipement l'a dit lui-même")
    failed: int
    superseded: int = Field(description="Un ordre plus récent les a remplacés")


class CampaignAnswer(answer_of(Campaign, {"tenant_id", "author_id", "approver_id"})):
    """Une campagne et où elle en est."""

    state: str = Field(
        examples=["running"],
        description="draft (projet), approved, canary (premières armoires), running, paused, halted "
        "(d'elle-même), ended, cancelled, expired ou refused",
    )
    halted_for: str | None = Field(examples=["too_many_failures"])
    halted_message: str | None = Field(description="Pourquoi elle s'est arrêtée d'elle-même")
    decided_by: int | None = Field(description="Une proposition : la collectivité qui l'approuve ou la refuse")
    proposed_by: str = Field(description="Une proposition : de quelle collectivité", examples=["plouzane"])
    outside: str | None = Field(description="Une proposition : la borne qu'elle dépasse")
    refused_for: str | None = Field(description="Pourquoi elle a été refusée")


class ProgressAnswer(CampaignAnswer):
    """Une campagne avec ses chiffres du moment."""

    canary: CountsAnswer
    others: CountsAnswer
    darkened: int = Field(description="Circuits dont une alerte dit qu'ils se sont éteints après leur ordre")


class CreatedCampaignAnswer(CampaignAnswer):
    """Le projet, et ce qu'il fera."""

    preview: PreviewAnswer


class AllOnAnswer(Answer):
    """Ce que fait « tout allumer » ; sans campagne pour un aperçu."""

    campaign_id: int | None
    preview: PreviewAnswer


class TargetAnswer(answer_of(store.Target, {"airtime_us"})):
    """Un circuit d'une campagne, et l'état de son ordre ou de son programme."""

    state: str | None = Field(examples=["applied"])
    program_hash: str | None = Field(description="Ce que son horloge dira tenir", examples=["e352aa1e"])
    attempts: int = Field(description="Combien de fois cela a été envoyé")


def _show(campaign: Campaign) -> CampaignAnswer:
    return CampaignAnswer.model_validate(_said(campaign))


def _said(campaign: Campaign) -> dict[str, Any]:
    why = campaign.halted_for
    return asdict(campaign) | {"halted_message": None if why is None else HALT_FR.get(why, why)}


CAMPAIGNS = Resource("lighting_campaign", "campagne", store.read_campaign, _show)


async def _author(connection: Connection, caller: Caller) -> Author:
    """Who acts. A key counts as who made it: nobody is two by making one."""
    return Author(caller.principal.name, await first_maker(connection, caller.principal))


def _gateway(share: GatewayShare) -> GatewayShareAnswer:
    return GatewayShareAnswer(
        gateway=share.gateway,
        targets=share.targets,
        airtime_s=round(share.airtime_us / 1e6, 3),
        used_s=round(share.used_us / 1e6, 3),
        left_s=round(share.left_us / 1e6, 3),
        loss=round(share.loss, 3),
        ends_at=from_us(share.ends_us),
    )


async def _preview(
    connection: Connection, prepared: Prepared, canary: frozenset[int], now: datetime, *, is_emergency: bool
) -> PreviewAnswer:
    gateways = sorted({target.gateway for target in prepared.targets})
    sent = await store.released_since(connection, now - HOUR)
    measured_loss = await store.read_measured_loss(connection, gateways, now - LOSS_OVER)
    shares = shares_of(
        [(one.asset_id, one.gateway, one.airtime_us, one.asset_id in canary) for one in prepared.targets],
        prepared.neighbours,
        [(gateway, to_us(at), airtime_us) for gateway, at, airtime_us in sent],
        measured_loss,
        to_us(now),
        is_emergency=is_emergency,
    )
    return PreviewAnswer(
        targets=len(prepared.targets),
        canary=len(canary),
        rejected=[RejectedTargetAnswer.model_validate(asdict(one)) for one in prepared.rejected],
        gateways=[_gateway(share) for share in shares],
        ends_at=from_us(max(share.ends_us for share in shares)) if shares else None,
    )


def _until(body: NewCampaign, now: datetime) -> datetime:
    """No frame goes out later; raises 422 for an end that is none."""
    not_after = body.not_after or now + USUALLY_WITHIN
    if not now < not_after <= now + LONGEST_CAMPAIGN:
        raise Problem(422, "la fin de la campagne (not_after) est à venir, dans 24 heures au plus")
    if body.off_until is None:
        return not_after
    if not now < body.off_until <= now + LONGEST_OFF:
        raise Problem(422, "la fin d'extinction doit être à venir, et dans 12 heures au plus")
    return min(not_after, body.off_until)


def _targets(prepared: Prepared, canary: frozenset[int]) -> list[NewTarget]:
    return [
        NewTarget(one.asset_id, one.gateway, one.airtime_us, one.octets, one.asset_id in canary)
        for one in prepared.targets
    ]


@router.post(
    "/lighting-campaigns",
    operation_id="createLightingCampaign",
    status_code=201,
    summary="Préparer une campagne d'éclairage",
)
async def create_campaign(body: NewCampaign, caller: LightingOperator) -> CreatedCampaignAnswer:
    """Préparer un projet de campagne et voir ce qu'il fera ; rien ne part avant son approbation."""
    now = datetime.now(UTC)
    values = body.model_dump(exclude={"targets"}) | {"not_after": _until(body, now), "is_emergency": False}
    async with caller.changing() as change:
        wanted = Wanted(**body.targets.model_dump())
        request = LightingRequest(body.action, "", "", off_until=body.off_until, level=body.level)
        prepared = await prepare(change, caller, request, wanted)
        if prepared.outside is not None:
            values |= {
                "decided_by": prepared.outside.set_by_id,
                "outside": prepared.outside.why,
                "proposed_by": change.tenant_slug,
            }
        if not prepared.targets:
            reasons = {one.reason for one in prepared.rejected}
            raise Problem(
                422, f"aucun circuit à commander : {' ; '.join(sorted(reasons)) or 'aucune armoire ici'}"
            )
        canary = canary_of([(one.asset_id, one.gateway) for one in prepared.targets])
        author = await _author(change.connection, caller)
        made = await store.create_campaign(
            change.connection, change.tenant_id, values, author, prepared.neighbours
        )
        await store.add_targets(change.connection, made, _targets(prepared, canary))
        preview = await _preview(change.connection, prepared, canary, now, is_emergency=False)
        shown = CreatedCampaignAnswer.model_validate(_said(made) | {"preview": preview})
        await _audit_everywhere(change, "create", made, prepared.owners)
    return shown


async def _audit_everywhere(
    change: Change, action: str, made: Campaign, owners: Mapping[int, tuple[int, int]]
) -> None:
    """On the author's side, and on that of everybody whose lamps it commands: of these the number, no more."""
    total = sum(count for _, count in owners.values())
    await change.audit(action, "lighting_campaign", made.id, {"targets": total}, after=_show(made))
    for owner, (asset_id, count) in owners.items():
        if owner != change.tenant_id:
            async with as_owner(change, owner, asset_id, f"actif {asset_id}") as acting:
                await acting.audit(action, "lighting_campaign", made.id, {"targets": count}, after=_show(made))


@router.get(
    "/lighting-campaigns", operation_id="listLightingCampaigns", summary="Lister les campagnes d'éclairage"
)
async def list_campaigns(caller: Reader, paging: Paged, state: StateQuery = None) -> Page[CampaignAnswer]:
    """Les campagnes, la dernière d'abord."""
    return await CAMPAIGNS.page(
        caller, paging, store.list_campaigns, before=paging.before, most=paging.most, state=state
    )


@router.get(
    "/lighting-campaigns/{id}", operation_id="getLightingCampaign", summary="Suivre une campagne d'éclairage"
)
async def read_campaign(id: Id, caller: Reader) -> ProgressAnswer:
    """Une campagne et ses chiffres du moment."""
    async with caller.reading() as connection:
        campaign = await CAMPAIGNS.get(connection, id)
        progress = await store.read_progress(connection, id)
    return ProgressAnswer.model_validate(_said(campaign) | asdict(progress))


@router.get(
    "/lighting-campaigns/{id}/targets",
    operation_id="listLightingCampaignTargets",
    summary="Lister les circuits d'une campagne",
)
async def list_targets(id: Id, caller: Reader, paging: Paged) -> Page[TargetAnswer]:
    """Les circuits d'une campagne et l'état de leur ordre."""
    async with caller.reading() as connection:
        await CAMPAIGNS.get(connection, id)
        rows = await store.list_targets(connection, id, after=paging.after, most=paging.most)
    return page_of(rows, paging.limit, TargetAnswer.model_validate, lambda row: str(row.asset_id))


@router.get(
    "/lighting-campaigns/{id}/preview",
    operation_id="previewLightingCampaign",
    summary="Prévoir une campagne d'éclairage",
)
async def preview_campaign(id: Id, caller: Reader) -> PreviewAnswer:
    """Ce qu'elle fera si elle part maintenant, selon ce que les passerelles ont envoyé depuis une heure."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        campaign = await CAMPAIGNS.get(connection, id)
        rows = await store.list_targets(connection, id, after=0, most=MOST_TARGETS)
        waiting = [row for row in rows if row.released_at is None and row.rejected is None]
        neighbours = await store.read_neighbours(connection, id)
        targets = [NewTarget(row.asset_id, row.gateway, row.airtime_us, {}, row.is_canary) for row in waiting]
        canary = frozenset(row.asset_id for row in waiting if row.is_canary)
        prepared = Prepared(targets, (), neighbours)
        return await _preview(connection, prepared, canary, now, is_emergency=campaign.is_emergency)


async def _changed(
    caller: Caller, campaign_id: int, action: str, changed: Callable[[Connection, Campaign], Awaitable[Campaign]]
) -> CampaignAnswer:
    """The caller's own campaign after `changed`, which nobody else moves meanwhile; 409 with why it may not be."""
    async with caller.changing() as change:
        former = await store.lock_campaign(change.connection, campaign_id)
        if former is None:
            raise CAMPAIGNS.missing(campaign_id)
        await CAMPAIGNS.own(change, campaign_id)
        try:
            made = await changed(change.connection, former)
        except RejectedCampaign as refused:
            raise Problem(409, str(refused)) from None
        await change.audit(action, "lighting_campaign", campaign_id, before=_show(former), after=_show(made))
    return _show(made)


async def _moved(caller: Caller, campaign_id: int, action: str, to: State, of: Sequence[State]) -> CampaignAnswer:
    async def moved(connection: Connection, former: Campaign) -> Campaign:
        check_move(State(former.state), of)
        return await store.set_state(connection, campaign_id, to)

    return await _changed(caller, campaign_id, action, moved)


@router.post(
    "/lighting-campaigns/{id}/approval",
    operation_id="approveLightingCampaign",
    summary="Approuver une campagne d'éclairage",
)
async def approve_campaign(id: Id, caller: LightingApprover) -> CampaignAnswer:
    """L'approuver : une autre personne que son auteur, ou une clé que l'auteur n'a pas faite.

    Les premières armoires partent aussitôt. Ce qu'un membre propose hors de ses bornes est approuvé par le
    syndicat qui les a fixées.
    """
    async with caller.changing() as change:
        former = await _to_decide(change, id)
        approver = await _author(change.connection, caller)
        if former.decided_by is not None:
            approver = Author(f"{approver.name} ({change.tenant_slug})", approver.id)
        try:
            check_approval(State(former.state), former.author_id, approver.id, former.not_after, datetime.now(UTC))
        except RejectedCampaign as rejected:
            raise Problem(409, str(rejected)) from None
        if former.decided_by is None:
            await _demand_inside_bounds(change, former)
        made = await store.approve(change.connection, id, approver)
        if former.decided_by is None:
            owners = {
                owner: (asset, count) for owner, asset, count in await store.owners_of(change.connection, id)
            }
            await _audit_everywhere(change, "approve", made, owners)
        else:
            await change.audit("approve", "lighting_campaign", id, before=_show(former), after=_show(made))
    return _show(made)


async def _demand_inside_bounds(change: Change, campaign: Campaign) -> None:
    """Raises 409 when it oversteps bounds that were set since it was prepared: it would have to be proposed."""
    request = LightingRequest(campaign.action, "", "", off_until=campaign.off_until, level=campaign.level)
    rows = await store.list_targets(change.connection, campaign.id, after=0, most=MOST_TARGETS)
    wanted = Wanted(asset_ids=[row.asset_id for row in rows])
    found = await store.find_targets(change.connection, change.tenant_id, wanted)
    for owner in sorted({owner for _, owner in found}):
        ids = [asset_id for asset_id, one in found if one == owner]
        async with as_owner(change, owner, ids[0], f"actif {ids[0]}") as acting:
            named = await store.names_of(acting.connection, ids)
            tags = {one.id: one.tags for one in named.values()}
            for overstep in (await outside_bounds(acting, request, tags, datetime.now(UTC))).values():
                raise Problem(409, f"hors des bornes du syndicat : {overstep.why} ; préparez-la à nouveau")


async def _to_decide(change: Change, campaign_id: int) -> Campaign:
    """A campaign on which the caller's tenant decides: its own, or what a member proposes beyond its bounds."""
    former = await store.lock_campaign(change.connection, campaign_id)
    if former is None:
        raise CAMPAIGNS.missing(campaign_id)
    if former.decided_by is None:
        await CAMPAIGNS.own(change, campaign_id)
    elif former.decided_by != change.tenant_id:
        raise Problem(403, f"hors des bornes du syndicat, qui seul en décide : {former.outside}")
    return former


class ProposalRejection(Body):
    """Pourquoi une proposition est refusée."""

    model_config = example({"reason": "La rue est celle du collège"})

    reason: Text = Field(
        min_length=1, description="Gardé avec la proposition", examples=["La rue est celle du collège"]
    )


@router.post(
    "/lighting-campaigns/{id}/refusal",
    operation_id="rejectLightingCampaign",
    summary="Refuser une proposition d'éclairage",
)
async def reject_proposal(id: Id, body: ProposalRejection, caller: LightingApprover) -> CampaignAnswer:
    """Refuser ce qu'un membre propose hors de ses bornes ; rien n'en part, et le motif lui est montré."""
    async with caller.changing() as change:
        former = await _to_decide(change, id)
        if former.decided_by is None:
            raise Problem(409, "une campagne de la collectivité s'annule ; une proposition d'un membre se refuse")
        if former.state != State.DRAFT:
            raise Problem(409, "seule une proposition à l'état de projet se refuse")
        made = await store.reject(change.connection, id, body.reason)
        await change.audit("refuse", "lighting_campaign", id, before=_show(former), after=_show(made))
    return _show(made)


@router.post(
    "/lighting-campaigns/{id}/pause",
    operation_id="pauseLightingCampaign",
    summary="Suspendre une campagne d'éclairage",
)
async def pause_campaign(id: Id, caller: LightingOperator) -> CampaignAnswer:
    """Plus rien ne part ; ce qui est parti s'achève."""
    return await _moved(caller, id, "pause", State.PAUSED, (State.APPROVED, State.CANARY, State.RUNNING))


@router.post(
    "/lighting-campaigns/{id}/resumption",
    operation_id="resumeLightingCampaign",
    summary="Reprendre une campagne d'éclairage",
)
async def resume_campaign(id: Id, caller: LightingApprover) -> CampaignAnswer:
    """Reprendre une campagne suspendue. Une campagne qui s'est arrêtée d'elle-même se prépare à nouveau."""
    return await _moved(caller, id, "resume", State.APPROVED, (State.PAUSED,))


@router.post(
    "/lighting-campaigns/{id}/cancellation",
    operation_id="cancelLightingCampaign",
    summary="Annuler une campagne d'éclairage",
)
async def cancel_campaign(id: Id, caller: LightingOperator) -> CampaignAnswer:
    """Plus rien ne part. Ce qui est parti n'est pas repris : donnez l'ordre contraire."""
    unended = (State.DRAFT, State.APPROVED, State.CANARY, State.RUNNING, State.PAUSED, State.HALTED)
    return await _moved(caller, id, "cancel", State.CANCELLED, unended)


@router.post("/lighting/all-on", operation_id="switchAllOn", summary="Tout allumer")
async def all_on(body: AllOn, caller: ProvenLightingOperator) -> AllOnAnswer:
    """Tout allumer, dans une commune ou partout : sans seconde personne, avant tout le reste.

    Par défaut un aperçu dit quand tout sera allumé. Une campagne en cours qui éteindrait ou graduerait ces
    armoires est suspendue.
    """
    now = datetime.now(UTC)
    async with caller.changing() as change:
        prepared = await prepare(change, caller, LightingRequest("on", "", ""), Wanted(commune=body.commune))
        if not prepared.targets:
            raise Problem(422, "aucune armoire à allumer ici")
        preview = await _preview(change.connection, prepared, frozenset(), now, is_emergency=True)
        if body.preview:
            return AllOnAnswer(campaign_id=None, preview=preview)
        where = body.commune or "toutes les communes"
        values = {
            "name": f"Tout allumer : {where}",
            "action": "on",
            "level": None,
            "off_until": None,
            "reason": body.reason,
            "is_emergency": True,
            "not_after": now + LONGEST_CAMPAIGN,
        }
        author = await _author(change.connection, caller)
        made = await store.create_campaign(
            change.connection, change.tenant_id, values, author, prepared.neighbours
        )
        await store.add_targets(change.connection, made, _targets(prepared, frozenset()))
        lit = [target.asset_id for target in prepared.targets]
        # What one's own campaigns would put out of others, too.
        for owner in sorted({change.tenant_id, *prepared.owners}):
            asset_id, _ = prepared.owners.get(owner, (None, 0))
            async with as_owner(change, owner, asset_id, f"actif {asset_id}") as acting:
                for paused in await store.pause_darkening(acting.connection, lit, owner):
                    await acting.audit("pause", "lighting_campaign", paused.id, after=_show(paused))
        await _audit_everywhere(change, "all_on", made, prepared.owners)
    return AllOnAnswer(campaign_id=made.id, preview=preview)
