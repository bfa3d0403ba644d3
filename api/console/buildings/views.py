"""Buildings: what they take by month beside the month and the year before, and the shape of it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Response

from api.asset_state_store import list_communes
from api.building_store import Building, list_buildings
from api.console.buildings.asked import (
    PAGE,
    WORDS,
    Asked,
    begins,
    building_of,
    building_page,
    month_name,
)
from api.console.pages import page_router
from api.console.visits import PersonsVisit, ReadersVisit
from api.console.where import Text
from api.corrected_months import FORMULA as CORRECTED_FORMULA
from api.fields import Id
from api.months import last_month, named
from api.pages import Paging
from api.routes import building_energy as energy
from api.routes import building_savings, weather
from api.routes.building_energy import BuildingEnergy, BuildingMonthAnswer, WantedBuildings
from api.spreadsheets import sheet

router = page_router()

SHOWN = 30
COLUMNS = (
    "bâtiment", "commune", "usage", "unité", "mois", "consommation", "mois entier", "jours connus (part)",
    "par m²", "par occupant", "heures creuses", "heures pleines", "mois d'avant", "écart (%)", "an dernier",
    "écart (%)", "an dernier corrigé du climat", "écart (%)", "degrés-jours", "méthode",
)  # fmt: skip
Cursor = Annotated[str, Query(max_length=12, pattern="^[0-9]*$")]
Wanted = Annotated[Asked, Depends()]


async def _one_page(
    visit: PersonsVisit, asked: Asked, commune: str, suite: str
) -> tuple[list[Building], energy.BuildingEnergyPage, str]:
    """Visible buildings, and each of their uses in one month; where the next page begins."""
    wanted = WantedBuildings(commune=commune or None)
    paging = Paging(SHOWN, suite or None)
    month = asked.until or named(last_month(datetime.now(UTC), visit.language.zone))
    async with visit.caller.reading() as connection:
        found = await list_buildings(connection, None, wanted.commune, paging.after, SHOWN)
    page = await energy.list_energy(visit.caller, paging, wanted, month, month, method=asked.method)
    return found, page, month


@router.get(PAGE)
async def show_list(visit: ReadersVisit, asked: Wanted, commune: Text = "", suite: Cursor = "") -> Response:
    """Every building in one month, beside the month and the year before, and what it saved."""
    found, page, month = await _one_page(visit, asked, commune, suite)
    items: list[BuildingEnergy] = [*page.items]
    async with visit.caller.reading() as connection:
        communes = await list_communes(connection)
    saved = (await building_savings.list_savings(visit.caller, Paging(100))).items
    return visit.page(
        "buildings/list.html",
        found=[(one, [item for item in items if item.asset_id == one.id]) for one in found],
        saved={(one.asset_id, one.use): one for one in saved},
        formula=energy.ENERGY_FORMULA,
        corrected_formula=CORRECTED_FORMULA,
        following=page.next,
        month=month,
        month_name=month_name(visit),
        communes=communes,
        commune=commune,
        **WORDS,
    )


@router.get(PAGE + "/export")
async def export_list(visit: ReadersVisit, asked: Wanted, commune: Text = "") -> Response:
    """The same of all buildings, for a spreadsheet."""
    rows: list[list[Any]] = []
    suite: str | None = ""
    while suite is not None:
        _, page, _ = await _one_page(visit, asked, commune, suite)
        rows += [row for item in page.items for row in rows_of(item)]
        suite = page.next
    return sheet("batiments", COLUMNS, rows)


def rows_of(item: BuildingEnergy) -> list[list[Any]]:
    """A use by month, as a file has it."""
    name = [item.name, item.commune, WORDS["uses"][item.use], WORDS["units"][item.unit]]
    return [[*name, *_row(month)] for month in item.months]


def _row(one: BuildingMonthAnswer) -> list[Any]:
    cold = one.degree_days
    return [
        one.month, one.amount, one.is_whole, one.completeness, one.per_m2, one.per_occupant, one.off_peak,
        one.peak, one.previous_month.amount, one.previous_month.change_percent, one.previous_year.amount,
        one.previous_year.change_percent, one.corrected.amount, one.corrected.change_percent,
        None if cold is None else cold.total, None if cold is None else WORDS["methods"][cold.method],
    ]  # fmt: skip


async def _uses(
    visit: PersonsVisit, building_id: int, asked: Asked
) -> tuple[energy.BuildingEnergyPage, list[str]]:
    stations: list[Any] = [*(await weather.list_stations(visit.caller)).items]
    names = [one.station for one in stations]
    page = await energy.list_energy(
        visit.caller,
        Paging(1),
        WantedBuildings(asset_id=[building_id]),
        asked.since,
        asked.until,
        asked.station if asked.station in names else None,
        asked.method,
    )
    return page, names


@router.get(PAGE + "/{id}")
async def show_building(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """What one takes by month, and the shape of the last of them."""
    building = await building_of(visit, id)
    page, stations = await _uses(visit, id, asked)
    items: list[BuildingEnergy] = [*page.items]
    months = items[0].months if items else []
    last = months[-1].month if months else asked.until
    load = await energy.list_load(visit.caller, Paging(1), WantedBuildings(asset_id=[id]), last)
    return building_page(
        visit,
        "energy",
        building,
        items=items,
        shapes={one.use: one for one in load.items},
        first=months[0].month if months else "",
        last=last or "",
        begin={one.month: begins(visit, one.month) for one in months},
        formula=energy.ENERGY_FORMULA,
        corrected_formula=CORRECTED_FORMULA,
        load_formula=load.formula,
        weather_formula=weather.METHOD_TEXT,
        stations=stations,
        asked=asked,
    )


@router.get(PAGE + "/{id}/export")
async def export_building(id: Id, visit: ReadersVisit, asked: Wanted) -> Response:  # noqa: A002 - The path's word.
    """The same months, for a spreadsheet."""
    building = await building_of(visit, id)
    page, _ = await _uses(visit, id, asked)
    return sheet(f"batiment-{building.id}", COLUMNS, [row for item in page.items for row in rows_of(item)])
