"""What tenants let each other see: offers, grants given and received, assets and EUIs that change hands."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import ValidationError

from api.console.forms import midnight_of, number_of
from api.console.pages import page_router
from api.console.proof import check_proof_of, done
from api.console.sharing.wording import CLAIM_STATES, STATES, covers, what_transfer_does
from api.console.visits import ManagersVisit, OperatorsVisit, PersonsVisit, ReadersVisit
from api.console.wording import KINDS
from api.fields import INT4_MOST, Id
from api.pages import Paging
from api.routes import assets, eui_claims
from api.routes import sharing as routes
from core.runtime.http.errors import Problem, field_errors

router = page_router()

PAGE = "/partage"
SHOWN, FOUND_MOST = 200, 20
NOT_FOUND = 404
# Of a wrong password, and of one that was not given.
UNPROVED = frozenset({401, 403})
AssetId = Annotated[int | None, Query(ge=1, le=INT4_MOST)]


@router.get(PAGE)
async def show_overview(visit: ReadersVisit) -> Response:
    """Offers first, then what is given, received, transferred and contested."""
    return await _overview(visit)


async def _overview(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    caller = visit.caller
    grants: list[Any] = (await routes.list_grants(caller, Paging(SHOWN))).items
    transfers: list[Any] = (await routes.list_transfers(caller, Paging(SHOWN))).items
    claims: list[Any] = (await eui_claims.list_claims(caller, Paging(SHOWN))).items
    pending: list[Any] = (
        (await eui_claims.list_pending(caller, Paging(SHOWN))).items if caller.has("operate") else []
    )
    own = visit.tenant.slug
    return visit.form_page(
        "sharing/overview.html",
        problem,
        offers=[one for one in grants if one.grantee == own and one.state == "offered"],
        given=[one for one in grants if one.giver == own],
        received=[one for one in grants if one.grantee == own and one.state != "offered"],
        transfer_offers=[one for one in transfers if one.receiver == own and one.state == "offered"],
        transfers=[one for one in transfers if one.receiver != own or one.state != "offered"],
        claims=claims,
        pending=pending,
        covers=partial(covers, language=visit.language),
        states=STATES,
        claim_states=CLAIM_STATES,
        own=own,
    )


def _new_grant(visit: PersonsVisit) -> routes.NewGrant:
    form, what, zone = visit.form, visit.form.text("what"), visit.language.zone
    given: dict[str, Any] = {
        "tenant": form.text("tenant"),
        "role": form.text("role") or "reader",
        "everything": what == "everything",
        "asset_kind": form.text("asset_kind") if what == "asset_kind" else None,
        "tag": form.text("tag") if what == "tag" else None,
        "asset_id": form.text("asset_id") if what == "asset" else None,
        "valid_to": midnight_of("valid_to", form.text("valid_to"), zone, ends=True),
        "data_from": midnight_of("data_from", form.text("data_from"), zone),
    }
    try:
        return routes.NewGrant.model_validate(given, strict=False)
    except ValidationError as error:
        errors = field_errors(error.errors())
        raise Problem(422, "; ".join(one.message for one in errors), errors=errors) from None


async def _new_page(visit: PersonsVisit, template: str, problem: Problem | None, **content: Any) -> Response:
    return visit.form_page(
        template,
        problem,
        kinds=KINDS,
        **content,
    )


async def _asset(visit: PersonsVisit, asset_id: int | None) -> Any:
    """One of the tenant's own assets; None when none was named."""
    if asset_id is None:
        return None
    found: Any = await assets.read_asset(asset_id, visit.caller)
    if found.tenant_id != visit.tenant.id:
        raise Problem(403, visit.gettext("Cet équipement est à une autre collectivité : elle seule le partage."))
    return found


async def _found(visit: PersonsVisit, name: str) -> list[Any]:
    """The tenant's own assets whose name or street has this text."""
    if not name:
        return []
    tenant_id = visit.tenant.id
    return list((await assets.list_assets(visit.caller, Paging(FOUND_MOST), q=name, tenant_id=tenant_id)).items)


async def _grant_form(
    visit: PersonsVisit, asset: Any, problem: Problem | None = None, preview: routes.NewGrant | None = None
) -> Response:
    content: dict[str, Any] = {"asset": asset, "found": [], "searched": "", "preview": preview}
    return await _new_page(visit, "sharing/new.html", problem, **content)


