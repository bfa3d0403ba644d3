"""Publications: what everybody reads of the territory, made, approved and withdrawn by people."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Response

from api.console.forms import Form, checked, midnight_of, number_of
from api.console.pages import page_router
from api.console.public_page.views import address_of, policy_of, render_published
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, PublishersVisit, values_of
from api.fields import INT4_MOST, Id
from api.routes import assets
from api.routes import publications as routes
from api.routes.publications import PublicationAnswer
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/publications"
REFUSED = {409, 422}
# How old a reading is before it is shown, as people choose it.
DELAYS = (0, 900, 3600, 21_600, 86_400, 604_800)


@router.get(PAGE)
async def show_list(visit: PublishersVisit) -> Response:
    """Those that there are, and which sites may embed them."""
    return await _list_page(visit)


async def _list_page(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    hosts = (await routes.list_hosts(visit.caller)).items
    return visit.form_page(
        "publications/list.html",
        problem,
        listed=(await routes.list_publications(visit.caller)).items,
        hosts=hosts,
        values={"hosts": "\n".join(hosts)} | dict(values_of(visit.form)),
    )


@router.post(PAGE)
async def change_hosts(visit: ManagersVisit) -> Response:
    """Which sites may show public pages in theirs, one a line."""
    try:
        body = checked(routes.Hosts, {"hosts": visit.form.text("hosts").split()})
        await routes.replace_hosts(body, visit.caller)
    except Problem as problem:
        if problem.status not in REFUSED:
            raise
        return await _list_page(visit, problem)
    return visit.go(PAGE, visit.gettext("Ces sites peuvent maintenant afficher vos pages publiques."))


@router.get(PAGE + "/nouvelle")
async def show_new(visit: PublishersVisit, actif: Annotated[int, Query(ge=1, le=INT4_MOST)]) -> Response:
    """The form of a new one, of the asset that the address names."""
    return await _new_page(visit, actif)


async def _new_page(visit: PersonsVisit, asset_id: int, problem: Problem | None = None) -> Response:
    asset: Any = await assets.read_asset(asset_id, visit.caller)
    values = {"name": asset.name, "delay_seconds": "0"} | dict(values_of(visit.form))
    return visit.form_page(
        "publications/new.html",
        problem,
        asset=asset,
        offered=(await routes.list_publishable(asset_id, visit.caller)).items,
        delays=DELAYS,
        chosen=visit.form.texts("quantities"),
        values=values,
    )


@router.post(PAGE + "/nouvelle")
async def create(visit: PublishersVisit) -> Response:
    """Publish what was ticked."""
    form = visit.form
    asset_id = number_of(form.text("actif"))
    try:
        given = _given(visit, form) | {"asset_id": asset_id or 0, "slug": form.text("slug") or None}
        made: Any = await routes.create_publication(checked(routes.NewPublication, given), visit.caller)
    except Problem as problem:
        if problem.status not in REFUSED or asset_id is None:
            raise
        return await _new_page(visit, asset_id, problem)
    said = (
        visit.gettext("C’est publié.")
        if made.state == "published"
        else visit.gettext("Prête : elle sera publiée une fois approuvée.")
    )
    return visit.go(f"{PAGE}/{made.id}", said)


@router.get(PAGE + "/{id}")
async def show_one(id: Id, visit: PublishersVisit) -> Response:  # noqa: A002 - The path's word.
    """One, with what can be done about it."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, publication_id: int, problem: Problem | None = None) -> Response:
    made: Any = await routes.read_publication(publication_id, visit.caller)
    asset = None
    try:
        asset = await assets.read_asset(made.asset_id, visit.caller)
        measured: Any = (await routes.list_publishable(made.asset_id, visit.caller)).items
        unmeasured = set(made.quantities) - {one.quantity for one in measured}
        offered = [*measured, *({"quantity": one, "privacy_class": 0, "is_below": False} for one in unmeasured)]
    except Problem:  # It went to another tenant.
        offered = []
    values: dict[str, Any] = {
        "name": made.name,
        "delay_seconds": str(made.delay_seconds),
        "includes_below": "1" if made.includes_below else "",
        "may_embed": "1" if made.may_embed else "",
        "until": "" if made.until is None else f"{made.until.astimezone(visit.language.zone):%Y-%m-%d}",
    }
    is_typed = problem is not None
    return visit.form_page(
        "publications/publication.html",
        problem,
        made=made,
        version=version_of(made),
        asset=asset,
        offered=offered,
        delays=sorted({*DELAYS, made.delay_seconds}),
        chosen=visit.form.texts("quantities") if is_typed else list(made.quantities),
        address=address_of(visit.request, made.slug),
        hosts=(await routes.list_hosts(visit.caller)).items,
        values=dict(values_of(visit.form)) if is_typed else values,
    )


