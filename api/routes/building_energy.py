"""Energy and water of buildings by month, beside the month before and the same month of the year before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.auth import Reader
from api.building_store import (
    USES,
    Building,
    Use,
    UseMonths,
    list_buildings,
    meters_of,
    midnight,
    read_hours,
    read_months,
)
from api.corrected_months import FORMULA as CORRECTED_FORMULA
from api.corrected_months import CorrectedMonth, read_corrected
from api.extent import Commune
from api.fields import INT4_MOST, Answer
from api.months import FromMonth, OneMonth, ToMonth, first_of, last_month, months_between, named, span_of
from api.pages import Page, Paged, next_of
from api.routes.weather import (
    METHOD_TEXT,
    DegreeDaysAnswer,
    StationName,
    choose_station,
    shown_degree_days,
    zone_of,
)
from api.weather_store import MethodName, read_degree_days
from core.model.calendar_buckets import a_year_before, moved
from core.runtime.http.errors import PROBLEM_RESPONSES
from core.runtime.postgres import Connection
from indicators.buildings.amounts import MonthAmount, change_percent, per_unit
from indicators.buildings.climate import Corrected, Uncorrected
from indicators.buildings.degree_days import DegreeDays
from indicators.buildings.load import HourAmount, LoadShape, load_shape

MOST = 100

router = APIRouter(prefix="/v1/indicators/buildings", tags=["indicators"], responses=PROBLEM_RESPONSES)

BuildingIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(alias="asset_id", max_length=MOST, description="Bâtiment ; répétable ; absent : tous", examples=[[42]]),
]
UseNames = Annotated[
    list[Use] | None,
    Query(alias="use", max_length=4, description="Usage ; répétable ; absent : tous"),
]
ENERGY_FORMULA = (
    "Différence d'index aux bords du mois local, compteurs du bâtiment additionnés (ni sous-compteurs, ni index "
    "par phase) ; un mois est entier s'il est fini, si ses index sont connus 9 jours sur 10 et si les lacunes à "
    "ses bords en font 1 % au plus ; seuls des mois entiers se comparent"
)
LOAD_FORMULA = (
    "Sur les heures connues du mois local : talon, ce que 95 heures sur 100 dépassent ou égalent ; nuit, de 22 h "
    "à 6 h ; week-end, samedi et dimanche ; parts de ce qui a été consommé dans ces heures"
)


@dataclass(frozen=True, slots=True)
class WantedBuildings:
    """Which buildings: all that is given is to hold."""

    asset_id: BuildingIds = None
    commune: Commune = None
    use: UseNames = None

    async def select(self, connection: Connection, after: int, most: int) -> list[Building]:
        """Those that are visible, by id."""
        return await list_buildings(connection, self.asset_id, self.commune, after, most)

    @property
    def uses(self) -> list[Use]:
        """Those that are asked for, in the order of the catalogue."""
        return [one for one in USES if self.use is None or one in self.use]


Wanted = Annotated[WantedBuildings, Depends()]


class BesideMonth(Answer):
    """Un autre mois, à côté."""

    month: str
    amount: float | None
    is_whole: bool
    change_percent: float | None = Field(description="Null : l'un des deux mois n'est pas entier")


class CorrectedAnswer(Answer):
    """Le même mois de l'an dernier, ramené au climat de ce mois."""

    amount: float | None = Field(description="Ce que l'an dernier aurait consommé par ce climat")
    change_percent: float | None
    baseline_id: int | None = Field(description="La référence dont la régression corrige")
    method: MethodName | None
    station: str | None
    reason: Uncorrected | None = Field(description="Pourquoi rien n'est corrigé ; null : c'est corrigé")


class BuildingMonthAnswer(Answer):
    """Un mois d'un usage."""

    month: str
    amount: float | None = Field(description="Null : un index n'en dit rien")
    is_whole: bool = Field(description="Faux : à signaler, et comparé à rien")
    completeness: float = Field(description="Part des jours finis du mois où tous les index sont connus")
    per_m2: float | None
    per_occupant: float | None
    off_peak: float | None = Field(description="Heures creuses (électricité) ; null : sans objet ou inconnu")
    peak: float | None = Field(description="Heures pleines (électricité)")
    previous_month: BesideMonth
    previous_year: BesideMonth
    corrected: CorrectedAnswer = Field(description="L'an dernier, corrigé du climat")
    degree_days: DegreeDaysAnswer | None = Field(description="Null : aucune station n'est choisie")


class BuildingUse(Answer):
    """Un usage d'un bâtiment : électricité, gaz, chaleur ou eau."""

    asset_id: int
    name: str
    commune: str
    use: Use
    unit: str
    surface_m2: float | None
    occupants: float | None


class BuildingEnergy(BuildingUse):
    """Un usage d'un bâtiment, mois par mois."""

    months: list[BuildingMonthAnswer]


class BuildingEnergyPage(Page[BuildingEnergy]):
    """Les usages, par bâtiment."""

    formula: str


class BuildingLoad(BuildingUse):
    """La forme de la consommation d'un mois."""

    month: str
    hours: int
    known_hours: int
    is_whole: bool = Field(description="9 heures sur 10 sont connues")
    base: float | None = Field(description="Talon, par heure")
    night_share: float | None = Field(description="De 0 à 1")
    weekend_share: float | None = Field(description="De 0 à 1")


class BuildingLoadPage(Page[BuildingLoad]):
    """Les usages, par bâtiment."""

    formula: str


