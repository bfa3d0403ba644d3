"""Partners' systems: what each may tell us, its secret shown once, and where it sends."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import Id
from api.rotation import RotationBody
from api.routes import event_sources as routes
from api.routes import teams
from api.routes.event_sources import EventSourcePatch, NewEventSource
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/partenaires"
TO_SHOW = (409, 422)
PURPOSES = {
    "alarms": marked("des alarmes, qui ouvrent et terminent des alertes"),
    "work_orders": marked("l’état des interventions (GMAO)"),
}
# Where each sends.
DOORS = {"alarms": "/v1/partner-events/", "work_orders": "/v1/work-order-reports/"}


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Every one, and the form of another."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    known: list[Any] = [*(await teams.list_teams(visit.caller)).items]
    return visit.form_page(
        "partners/list.html",
        problem,
        sources=(await routes.list_sources(visit.caller)).items,
        teams={str(one.id): one.name for one in known},
        purposes=PURPOSES,
    )


@router.post(PAGE)
async def create(visit: ManagersVisit) -> Response:
    """Add one; its secret is on the page that follows, this once."""
    form = visit.form
    given = {
        "name": form.text("name"),
        "purpose": form.text("purpose"),
        "team_id": number_of(form.text("team_id")),
    }
    try:
        made: Any = await routes.create_source(checked(NewEventSource, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _list(visit, problem)
    return await _page(visit, made.id, secret=made.secret)


@router.get(PAGE + "/{id}")
async def show_source(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One of them."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, source_id: int, problem: Problem | None = None, secret: str = "") -> Response:
    source: Any = await routes.read_source(source_id, visit.caller)
    base = visit.dependencies.access.public_url.rstrip("/") or str(visit.request.base_url).rstrip("/")
    known: list[Any] = [*(await teams.list_teams(visit.caller)).items]
    return visit.form_page(
        "partners/source.html",
        problem,
        source=source,
        purpose=PURPOSES[source.purpose],
        door=f"{base}{DOORS[source.purpose]}{source.id}",
        team=next((one.name for one in known if one.id == source.team_id), None),
        secret=secret,
    )


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Suspend it, resume it, give it another secret, or remove it once that was confirmed."""
    form, caller = visit.form, visit.caller
    wanted = form.text("act")
    if wanted in {"remove", "rotate"} and not form.text("sure"):
        return await _page(visit, id, Problem(422, visit.gettext("Cochez la case pour confirmer.")))
    if wanted == "rotate":
        body = RotationBody(keep_former_hours=0 if form.text("at_once") else 24)
        return await _page(visit, id, secret=(await routes.rotate_secret(id, body, caller)).secret)
    if wanted == "remove":
        await routes.delete_source(id, caller)
        return visit.go(PAGE, visit.gettext("Ce système n’est plus écouté."))
    is_resumed = wanted == "resume"
    await routes.update_source(id, EventSourcePatch(enabled=is_resumed), caller)
    said = (
        visit.gettext("Ses messages sont de nouveau pris.")
        if is_resumed
        else visit.gettext("Ses messages sont refusés jusqu’à nouvel ordre.")
    )
    return visit.go(f"{PAGE}/{id}", said)
