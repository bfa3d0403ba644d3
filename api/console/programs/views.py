"""Programs of lamps: what they do in a night and in a year, their editor, and who follows them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.programs.bounds import members_of
from api.console.programs.form import HOLIDAYS, UNLIT, program_of, rules_of, values_of_program
from api.console.programs.pictures import night_picture, year_paths
from api.console.versions import change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.console.wording import WEEKDAYS
from api.fields import ArchivedBody, Id
from api.pages import Paging
from api.routes import lighting_bounds, lighting_simulation
from api.routes import lighting_programs as routes
from api.routes.lighting_programs import NewAssignment, ProgramBody
from api.routes.lighting_simulation import SimulationAnswer, SimulationBody
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/programmes"
NEW = f"{PAGE}/nouveau"
SAID = frozenset({403, 404, 409, 412, 422})
INVALID = 422
SHOWN = 200
# Where nobody has said where the cabinets are.
PARIS = (48.85, 2.35)
USUAL = {"default": {"night_cut": ["23:30", "05:00"]}}


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Every program, who follows it, and what former settings nobody could read."""
    programs = (await routes.list_programs(visit.caller, Paging(SHOWN))).items
    return visit.page(
        "programs/list.html",
        programs=programs,
        unread=(await routes.list_unread(visit.caller, Paging(SHOWN))).items,
        bounds=(await lighting_bounds.list_bounds(visit.caller)).items,
        members=await members_of(visit) if visit.caller.has("manage") else [],
    )


@router.get(NEW)
async def show_new(visit: ManagersVisit) -> Response:
    """The editor of another program, which begins with a night cut."""
    return await _editor(visit, None, values_of_program("", USUAL))


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Simulate what was typed, or make a program of it."""
    try:
        body = _body(visit)
        if visit.form.text("act") != "save":
            return await _editor(visit, None, values_of(visit.form), simulated=body)
        made: Any = await routes.create_program(body, visit.caller)
    except Problem as problem:
        return await _editor(visit, None, values_of(visit.form), _said(problem))
    return visit.go(
        f"{PAGE}/{made.id}", visit.gettext("Le programme est écrit ; affectez-le maintenant à des armoires.")
    )


@router.get(PAGE + "/{id}")
async def show(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """A program: its pictures, its editor, its versions, and who follows it."""
    program: Any = await routes.read_program_(id, visit.caller)
    return await _editor(visit, program, values_of_program(program.name, program.program))


@router.post(PAGE + "/{id}")
async def change(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Simulate what was typed, or write the next version."""
    program: Any = await routes.read_program_(id, visit.caller)
    try:
        body = _body(visit)
        if visit.form.text("act") != "save":
            return await _editor(visit, program, values_of(visit.form), simulated=body)
        changed: Any = await change_as_read(
            visit,
            f"/v1/lighting-programs/{id}",
            lambda: routes.read_program_(id, visit.caller),
            lambda: routes.replace_program(id, body, visit.caller),
        )
    except Problem as problem:
        return await _editor(visit, program, values_of(visit.form), _said(problem))
    message = visit.gettext(
        "C’est écrit. Les armoires suivent l’ancienne version tant que vous n’affectez pas celle-ci."
    )
    same = visit.gettext("Rien n’a changé dans les horaires.")
    return visit.go(f"{PAGE}/{id}", message if changed.version > program.version else same)


