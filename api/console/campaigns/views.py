"""Lighting campaigns: prepared, approved by somebody else, followed and stopped; and everything lit at once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Response

from api.console.forms import checked, instant_of, number_of
from api.console.pages import page_router
from api.console.proof import check_proof_of, done, is_proof_due
from api.console.visits import ApproversVisit, LightingVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import Id
from api.pages import Paging
from api.routes import gateways, lighting_all_on
from api.routes import lighting_campaign_decisions as decisions
from api.routes import lighting_campaigns as routes
from core.runtime.http.errors import Problem
from lighting.commands import LONGEST_OFF

router = page_router()

PAGE, ALL_ON = "/campagnes", "/tout-allumer"
SHOWN = 100
NAMED = 1_000
State = Annotated[str, Query(max_length=20)]
REFUSED = {401, 403, 409, 422}
# A browser's field of date and time has no zone: it is the visitor's.
LOCAL = "%Y-%m-%dT%H:%M"
USUAL_OFF = timedelta(hours=2)
GOING_ON = ("approved", "canary", "running")


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Those that there are, the last one first."""
    listed: Any = await routes.list_campaigns(visit.caller, Paging(SHOWN))
    return visit.page("campaigns/list.html", listed=listed.items)


@router.get(PAGE + "/nouvelle")
async def show_new(visit: LightingVisit) -> Response:
    """The form of a new one."""
    return _new_page(visit)


