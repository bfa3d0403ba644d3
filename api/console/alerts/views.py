"""Alerts: the list with its filters, the work on several at once, and one alert with its history."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import Query, Response

from alerting.rules.model import Severity
from api import asset_state_store
from api.console.forms import errors_by_field
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit, own_address, values_of
from api.fields import PRINTABLE, BigId
from api.pages import Paging
from api.routes import alerts as routes
from api.routes.alerts import UNENDED, AlertAnswer, Workflow
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/alertes"
SHOWN = 50
AT_ONCE_MOST = 100
INVALID = 422


@router.get(PAGE)
async def show_list(
    visit: ReadersVisit,
    etat: Annotated[str, Query(max_length=20)] = "",
    gravite: Annotated[str, Query(max_length=20)] = "",
    commune: Annotated[str, Query(max_length=200, pattern=PRINTABLE)] = "",
    suite: Annotated[str | None, Query(max_length=30)] = None,
) -> Response:
    """The list; without a filter those that have not ended."""
    every: list[Workflow] = list(get_args(Workflow))
    named: list[Workflow] = [one for one in every if one == etat]
    states = named or (every if etat == "all" else UNENDED)
    severities: list[Severity] = [one for one in get_args(Severity) if one == gravite]
    page = await routes.list_alerts(
        visit.caller, Paging(SHOWN, suite), state=states, severity=severities or None, commune=commune or None
    )
    async with visit.caller.reading() as connection:
        communes = await asset_state_store.list_communes(connection)
    filters = {"etat": etat, "gravite": gravite, "commune": commune}
    following = urlencode({name: value for name, value in filters.items() if value} | {"suite": page.next or ""})
    return visit.page(
        "alerts/list.html",
        alerts=page.items,
        following=f"{PAGE}?{following}" if page.next else "",
        filters=filters,
        communes=communes,
        first=suite is None,
    )


@router.post(PAGE)
async def act_on_several(visit: FieldAgentsVisit) -> Response:
    """One act on each alert that is ticked; how many it was done to, and why not to the others."""
    chosen = [int(text) for text in visit.form.texts("id") if text.isdigit()][:AT_ONCE_MOST]
    back = own_address(visit.form.text("vers") or PAGE)
    if not chosen:
        return visit.go(back, visit.gettext("Cochez d’abord des alertes."))
    done, refused = 0, Counter[str]()
    for alert_id in chosen:
        try:
            await _act(visit, alert_id)
            done += 1
        except Problem as problem:
            refused[problem.detail] += 1
    treated = visit.gettext("Alertes traitées :")
    outcome = [f"{treated} {done} / {len(chosen)}"]
    return visit.go(back, " ; ".join([*outcome, *(f"{count} × {why}" for why, count in refused.items())]))


async def _act(visit: PersonsVisit, alert_id: int) -> AlertAnswer:
    """The act that the form names; raises 422 when it names none that there is."""
    form, caller = visit.form, visit.caller
    acts: dict[str, Callable[[], Awaitable[AlertAnswer]]] = {
        "acknowledge": lambda: routes.acknowledge_alert(alert_id, caller),
        "assign": lambda: routes.assign_alert(alert_id, form.of(routes.Assignment), caller),
        "comment": lambda: routes.comment_alert(alert_id, form.of(routes.Comment), caller),
        "resolve": lambda: routes.resolve_alert(alert_id, form.of(routes.Resolution), caller),
        "close": lambda: routes.close_alert(alert_id, form.of(routes.Closing), caller),
    }
    act = acts.get(form.text("act"))
    if act is None:
        raise Problem(422, visit.gettext("Choisissez ce qu’il faut faire."))
    return await act()


@router.get(PAGE + "/{id}")
async def show_alert(id: BigId, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One alert, its history and what can be done about it."""
    return await _alert_page(visit, id)


async def _alert_page(visit: PersonsVisit, alert_id: int, problem: Problem | None = None) -> Response:
    alert = await routes.read_alert(alert_id, visit.caller)
    events = (await routes.list_events(alert_id, visit.caller)).items
    return visit.page(
        "alerts/alert.html",
        200 if problem is None else problem.status,
        alert=alert,
        events=events,
        problem=problem,
        errors=errors_by_field(problem),
        values=values_of(visit.form),
    )


@router.post(PAGE + "/{id}")
async def act_on_one(id: BigId, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """One act on this alert."""
    try:
        await _act(visit, id)
    except Problem as problem:
        if problem.status != INVALID:
            raise
        return await _alert_page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est fait."))