@router.post(PAGE + "/{id}/affectation")
async def assign(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Say how many cabinets would change, ask once, and assign."""
    program: Any = await routes.read_program_(id, visit.caller)
    form = visit.form
    try:
        wanted = checked(NewAssignment, _targets(visit, id))
        seen = await routes.assign_program(wanted.model_copy(update={"preview": True}), visit.caller)
        if not form.text("confirm"):
            return visit.page("programs/confirm.html", program=program, seen=seen, values=values_of(form))
        await routes.assign_program(wanted, visit.caller)
    except Problem as problem:
        return await _editor(
            visit, program, {**values_of_program(program.name, program.program), **values_of(form)}, _said(problem)
        )
    return visit.go(
        f"{PAGE}/{id}", visit.gettext("C’est affecté. Pour revenir en arrière, affectez l’ancien programme.")
    )


@router.post(PAGE + "/{id}/archive")
async def archive(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Take a program that nobody follows out of the list, or put it back."""
    program: Any = await routes.read_program_(id, visit.caller)
    try:
        await routes.archive_program(id, ArchivedBody(archived=program.archived_at is None), visit.caller)
    except Problem as problem:
        values = values_of_program(program.name, program.program)
        return await _editor(visit, program, values, _said(problem))
    return visit.go(PAGE, visit.gettext("C’est fait."))


def _said(problem: Problem) -> Problem:
    if problem.status not in SAID:
        raise problem
    return problem


def _body(visit: PersonsVisit) -> ProgramBody:
    form = visit.form
    given = {"name": form.text("name"), "remark": form.text("remark"), "program": program_of(form, visit.language)}
    return checked(ProgramBody, given)


def _targets(visit: PersonsVisit, program_id: int) -> dict[str, Any]:
    form = visit.form
    given: dict[str, Any] = {"program_id": program_id}
    match form.text("how"):
        case "list":
            numbers = [number_of(one) for one in form.text("assets").replace(",", " ").split()]
            if not numbers or None in numbers:
                raise Problem(INVALID, visit.gettext("Donnez les numéros des armoires, séparés par des virgules."))
            return given | {"asset_ids": numbers}
        case "following":
            return given | {"following_id": number_of(form.text("following")) or program_id}
        case _:
            place = {name: form.text(name) for name in ("commune", "tag") if form.text(name)}
            if not place:
                raise Problem(
                    INVALID, visit.gettext("Choisissez une commune, une étiquette, ou donnez une liste.")
                )
            return given | place


async def _editor(
    visit: PersonsVisit,
    program: Any,
    values: Mapping[str, str],
    problem: Problem | None = None,
    simulated: ProgramBody | None = None,
) -> Response:
    document: dict[str, Any] | None = None
    if simulated is not None:
        document = simulated.program
    elif program is not None:
        document = dict(program.program)
    elif problem is None:
        document = USUAL
    year = None if document is None else await _simulate(visit, document, values)
    versions: list[Any] = []
    assignments: list[Any] = []
    listed: list[Any] = [*(await routes.list_programs(visit.caller, Paging(SHOWN))).items]
    if program is not None:
        versions = [*(await routes.list_versions(program.id, visit.caller, Paging(SHOWN))).items]
        found = await routes.list_assignments(visit.caller, Paging(SHOWN), program_id=program.id)
        assignments = [*found.items]
    night = None
    if year is not None and year.nights:
        today = datetime.now(UTC).date()
        night = next((one for one in year.nights if one.day >= today), year.nights[-1])
    zone = visit.language.zone
    return visit.form_page(
        "programs/program.html",
        problem,
        program=program,
        version="" if program is None else version_of(program),
        values=values,
        rules=rules_of(values),
        days=WEEKDAYS,
        holidays=HOLIDAYS,
        unlit=UNLIT,
        year=year,
        night=night,
        picture=None if night is None else night_picture(night, zone),
        paths={} if year is None else year_paths(year.nights, zone),
        versions=versions,
        assignments=assignments,
        others=[one for one in listed if program is None or one.id != program.id],
        counts=next((one for one in listed if program is not None and one.id == program.id), None),
        is_simulated=simulated is not None,
    )


async def _simulate(visit: PersonsVisit, document: dict[str, Any], values: Mapping[str, str]) -> SimulationAnswer:
    price = values.get("price", "").replace(",", ".")
    given: dict[str, Any] = {"program": document, "nights": True}
    given |= {"price_eur_per_kwh": price} if price else {}
    if against := number_of(values.get("against", "")):
        given["against_id"] = against
    body = checked(SimulationBody, given)
    try:
        return await lighting_simulation.simulate_new(body, visit.caller)
    except Problem as problem:
        if problem.status != INVALID:
            raise
    place = {"latitude": PARIS[0], "longitude": PARIS[1]}
    return await lighting_simulation.simulate_new(checked(SimulationBody, given | place), visit.caller)
