"""What a supervision room looks at all day: figures, alerts as they come, and what needs a hand."""

from dataclasses import dataclass
from typing import Any

from fastapi import Response

from api.auth import Caller
from api.console.pages import begun_page, page_router
from api.console.visits import FIRST_PAGE, EarlyReadersVisit, ReadersVisit
from api.console.wording import STATES
from api.pages import Paging
from api.routes import alerts, asset_states, gateways
from api.routes.alerts import UNENDED

router = page_router()

ALERTS_SHOWN = 20
GATEWAYS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Supervised:
    """What the page shows of this instant."""

    overview: asset_states.Overview
    alerts: list[alerts.AlertAnswer]
    away: list[gateways.GatewayAnswer]
    """Gateways that are not heard at present."""

    def content(self) -> dict[str, Any]:
        """For the templates of the page and of its parts."""
        return figures_of(self.overview) | {"alerts": self.alerts, "away": self.away}


def figures_of(overview: asset_states.Overview) -> dict[str, Any]:
    """For the template of the tiles."""
    by_state = dict.fromkeys(STATES, 0)
    for count in overview.assets:
        by_state[count.state] += count.count
    return {"overview": overview, "by_state": by_state, "assets": sum(by_state.values())}


async def read_supervised(caller: Caller) -> Supervised:
    """What the caller may see of it."""
    overview = await asset_states.read_overview(caller)
    is_any_away = overview.gateways_online < overview.gateways
    known = (await gateways.list_gateways(caller, Paging(GATEWAYS_SHOWN))).items if is_any_away else []
    return Supervised(overview, await _alerts(caller), [gateway for gateway in known if not gateway.online])


@router.get(FIRST_PAGE)
async def show(visit: EarlyReadersVisit) -> Response:
    """The page."""

    async def content() -> dict[str, Any]:
        return (await read_supervised(visit.caller)).content()

    return begun_page(visit, "supervision/page.html", content)


@router.get(f"{FIRST_PAGE}/chiffres")
async def show_figures(visit: ReadersVisit) -> Response:
    """The tiles alone, for a page that gets no events."""
    overview = await asset_states.read_overview(visit.caller)
    return visit.page("supervision/figures.html", **figures_of(overview))


@router.get(f"{FIRST_PAGE}/alertes")
async def show_alerts(visit: ReadersVisit) -> Response:
    """The alerts alone."""
    return visit.page("supervision/alerts.html", alerts=await _alerts(visit.caller))


async def _alerts(caller: Caller) -> list[alerts.AlertAnswer]:
    return (await alerts.list_alerts(caller, Paging(ALERTS_SHOWN), state=UNENDED)).items
