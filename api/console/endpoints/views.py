"""Recipients: where notifications go, what each has still to prove, and how sending to it goes."""

from functools import partial
from typing import Any

from fastapi import Response

from alerting import proof
from alerting.message_formats import EMAIL
from api.console.forms import number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import INT8_MOST, Id
from api.rotation import RotationBody
from api.routes import teams
from api.routes import webhook_delivery as delivery
from api.routes import webhook_endpoints as routes
from api.routes.webhook_endpoints import CodeBody, NewWebhookEndpoint, OperatorBody, WebhookEndpointPatch
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/destinataires"
NEW = f"{PAGE}/nouveau"
SHOWN = 50
# What another value, or a moment's patience, would mend: said on the page itself.
SAID = frozenset({409, 422, 429})
FORMS = {
    "chat": marked("un salon Mattermost ou Slack"),
    "teams": marked("un canal Microsoft Teams"),
    "standard": marked("un logiciel (Standard Webhooks)"),
    "cloudevents": marked("un logiciel (CloudEvents)"),
    "email": marked("une adresse de courrier"),
}
PURPOSES = {"events": marked("des alertes et des interventions"), "measurements": marked("des mesures")}
TO_MAKE = ("chat", "teams", "standard", "cloudevents")


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Everyone who is notified, and what waits for them."""
    caller = visit.caller
    endpoints: list[Any] = [*(await routes.list_endpoints(caller)).items]
    health = {one.id: await delivery.read_health(one.id, caller) for one in endpoints}
    return visit.page("endpoints/list.html", endpoints=endpoints, health=health, forms=FORMS)


@router.get(NEW)
async def show_new(visit: ManagersVisit) -> Response:
    """The form of another recipient."""
    return _form(visit)


def _form(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    return visit.form_page(
        "endpoints/new.html",
        problem,
        forms={form: FORMS[form] for form in TO_MAKE},
        purposes=PURPOSES,
    )


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Add a recipient; its secret is shown on the page that follows, this once."""
    try:
        made: Any = await routes.create_endpoint(visit.form.of(NewWebhookEndpoint), visit.caller)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return _form(visit, _reworded(problem))
    signs = proof.answers_by_itself(made.form)
    return await _page(visit, made.id, secret=made.secret if signs else "")


def _reworded(problem: Problem) -> Problem:
    return Problem(problem.status, problem.detail.replace("'", "’"), errors=problem.errors)


@router.get(PAGE + "/{id}")
async def show_endpoint(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One recipient."""
    return await _page(visit, id)


async def _page(
    visit: PersonsVisit, endpoint_id: int, problem: Problem | None = None, secret: str = ""
) -> Response:
    caller = visit.caller
    endpoint: Any = await routes.read_endpoint(endpoint_id, caller)
    return visit.form_page(
        "endpoints/endpoint.html",
        problem,
        endpoint=endpoint,
        is_email=endpoint.form == EMAIL,
        answers_by_itself=proof.answers_by_itself(endpoint.form),
        forms=FORMS,
        health=await delivery.read_health(endpoint_id, caller),
        attempts=(await routes.list_attempts(endpoint_id, caller, limit=SHOWN)).items,
        letters=(await delivery.list_dead_letters(endpoint_id, caller, limit=SHOWN)).items,
        version=version_of(endpoint),
        secret=secret,
    )


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What the form names: prove it, try it, suspend it, send again, forget, or change its secret or address."""
    try:
        return await _act(visit, id)
    except Problem as problem:
        if problem.status not in {*SAID, CHANGED}:
            raise
        return await _page(visit, id, _reworded(problem))


async def _act(visit: PersonsVisit, endpoint_id: int) -> Response:
    if visit.form.text("act") == "rotate":
        rotated = await delivery.rotate_secret(endpoint_id, visit.form.of(RotationBody), visit.caller)
        return await _page(visit, endpoint_id, secret=rotated.secret)
    return visit.go(f"{PAGE}/{endpoint_id}", await _outcome(visit, endpoint_id))


async def _outcome(visit: PersonsVisit, endpoint_id: int) -> str:
    """Do what the form names, and say what came of it."""
    form, caller, _ = visit.form, visit.caller, visit.gettext
    match form.text("act"):
        case "prove":
            await routes.prove_endpoint(endpoint_id, form.of(CodeBody), caller)
            said = _("C’est prouvé : ce destinataire reçoit désormais les alertes.")
        case "challenge":
            await routes.send_challenge(endpoint_id, caller)
            said = _("Une nouvelle preuve est en route ; la précédente ne vaut plus.")
        case "test":
            await delivery.test_endpoint(endpoint_id, caller)
            said = _("Un message d’essai est en route : son résultat apparaît dans les envois.")
        case "suspend" | "resume" as wanted:
            patch = WebhookEndpointPatch.model_validate({"enabled": wanted == "resume"})
            await routes.update_endpoint(endpoint_id, patch, caller)
            said = _("L’envoi reprend.") if wanted == "resume" else _("L’envoi est suspendu.")
        case "move":
            patch = form.of(WebhookEndpointPatch, ("url",))
            await change_as_read(
                visit,
                f"/v1/webhook-endpoints/{endpoint_id}",
                partial(routes.read_endpoint, endpoint_id, caller),
                partial(routes.update_endpoint, endpoint_id, patch, caller),
            )
            said = _("L’adresse est changée ; elle est à prouver de nouveau.")
        case "operator" | "tenant" as whose:
            caller.demand("operate")
            await routes.set_for_operator(endpoint_id, OperatorBody(for_operator=whose == "operator"), caller)
            said = _("C’est fait.")
        case "replay" | "discard" as wanted:
            said = await _letters(visit, endpoint_id, wanted)
        case _:
            raise Problem(422, _("Choisissez ce qu’il faut faire."))
    return said


async def _letters(visit: PersonsVisit, endpoint_id: int, wanted: str) -> str:
    """Send again, or forget, one message that was given up, or all of them."""
    caller, letter_id = visit.caller, number_of(visit.form.text("message"), INT8_MOST)
    if wanted == "replay":
        body = delivery.ReplayBody(ids=None if letter_id is None else [letter_id])
        replayed = await delivery.replay_dead_letters(endpoint_id, body, caller)
        said, count = visit.gettext("Messages qui repartent :"), replayed.replayed
    elif letter_id is None:
        discarded = await delivery.discard_dead_letters(endpoint_id, caller)
        said, count = visit.gettext("Messages effacés :"), discarded.discarded
    else:
        await delivery.discard_dead_letter(endpoint_id, letter_id, caller)
        said, count = visit.gettext("Messages effacés :"), 1
    return f"{said} {count}"


@router.get(PAGE + "/{id}/suppression")
async def ask_to_delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What its removal ends, before it is removed."""
    caller = visit.caller
    endpoint = await routes.read_endpoint(id, caller)
    every: list[Any] = [*(await teams.list_teams(caller)).items]
    named = [
        team
        for team in every
        for one in (await teams.list_contacts(team.id, caller)).items
        if one.webhook_endpoint_id == id
    ]
    health = await delivery.read_health(id, caller)
    return visit.page("endpoints/delete.html", endpoint=endpoint, teams=named, health=health)


@router.post(PAGE + "/{id}/suppression")
async def delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Remove it with what waits for it."""
    await routes.delete_endpoint(id, visit.caller)
    return visit.go(PAGE, visit.gettext("Ce destinataire n’est plus prévenu."))
