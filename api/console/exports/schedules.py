"""Scheduled drops: what is dropped when and where, its last receipts, and what its place answers."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import Id
from api.routes import export_schedules as routes
from api.routes.export_schedules import ExportSchedulePatch, NewExportSchedule
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import Problem
from ingest.exports import parquet

router = page_router()

PAGE = "/exports/depots"
RECEIPTS_SHOWN = 50
FORMS = ("csv", "spreadsheet", "ndjson", "parquet")
TEXTS = ("name", "kind", "quantity", "commune", "tag", "bucket", "file_name", "directory")
OF_SERVER = ("host", "username", "password", "private_key", "host_key")
NUMBERS = ("at_hour", "on_day", "port")
USUAL = {
    "form": "spreadsheet",
    "frequency": "day",
    "at_hour": "2",
    "on_day": "1",
    "covers": "previous",
    "port": "22",
}
SECRETS = ("password", "private_key")
NO_WORD = "ce que le bouton demande n'existe pas"


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Every schedule with its last receipt, and the form of a new one."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    schedules = (await routes.list_all(visit.caller)).items
    names = {*TEXTS, *OF_SERVER, *NUMBERS, *USUAL, "target", "every_hours", "checksum_file"} - set(SECRETS)
    if problem is None:
        values = dict.fromkeys(names, "") | USUAL
    else:
        values = {name: visit.form.text(name) for name in names}
    return visit.form_page(
        "exports/schedules.html",
        problem,
        schedules=schedules,
        values=values,
        forms=[form for form in FORMS if form != "parquet" or parquet.is_available()],
        quantities={name: known.label_fr for name, known in QUANTITIES.items()},
    )


@router.post(PAGE)
async def plan(visit: ManagersVisit) -> Response:
    """A new schedule; its page says what its place answers."""
    try:
        made = await routes.create(_wanted(visit), visit.caller)
    except Problem as problem:
        return await _list(visit, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("Le dépôt est planifié ; son endroit est à l’essai."))


def _wanted(visit: PersonsVisit) -> NewExportSchedule:
    form = visit.form
    chosen, target, frequency = form.text("form"), form.text("target"), form.text("frequency")
    given: dict[str, Any] = {
        "format": "csv" if chosen == "spreadsheet" else chosen,
        "spreadsheet": chosen == "spreadsheet",
        "checksum_file": form.text("checksum_file") == "1",
        "target": target,
        "frequency": frequency,
        "covers": form.text("covers"),
    }
    names = (*TEXTS, *OF_SERVER) if target == "sftp" else TEXTS
    given |= {name: text for name in (*names, *NUMBERS) if (text := form.text(name))}
    if frequency == "hours":
        given["every_hours"] = number_of(form.text("every_hours"))
    return checked(NewExportSchedule, given)


@router.get(PAGE + "/{id}")
async def show(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One schedule: its place, and its last receipts."""
    return await _show(visit, id)


async def _show(visit: PersonsVisit, schedule_id: int, problem: Problem | None = None) -> Response:
    schedule = await routes.read(schedule_id, visit.caller)
    drops = (await routes.list_drops(schedule_id, visit.caller, limit=RECEIPTS_SHOWN)).items
    return visit.form_page("exports/schedule.html", problem, schedule=schedule, drops=drops, values={})


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What its buttons ask for."""
    try:
        message = await _act(id, visit)
    except Problem as problem:
        return await _show(visit, id, problem)
    if visit.form.text("act") == "delete":
        return visit.go(PAGE, message)
    return visit.go(f"{PAGE}/{id}", message)


async def _act(schedule_id: int, visit: PersonsVisit) -> str:
    """What is said of it afterwards."""
    caller, form = visit.caller, visit.form
    said = marked("Le dépôt part dans quelques secondes ; rechargez la page.")
    match form.text("act"):
        case "test":
            await routes.test(schedule_id, caller)
            said = marked("L’essai part dans quelques secondes ; rechargez la page.")
        case "drop":
            await routes.drop_now(schedule_id, caller)
        case "repeat":
            await routes.repeat(schedule_id, number_of(form.text("number")) or 0, caller)
        case "accept":
            patch = checked(ExportSchedulePatch, {"host_key": form.text("host_key")})
            await routes.update(schedule_id, patch, caller)
            said = marked("La clé de machine est acceptée ; l’endroit est à l’essai.")
        case "secret":
            secret = {name: text for name in SECRETS if (text := form.text(name))}
            await routes.update(schedule_id, checked(ExportSchedulePatch, secret), caller)
            said = marked("C’est changé ; l’endroit est à l’essai.")
        case "suspend" | "resume" as wanted:
            await routes.update(schedule_id, ExportSchedulePatch(enabled=wanted == "resume"), caller)
            said = marked("C’est changé.")
        case "delete":
            await routes.delete(schedule_id, caller)
            said = marked("Le dépôt est retiré ; ses fichiers restent où ils sont.")
        case _:
            raise Problem(422, NO_WORD)
    return visit.gettext(said)
