"""What a building saved since works, against references that were frozen before them."""

from typing import Annotated, Any

from fastapi import Depends, Response

from api.console.buildings.asked import PAGE, WORDS, Asked, begins, building_of, building_page
from api.console.forms import checked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import building_savings, energy_baselines, weather
from api.routes.energy_baselines import NewBaselineBody, RetiredBaselineBody
from api.spreadsheets import sheet
from core.runtime.http.errors import Problem

router = page_router()

SHOWN = 100
TO_SHOW = (422,)
# As the form has them, and as the API does.
FIELDS = ("use", "method", "station", "from", "to", "works_from", "works_to", "label")
COLUMNS = (
    "bâtiment", "usage", "unité", "référence", "mois", "relevé", "attendu", "compté", "économie (%)", "bas (%)",
    "haut (%)", "prouvée",
)  # fmt: skip
Wanted = Annotated[Asked, Depends()]


@router.get(PAGE + "/{id}/economies")
async def show_savings(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """Each reference with what was saved against it, and the form for one more."""
    return await _page(visit, id, asked)


async def _page(visit: PersonsVisit, building_id: int, asked: Asked, problem: Problem | None = None) -> Response:
    building = await building_of(visit, building_id)
    baselines: list[Any] = [
        *(await energy_baselines.list_all(visit.caller, Paging(SHOWN), building_id, retired=True)).items
    ]
    page = await building_savings.list_savings(visit.caller, Paging(SHOWN), building_id, asked.since, asked.until)
    saved = {one.baseline_id: one for one in page.items}
    stations: list[Any] = [*(await weather.list_stations(visit.caller)).items]
    return building_page(
        visit,
        "savings",
        building,
        problem=problem,
        baselines=[(one, saved.get(one.id)) for one in baselines],
        begin={month.month: begins(visit, month.month) for one in page.items for month in one.months},
        stations=[one.station for one in stations],
        formula=page.formula,
        asked=asked,
    )


@router.post(PAGE + "/{id}/economies")
async def freeze(id: Id, visit: ManagersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """Freeze a reference; what makes it none is said above the form."""
    form = visit.form
    given: dict[str, Any] = {name: form.text(name) for name in FIELDS if form.text(name)}
    given |= {"asset_id": id, "depends_on_weather": form.text("weather") != "no"}
    try:
        await energy_baselines.create(checked(NewBaselineBody, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _page(visit, id, asked, problem)
    return visit.go(f"{PAGE}/{id}/economies", visit.gettext("La référence est figée."))


@router.post(PAGE + "/{id}/economies/{baseline_id}")
async def retire(id: Id, baseline_id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Take a reference out of the figures, or back into them."""
    is_retired = visit.form.text("act") != "resume"
    await energy_baselines.retire(baseline_id, RetiredBaselineBody(retired=is_retired), visit.caller)
    said = (
        visit.gettext("La référence est retirée ; elle peut être reprise.")
        if is_retired
        else visit.gettext("La référence compte de nouveau.")
    )
    return visit.go(f"{PAGE}/{id}/economies", said)


@router.get(PAGE + "/{id}/economies/export")
async def export_savings(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """Each month beside what was expected of it, for a spreadsheet."""
    building = await building_of(visit, id)
    page = await building_savings.list_savings(visit.caller, Paging(SHOWN), id, asked.since, asked.until)
    rows = [
        [
            one.name, WORDS["uses"][one.use], WORDS["units"][one.unit], one.baseline_id, month.month, month.amount,
            month.expected, month.is_counted, one.percent, one.percent_low, one.percent_high, one.is_found,
        ]
        for one in page.items
        for month in one.months
    ]  # fmt: skip
    return sheet(f"economies-{building.id}", COLUMNS, rows)
