"""What is decided of a lighting campaign: approved, refused, paused, resumed, cancelled."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import Field

from api.auth import Caller, Change, LightingApprover, LightingOperator
from api.campaign_answers import CAMPAIGNS, CampaignAnswer, show_campaign
from api.campaign_changes import audit_everywhere, author_of
from api.campaign_targets import MOST_TARGETS, outside_bounds
from api.fields import Body, Id, Text, example
from api.impersonation import as_owner
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from core.runtime.postgres import Connection
from lighting import campaign_store as store
from lighting import circuit_store, target_store
from lighting.campaign_store import Author, Campaign
from lighting.campaigns import RejectedCampaign, State, check_approval, check_move
from lighting.circuit_store import Wanted
from lighting.requests import LightingRequest

router = APIRouter(prefix="/v1", tags=["lighting"], responses=PROBLEM_RESPONSES)


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
        await change.audit(
            action, "lighting_campaign", campaign_id, before=show_campaign(former), after=show_campaign(made)
        )
    return show_campaign(made)


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

    Les premières armoires partent aussitôt. Ce qu'un membre propose hors de ses bornes est approuvé par chaque
    collectivité dont il dépasse une borne, et ne part qu'après la dernière.
    """
    async with caller.changing() as change:
        former = await _to_decide(change, id)
        approver = await author_of(change.connection, caller)
        if former.decided_by is not None:
            approver = Author(f"{approver.name} ({change.tenant_slug})", approver.id)
        try:
            check_approval(State(former.state), former.author_id, approver.id, former.not_after, datetime.now(UTC))
        except RejectedCampaign as rejected:
            raise Problem(409, str(rejected)) from None
        if former.decided_by is None:
            await _demand_inside_bounds(change, former)
        hand_on = store.hand_on if former.then_decided_by else store.approve
        made = await hand_on(change.connection, id, approver)
        if former.decided_by is None:
            owners = {
                owner: (asset, count) for owner, asset, count in await store.owners_of(change.connection, id)
            }
            await audit_everywhere(change, "approve", made, owners)
        else:
            await change.audit(
                "approve", "lighting_campaign", id, before=show_campaign(former), after=show_campaign(made)
            )
    return show_campaign(made)


async def _demand_inside_bounds(change: Change, campaign: Campaign) -> None:
    """Raises 409 when it oversteps bounds that were set since it was prepared: it would have to be proposed."""
    request = LightingRequest(campaign.action, "", "", off_until=campaign.off_until, level=campaign.level)
    rows = await target_store.list_targets(change.connection, campaign.id, after=0, most=MOST_TARGETS)
    wanted = Wanted(asset_ids=[row.asset_id for row in rows])
    found = await circuit_store.find_targets(change.connection, change.tenant_id, wanted)
    for owner in sorted({owner for _, owner in found}):
        ids = [asset_id for asset_id, one in found if one == owner]
        async with as_owner(change, owner, ids[0], f"actif {ids[0]}") as acting:
            named = await circuit_store.names_of(acting.connection, ids)
            tags = {one.id: one.tags for one in named.values()}
            for overstep, *_ in (await outside_bounds(acting, request, tags, datetime.now(UTC))).values():
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
        await change.audit(
            "refuse", "lighting_campaign", id, before=show_campaign(former), after=show_campaign(made)
        )
    return show_campaign(made)


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
