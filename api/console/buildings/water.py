"""Water that ran at night in a building: leaks in litres and euros."""

from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.console.buildings.asked import PAGE, Asked, building_of, building_page
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import building_water as routes
from api.routes.building_water import BuildingLeaksPage
from api.spreadsheets import sheet
from indicators.buildings.leaks import USUAL_LIMIT_L_H

router = page_router()

COLUMNS = ("bâtiment", "premier matin", "dernier matin", "nuits", "litres", "euros")
MOST_EUR, MOST_L_H = 100.0, 100_000.0
Wanted = Annotated[Asked, Depends()]
Number = Annotated[str, Query(max_length=12)]


def number_typed(text: str, most: float) -> float | None:
    """A number above zero as people write it; None for what is none."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value <= most else None


async def _leaks(visit: PersonsVisit, building_id: int, asked: Asked, limit: str, price: str) -> BuildingLeaksPage:
    return await routes.list_leaks(
        visit.caller,
        Paging(1),
        [building_id],
        None,
        asked.since,
        asked.until,
        number_typed(limit, MOST_L_H) or USUAL_LIMIT_L_H,
        number_typed(price, MOST_EUR),
    )


@router.get(PAGE + "/{id}/fuites")
async def show_leaks(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    asked: Wanted,
    limite: Number = "",
    prix: Number = "",
) -> Response:
    """Nights on which water ran, and what it cost where a price is said."""
    building = await building_of(visit, id)
    page = await _leaks(visit, id, asked, limite, prix)
    found: list[Any] = [*page.items]
    return building_page(
        visit,
        "leaks",
        building,
        found=found[0] if found else None,
        formula=page.formula,
        limit=number_typed(limite, MOST_L_H) or USUAL_LIMIT_L_H,
        price=number_typed(prix, MOST_EUR),
        asked=asked,
    )


@router.get(PAGE + "/{id}/fuites/export")
async def export_leaks(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    asked: Wanted,
    limite: Number = "",
    prix: Number = "",
) -> Response:
    """The same leaks, for a spreadsheet."""
    building = await building_of(visit, id)
    found: list[Any] = [*(await _leaks(visit, id, asked, limite, prix)).items]
    rows = [
        [building.name, leak.first, leak.last, leak.nights, leak.litres, leak.eur]
        for one in found
        for leak in one.leaks
    ]
    return sheet(f"fuites-{building.id}", COLUMNS, rows)
