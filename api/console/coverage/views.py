"""Coverage: target and observed by commune, white zones, and what would be lost with a gateway."""

from typing import Any

from fastapi import Response

from api.console.forms import number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.pages import Paging
from api.routes import gateways
from api.routes import network_coverage as routes
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/couverture"
SHOWN = 200
NOT_FOUND = 404
STATES = {
    "covered": marked("couvert"),
    "weak": marked("couverture faible"),
    "white": marked("zone blanche"),
    "unknown": marked("inconnu"),
}
SHAPES = {"covered": "ok", "weak": "warning", "white": "critical", "unknown": "silent"}


@router.get(PAGE)
async def show_coverage(visit: ReadersVisit) -> Response:
    """What the network's own traffic says of where it is received."""
    asked = visit.request.query_params
    days = min(number_of(asked.get("jours", "")) or routes.DAYS, routes.DAYS_MOST)
    target = min(number_of(asked.get("objectif", "")) or int(routes.OBJECTIVE), 100)
    commune = asked.get("commune", "")[:100] or None
    state: Any = asked.get("etat", "white") if asked.get("etat", "white") in STATES else "white"
    caller = visit.caller
    communes = (await routes.list_communes(caller, days, target)).items
    found = await routes.list_coverage(caller, Paging(SHOWN), days, commune, state)
    every: list[Any] = [*(await gateways.list_gateways(caller, Paging(SHOWN))).items]
    chosen = asked.get("passerelle", "")
    dependents = await _dependents(visit, chosen, days) if chosen in {one.gateway_id for one in every} else None
    return visit.page(
        "coverage/page.html",
        communes=communes,
        found=found.items,
        is_more=found.next is not None,
        wanted={"jours": days, "objectif": target, "commune": commune or "", "etat": state, "passerelle": chosen},
        gateways={one.gateway_id: one.name for one in every},
        dependents=dependents,
        conditions=STATES,
        shapes=SHAPES,
    )


async def _dependents(visit: ReadersVisit, gateway_id: str, days: int) -> list[Any] | None:
    """None: a gateway that is visible no more."""
    try:
        return [*(await routes.list_dependents(gateway_id, visit.caller, days)).items]
    except Problem as problem:
        if problem.status != NOT_FOUND:
            raise
        return None
