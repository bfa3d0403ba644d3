"""Imports: a file is tried first, what it would do is shown, then it goes in."""

import base64
from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit
from api.fields import Id
from api.routes import imports as routes
from api.routes.imports import Kind, NewImportJob, NewImportPart
from core.runtime.http.errors import Problem, invalid
from registry.bulk_imports.kinds import KINDS
from registry.bulk_imports.store import list_rejections

router = page_router()

PAGE = "/imports"
SHOWN, JOBS_SHOWN = 50, 20
FILE_MOST = 32 << 20
NAMES = {
    "cabinets": marked("armoires d’éclairage"),
    "circuits": marked("circuits d’armoire"),
    "light-points": marked("points lumineux"),
    "devices": marked("capteurs"),
    "assets": marked("équipements de tout type"),
    "gateways": marked("passerelles"),
    "contacts": marked("contacts des équipes"),
    "rules": marked("règles d’alerte"),
    "commune-outlines": marked("contours des communes"),
    "weather-days": marked("températures journalières"),
    "weighings": marked("pesées au pont-bascule"),
}
CONFLICT = 409


@router.get(PAGE)
async def show_list(visit: ManagersVisit) -> Response:
    """What was imported, and the form for the next file."""
    return await _list(visit)


async def _list(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    kinds = _kinds(visit)
    jobs = (await routes.list_all(visit.caller, limit=JOBS_SHOWN)).items
    return visit.form_page("imports/list.html", problem, kinds=kinds, jobs=jobs, most=FILE_MOST >> 20)


def _kinds(visit: PersonsVisit) -> dict[str, str]:
    """What a file may hold, in the visitor's language."""
    return {kind.name: visit.gettext(NAMES.get(kind.name, kind.french)) for kind in KINDS.values()}


@router.post(PAGE)
async def send_file(visit: ManagersVisit) -> Response:
    """Receive a file and try it: nothing is written yet."""
    try:
        wanted, content = await _sent(visit)
        job: Any = await routes.create(wanted, visit.caller)
        for number, begin in enumerate(range(0, len(content), routes.PART_MOST), 1):
            part = base64.b64encode(content[begin : begin + routes.PART_MOST])
            await routes.put_part(job.id, number, NewImportPart.model_validate({"content": part}), visit.caller)
        await routes.start(job.id, visit.caller)
    except Problem as problem:
        return await _list(visit, problem)
    return visit.go(f"{PAGE}/{job.id}")


async def _sent(visit: PersonsVisit) -> tuple[NewImportJob, bytes]:
    """What the form brings; raises 422 without a file, or with one that is too large."""
    form = visit.form
    sent = form.file("file")
    content = b"" if sent is None else await sent.read(FILE_MOST + 1)
    if sent is None or not content:
        raise invalid("file", "missing", "choisissez un fichier, qui ne soit pas vide")
    if len(content) > FILE_MOST:
        raise invalid("file", "too_long", f"{FILE_MOST >> 20} Mo au plus : partagez-le")
    name = (sent.filename or "").rpartition("/")[2][-200:]
    is_geojson = name.lower().endswith((".geojson", ".json"))
    given: dict[str, Any] = {
        "kind": form.text("kind"),
        "coordinates": form.text("coordinates") or "wgs84",
        "format": "geojson" if is_geojson else "csv",
        "file_name": "".join(filter(str.isprintable, name)),
        "dry_run": True,
    }
    return checked(NewImportJob, given), content


@router.get(PAGE + "/modeles/{kind}")
async def read_model(kind: Kind, visit: ManagersVisit) -> Response:
    """A header with a line that shows what goes where."""
    return await routes.read_model(kind, visit.caller)


@router.get(PAGE + "/exports/{kind}")
async def export(kind: Kind, visit: ManagersVisit) -> Response:
    """What is there, with the same columns."""
    return await routes.export(kind, visit.caller)


@router.get(PAGE + "/{id}")
async def show_job(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """How far it is, what it did or would do, and what was refused."""
    return await _job(visit, id, "imports/job.html")


@router.get(PAGE + "/{id}/avancement")
async def show_progress(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """The progress alone, to be put in place of that of a while ago."""
    return await _job(visit, id, "imports/progress.html")


@router.get(PAGE + "/{id}/refus")
async def read_rejected(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """The refused lines as CSV."""
    return await routes.read_rejected(id, visit.caller)


async def _job(visit: PersonsVisit, job_id: int, template: str) -> Response:
    job = await routes.read(job_id, visit.caller)
    async with visit.caller.reading() as connection:
        rejections = [row.rejection for row in await list_rejections(connection, job_id, most=SHOWN)]
    return visit.page(template, job=job, rejections=rejections, kinds=_kinds(visit))


@router.post(PAGE + "/{id}")
async def change_job(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Import for good what was tried, or stop."""
    act = routes.confirm if number_of(visit.form.text("confirm")) else routes.cancel
    try:
        await act(id, visit.caller)
    except Problem as problem:
        if problem.status != CONFLICT:  # It has ended meanwhile, which the page says.
            raise
        return visit.go(f"{PAGE}/{id}", problem.detail or "")
    return visit.go(f"{PAGE}/{id}")
