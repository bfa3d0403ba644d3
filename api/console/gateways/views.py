"""Gateways: which are heard, how they work, by what they prove who they are."""

from operator import attrgetter

from fastapi import Response

from api.console.pages import page_router
from api.console.visits import ManagersVisit, OperatorsVisit, PersonsVisit, ReadersVisit
from api.fields import EuiPath
from api.pages import Paging
from api.routes import gateway_tokens
from api.routes import gateways as routes

router = page_router()

PAGE = "/passerelles"
SHOWN = 1000


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """The list; for the operator those that speak without being registered, too."""
    listed = (await routes.list_gateways(visit.caller, Paging(SHOWN))).items
    unknown = (await routes.list_unknown_gateways(visit.caller)).items if visit.caller.has("operate") else []
    listed.sort(key=attrgetter("online", "name"))
    return visit.page("gateways/list.html", gateways=listed, unknown=unknown)


@router.get(PAGE + "/{gateway_id}")
async def show_gateway(gateway_id: EuiPath, visit: ReadersVisit) -> Response:
    """One gateway."""
    return await _page(visit, gateway_id)


async def _page(visit: PersonsVisit, gateway_id: str, token: str = "") -> Response:
    gateway = await routes.read_gateway(gateway_id, visit.caller)
    tokens = (await gateway_tokens.list_tokens(gateway_id, visit.caller)).items
    return visit.page("gateways/gateway.html", gateway=gateway, tokens=tokens, token=token)


@router.post(PAGE + "/{gateway_id}/jeton")
async def make_token(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Make a token, shown this once; the former one is good for another day."""
    created = await gateway_tokens.create_token(
        gateway_id, gateway_tokens.NewToken.model_validate({}), visit.caller
    )
    return await _page(visit, gateway_id, created.token)


@router.post(PAGE + "/inconnues/{gateway_id}")
async def claim(gateway_id: EuiPath, visit: OperatorsVisit) -> Response:
    """Register a gateway that speaks to us already."""
    claimed = await routes.claim_gateway(gateway_id, visit.form.of(routes.ClaimedGateway), visit.caller)
    return visit.go(f"{PAGE}/{claimed.gateway_id}", visit.gettext("La passerelle est enregistrée."))
