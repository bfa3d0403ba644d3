"""Webhooks of measurements: what applications are sent, how far each is, and what to do when one is stopped."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import Id
from api.routes import measurement_webhooks as routes
from api.routes import tenants
from api.routes import webhook_endpoints as endpoints
from api.routes.measurement_webhooks import NewMeasurementWebhook, RestartBody
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/webhooks"
SHOWN = 50
# What another value, or what is to be mended first, would change: said on the page itself.
SAID = frozenset({409, 422})
FILTERS = ("asset_kind", "quantity", "tag", "commune")
REASONS = {
    "asked": marked("arrêté par quelqu’un"),
    "tenant_closed": marked("la collectivité est fermée"),
    "key_ended": marked("sa clé est révoquée, a expiré ou ne lit plus : relancez-le avec vos droits"),
    "person_gone": marked("la personne qui l’a créé n’a plus de rôle : relancez-le avec vos droits"),
    "withdrawn": marked("rien de ce qu’il nomme ne peut plus être lu : fin d’un partage, droit retiré"),
    "personal": marked("ce qu’il nomme est devenu une donnée personnelle, qu’il n’envoie pas"),
    "forgotten": marked("plus de sept jours de retard : relancez-le du plus ancien, et exportez le reste"),
    "restored": marked("la base a été restaurée : relancez-le de maintenant, et exportez ce qui suit"),
}
BEGINNINGS = {
    "cursor": marked("d’où il en était"),
    "now": marked("de maintenant"),
    "oldest": marked("du plus ancien gardé : sept jours"),
}


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """All of them, and the form of another one."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    caller = visit.caller
    may_manage = caller.has("manage")
    every: list[Any] = [*(await endpoints.list_endpoints(caller)).items] if may_manage else []
    keys: list[Any] = [*(await tenants.list_api_keys(caller)).items] if may_manage else []
    return visit.form_page(
        "webhooks/list.html",
        problem,
        webhooks=(await routes.list_all(caller)).items,
        addresses={one.id: one.description or one.url for one in every if one.purpose == "measurements"},
        keys={one.id: one.name for one in keys if "read" in one.roles},
        quantities={name: known.label_fr for name, known in QUANTITIES.items()},
        values={"batch_most": "500", "batch_seconds": "10", **values_of(visit.form)},
        reasons=REASONS,
    )


@router.post(PAGE)
async def create(visit: ManagersVisit) -> Response:
    """Another one, from now on."""
    form = visit.form
    names = ("endpoint_id", "description", "key_id", "batch_most", "batch_seconds", *FILTERS)
    given: dict[str, Any] = {name: form.text(name) for name in names if form.text(name)}
    if asset := number_of(form.text("asset_id")):
        given["asset_ids"] = [asset]
    try:
        made: Any = await routes.create(checked(NewMeasurementWebhook, given), visit.caller)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return await _list(visit, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("Ce qui change dès maintenant sera envoyé."))


@router.get(PAGE + "/{id}")
async def show_webhook(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One of them, with its batches."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, webhook_id: int, problem: Problem | None = None) -> Response:
    caller = visit.caller
    return visit.form_page(
        "webhooks/webhook.html",
        problem,
        webhook=await routes.read(webhook_id, caller),
        batches=(await routes.list_batches(webhook_id, caller, limit=SHOWN)).items,
        beginnings=BEGINNINGS,
        reasons=REASONS,
    )


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What the form names: stop it, begin again, or remove it."""
    try:
        return await _act(visit, id)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return await _page(visit, id, problem)


async def _act(visit: PersonsVisit, webhook_id: int) -> Response:
    form, caller, here = visit.form, visit.caller, f"{PAGE}/{webhook_id}"
    match form.text("act"):
        case "stop":
            await routes.stop(webhook_id, caller)
            return visit.go(here, visit.gettext("Il est arrêté : ce qui change attend sept jours."))
        case "restart":
            begins = form.text("from") or "cursor"
            await routes.restart(webhook_id, checked(RestartBody, {"from": begins}), caller)
            return visit.go(here, visit.gettext("Il est relancé, avec vos droits."))
        case "delete":
            await routes.delete(webhook_id, caller)
            return visit.go(PAGE, visit.gettext("Plus rien n’est envoyé."))
        case _:
            raise Problem(422, visit.gettext("Choisissez ce qu’il faut faire."))
