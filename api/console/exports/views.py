"""Exports: a file of measurements is asked for, its progress is shown, and it is downloaded for a day."""

from datetime import datetime, timedelta
from typing import Any

from fastapi import Request, Response

from api.console.forms import checked, midnight_of, number_of
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit
from api.fields import Id
from api.routes import exports as routes
from api.routes.exports import NewExport
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import Problem, invalid
from ingest.exports import parquet

router = page_router()

PAGE = "/exports"
JOBS_SHOWN = 20
MONTH = timedelta(days=31)
FORMS = ("csv", "spreadsheet", "ndjson", "parquet")
CONFLICT = 409


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """The form, filled in with what a link names (`actif`, `genre`, `grandeur`, `commune`), and the last files."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    asked = visit.request.query_params
    jobs = (await routes.list_all(visit.caller, limit=JOBS_SHOWN)).items
    today = datetime.now(visit.language.zone).date()
    values = {
        "asset_id": asked.get("actif", ""),
        "kind": asked.get("genre", ""),
        "quantity": asked.get("grandeur", ""),
        "commune": asked.get("commune", ""),
        "from": (today - MONTH).isoformat(),
        "to": today.isoformat(),
        "form": "spreadsheet",
        "bucket": "",
    }
    if problem is not None:
        values |= {name: visit.form.text(name) for name in values}
    forms = [form for form in FORMS if form != "parquet" or parquet.is_available()]
    quantities = {name: known.label_fr for name, known in QUANTITIES.items()}
    return visit.form_page(
        "exports/list.html", problem, jobs=jobs, values=values, forms=forms, quantities=quantities
    )


@router.get(PAGE + "/avancement")
async def show_progress(visit: ReadersVisit) -> Response:
    """The last files alone, to be put in place of those of a while ago."""
    jobs = (await routes.list_all(visit.caller, limit=JOBS_SHOWN)).items
    return visit.page("exports/jobs.html", jobs=jobs)


@router.post(PAGE)
async def ask(visit: ReadersVisit) -> Response:
    """A new file; its days are those of the deployment's calendar."""
    try:
        await routes.create(_wanted(visit), visit.caller)
    except Problem as problem:
        return await _list(visit, problem)
    return visit.go(PAGE, visit.gettext("L’export attend son tour."))


def _wanted(visit: PersonsVisit) -> NewExport:
    form, zone = visit.form, visit.language.zone
    since, until = (midnight_of(name, form.text(name), zone, ends=name == "to") for name in ("from", "to"))
    if since is None or until is None:
        raise invalid("from" if since is None else "to", "missing", "une date est attendue")
    chosen = form.text("form")
    given: dict[str, Any] = {
        "format": "csv" if chosen == "spreadsheet" else chosen,
        "spreadsheet": chosen == "spreadsheet",
        "from": since.isoformat(),
        "to": until.isoformat(),
    }
    given |= {name: text for name in ("kind", "quantity", "commune", "bucket") if (text := form.text(name))}
    if asset := number_of(form.text("asset_id")):
        given["asset_ids"] = [asset]
    return checked(NewExport, given)


@router.post(PAGE + "/{id}")
async def drop(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """Stop it, or delete its file."""
    try:
        await routes.cancel(id, visit.caller)
    except Problem as problem:
        if problem.status != CONFLICT:  # It has ended meanwhile, which the page says.
            raise
        return visit.go(PAGE, problem.detail or "")
    return visit.go(PAGE)


@router.get(PAGE + "/{id}/fichier")
async def download(id: Id, visit: ReadersVisit, request: Request) -> Response:  # noqa: A002 - The path's word.
    """The file, as the API serves it: a browser resumes it, too."""
    return await routes.read_file(id, visit.caller, request)
