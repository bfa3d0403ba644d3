"""What a supervision room looks at all day: figures, alerts as they come, and what needs a hand."""

from typing import Any

from fastapi import Response

from api.console.pages import page_router
from api.console.visits import FIRST_PAGE, PersonsVisit, ReadersVisit
from api.pages import Paging
from api.routes import alerts, asset_states, gateways
from api.routes.alerts import UNENDED

router = page_router()

ALERTS_SHOWN = 20
GATEWAYS_SHOWN = 1000
# The worst first; the order of the tiles, of the map's legend and of the list.
STATES = ("critical", "major", "warning", "info", "command", "silent", "unknown", "ok")


@router.get(FIRST_PAGE)
async def show(visit: ReadersVisit) -> Response:
    """The page."""
    figures, open_alerts = await _figures(visit), await _alerts(visit)
    known = (await gateways.list_gateways(visit.caller, Paging(GATEWAYS_SHOWN))).items
    away = [gateway for gateway in known if not gateway.online]
    return visit.page("supervision/page.html", **figures, alerts=open_alerts, away=away)


@router.get(f"{FIRST_PAGE}/chiffres")
async def show_figures(visit: ReadersVisit) -> Response:
    """The tiles alone, to be put in place of those of a while ago."""
    return visit.page("supervision/figures.html", **await _figures(visit))


@router.get(f"{FIRST_PAGE}/alertes")
async def show_alerts(visit: ReadersVisit) -> Response:
    """The alerts alone."""
    return visit.page("supervision/alerts.html", alerts=await _alerts(visit))


async def _figures(visit: PersonsVisit) -> dict[str, Any]:
    overview = await asset_states.read_overview(visit.caller)
    by_state = dict.fromkeys(STATES, 0)
    for count in overview.assets:
        by_state[count.state] += count.count
    return {"overview": overview, "by_state": by_state, "assets": sum(by_state.values())}


async def _alerts(visit: PersonsVisit) -> list[alerts.AlertAnswer]:
    return (await alerts.list_alerts(visit.caller, Paging(ALERTS_SHOWN), state=UNENDED)).items
