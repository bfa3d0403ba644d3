"""Street lighting: which cabinets are lit, off or unknown, and commands to them, with what became of each."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Response

from api.console.forms import instant_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.sorting import Keys
from api.console.trades.views import PLACE, Filtered, time_of, trade_page, value_of
from api.console.visits import LightingVisit, PersonsVisit, ReadersVisit, values_of
from api.fields import Id
from api.pages import Paging
from api.routes import lighting as routes
from api.routes import lighting_bounds, lighting_energy, lighting_history
from api.routes.lighting import CabinetAnswer, NewCommand
from api.trade_store import LIGHTING
from core.runtime.http.errors import Problem, invalid
from lighting.commands import LONGEST_OFF, RejectedLightingCommand, check_request

router = page_router()

PAGE = "/eclairage"
SHOWN = 20
LAST_DONE = 5
INVALID = 422
# What was done, in the table's words.
KINDS = {
    "bounds": marked("Bornes du syndicat"),
    "program_version": marked("Nouvelle version du programme"),
    "assignment": marked("Programme affecté"),
    "assignment_ended": marked("Programme retiré"),
    "campaign": marked("Campagne"),
    "unknown_act": marked("Acte inconnu"),
    "command": marked("Ordre"),
    "relight": marked("Retour au programme"),
    "program_switch": marked("Commutation du programme"),
    "work_order": marked("Intervention demandée"),
    "local_override": marked("Forçage sur place"),
}
# A browser's field of date and time has no zone: it is the visitor's.
LOCAL = "%Y-%m-%dT%H:%M"
USUAL_OFF = timedelta(hours=2)


COLUMNS: Keys = PLACE | {
    "etat": value_of("switch_state"),
    "dit": time_of("switch_state"),
    "puissance": value_of("active_power"),
}


@router.get(PAGE)
async def show_list(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Cabinets: first those of which nothing is known."""
    found = await routes.list_cabinets(visit.caller, wanted.wanted())
    return await trade_page(visit, "lighting/list.html", LIGHTING, wanted, found, COLUMNS)


@router.get(PAGE + "/{id}")
async def show_cabinet(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One cabinet, its last commands, and the form for the next one."""
    return await _page(visit, await routes.read_cabinet(id, visit.caller))


@router.get(PAGE + "/{id}/ordre")
async def show_command(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """State and last command alone, to be put in place of those of a while ago."""
    return visit.page("lighting/state.html", cabinet=await routes.read_cabinet(id, visit.caller))


async def _page(visit: PersonsVisit, cabinet: CabinetAnswer, problem: Problem | None = None) -> Response:
    commands = (await routes.list_commands(visit.caller, Paging(SHOWN), cabinet.id)).items
    now, zone = datetime.now(UTC), visit.language.zone
    values = {"off_until": (now + USUAL_OFF).astimezone(zone).strftime(LOCAL), **values_of(visit.form)}
    return visit.form_page(
        "lighting/cabinet.html",
        problem,
        cabinet=cabinet,
        commands=commands,
        entries=(await lighting_history.read_lighting_history(cabinet.id, visit.caller, Paging(LAST_DONE))).items,
        names=KINDS,
        program=await lighting_bounds.read_cabinet_program(cabinet.id, visit.caller),
        energy=await lighting_energy.read_energy(cabinet.id, visit.caller),
        values=values,
        earliest=now.astimezone(zone).strftime(LOCAL),
        latest=(now + LONGEST_OFF).astimezone(zone).strftime(LOCAL),
    )


@router.post(PAGE + "/{id}")
async def command(id: Id, visit: LightingVisit) -> Response:  # noqa: A002 - The path's word.
    """Say what will happen, ask once, and command."""
    cabinet = await routes.read_cabinet(id, visit.caller)
    try:
        wanted = _wanted(visit, id)
        if not visit.form.text("confirm"):
            return visit.page(
                "lighting/confirm.html", cabinet=cabinet, wanted=wanted, values=values_of(visit.form)
            )
        await routes.create_command(wanted, visit.caller)
    except Problem as problem:
        if problem.status != INVALID:
            raise
        return await _page(visit, cabinet, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("L’ordre est parti ; ce qu’il devient se lit ci-dessous."))


def _wanted(visit: PersonsVisit, asset_id: int) -> NewCommand:
    """The command that the form names; raises 422 with what is wrong beside its field."""
    form, until = visit.form, None
    fields: dict[str, Any] = {name: form.text(name) for name in ("action", "reason")}
    if form.text("action") not in {"on", "off"}:
        raise Problem(INVALID, visit.gettext("Choisissez ce qu’il faut faire."))
    if form.text("action") == "off":
        if not form.text("reason"):
            raise invalid("reason", "missing", visit.gettext("Dites pourquoi la rue sera éteinte."))
        until = instant_of("off_until", form.text("off_until"), visit.language.zone)
        if until is None:
            message = visit.gettext("Donnez un jour et une heure, par exemple 2026-11-27T23:30.")
            raise invalid("off_until", "instant", message)
    try:
        wanted = NewCommand(**fields, asset_id=asset_id, off_until=until)
        check_request(wanted.action, until, None, ("switch",), datetime.now(UTC))
    except RejectedLightingCommand as rejected:
        raise invalid("off_until", "end", str(rejected)) from None
    except ValueError:
        raise invalid("reason", "text", visit.gettext("1 000 caractères au plus, sur une ligne.")) from None
    return wanted