@router.get(PAGE + "/nouveau")
async def show_new(
    visit: ManagersVisit, equipement: AssetId = None, nom: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Offer somebody to see assets: all, a kind, a tag, or one that is searched by its name."""
    asset, found = await _asset(visit, equipement), await _found(visit, nom)
    return await _new_page(visit, "sharing/new.html", None, asset=asset, found=found, searched=nom, preview=None)


@router.post(PAGE + "/nouveau")
async def propose(visit: ManagersVisit) -> Response:
    """First what it will do, in words; then the offer itself."""
    form, asset, body = visit.form, None, None
    text = form.text("asset_id")
    try:
        asset = await _asset(visit, number_of(text))
        if form.text("step") == "back":
            return await _grant_form(visit, asset)
        body = _new_grant(visit)
        if form.text("step") != "offer":
            return await _grant_form(visit, asset, preview=body)
        await check_proof_of(form, visit.caller)
        made: Any = await done(routes.create_grant(body, visit.caller))
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        # The password was asked for below what was shown; anything else is mended in the form.
        preview = body if problem.status in UNPROVED else None
        return await _grant_form(visit, asset, problem, preview)
    return visit.go(
        f"{PAGE}/{made.id}", visit.gettext("L’offre est faite : rien n’est ouvert avant qu’on l’accepte.")
    )


async def _grant_page(visit: PersonsVisit, grant_id: int, problem: Problem | None = None) -> Response:
    grant: Any = await routes.read_grant(grant_id, visit.caller)
    return visit.form_page(
        "sharing/grant.html",
        problem,
        grant=grant,
        covered=covers(grant, visit.language),
        states=STATES,
        is_giver=grant.giver == visit.tenant.slug,
    )


@router.get(PAGE + "/transferts/nouveau")
async def show_new_transfer(
    visit: ManagersVisit, equipement: AssetId = None, nom: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Offer an asset to another tenant."""
    asset, found = await _asset(visit, equipement), await _found(visit, nom)
    return await _new_page(visit, "sharing/transfer_new.html", None, asset=asset, found=found, searched=nom)


@router.post(PAGE + "/transferts/nouveau")
async def propose_transfer(visit: ManagersVisit) -> Response:
    """The offer; the asset's name was typed to confirm it."""
    form, text = visit.form, visit.form.text("asset_id")
    asset = None
    try:
        asset = await _asset(visit, number_of(text))
        asset_id = _require_asset(visit, asset)
        body = form.of(routes.NewTransfer)
        await check_proof_of(form, visit.caller)
        made: Any = await done(routes.propose_transfer(asset_id, body, visit.caller))
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _new_page(visit, "sharing/transfer_new.html", problem, asset=asset, found=[], searched="")
    return visit.go(
        f"{PAGE}/transferts/{made.id}", visit.gettext("L’offre est faite : rien ne change avant la réponse.")
    )


def _require_asset(visit: PersonsVisit, asset: Any) -> int:
    if asset is None:
        raise Problem(422, visit.gettext("Choisissez d’abord un équipement."))
    return asset.id


async def _transfer_page(visit: PersonsVisit, transfer_id: int, problem: Problem | None = None) -> Response:
    transfer: Any = await routes.read_transfer(transfer_id, visit.caller)
    is_giver = transfer.giver == visit.tenant.slug
    return visit.form_page(
        "sharing/transfer.html",
        problem,
        transfer=transfer,
        does=what_transfer_does(transfer.history, visit.language, is_giver=is_giver),
        states=STATES,
        is_giver=is_giver,
    )


@router.get(PAGE + "/transferts/{id}")
async def show_transfer(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One transfer, and what accepting it will do."""
    return await _transfer_page(visit, id)


Again = Callable[[PersonsVisit, int, Problem], Awaitable[Response]]


async def _answer(
    visit: PersonsVisit, about: int, acts: dict[str, tuple[Callable[[], Awaitable[Any]], str]], again: Again
) -> Response | str:
    """What the form asks for, done: the message to go on with; or the page again with what was wrong."""
    act = acts.get(visit.form.text("act"))
    if act is None:
        return await again(visit, about, Problem(422, visit.gettext("Choisissez ce qu’il faut faire.")))
    try:
        if visit.form.text("act") == "accept":
            await check_proof_of(visit.form, visit.caller)
        await done(act[0]())
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await again(visit, about, problem)
    return act[1]


@router.post(PAGE + "/transferts/{id}")
async def answer_transfer(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Accept, refuse, or withdraw one's own offer."""
    acts: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
        "accept": (lambda: routes.accept_transfer(id, visit.caller), visit.gettext("L’équipement est à vous.")),
        "reject": (lambda: routes.reject_transfer(id, visit.caller), visit.gettext("L’offre est refusée.")),
        "withdraw": (lambda: routes.withdraw_transfer(id, visit.caller), visit.gettext("L’offre est retirée.")),
    }
    answered = await _answer(visit, id, acts, _transfer_page)
    return visit.go(f"{PAGE}/transferts/{id}", answered) if isinstance(answered, str) else answered


@router.get(PAGE + "/{id}")
async def show_grant(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One grant, and what it opens."""
    return await _grant_page(visit, id)


@router.post(PAGE + "/{id}")
async def answer_grant(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Accept, refuse, or revoke what one gives."""
    acts: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
        "accept": (lambda: routes.accept_grant(id, visit.caller), visit.gettext("Le partage est ouvert.")),
        "reject": (lambda: routes.reject_grant(id, visit.caller), visit.gettext("L’offre est refusée.")),
        "revoke": (lambda: routes.revoke_grant(id, visit.caller), visit.gettext("Rien n’est plus ouvert par là.")),
    }
    answered = await _answer(visit, id, acts, _grant_page)
    return visit.go(f"{PAGE}/{id}", answered) if isinstance(answered, str) else answered


@router.post(PAGE + "/identifiants/nouveau")
async def contest(visit: ManagersVisit) -> Response:
    """Ask the operator for an EUI that is registered elsewhere."""
    try:
        body = visit.form.of(eui_claims.NewClaim)
        await done(eui_claims.contest(body, visit.caller))
    except Problem as problem:
        return await _overview(visit, problem)
    return visit.go(PAGE, visit.gettext("La demande est partie : l’exploitant du réseau va décider."))


@router.post(PAGE + "/identifiants/{id}/retrait")
async def withdraw_claim(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """No longer ask for it."""
    await eui_claims.withdraw(id, visit.caller)
    return visit.go(PAGE, visit.gettext("La demande est retirée."))


@router.post(PAGE + "/identifiants/{id}/decision")
async def decide_claim(id: Id, visit: OperatorsVisit) -> Response:  # noqa: A002 - The path's word.
    """For the operator: leave it where it is, or give it to who asks."""
    try:
        body = visit.form.of(eui_claims.NewDecision)
        await check_proof_of(visit.form, visit.caller)
        await done(eui_claims.decide(id, body, visit.caller))
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _overview(visit, problem)
    return visit.go(PAGE, visit.gettext("C’est décidé, et les deux côtés le voient."))
