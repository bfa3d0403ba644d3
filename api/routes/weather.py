"""Temperatures of days at weather stations, and the degree days that follow from them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Caller, Reader
from api.fields import PRINTABLE, Answer, answer_of
from api.months import FromMonth, ToMonth, months_between, named, span_of
from api.pages import Page
from api.weather_store import MethodName, read_degree_days
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.buildings.degree_days import (
    BASE_C,
    DayTemperatures,
    DegreeDays,
    by_energy_professionals,
    by_mean,
)
from registry import weather_days
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1", tags=["indicators"], responses=PROBLEM_RESPONSES)

StationName = Annotated[
    str | None,
    Query(
        max_length=100,
        pattern=PRINTABLE,
        description="Station ; absente : la seule que vous ayez importée",
        examples=["29075001"],
    ),
]
METHOD_TEXT = (
    "`meteo` : max(0, 18 - (Tn + Tx) / 2) ; `energy_professionals` : 0 si Tn >= 18, 18 - (Tn + Tx) / 2 si "
    "Tx < 18, sinon (18 - Tn) x (0,08 + 0,42 x (18 - Tn) / (Tx - Tn))"
)
METHODS: tuple[MethodName, ...] = ("meteo", "energy_professionals")


class StationAnswer(answer_of(weather_days.Station)):
    """Une station dont des jours ont été importés."""

    days: int = Field(description="Jours connus")
    missing: int = Field(description="Jours inconnus du premier au dernier")


class WeatherDayAnswer(answer_of(weather_days.StoredDay)):
    """Un jour connu d'une station, et ses degrés-jours unifiés, base 18 °C."""

    tn: float = Field(description="Température la plus basse, °C")
    tx: float = Field(description="Température la plus haute, °C")
    meteo: float = Field(description="Degrés-jours, méthode Météo")
    energy_professionals: float = Field(description="Degrés-jours, méthode des professionnels de l'énergie")


class DegreeDaysAnswer(Answer):
    """Les degrés-jours d'un mois."""

    method: MethodName = Field(description=METHOD_TEXT)
    base_c: float
    total: float | None = Field(description="Null : il manque un jour")
    known: float = Field(description="Somme des jours connus")
    days: int
    missing: int = Field(description="Jours inconnus : jamais comptés pour zéro")


class MonthDegreeDays(Answer):
    """Un mois d'une station, par chaque méthode."""

    station: str
    month: str
    methods: list[DegreeDaysAnswer]


@router.get("/weather-stations", operation_id="listWeatherStations", summary="Lister les stations météo importées")
async def list_stations(caller: Reader) -> Page[StationAnswer]:
    """Les stations dont des températures journalières ont été importées (`weather-days`)."""
    async with caller.reading() as connection:
        found = await weather_days.list_stations(connection)
    items = [
        StationAnswer.model_validate(asdict(one) | {"missing": (one.last - one.first).days + 1 - one.days})
        for one in found
    ]
    return Page(items=items, next=None)


@router.get("/weather-days", operation_id="listWeatherDays", summary="Lire les jours d'une station météo")
async def list_days(
    caller: Reader, station: StationName = None, since: FromMonth = None, until: ToMonth = None
) -> Page[WeatherDayAnswer]:
    """Les jours connus, avec leurs degrés-jours ; 60 mois au plus. Un jour absent de la liste est inconnu."""
    async with caller.reading() as connection:
        first, after = span_of(since, until, datetime.now(UTC), await zone_of(caller, connection))
        chosen = await choose_station(connection, station)
        days = [] if chosen is None else await weather_days.list_days(connection, chosen, first, after)
    return Page(items=[_day(one) for one in days], next=None)


def _day(one: weather_days.StoredDay) -> WeatherDayAnswer:
    temperatures = DayTemperatures(one.tn, one.tx)
    degrees = {"meteo": by_mean(temperatures), "energy_professionals": by_energy_professionals(temperatures)}
    return WeatherDayAnswer.model_validate(asdict(one) | degrees)


@router.get(
    "/indicators/degree-days", operation_id="listDegreeDays", summary="Lire les degrés-jours par mois, base 18 °C"
)
async def list_degree_days(
    caller: Reader, station: StationName = None, since: FromMonth = None, until: ToMonth = None
) -> Page[MonthDegreeDays]:
    """Par chacune des deux méthodes, nommée ; un mois auquel il manque un jour n'a pas de total."""
    async with caller.reading() as connection:
        first, after = span_of(since, until, datetime.now(UTC), await zone_of(caller, connection))
        chosen = await choose_station(connection, station)
        if chosen is None:
            return Page(items=[], next=None)
        by_method = {
            method: await read_degree_days(connection, chosen, method, months_between(first, after))
            for method in METHODS
        }
    items = [
        MonthDegreeDays(
            station=chosen,
            month=named(month),
            methods=[shown_degree_days(by_method[method][month]) for method in METHODS],
        )
        for month in months_between(first, after)
    ]
    return Page(items=items, next=None)


def shown_degree_days(one: DegreeDays) -> DegreeDaysAnswer:
    """A month's degree days, with the name of their method."""
    return DegreeDaysAnswer(
        method=one.method, base_c=BASE_C, total=one.total, known=one.known, days=one.days, missing=one.missing
    )


async def choose_station(connection: Connection, named_station: str | None) -> str | None:
    """The station that is named, or the only one; None: there is none, or there are several and none is named.

    Raises 422 for a name of which no day is known.
    """
    stations = [one.station for one in await weather_days.list_stations(connection)]
    if named_station is None:
        return stations[0] if len(stations) == 1 else None
    if named_station not in stations:
        message = f"aucun jour de la station « {named_station} » n'a été importé"
        raise Problem(422, message, errors=[FieldError(field="query.station", code="unknown", message=message)])
    return named_station


async def zone_of(caller: Caller, connection: Connection) -> ZoneInfo:
    """The time zone of the caller's tenant."""
    tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
    return region_of(tenant.department, timezone).zone
