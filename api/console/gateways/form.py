"""What is written about a gateway: its name, its place, its antenna; registered, corrected, removed."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import Response

from api.console.forms import checked
from api.console.gateways.views import PAGE
from api.console.pages import page_router
from api.console.versions import CHANGED, VERSION_FIELD, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, values_of
from api.fields import EuiPath
from api.routes import gateways as routes
from core.runtime.http.errors import Problem, invalid, read_only

router = page_router()

TO_SHOW = {409, CHANGED, 422}
NUMBERS = ("latitude", "longitude", "antenna_gain")
FIELDS = ("name", *NUMBERS, "boards", "gain_subtracted_by", "max_eirp")
# As the API says it: no lower limit than the law's.
LEGAL_EIRP = 36


def _content(visit: PersonsVisit) -> dict[str, Any]:
    """What was typed, with the language's own comma; raises 422 for half a position."""
    given = {name: visit.form.text(name) for name in FIELDS if visit.form.text(name)}
    given |= {name: given[name].replace(",", ".") for name in NUMBERS if name in given}
    if ("latitude" in given) != ("longitude" in given):
        missing = "longitude" if "latitude" in given else "latitude"
        raise invalid(
            missing, "missing", visit.gettext("Donnez la latitude et la longitude, ou ni l’une ni l’autre.")
        )
    return given


def _form(
    visit: PersonsVisit, values: Mapping[str, str], problem: Problem | None = None, gateway: Any = None
) -> Response:
    return visit.form_page("gateways/form.html", problem, values=values, gateway=gateway)


def _values_of(gateway: Any) -> dict[str, str]:
    limit = None if gateway.max_eirp == LEGAL_EIRP else gateway.max_eirp
    shown = {name: getattr(gateway, name) for name in FIELDS} | {"max_eirp": limit}
    typed = {name: "" if value is None else str(value) for name, value in shown.items()}
    return typed | {VERSION_FIELD: version_of(gateway), "antenna_gain": f"{gateway.antenna_gain:g}"}


@router.get(PAGE + "/nouvelle")
async def show_new(visit: ManagersVisit) -> Response:
    """The form of another gateway."""
    return _form(visit, {"antenna_gain": "0", "boards": "1"})


@router.post(PAGE + "/nouvelle")
async def create(visit: ManagersVisit) -> Response:
    """Register a gateway that may not have spoken yet."""
    try:
        given = _content(visit) | {"gateway_id": visit.form.text("gateway_id")}
        made = await routes.create_gateway(checked(routes.NewGateway, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return _form(visit, values_of(visit.form), problem)
    said = visit.gettext("La passerelle est enregistrée : elle est entendue dans les cinq secondes.")
    return visit.go(f"{PAGE}/{made.gateway_id}", said)


async def _own(visit: PersonsVisit, gateway_id: str) -> Any:
    """The gateway, if it is the tenant's; 403 for one that is visible only."""
    gateway: Any = await routes.read_gateway(gateway_id, visit.caller)
    if gateway.tenant_id != visit.tenant.id:
        raise read_only(f"passerelle {gateway_id}")
    return gateway


@router.get(PAGE + "/{gateway_id}/fiche")
async def show_form(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """What is written about it, to be corrected."""
    gateway = await _own(visit, gateway_id)
    return _form(visit, _values_of(gateway), gateway=gateway)


@router.post(PAGE + "/{gateway_id}/fiche")
async def change(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Save what was typed, unless somebody else has changed it meanwhile."""
    gateway = await _own(visit, gateway_id)
    try:
        patch = _patch(visit)
        await change_as_read(
            visit,
            f"/v1/gateways/{gateway_id.lower()}",
            partial(routes.read_gateway, gateway_id, visit.caller),
            partial(routes.update_gateway, gateway_id, patch, visit.caller),
        )
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        # What was typed stays; who sends it again has seen what the other has written.
        typed = {**values_of(visit.form)}
        if problem.status == CHANGED:
            gateway = await _own(visit, gateway_id)
            typed[VERSION_FIELD] = version_of(gateway)
        return _form(visit, typed, problem, gateway)
    said = visit.gettext("C’est enregistré : le réseau en tient compte dans les cinq secondes.")
    return visit.go(f"{PAGE}/{gateway_id}", said)


def _patch(visit: PersonsVisit) -> routes.GatewayPatch:
    """The change; raises 422 for what is wrong. What is left empty is erased."""
    whole = checked(routes.ClaimedGateway, _content(visit))
    return routes.GatewayPatch.model_validate({name: getattr(whole, name) for name in FIELDS})


@router.post(PAGE + "/{gateway_id}/retrait")
async def remove(gateway_id: EuiPath, visit: ManagersVisit) -> Response:
    """Remove the gateway; what it has heard stays."""
    gateway = await _own(visit, gateway_id)
    if not visit.form.text("sure"):
        problem = Problem(422, visit.gettext("Cochez la case pour la retirer."))
        return _form(visit, _values_of(gateway), problem, gateway)
    await routes.delete_gateway(gateway_id, visit.caller)
    return visit.go(PAGE, visit.gettext("La passerelle est retirée ; ce qu’elle a entendu reste."))