@router.post(PAGE + "/{id}")
async def change(id: Id, visit: PublishersVisit) -> Response:  # noqa: A002 - The path's word.
    """Change one; not when somebody else has changed it since it was read."""
    try:
        body = checked(routes.PublicationPatch, _given(visit, visit.form))
        made = await _change(visit, id, partial(routes.update_publication, id, body, visit.caller))
    except Problem as problem:
        if problem.status not in REFUSED | {CHANGED}:
            raise
        return await _page(visit, id, problem)
    said = (
        visit.gettext("C’est modifié ; elle attend une nouvelle approbation.")
        if made.state == "to_approve"
        else visit.gettext("C’est modifié.")
    )
    return visit.go(f"{PAGE}/{id}", said)


@router.post(PAGE + "/{id}/approbation")
async def approve(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Approve one, by the name of who is logged in; not when it is another by now than what was read."""
    try:
        await _change(visit, id, partial(routes.approve_publication, id, visit.caller))
    except Problem as problem:
        if problem.status not in REFUSED | {CHANGED}:
            raise
        return await _page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est approuvé, et publié."))


@router.post(PAGE + "/{id}/retrait")
async def withdraw(id: Id, visit: PublishersVisit) -> Response:  # noqa: A002 - The path's word.
    """Withdraw one, once the box beside the button is ticked."""
    try:
        _require_confirmed(visit)
        await routes.withdraw_publication(id, visit.caller)
    except Problem as problem:
        if problem.status not in REFUSED:
            raise
        return await _page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est retiré."))


@router.get(PAGE + "/{id}/apercu")
async def show_preview(id: Id, visit: PublishersVisit) -> Response:  # noqa: A002 - The path's word.
    """The public page, before it is one."""
    found = await routes.read_preview(id, visit.caller)
    content = render_published(visit.request, found, is_preview=True)
    return Response(
        content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy_of(found.page)}
    )


async def _change(
    visit: PersonsVisit, publication_id: int, change: Callable[[], Awaitable[PublicationAnswer]]
) -> PublicationAnswer:
    """What `change` does; raises 412 when it is another by now than the page that the form is of has shown."""
    return await change_as_read(
        visit,
        f"/v1/publications/{publication_id}",
        partial(routes.read_publication, publication_id, visit.caller),
        change,
        visit.gettext("Quelqu’un d’autre l’a modifiée entre-temps : relisez-la, puis recommencez."),
    )


def _require_confirmed(visit: PersonsVisit) -> None:
    if not visit.form.text("confirm"):
        raise invalid("confirm", "required", visit.gettext("Cochez d’abord la case : la page ne se lira plus."))


def _given(visit: PersonsVisit, form: Form) -> dict[str, Any]:
    """What both forms have, as the routes take it; a publication ends with the last second of its last day."""
    until = midnight_of("until", form.text("until"), visit.language.zone, ends=True)
    return {
        "name": form.text("name"),
        "quantities": form.texts("quantities"),
        "includes_below": bool(form.text("includes_below")),
        "may_embed": bool(form.text("may_embed")),
        "delay_seconds": form.text("delay_seconds") or "0",
        "until": until and until - timedelta(seconds=1),
    }
