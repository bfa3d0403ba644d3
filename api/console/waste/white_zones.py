"""Bins that the network does not reach, each with a form for what somebody reads there."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, instant_of, number_of
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit
from api.console.waste.filters import PAGE
from api.routes import manual_readings, network_coverage
from api.routes import waste_white_zones as routes
from api.routes.manual_readings import NewManualReading
from core.runtime.http.errors import Problem, invalid

router = page_router()

HERE = PAGE + "/zones-blanches"
TO_SHOW = (409, 422)


@router.get(HERE)
async def show_white_zones(visit: ReadersVisit) -> Response:
    """White zones first, then what is unknown."""
    return await _page(visit)


async def _page(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    asked = visit.request.query_params
    days = min(number_of(asked.get("jours", "")) or network_coverage.DAYS, network_coverage.DAYS_MOST)
    found = await routes.list_white_zones(visit.caller, days)
    return visit.form_page("waste/white_zones.html", problem, items=found.items, days=days, home=PAGE)


@router.post(HERE)
async def enter_reading(visit: FieldAgentsVisit) -> Response:
    """Enter what somebody has read of a bin."""
    form = visit.form
    try:
        stream = number_of(form.text("datastream_id"))
        if stream is None:
            raise invalid("datastream_id", "unknown", "borne inconnue")
        given: dict[str, Any] = {
            "value": form.text("value").replace(",", ".").removesuffix("%").strip(),
            "time": instant_of("time", form.text("time"), visit.language.zone),
            "note": form.text("note"),
        }
        await manual_readings.create(stream, checked(NewManualReading, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, problem)
    return visit.go(HERE, visit.gettext("Le relevé est enregistré : il compte comme une mesure."))
