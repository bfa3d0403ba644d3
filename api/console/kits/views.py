"""Kits: the templates, one put on a site, and the record of its acceptance."""

from typing import Any

from fastapi import Response

from api.console.forms import checked
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import kit_commissionings as commissionings
from api.routes import kits as routes
from api.routes.kit_commissionings import Acceptance, NewCommissioning
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/kits"
RECORD = PAGE + "/mises-en-service"
SHOWN = 50
TO_SHOW = (409, 422)
# What a line says of a device, one after the other.
OF_A_LINE = ("item", "dev_eui", "join_eui", "app_key")


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """The templates, and what was put where."""
    return visit.page(
        "kits/list.html",
        kits=(await routes.list_kits(visit.caller)).items,
        retired=(await routes.list_kits(visit.caller, retired=True)).items,
        placed=(await commissionings.list_commissionings(visit.caller, Paging(SHOWN))).items,
        record=RECORD,
    )


@router.get(PAGE + "/{id}")
async def show_kit(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """What a template holds, and the form by which it is put on a site."""
    return await _kit(visit, id)


async def _kit(visit: PersonsVisit, kit_id: int, problem: Problem | None = None) -> Response:
    kit: Any = await routes.read_kit(kit_id, visit.caller)
    lines = "\n".join(f"{item['key']};;;" for item in kit.items)
    values = {"lines": lines} | dict(visit.form.carried())
    every: list[Any] = [*(await routes.list_kits(visit.caller, name=kit.name)).items]
    return visit.form_page(
        "kits/kit.html",
        problem,
        kit=kit,
        versions=[one for one in every if one.tenant_id == kit.tenant_id],
        values=values,
        is_own=kit.tenant_id == visit.tenant.id,
    )


@router.post(PAGE + "/{id}")
async def commission(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Make the whole kit, or nothing."""
    form = visit.form
    given: dict[str, Any] = {name: form.text(name).replace(",", ".") for name in ("latitude", "longitude")}
    given = {name: value for name, value in given.items() if value}
    given |= {name: form.text(name) for name in ("site", "commune", "street") if form.text(name)}
    try:
        given["devices"] = [_device(line) for line in form.text("lines").splitlines() if line.strip(" ;\t")]
        made: Any = await commissionings.create_commissioning(id, checked(NewCommissioning, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _kit(visit, id, problem)
    return visit.go(f"{RECORD}/{made.id}", visit.gettext("Le kit est en service : chaque capteur est attendu."))


def _device(line: str) -> dict[str, str]:
    """What a line says; a table that was copied has tabs."""
    parts = (part.strip() for part in line.replace("\t", ";").split(";"))
    return {name: part for name, part in zip(OF_A_LINE, parts, strict=False) if part}


@router.get(RECORD + "/{id}")
async def show_record(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """What is expected and what was received, to be accepted."""
    return await _record(visit, id)


async def _record(visit: PersonsVisit, record_id: int, problem: Problem | None = None) -> Response:
    shown = await commissionings.read_commissioning(record_id, visit.caller)
    return visit.form_page("kits/record.html", problem, record=shown, address=f"{RECORD}/{record_id}")


@router.post(RECORD + "/{id}")
async def accept(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """Accept it, with reservations or without."""
    try:
        await commissionings.accept_commissioning(id, visit.form.of(Acceptance), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _record(visit, id, problem)
    return visit.go(f"{RECORD}/{id}", visit.gettext("La recette est prononcée."))
