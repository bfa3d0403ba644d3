"""What was done to the lamps of a cabinet, by whom and why, at an address of its own."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Response

from api.console.lighting.views import KINDS, PAGE
from api.console.pages import page_router
from api.console.visits import ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import lighting as cabinets
from api.routes import lighting_history as routes

router = page_router()

SHOWN = 50
Following = Annotated[str, Query(max_length=60, pattern="^[0-9.]*$")]


@router.get(PAGE + "/{id}/historique")
async def show_history(id: Id, visit: ReadersVisit, suite: Following = "") -> Response:  # noqa: A002 - The path's word.
    """All of it, the last first."""
    found = await routes.read_lighting_history(id, visit.caller, Paging(SHOWN, suite or None))
    return visit.page(
        "lighting/history.html",
        cabinet=await cabinets.read_cabinet(id, visit.caller),
        entries=found.items,
        names=KINDS,
        following=f"{PAGE}/{id}/historique?{urlencode({'suite': found.next})}" if found.next else "",
    )
