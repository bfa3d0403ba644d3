"""Teams: who is notified of alerts, at which hours, and who is next when nobody answers."""

from functools import partial
from typing import Any

from fastapi import Response

from api.console.forms import Form, number_of
from api.console.language import Language
from api.console.pages import page_router
from api.console.rules import words
from api.console.sorting import Keys, Sort, by_text, order_of
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import Id
from api.routes import alert_rules, webhook_endpoints
from api.routes import teams as routes
from api.routes.teams import NewContact, TeamBody
from core.runtime.http.errors import FieldError, Problem, invalid

router = page_router()

PAGE = "/equipes"
NEW = f"{PAGE}/nouvelle"
SAID = frozenset({409, 422, 429})
HOURS = ("name", "quiet_from", "quiet_until", "digest_at", "quiet_on_days_off")


@router.get(PAGE)
async def show_list(visit: ReadersVisit, tri: Sort = "") -> Response:
    """Every team with its contacts and rules."""
    caller = visit.caller
    teams: list[Any] = [*(await routes.list_teams(caller)).items]
    contacts: dict[int, list[Any]] = {
        team.id: [*(await routes.list_contacts(team.id, caller)).items] for team in teams
    }
    rules = (await alert_rules.list_rules(caller)).items
    counts = {team.id: sum(rule.team_id == team.id for rule in _any(rules)) for team in teams}
    columns: Keys = {"nom": lambda team: by_text(team.name), "regles": lambda team: counts[team.id]}
    order = order_of(visit.request, tri, columns)
    teams = order.applied(teams)
    return visit.page("teams/list.html", order=order, teams=teams, contacts=contacts, counts=counts)


def _any(rows: list[Any]) -> list[Any]:
    """Rows whose fields are known to their routes only."""
    return rows


@router.get(NEW)
async def show_new(visit: ManagersVisit) -> Response:
    """The form of another team."""
    return _form(visit, {"digest_at": "07:30"})


def _form(visit: PersonsVisit, values: Any, problem: Problem | None = None) -> Response:
    return visit.form_page(
        "teams/new.html",
        problem,
        values=values,
    )


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Make a team; its contacts follow on its page."""
    try:
        made: Any = await routes.create_team(visit.form.of(TeamBody, HOURS), visit.caller)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return _form(visit, values_of(visit.form), _reworded(problem))
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("L’équipe est faite. Ajoutez qui prévenir d’abord."))


def _reworded(problem: Problem) -> Problem:
    detail = problem.detail.replace("'", "’").replace(
        "quiet_from et quiet_until", "début et fin des heures calmes"
    )
    errors = [
        FieldError(field="body.quiet_from", code=one.code, message="le début et la fin vont ensemble")
        if one.code == "quiet"
        else one
        for one in problem.errors or ()
    ]
    return Problem(problem.status, detail, errors=errors)


@router.get(PAGE + "/{id}")
async def show_team(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One team: its contacts from the first to the last, its hours, its rules."""
    return await _page(visit, id)


async def _page(
    visit: PersonsVisit, team_id: int, problem: Problem | None = None, typed: dict[str, str] | None = None
) -> Response:
    caller = visit.caller
    team: Any = await routes.read_team(team_id, caller)
    contacts: list[Any] = [*(await routes.list_contacts(team_id, caller)).items]
    endpoints: list[Any] = [*(await webhook_endpoints.list_endpoints(caller)).items]
    rules = [rule for rule in _any((await alert_rules.list_rules(caller)).items) if rule.team_id == team_id]
    hours = {
        "name": team.name,
        "quiet_from": "" if team.quiet_from is None else f"{team.quiet_from:%H:%M}",
        "quiet_until": "" if team.quiet_until is None else f"{team.quiet_until:%H:%M}",
        "digest_at": f"{team.digest_at:%H:%M}",
        "quiet_on_days_off": "true" if team.quiet_on_days_off else "",
        "sensor_health": "true" if team.sensor_health else "",
    }
    act = visit.form.text("act")
    return visit.form_page(
        "teams/team.html",
        problem,
        team=team,
        hours=hours if typed is None or act != "save" else typed,
        contact=typed if typed is not None and act == "add" else {"rung": "0", "after_seconds": "30 min"},
        contacts=[(one, words.duration(one.after_seconds, visit.language)) for one in contacts],
        endpoints={
            str(one.id): one.description or one.url.removeprefix("mailto:")
            for one in endpoints
            if not one.for_operator and one.purpose == "events"
        },
        rules=[(rule.id, words.title(rule.name, visit.language)) for rule in rules],
        version=version_of(team),
    )


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Save its hours, add a contact or take one out."""
    try:
        message = await _outcome(visit, id)
    except Problem as problem:
        if problem.status not in {*SAID, CHANGED}:
            raise
        return await _page(visit, id, _reworded(problem), dict(values_of(visit.form)))
    return visit.go(f"{PAGE}/{id}", message)


async def _outcome(visit: PersonsVisit, team_id: int) -> str:
    form, caller, _ = visit.form, visit.caller, visit.gettext
    match form.text("act"):
        case "save":
            body = form.of(TeamBody, HOURS)
            await change_as_read(
                visit,
                f"/v1/teams/{team_id}",
                partial(routes.read_team, team_id, caller),
                partial(routes.replace_team, team_id, body, caller),
            )
            return _("L’équipe est enregistrée.")
        case "add":
            made: Any = await routes.create_contact(team_id, _contact(form, visit.language), caller)
            if made.state == "unproved":
                return _("Ajouté. Un code y est envoyé : saisissez-le sur la page de ce destinataire.")
            return _("Ajouté.")
        case "remove":
            number = number_of(form.text("contact"))
            if number is None:
                raise Problem(422, _("Choisissez ce qu’il faut faire."))
            await routes.delete_contact(team_id, number, caller)
            return _("Retiré : son adresse reste dans les destinataires.")
        case _:
            raise Problem(422, _("Choisissez ce qu’il faut faire."))


def _contact(form: Form, language: Language) -> NewContact:
    """The contact that was typed; its wait is a length of time."""
    names = {"name", "rung", "email", "webhook_endpoint_id"}
    body = form.of(NewContact, names)
    typed = form.text("after_seconds")
    seconds = words.parse_duration(typed) if typed else 1800
    if seconds is None or not 60 <= seconds <= 604_800:  # noqa: PLR2004 - As the API has it.
        raise invalid("after_seconds", "duration", language.gettext("Une durée, de 1 min à 7 j."))
    return body.model_copy(update={"after_seconds": seconds})


@router.get(PAGE + "/{id}/suppression")
async def ask_to_delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What its removal ends, before it is removed."""
    team = await routes.read_team(id, visit.caller)
    rules = [rule for rule in _any((await alert_rules.list_rules(visit.caller)).items) if rule.team_id == id]
    said = [(rule.id, words.title(rule.name, visit.language)) for rule in rules]
    return visit.page("teams/delete.html", team=team, rules=said)


@router.post(PAGE + "/{id}/suppression")
async def delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Remove it with its contacts."""
    await routes.delete_team(id, visit.caller)
    return visit.go(PAGE, visit.gettext("L’équipe est retirée."))
