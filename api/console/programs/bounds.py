"""Between which bounds each member of a syndicat decides alone of its lighting."""

from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.programs.form import hour_of
from api.console.versions import change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, values_of
from api.fields import Id
from api.routes import lighting_bounds as routes
from api.routes import tenants
from api.routes.lighting_bounds import BoundsAnswer, BoundsBody
from core.runtime.http.errors import Problem, invalid, not_found

router = page_router()

PROGRAMS = "/programmes"
PAGE = f"{PROGRAMS}/bornes"
NOT_FOUND = 404
SAID = frozenset({412, 422})
BRIGHTEST = 100
NONE = BoundsBody.model_validate({})


async def members_of(visit: PersonsVisit) -> list[Any]:
    """The members of the visitor's tenant."""
    found: list[Any] = (await tenants.list_tenants(visit.caller)).items
    return [one for one in found if one.member_of == visit.tenant.id]


@router.get(PAGE + "/{id}")
async def show(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Those of one member, and the form that sets them."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, member_id: int, problem: Problem | None = None) -> Response:
    member = next((one for one in await members_of(visit) if one.id == member_id), None)
    if member is None:
        raise not_found(f"membre {member_id}")
    bounds: Any = await _read(visit, member_id)
    values = {
        "earliest_cut": bounds.earliest_cut or "",
        "latest_return": bounds.latest_return or "",
        "least_level": str(bounds.least_level or ""),
        "protected_tags": ", ".join(bounds.protected_tags),
    }
    return visit.form_page(
        "programs/bounds.html",
        problem,
        member=member,
        bounds=bounds if isinstance(bounds, BoundsAnswer) else None,
        version=version_of(bounds),
        values=values | dict(values_of(visit.form)),
    )


async def _read(visit: PersonsVisit, member_id: int) -> BoundsAnswer | BoundsBody:
    """Those that are set, or none."""
    try:
        return await routes.read_bounds(member_id, visit.caller)
    except Problem as problem:
        if problem.status != NOT_FOUND:
            raise
        return NONE


@router.post(PAGE + "/{id}")
async def change(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Set them, or with nothing typed lift them, as they were read."""
    try:
        body = _body(visit)
        if body == NONE:
            return await _lift(visit, id)
        await _change(visit, id, body)
    except Problem as problem:
        if problem.status not in SAID:
            raise
        return await _page(visit, id, problem)
    return visit.go(PROGRAMS, visit.gettext("C’est fixé. Ce qui est déjà affecté le reste."))


async def _change(visit: PersonsVisit, member_id: int, body: BoundsBody) -> None:
    await change_as_read(
        visit,
        f"/v1/lighting/bounds/{member_id}",
        lambda: _read(visit, member_id),
        lambda: routes.set_bounds(member_id, body, visit.caller),
    )


async def _lift(visit: PersonsVisit, member_id: int) -> Response:
    async def lifted() -> None:
        if isinstance(await _read(visit, member_id), BoundsAnswer):
            await routes.remove_bounds(member_id, visit.caller)

    await change_as_read(visit, f"/v1/lighting/bounds/{member_id}", lambda: _read(visit, member_id), lifted)
    return visit.go(PROGRAMS, visit.gettext("Plus aucune borne : ce membre décide seul."))


def _body(visit: PersonsVisit) -> BoundsBody:
    form = visit.form
    level = form.text("least_level")
    given: dict[str, Any] = {
        "earliest_cut": hour_of(form.text("earliest_cut")) or None,
        "latest_return": hour_of(form.text("latest_return")) or None,
        "protected_tags": [tag for one in form.text("protected_tags").split(",") if (tag := one.strip())],
    }
    if level:
        given["least_level"] = number_of(level, BRIGHTEST)
        if given["least_level"] is None:
            raise invalid("least_level", "level", visit.gettext("Un nombre entier de 1 à 100."))
    return checked(BoundsBody, given)
