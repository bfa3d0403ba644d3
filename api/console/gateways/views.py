"""Gateways: which are heard, how they work, by what they prove who they are."""

import re
from operator import attrgetter
from typing import Any

from fastapi import Response

from api.console.pages import page_router
from api.console.sorting import Keys, Sort, by_text, order_of
from api.console.visits import ManagersVisit, OperatorsVisit, PersonsVisit, ReadersVisit
from api.console.where import Text, read_places
from api.fields import EuiPath
from api.pages import Paging
from api.routes import alerts, gateway_coverage, gateway_tokens, mqtt_accounts, network_coverage, station_updates
from api.routes import gateways as routes
from core.runtime.http.errors import Problem, not_found
from registry.places import Place

router = page_router()

PAGE = "/passerelles"
SHOWN, ALERTS_SHOWN = 1000, 20
STATION = "basics_station"
INVALID = 422
KEY = re.compile("[0-9a-fA-F]{16}")
COLUMNS: Keys = {
    "etat": attrgetter("online"),
    "nom": lambda one: by_text(one.name),
    "eui": attrgetter("gateway_id"),
    "signe": attrgetter("last_seen_at"),
    "chemin": attrgetter("frontend"),
}
# As in installer's mode: how much there is to lose.
GOOD_RSSI, POOR_RSSI = -105, -117


@router.get(PAGE)
async def show_list(visit: ReadersVisit, tri: Sort = "", commune: Text = "") -> Response:
    """The list; for the operator those that speak without being registered, too."""
    listed = (await routes.list_gateways(visit.caller, Paging(SHOWN), place=Place(commune=commune or None))).items
    unknown = (await routes.list_unknown_gateways(visit.caller)).items if visit.caller.has("operate") else []
    listed.sort(key=attrgetter("online", "name"))
    order = order_of(visit.request, tri, COLUMNS)
    communes = (await read_places(visit.caller)).communes
    return visit.page(
        "gateways/list.html",
        gateways=order.applied(listed),
        unknown=unknown,
        order=order,
        commune=commune,
        communes=communes,
    )


@router.get(PAGE + "/{gateway_id}")
async def show_gateway(gateway_id: EuiPath, visit: ReadersVisit) -> Response:
    """One gateway."""
    return await _page(visit, gateway_id)


async def _page(
    visit: PersonsVisit, gateway_id: str, problem: Problem | None = None, **shown_once: str
) -> Response:
    caller = visit.caller
    gateway: Any = await routes.read_gateway(gateway_id, caller)
    return visit.form_page(
        "gateways/gateway.html",
        problem,
        gateway=gateway,
        is_own=gateway.tenant_id == visit.tenant.id,
        tokens=(await gateway_tokens.list_tokens(gateway_id, caller)).items,
        accounts=(await mqtt_accounts.list_gateway_accounts(gateway_id, caller)).items,
        updates=(await station_updates.list_updates(caller)).items if gateway.frontend == STATION else [],
        open_alerts=await _open_alerts(visit, gateway_id),
        coverage=await gateway_coverage.read_coverage(gateway_id, caller),
        dependents=(await network_coverage.list_dependents(gateway_id, caller)).items,
        lost_days=network_coverage.DAYS,
        good=GOOD_RSSI,
        poor=POOR_RSSI,
        shown=shown_once,
    )


async def _open_alerts(visit: PersonsVisit, gateway_id: str) -> list[Any]:
    found = await alerts.list_alerts(
        visit.caller, Paging(ALERTS_SHOWN), state=alerts.UNENDED, gateway_eui=gateway_id
    )
    return [*found.items]


@router.post(PAGE + "/{gateway_id}/jeton")
async def change_tokens(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Make a token, shown this once, while the former one is good for another day; or withdraw one."""
    removed = visit.form.text("retirer")
    if removed:
        await gateway_tokens.delete_token(gateway_id, _key(removed), visit.caller)
        return visit.go(f"{PAGE}/{gateway_id}", visit.gettext("Le jeton est retiré."))
    created = await gateway_tokens.create_token(
        gateway_id, gateway_tokens.NewToken.model_validate({}), visit.caller
    )
    return await _page(visit, gateway_id, token=created.token)


@router.post(PAGE + "/{gateway_id}/compte-mqtt")
async def change_accounts(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Make an account at the broker, its password shown this once; or withdraw one."""
    removed = visit.form.text("retirer")
    if removed:
        await mqtt_accounts.delete_gateway_account(gateway_id, _key(removed), visit.caller)
        return visit.go(f"{PAGE}/{gateway_id}", visit.gettext("Le compte est retiré."))
    created: Any = await mqtt_accounts.create_gateway_account(
        gateway_id, mqtt_accounts.NewMqttAccount.model_validate({}), visit.caller
    )
    return await _page(visit, gateway_id, username=created.username, password=created.password)


def _key(text: str) -> str:
    """Of a token or an account; raises 404 for what is none."""
    if not KEY.fullmatch(text):
        raise not_found("justificatif")
    return text


@router.post(PAGE + "/{gateway_id}/station")
async def change_station_order(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Say what a Basics Station shall fetch; or want nothing more of it."""
    try:
        if visit.form.text("act") == "withdraw":
            await station_updates.withdraw(gateway_id, visit.caller)
            return visit.go(f"{PAGE}/{gateway_id}", visit.gettext("Plus rien n’est demandé à la station."))
        await station_updates.order_one(gateway_id, visit.form.of(station_updates.StationOrder), visit.caller)
    except Problem as problem:
        if problem.status != INVALID:
            raise
        return await _page(visit, gateway_id, problem)
    said = visit.gettext("C’est demandé : la station le prend à son prochain contact, sous 24 heures.")
    return visit.go(f"{PAGE}/{gateway_id}", said)


@router.post(PAGE + "/inconnues/{gateway_id}")
async def claim(gateway_id: EuiPath, visit: OperatorsVisit) -> Response:
    """Register a gateway that speaks to us already."""
    claimed = await routes.claim_gateway(gateway_id, visit.form.of(routes.ClaimedGateway), visit.caller)
    return visit.go(f"{PAGE}/{claimed.gateway_id}", visit.gettext("La passerelle est enregistrée."))
