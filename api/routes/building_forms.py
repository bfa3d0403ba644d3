"""Forms that authorities ask for of buildings, filled in as far as is known, and to be verified."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.auth import Caller, Reader
from api.building_forms import Filled, Row, operat_row, school_rows
from api.building_store import Building, list_buildings
from api.extent import Commune
from api.fields import Answer, answer_of
from api.pages import Paged, Paging, next_of
from api.routes import building_rooms
from api.routes.building_energy import BuildingIds, WantedBuildings, list_energy
from api.routes.weather import METHOD_TEXT, StationName, choose_station
from api.spreadsheets import sheet
from api.weather_store import MethodName
from core.runtime.http.errors import PROBLEM_RESPONSES
from indicators.buildings.form_columns import Form, FormColumn, FormName

router = APIRouter(prefix="/v1/indicators/buildings", tags=["indicators"], responses=PROBLEM_RESPONSES)

MOST = 20
FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
UNKNOWN, STATUS = "Ce qui manque", "Statut"

Year = Annotated[
    int | None, Query(ge=2000, le=2199, description="Année civile ; absente : la dernière finie", examples=[2025])
]
Method = Annotated[MethodName, Query(description=METHOD_TEXT)]


class FormColumnAnswer(answer_of(FormColumn)):
    """Une colonne, et le chiffre qui la remplit."""


class FormAnswer(answer_of(Form)):
    """Le formulaire : ses colonnes viennent d'un fichier daté, qu'un exploitant remplace."""

    status: str = Field(description="« à vérifier » tant que personne n'a comparé les colonnes au modèle officiel")
    as_of: date
    source: str
    columns: list[FormColumnAnswer]


class FormCell(Answer):
    """Une case ; `value` null : inconnu, et `unknown` dit pourquoi."""

    column: str
    value: str | float | bool | None
    unknown: str


class FormLine(Answer):
    """Une ligne : un bâtiment, ou une salle, et une année."""

    asset_id: int
    year: int
    cells: list[FormCell]


class FilledFormAnswer(Answer):
    """Un formulaire rempli de ce qu'on sait."""

    form: FormAnswer
    items: list[FormLine]
    next: str | None = Field(description="Curseur des bâtiments suivants ; null : c'est tout")


async def _operat(
    caller: Caller, paging: Paging, wanted: WantedBuildings, year: int, station: str | None, method: MethodName
) -> tuple[list[tuple[int, Row]], str | None]:
    most = min(paging.limit, MOST)
    async with caller.reading() as connection:
        found = await list_buildings(connection, wanted.asset_id, wanted.commune, paging.after, most + 1)
        chosen = await choose_station(connection, station)
    page = await list_energy(
        caller, Paging(most, paging.cursor), wanted, f"{year}-01", f"{year}-12", station, method
    )
    uses: list[Any] = [*page.items]
    named = {"station": Filled(chosen)} if chosen is not None else {}
    rows: list[tuple[int, Row]] = [
        (one.id, {**operat_row(one, year, [use for use in uses if use.asset_id == one.id]), **named})
        for one in found[:most]
    ]
    return rows, next_of(found, most)


async def _schools(
    caller: Caller, paging: Paging, asset_id: list[int] | None, commune: str | None, year: int
) -> tuple[list[tuple[int, Row]], str | None]:
    most = min(paging.limit, MOST)
    async with caller.reading() as connection:
        found = await list_buildings(connection, asset_id, commune, paging.after, most + 1)
    rows: list[tuple[int, Row]] = []
    for building in found[:most]:
        rows += [(building.id, row) for row in await _rooms(caller, building, year)]
    return rows, next_of(found, most)


async def _rooms(caller: Caller, building: Building, year: int) -> list[Row]:
    """One building after another: a year of hours of all of its rooms is enough at once."""
    page = await building_rooms.list_air(caller, Paging(1), [building.id], None, f"{year}-01", f"{year}-12")
    return list(school_rows(building, year, page.items[0] if page.items else None))


