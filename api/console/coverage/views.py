"""Coverage: target and observed by commune, white zones, and what would be lost with a gateway."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import Response

from api.console.forms import number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.territory.views import DIGITS, DRAWN_MOST, packed
from api.console.visits import ReadersVisit
from api.pages import Paging
from api.routes import gateways
from api.routes import network_coverage as routes
from core.runtime.http.errors import Problem

router = page_router()

PAGE, MAP = "/couverture", "/carte/couverture"
SHOWN = 200
NOT_FOUND = 404
STATES = {
    "covered": marked("couvert"),
    "weak": marked("couverture faible"),
    "white": marked("zone blanche"),
    "unknown": marked("inconnu"),
}
SHAPES = {"white": "critical", "weak": "warning", "unknown": "silent", "covered": "ok"}
WORST_FIRST = [*SHAPES.values()]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address says of time, target and place; what cannot be meant is not said."""

    days: int
    target: int
    commune: str | None

    def named(self) -> dict[str, Any]:
        """As the form has it."""
        return {"jours": self.days, "objectif": self.target, "commune": self.commune or ""}


def _asked(visit: ReadersVisit) -> Asked:
    asked = visit.request.query_params
    return Asked(
        min(number_of(asked.get("jours", "")) or routes.DAYS, routes.DAYS_MOST),
        min(number_of(asked.get("objectif", "")) or int(routes.OBJECTIVE), 100),
        asked.get("commune", "")[:100] or None,
    )


@router.get(PAGE)
async def show_coverage(visit: ReadersVisit) -> Response:
    """What the network's own traffic says of where it is received."""
    asked, address = _asked(visit), visit.request.query_params
    days, commune = asked.days, asked.commune
    state: Any = address.get("etat", "white") if address.get("etat", "white") in STATES else "white"
    caller = visit.caller
    communes = (await routes.list_communes(caller, days, asked.target)).items
    found = await routes.list_coverage(caller, Paging(SHOWN), days, commune, state)
    every: list[Any] = [*(await gateways.list_gateways(caller, Paging(SHOWN))).items]
    chosen = address.get("passerelle", "")
    dependents = await _dependents(visit, chosen, days) if chosen in {one.gateway_id for one in every} else None
    return visit.page(
        "coverage/page.html",
        communes=communes,
        found=found.items,
        is_more=found.next is not None,
        wanted=asked.named() | {"etat": state, "passerelle": chosen},
        gateways={one.gateway_id: one.name for one in every},
        dependents=dependents,
        conditions=STATES,
        shapes=SHAPES,
    )


@router.get(MAP)
async def show_map(visit: ReadersVisit) -> Response:
    """Communes by target and observed, assets by how they are received, and white zones as a list."""
    asked = _asked(visit)
    every: list[Any] = [*(await routes.list_communes(visit.caller, asked.days, asked.target)).items]
    communes = [one for one in every if asked.commune is None or one.name.lower() == asked.commune.lower()]
    white = await routes.list_coverage(visit.caller, Paging(SHOWN), asked.days, asked.commune, "white")
    points = {"jours": asked.days, "commune": asked.commune}
    layer = {"days": asked.days, "target": asked.target}
    return visit.page(
        "coverage/map.html",
        communes=communes,
        white=white.items,
        wanted=asked.named(),
        points=f"{MAP}/points?{urlencode({name: one for name, one in points.items() if one})}",
        layer=f"/v1/network/commune-layer?{urlencode(layer)}",
        legend={shape: STATES[state] for state, shape in SHAPES.items()},
    )


@router.get(MAP + "/points")
async def show_points(visit: ReadersVisit) -> Response:
    """What the map draws, as the map of states has it: shapes are named by the states that have them there."""
    asked = _asked(visit)
    found = await routes.list_coverage(visit.caller, Paging(DRAWN_MOST), asked.days, asked.commune)
    placed = [one for one in found.items if one.latitude is not None and one.longitude is not None]
    columns = {
        "states": WORST_FIRST,
        "id": [one.id for one in placed],
        "latitude": [round(one.latitude or 0.0, DIGITS) for one in placed],
        "longitude": [round(one.longitude or 0.0, DIGITS) for one in placed],
        "state": [WORST_FIRST.index(SHAPES[one.state]) for one in placed],
        "name": [one.name for one in placed],
    }
    return packed(visit.request, msgspec.json.encode(columns), "application/json")


async def _dependents(visit: ReadersVisit, gateway_id: str, days: int) -> list[Any] | None:
    """None: a gateway that is visible no more."""
    try:
        return [*(await routes.list_dependents(gateway_id, visit.caller, days)).items]
    except Problem as problem:
        if problem.status != NOT_FOUND:
            raise
        return None