def _new_page(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    now, zone = datetime.now(UTC), visit.language.zone
    values = {"off_until": (now + USUAL_OFF).astimezone(zone).strftime(LOCAL), "action": "off"}
    return visit.form_page(
        "campaigns/new.html",
        problem,
        values=values | dict(values_of(visit.form)),
        earliest=now.astimezone(zone).strftime(LOCAL),
        latest=(now + LONGEST_OFF).astimezone(zone).strftime(LOCAL),
    )


@router.post(PAGE + "/nouvelle")
async def create(visit: LightingVisit) -> Response:
    """Prepare a draft; nothing is sent."""
    try:
        made: Any = await done(routes.create_campaign(_wanted(visit), visit.caller))
    except Problem as problem:
        if problem.status not in REFUSED:
            raise
        return _new_page(visit, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("La campagne est prête. Quelqu’un d’autre l’approuve ici."))


def _wanted(visit: PersonsVisit) -> routes.NewCampaign:
    form = visit.form
    action = form.text("action")
    numbers = [number_of(word) for word in form.text("asset_ids").replace(",", " ").split()]
    named = {"commune": form.text("commune"), "tag": form.text("tag")}
    targets: dict[str, Any] = {name: text for name, text in named.items() if text}
    if form.text("drifted"):
        targets["drifted"] = True
    if numbers:
        targets["asset_ids"] = [number or 0 for number in numbers]
    given: dict[str, Any] = {
        **{name: form.text(name) for name in ("name", "reason")},
        "action": action,
        "targets": targets,
        "level": form.text("level") or None if action == "dim" else None,
    }
    if action == "off":
        given["off_until"] = instant_of("off_until", form.text("off_until"), visit.language.zone)
    return checked(routes.NewCampaign, given)


@router.get(PAGE + "/{id}")
async def show_one(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One, with what it will do or has done."""
    return await _page(visit, id)


@router.get(PAGE + "/{id}/avancement")
async def show_progress(id: Id, visit: ReadersVisit, etat: State = "") -> Response:  # noqa: A002 - The path's word.
    """Its figures alone, to be put in place of those of a while ago; `etat`: the state that the page shows.

    In another state other things can be done with it: the whole page is asked for again.
    """
    campaign: Any = await routes.read_campaign(id, visit.caller)
    response = visit.page("campaigns/progress.html", campaign=campaign)
    if etat not in {"", campaign.state}:
        response.headers["HX-Refresh"] = "true"
    return response


@router.get(PAGE + "/{id}/detail")
async def show_detail(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """What it still has to send, and its circuits, to be put in place of those of a while ago."""
    return visit.page("campaigns/detail.html", **await _detail(visit, id))


async def _detail(visit: PersonsVisit, campaign_id: int) -> dict[str, Any]:
    campaign: Any = await routes.read_campaign(campaign_id, visit.caller)
    targets: Any = await routes.list_targets(campaign_id, visit.caller, Paging(SHOWN))
    preview = None
    if campaign.state in {"draft", *GOING_ON, "paused"}:
        preview = await routes.preview_campaign(campaign_id, visit.caller)
    return {
        "campaign": campaign,
        "targets": targets.items,
        "has_more": targets.next is not None,
        "preview": preview,
        "gateways": await _gateway_names(visit),
    }


async def _page(visit: PersonsVisit, campaign_id: int, problem: Problem | None = None) -> Response:
    shown = await _detail(visit, campaign_id)
    return visit.form_page("campaigns/campaign.html", problem, **shown, proof_due=is_proof_due(visit.caller))


async def _moved(
    visit: PersonsVisit,
    campaign_id: int,
    act: Callable[[], Awaitable[object]],
    said: str,
    *,
    proved: bool = False,
    handed_on: str | None = None,
) -> Response:
    """`handed_on` is said in the place of `said` where another tenant has to decide now."""
    try:
        if proved:
            await check_proof_of(visit.form, visit.caller)
        made: Any = await done(act())
    except Problem as problem:
        if problem.status not in REFUSED:
            raise
        return await _page(visit, campaign_id, problem)
    if handed_on is not None and made.state == "draft":
        return visit.go(f"{PAGE}/{campaign_id}", handed_on)
    return visit.go(f"{PAGE}/{campaign_id}", said)


@router.post(PAGE + "/{id}/approbation")
async def approve(id: Id, visit: ApproversVisit) -> Response:  # noqa: A002 - The path's word.
    """Approve one that somebody else prepared, by the password again."""
    said = visit.gettext("Approuvée : les premières armoires reçoivent leur ordre.")
    handed_on = visit.gettext("Approuvée ici ; elle dépasse aussi une borne d’un autre, qui en décide maintenant.")
    return await _moved(
        visit, id, lambda: decisions.approve_campaign(id, visit.caller), said, proved=True, handed_on=handed_on
    )


@router.post(PAGE + "/{id}/refus")
async def reject(id: Id, visit: ApproversVisit) -> Response:  # noqa: A002 - The path's word.
    """Refuse what a member proposes beyond its bounds, and say why."""
    said = visit.gettext("Refusée : rien ne part, et le motif est montré à qui l’a proposée.")

    async def act() -> object:
        return await decisions.reject_proposal(
            id, checked(decisions.ProposalRejection, {"reason": visit.form.text("reason")}), visit.caller
        )

    return await _moved(visit, id, act, said)


@router.post(PAGE + "/{id}/pause")
async def pause(id: Id, visit: LightingVisit) -> Response:  # noqa: A002 - The path's word.
    """Send nothing more for now."""
    return await _moved(
        visit,
        id,
        lambda: decisions.pause_campaign(id, visit.caller),
        visit.gettext("Suspendue : plus rien ne part."),
    )


@router.post(PAGE + "/{id}/reprise")
async def resume(id: Id, visit: ApproversVisit) -> Response:  # noqa: A002 - The path's word.
    """Go on."""
    said = visit.gettext("Reprise.")
    return await _moved(visit, id, lambda: decisions.resume_campaign(id, visit.caller), said, proved=True)


@router.post(PAGE + "/{id}/annulation")
async def cancel(id: Id, visit: LightingVisit) -> Response:  # noqa: A002 - The path's word.
    """End it."""
    said = visit.gettext("Annulée : plus rien ne part. Ce qui est parti n’est pas repris.")
    return await _moved(visit, id, lambda: decisions.cancel_campaign(id, visit.caller), said)


@router.get(ALL_ON)
async def show_all_on(visit: LightingVisit) -> Response:
    """Which commune, and why."""
    return await _all_on_page(visit)


async def _gateway_names(visit: PersonsVisit) -> dict[str, str]:
    found: list[Any] = [*(await gateways.list_gateways(visit.caller, Paging(NAMED))).items]
    return {one.gateway_id: one.name for one in found}


async def _all_on_page(visit: PersonsVisit, problem: Problem | None = None, preview: Any = None) -> Response:
    return visit.form_page(
        "campaigns/all_on.html",
        problem,
        preview=preview,
        gateways=await _gateway_names(visit) if preview else {},
        proof_due=is_proof_due(visit.caller),
    )


@router.post(ALL_ON)
async def all_on(visit: LightingVisit) -> Response:
    """Show when all will be lit; with the confirmation, light it."""
    form = visit.form
    is_sure = bool(form.text("confirm"))
    given = {"commune": form.text("commune") or None, "reason": form.text("reason"), "preview": not is_sure}
    try:
        await check_proof_of(form, visit.caller)
        made: Any = await done(lighting_all_on.all_on(checked(lighting_all_on.AllOn, given), visit.caller))
    except Problem as problem:
        if problem.status not in REFUSED:
            raise
        return await _all_on_page(visit, problem)
    if not is_sure:
        return await _all_on_page(visit, preview=made.preview)
    return visit.go(f"{PAGE}/{made.campaign_id}", visit.gettext("Tout s’allume : voici où en sont les armoires."))
