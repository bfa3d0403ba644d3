"""Tonnes that were emptied, what they are calibrated by, and tickets of weighbridges."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, instant_of, number_of
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit
from api.console.waste.filters import GROUPINGS, INVALID, PAGE, Filter, Filtered, common
from api.pages import Paging
from api.routes import waste_tonnage as routes
from api.routes.waste_tonnage import NewWeighing, TonnageAnswer
from core.runtime.http.errors import Problem

router = page_router()

HERE = PAGE + "/tonnages"
SHOWN, TICKETS = 200, 20
TO_SHOW = (409, 422)


@router.get(HERE)
async def show_tonnage(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Tonnes by month, stream, commune or bin, with n, calibration and what is unknown."""
    return await _page(visit, wanted)


async def _page(visit: PersonsVisit, wanted: Filter, problem: Problem | None = None) -> Response:
    grouping: Any = GROUPINGS.get(wanted.par, GROUPINGS["mois"])[0]
    found = None
    try:
        found = await routes.list_tonnage(visit.caller, wanted.wanted(visit), [grouping])
    except Problem as refused:
        if refused.status != INVALID:
            raise
        problem = problem or refused
    items = [] if found is None else _ordered(found.items, grouping)
    return visit.form_page(
        "waste/tonnage.html",
        problem,
        items=items[:SHOWN],
        is_more=len(items) > SHOWN,
        calibrations=[] if found is None else found.calibrations,
        tickets=(await routes.list_weighings(visit.caller, Paging(TICKETS))).items,
        grouping=grouping,
        query=wanted.query(visit, by=grouping),
        **await common(visit, wanted),
    )


def _ordered(items: list[TonnageAnswer], grouping: str) -> list[TonnageAnswer]:
    """Months as they follow, anything else the heaviest first."""
    if grouping == "month":
        return sorted(items, key=lambda one: one.month or "")
    return sorted(items, key=lambda one: (-one.tonnes, one.name or one.commune or one.stream or ""))


@router.post(HERE)
async def act(visit: FieldAgentsVisit) -> Response:
    """Enter a ticket, or take one back."""
    form = visit.form
    try:
        if ticket := number_of(form.text("retirer")):
            await routes.delete_weighing(ticket, visit.caller)
            return visit.go(HERE, visit.gettext("Le bon est retiré."))
        plain = ("ticket", "stream", "round_id")
        given: dict[str, Any] = {name: form.text(name) for name in plain if form.text(name)}
        given["net_kg"] = "".join(form.text("net_kg").split()).replace(",", ".")
        given["weighed_at"] = instant_of("weighed_at", form.text("weighed_at"), visit.language.zone)
        await routes.create_weighing(checked(NewWeighing, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, Filter(), problem)
    return visit.go(HERE, visit.gettext("Le bon est saisi : les tonnages en tiennent compte."))
