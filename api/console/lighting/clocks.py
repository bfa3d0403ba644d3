"""Clocks of cabinets: which hold the program that they should, which do not, and what depends on the platform."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Response

from api.console.pages import page_router
from api.console.trades.views import SHOWN, Filtered, trade_page
from api.console.visits import LightingVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import lighting_shadows as routes
from api.trade_store import LIGHTING
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/eclairage/horloges"
CONFLICT = 409
Which = Annotated[Literal["", "ecart", "plateforme"], Query()]


@router.get(PAGE)
async def show_clocks(visit: ReadersVisit, wanted: Filtered, etat: Which = "") -> Response:
    """All of them, those that drift, or those that hold no program."""
    found = await routes.list_shadows(
        visit.caller,
        Paging(SHOWN, wanted.suite or None),
        drifts=True if etat == "ecart" else None,
        commune=wanted.commune or None,
        holds_program=False if etat == "plateforme" else None,
    )
    chosen = {name: text for name, text in {"commune": wanted.commune, "etat": etat}.items() if text}
    more = f"{PAGE}?{urlencode(chosen | {'suite': found.next})}" if found.next else ""
    return await trade_page(visit, "lighting/clocks.html", LIGHTING, wanted, found, which=etat, more=more)


@router.post(PAGE + "/{id}/programme")
async def send_program(id: Id, visit: LightingVisit) -> Response:  # noqa: A002 - The path's word.
    """Send a clock that drifts the program that it should hold."""
    try:
        await routes.send_clock_program(id, visit.caller)
    except Problem as problem:
        if problem.status != CONFLICT:
            raise
        return visit.go(PAGE, str(problem.detail))
    return visit.go(PAGE, visit.gettext("Le programme est parti ; l’horloge dira bientôt le tenir."))