@router.get("/energy", operation_id="listBuildingEnergy", summary="Lire l'énergie et l'eau des bâtiments par mois")
async def list_energy(
    caller: Reader,
    paging: Paged,
    wanted: Wanted,
    since: FromMonth = None,
    until: ToMonth = None,
    station: StationName = None,
    method: Annotated[MethodName, Query(description=METHOD_TEXT)] = "meteo",
) -> BuildingEnergyPage:
    """À côté du mois d'avant et du même mois de l'année d'avant, par m² et par occupant ; 60 mois au plus.

    Rien n'est inventé : un mois dont un index ne dit rien est null, jamais zéro.
    """
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        first, after = span_of(since, until, now, zone)
        most = min(paging.limit, MOST)
        found = await wanted.select(connection, paging.after, most + 1)
        buildings = {one.id: one for one in found[:most]}
        meters, series = await meters_of(connection, list(buildings), wanted.uses)
        await caller.audit_personal(connection, streams=[one.id for one in series])
        begin = moved(first, "month", -12)
        uses = await read_months(connection, meters, series, begin, after, zone, now)
        months = months_between(first, after)
        chosen = await choose_station(connection, station)
        cold = {} if chosen is None else await read_degree_days(connection, chosen, method, months)
        corrected = await read_corrected(connection, uses, begin, after)
    items = [
        _energy(buildings[one.meters.building_id], one, months, cold,
                corrected[one.meters.building_id, one.meters.use])
        for one in uses
    ]  # fmt: skip
    formula = f"{ENERGY_FORMULA} ; {CORRECTED_FORMULA}"
    return BuildingEnergyPage(items=items, next=next_of(found, most), formula=formula)


def use_of(building: Building, use: Use) -> dict[str, object]:
    """What a use of a building is called."""
    return {
        "asset_id": building.id,
        "name": building.name,
        "commune": building.commune,
        "use": use,
        "unit": USES[use].unit,
        "surface_m2": building.size("surface_m2"),
        "occupants": building.size("occupants"),
    }


def _energy(
    building: Building,
    use: UseMonths,
    months: Sequence[date],
    cold: Mapping[date, DegreeDays],
    corrected: Mapping[date, CorrectedMonth],
) -> BuildingEnergy:
    by_month = {one.first: (one, peak) for one, peak in zip(use.months, use.peaks, strict=True)}
    return BuildingEnergy.model_validate(
        {
            **use_of(building, use.meters.use),
            "months": [_month(building, by_month, month, cold.get(month), corrected[month]) for month in months],
        }
    )


def _month(
    building: Building,
    by_month: Mapping[date, tuple[MonthAmount, tuple[float, float] | None]],
    month: date,
    cold: DegreeDays | None,
    corrected: CorrectedMonth,
) -> BuildingMonthAnswer:
    this, peak = by_month[month]
    former, year = moved(month, "month", -1), a_year_before(month)
    assert year is not None  # noqa: S101 - The first day of a month is in each year.
    return BuildingMonthAnswer(
        month=named(month),
        amount=this.amount,
        is_whole=this.is_whole,
        completeness=this.completeness,
        per_m2=per_unit(this.amount, building.size("surface_m2")),
        per_occupant=per_unit(this.amount, building.size("occupants")),
        off_peak=None if peak is None else peak[0],
        peak=None if peak is None else peak[1],
        previous_month=_beside(this, by_month[former][0]),
        previous_year=_beside(this, by_month[year][0]),
        corrected=_corrected(corrected),
        degree_days=None if cold is None else shown_degree_days(cold),
    )


def _beside(this: MonthAmount, other: MonthAmount) -> BesideMonth:
    return BesideMonth(
        month=named(other.first),
        amount=other.amount,
        is_whole=other.is_whole,
        change_percent=change_percent(this, other),
    )


def _corrected(one: CorrectedMonth) -> CorrectedAnswer:
    known = one.found if isinstance(one.found, Corrected) else None
    by = one.baseline
    return CorrectedAnswer(
        amount=None if known is None else known.amount,
        change_percent=None if known is None else known.change_percent,
        baseline_id=None if by is None else by.id,
        method=None if by is None else by.method,
        station=None if by is None else by.station,
        reason=one.found if isinstance(one.found, Uncorrected) else None,
    )


@router.get(
    "/load", operation_id="listBuildingLoad", summary="Lire le talon, les nuits et les week-ends d'un mois"
)
async def list_load(caller: Reader, paging: Paged, wanted: Wanted, month: OneMonth = None) -> BuildingLoadPage:
    """Par heure du mois local, 743 en mars et 745 en octobre ; une heure inconnue n'est dans aucune part."""
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        first = last_month(datetime.now(UTC), zone) if month is None else first_of(month)
        most = min(paging.limit, MOST)
        found = await wanted.select(connection, paging.after, most + 1)
        buildings = {one.id: one for one in found[:most]}
        meters, series = await meters_of(connection, list(buildings), wanted.uses)
        await caller.audit_personal(connection, streams=[one.id for one in series])
        end = midnight(moved(first, "month", 1), zone)
        hours = await read_hours(connection, meters, series, midnight(first, zone), end, zone)
    items = [
        BuildingLoad.model_validate(
            use_of(buildings[one.building_id], one.use)
            | {"month": named(first)}
            | _shape(load_shape(HourAmount(*hour) for hour in of))
        )
        for one, of in zip(meters, hours, strict=True)
    ]
    return BuildingLoadPage(items=items, next=next_of(found, most), formula=LOAD_FORMULA)


def _shape(shape: LoadShape) -> dict[str, object]:
    return {
        "hours": shape.hours,
        "known_hours": shape.known_hours,
        "is_whole": shape.is_whole,
        "base": shape.base,
        "night_share": shape.night_share,
        "weekend_share": shape.weekend_share,
    }