@router.get("/operat", operation_id="readOperatForm", summary="Remplir les colonnes du décret tertiaire")
async def read_operat(
    request: Request,
    caller: Reader,
    paging: Paged,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    year: Year = None,
    station: StationName = None,
    method: Method = "meteo",
) -> FilledFormAnswer:
    """Par bâtiment et année civile, à vérifier avant tout envoi ; une case inconnue est vide, et dit pourquoi."""
    of = year or _last_year()
    rows, following = await _operat(caller, paging, WantedBuildings(asset_id, commune), of, station, method)
    return _answer(request, "operat", rows, of, following)


@router.get(
    "/operat.csv",
    operation_id="exportOperatForm",
    summary="Exporter les colonnes du décret tertiaire",
    response_class=Response,
    responses=FILE,
)
async def export_operat(
    request: Request,
    caller: Reader,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    year: Year = None,
    station: StationName = None,
    method: Method = "meteo",
) -> Response:
    """Les mêmes, tous les bâtiments, pour un tableur."""
    of, cursor = year or _last_year(), None
    rows: list[tuple[int, Row]] = []
    while True:
        wanted = WantedBuildings(asset_id, commune)
        found, cursor = await _operat(caller, Paging(MOST, cursor), wanted, of, station, method)
        rows += found
        if cursor is None:
            return _file(request, "operat", rows, of)


@router.get(
    "/schools-form", operation_id="readSchoolsForm", summary="Remplir l'évaluation annuelle de l'air des écoles"
)
async def read_schools(
    request: Request,
    caller: Reader,
    paging: Paged,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    year: Year = None,
) -> FilledFormAnswer:
    """Par salle et par année civile, à vérifier avant tout envoi ; une case inconnue est vide, et dit pourquoi."""
    of = year or _last_year()
    rows, following = await _schools(caller, paging, asset_id, commune, of)
    return _answer(request, "schools", rows, of, following)


@router.get(
    "/schools-form.csv",
    operation_id="exportSchoolsForm",
    summary="Exporter l'évaluation annuelle de l'air des écoles",
    response_class=Response,
    responses=FILE,
)
async def export_schools(
    request: Request, caller: Reader, asset_id: BuildingIds = None, commune: Commune = None, year: Year = None
) -> Response:
    """Les mêmes, toutes les salles, pour un tableur."""
    of, cursor = year or _last_year(), None
    rows: list[tuple[int, Row]] = []
    while True:
        found, cursor = await _schools(caller, Paging(MOST, cursor), asset_id, commune, of)
        rows += found
        if cursor is None:
            return _file(request, "schools", rows, of)


def _last_year() -> int:
    return datetime.now(UTC).year - 1


def form_of(request: Request, name: FormName) -> Form:
    """As the operator's file has it, or ours."""
    return request.app.state.platform.forms[name]


def _answer(
    request: Request, name: FormName, rows: Sequence[tuple[int, Row]], year: int, following: str | None
) -> FilledFormAnswer:
    form = form_of(request, name)
    lines = [
        FormLine(asset_id=id_, year=year, cells=[_cell(one, row) for one in form.columns]) for id_, row in rows
    ]
    return FilledFormAnswer(form=FormAnswer.model_validate(asdict(form)), items=lines, next=following)


def _cell(column: FormColumn, row: Row) -> FormCell:
    filled = row[column.figure]
    return FormCell(column=column.name, value=filled.value, unknown=filled.unknown)


def _file(request: Request, name: FormName, rows: Sequence[tuple[int, Row]], year: int) -> Response:
    form = form_of(request, name)
    columns = [*(one.name for one in form.columns), UNKNOWN, STATUS]
    status = f"{form.status}, colonnes du {form.as_of}"
    lines: list[list[Any]] = []
    for _, row in rows:
        filled = [(one.name, row[one.figure]) for one in form.columns]
        why = " ; ".join(f"{title} : {one.unknown}" for title, one in filled if one.unknown)
        lines.append([*(one.value for _, one in filled), why, status])
    return sheet(f"{name}-{year}-a-verifier", columns, lines)
