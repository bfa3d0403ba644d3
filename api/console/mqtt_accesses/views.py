"""MQTT accesses: made for oneself, followed, their password renewed, removed; a password is shown once."""

from typing import Any

from fastapi import Response

from api.console.forms import checked
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit, values_of
from api.fields import Id
from api.routes import mqtt_accesses as routes
from api.routes import tenants
from api.routes.mqtt_accesses import AccountAnswer, NewMqttAccess, PasswordRenewal
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/acces-mqtt"
# What another value, or what is to be mended first, would change: said on the page itself.
SAID = frozenset({403, 409, 422})
REASONS = {
    "tenant_closed": marked("la collectivité est fermée"),
    "key_ended": marked("sa clé est révoquée, a expiré, ne lit plus, ou ne vaut que depuis certains réseaux"),
    "person_gone": marked("la personne qui l’a créé n’a plus de rôle"),
}


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """One's own, for a manager all of the tenant's, and the form of another one."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    caller = visit.caller
    keys: list[Any] = [*(await tenants.list_api_keys(caller)).items] if caller.has("manage") else []
    return visit.form_page(
        "mqtt_accesses/list.html",
        problem,
        accesses=(await routes.list_all(caller)).items,
        keys={one.id: one.name for one in keys if "read" in one.roles and not one.addresses},
        has_broker=bool(visit.dependencies.access.mqtt_url),
        values=values_of(visit.form),
        reasons=REASONS,
    )


@router.post(PAGE)
async def create(visit: ReadersVisit) -> Response:
    """Another one; its password is on the page that follows, this once."""
    form = visit.form
    given: dict[str, Any] = {"name": form.text("name"), "personal": bool(form.text("personal"))}
    if form.text("key_id"):
        given["key_id"] = form.text("key_id")
    try:
        made: Any = await routes.create(checked(NewMqttAccess, given), visit.caller)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return await _list(visit, problem)
    return await _page(visit, made.access.id, account=made.account)


@router.get(PAGE + "/{id}")
async def show_access(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One of them."""
    return await _page(visit, id)


async def _page(
    visit: PersonsVisit, access_id: int, problem: Problem | None = None, account: AccountAnswer | None = None
) -> Response:
    access = await routes.read(access_id, visit.caller)
    may_renew = access.mine or access.key_id is not None
    return visit.form_page(
        "mqtt_accesses/access.html",
        problem,
        access=access,
        account=account,
        may_renew=may_renew,
        reasons=REASONS,
    )


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """Give it another password, or remove it, once that was confirmed."""
    form, caller = visit.form, visit.caller
    if not form.text("sure"):
        return await _page(visit, id, Problem(422, visit.gettext("Cochez la case pour confirmer.")))
    if form.text("act") == "remove":
        await routes.delete(id, caller)
        return visit.go(
            PAGE, visit.gettext("Cet accès n’existe plus : sa connexion est coupée dans les 5 secondes.")
        )
    body = PasswordRenewal(keep_former_hours=0 if form.text("at_once") else 24)
    try:
        return await _page(visit, id, account=await routes.renew(id, body, caller))
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return await _page(visit, id, problem)
