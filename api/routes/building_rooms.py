"""The air of rooms in occupied hours, and how often doors were opened."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Caller, Reader
from api.building_store import Building, midnight
from api.extent import Commune
from api.fields import Answer, answer_of
from api.months import FromMonth, OneMonth, ToMonth, first_of, last_month, months_between, named, span_of
from api.pages import Page, Paged, next_of
from api.room_store import (
    Calendars,
    Door,
    Room,
    State,
    list_doors,
    list_rooms,
    read_calendars,
    read_means,
    read_states,
    streams_of,
)
from api.routes.building_energy import BuildingIds, WantedBuildings
from core.model.calendar_buckets import moved
from core.model.region import Region, region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.buildings.openings import StateChange, count_openings
from indicators.buildings.room_air import (
    HUMID_PERCENT,
    Co2,
    Comfort,
    Evaluation,
    Humidity,
    RoomHour,
    co2_by_week,
    co2_of,
    comfort_of,
    evaluation_of,
    humidity_of,
)
from registry.tenants import read_with_timezone

MOST = 50
HOURS_MOST = 600_000
MONTHS_MOST = 12
READINGS_MOST = 20_000
HOUR = timedelta(hours=1)
QUANTITIES = ("co2", "temperature", "relative_humidity")
USUAL_COMFORT_C = (19.0, 26.0)
AIR_FORMULA = (
    "Moyennes horaires des heures ouvertes de bout en bout par le calendrier de la salle (humidité : toutes les "
    "heures) ; ICONE = (2,5 / log10 2) x log10(1 + f1 + 3 f2), f1 part de 1 000 à 1 700 ppm, f2 au-delà ; une "
    "heure sans mesure est inconnue, dans aucune part"
)
OPENINGS_FORMULA = (
    "Passages de fermé à ouvert, par heure locale du jour ; hors calendrier : ceux d'un instant où il est fermé ; "
    "des comptes seulement, personne n'y est nommé"
)

router = APIRouter(prefix="/v1/indicators/buildings", tags=["indicators"], responses=PROBLEM_RESPONSES)


class Co2Answer(answer_of(Co2)):
    """Le CO2 des heures occupées, en ppm."""

    hours: int = Field(description="Heures occupées")
    known_hours: int
    above_800: float | None = Field(description="Part des heures connues à 800 ppm ou plus, de 0 à 1")
    above_1500: float | None
    icone: float | None = Field(description="Indice de confinement, de 0 à 5")
    below_400: int = Field(description="Heures sous 400 ppm : le capteur dérive")


class Co2Week(Co2Answer):
    """Une semaine, du lundi au dimanche ; au bord de la période, ce qui en fait partie."""

    monday: date


class ComfortAnswer(answer_of(Comfort)):
    """Les heures occupées par leur température moyenne."""

    within: int = Field(description="Entre les deux bornes, comprises")


class HumidityAnswer(answer_of(Humidity)):
    """Toutes les heures, occupées ou non."""

    humid: int = Field(description="Heures à la limite ou au-dessus")
    longest: int = Field(description="La plus longue suite de telles heures")


class RoomAirAnswer(Answer):
    """Une salle."""

    asset_id: int
    name: str
    calendar: str | None = Field(description="Null : aucun calendrier ne dit quand on y est ; rien n'est occupé")
    co2: Co2Answer
    weeks: list[Co2Week] = Field(description="Le CO2 et l'indice, semaine par semaine")
    comfort: ComfortAnswer
    humidity: HumidityAnswer


class EvaluationAnswer(answer_of(Evaluation)):
    """L'évaluation annuelle des écoles : assez de salles mesurées, et combien ont dépassé chaque seuil."""

    to_measure: int = Field(description="Toutes jusqu'à cinq salles, la moitié à partir de six")
    measured: int = Field(description="Salles dont la moitié des heures occupées est connue")
    is_enough: bool


class BuildingAir(Answer):
    """Un bâtiment et ses salles."""

    asset_id: int
    name: str
    commune: str
    evaluation: EvaluationAnswer
    rooms: list[RoomAirAnswer]


class BuildingAirPage(Page[BuildingAir]):
    """Les bâtiments qui ont des salles."""

    formula: str


class DoorAnswer(Answer):
    """Un contact."""

    datastream_id: int
    asset_id: int
    name: str
    building_id: int
    month: str
    count: int
    by_hour: list[int] = Field(description="Vingt-quatre comptes, de minuit à minuit, heure locale")
    outside: int | None = Field(description="Hors du calendrier ; null : aucun calendrier")


class DoorPage(Page[DoorAnswer]):
    """Les contacts des bâtiments."""

    formula: str


@router.get("/air", operation_id="listRoomAir", summary="Lire le CO2, le confort et l'humidité des salles")
async def list_air(
    caller: Reader,
    paging: Paged,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    since: FromMonth = None,
    until: ToMonth = None,
    lowest_c: Annotated[float, Query(ge=0, le=40, description="Confort : à partir de, °C")] = USUAL_COMFORT_C[0],
    highest_c: Annotated[float, Query(ge=0, le=40, description="Confort : jusqu'à, °C")] = USUAL_COMFORT_C[1],
    humid_percent: Annotated[
        float, Query(ge=1, le=100, description="Humidité relative à partir de laquelle c'est humide, %")
    ] = HUMID_PERCENT,
) -> BuildingAirPage:
    """Par salle de chaque bâtiment, 12 mois au plus ; sans période : le dernier mois fini."""
    if lowest_c > highest_c:
        raise _wrong("lowest_c", "« lowest_c » est au-dessus de « highest_c »")
    now = datetime.now(UTC)
    most = min(paging.limit, MOST)
    async with caller.reading() as connection:
        region = await _region(caller, connection)
        last = named(last_month(now, region.zone))
        first, after = span_of(since or until or last, until or last, now, region.zone)
        if len(months_between(first, after)) > MONTHS_MOST:
            raise _wrong("from", f"{MONTHS_MOST} mois au plus")
        found = await WantedBuildings(asset_id, commune).select(connection, paging.after, most + 1)
        buildings = found[:most]
        rooms = await list_rooms(connection, [one.id for one in buildings])
        series = await streams_of(connection, [one.id for one in rooms], QUANTITIES)
        await caller.audit_personal(connection, streams=[one.id for one in series])
        begin, end = midnight(first, region.zone), midnight(after, region.zone)
        if len(series) * ((end - begin) // HOUR) > HOURS_MOST:
            raise _wrong(
                "from", "trop de salles pour une si longue période : moins de bâtiments, ou moins de mois"
            )
        calendars = await read_calendars(connection, caller.principal.tenant_id, region)
        hours, means = await read_means(connection, series, begin, end, region.zone)
    limits = _Limits(lowest_c, highest_c, humid_percent)
    local = [hour.astimezone(region.zone) for hour in hours]
    by_building: dict[int, list[Room]] = {}
    for room in rooms:
        by_building.setdefault(room.building_id, []).append(room)
    items = [
        _building(one, by_building[one.id], hours, local, means, calendars, limits)
        for one in buildings
        if one.id in by_building
    ]
    return BuildingAirPage(items=items, next=next_of(found, most), formula=AIR_FORMULA)


def _wrong(parameter: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{parameter}", code="range", message=message)])


async def _region(caller: Caller, connection: Connection) -> Region:
    tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
    return region_of(tenant.department, timezone)


class _Limits:
    """Bounds of comfort and of humidity."""

    def __init__(self, lowest_c: float, highest_c: float, humid_percent: float) -> None:
        self.lowest_c, self.highest_c, self.humid_percent = lowest_c, highest_c, humid_percent


Means = Mapping[tuple[int, str], Mapping[datetime, float]]


def _building(
    building: Building,
    rooms: Sequence[Room],
    hours: Sequence[datetime],
    local: Sequence[datetime],
    means: Means,
    calendars: Calendars,
    limits: _Limits,
) -> BuildingAir:
    shown: list[RoomAirAnswer] = []
    air: list[Co2] = []
    for room in rooms:
        calendar = calendars.named(room.calendar)
        occupied = frozenset[datetime]() if calendar is None else calendars.occupied(*calendar, hours)

        def of(quantity: str, room: Room = room, occupied: frozenset[datetime] = occupied) -> list[RoomHour]:
            known = means.get((room.id, quantity), {})
            return [RoomHour(known.get(hour), hour in occupied) for hour in hours]

        co2 = co2_of(of("co2"))
        air.append(co2)
        humidity = humidity_of([hour.mean for hour in of("relative_humidity")], limits.humid_percent)
        shown.append(
            RoomAirAnswer(
                asset_id=room.id,
                name=room.name,
                calendar=None if calendar is None else calendar[0],
                co2=Co2Answer.model_validate(co2),
                weeks=[
                    Co2Week(monday=monday, **asdict(week))
                    for monday, week in co2_by_week(zip(local, of("co2"), strict=True)).items()
                ],
                comfort=ComfortAnswer.model_validate(
                    comfort_of(of("temperature"), limits.lowest_c, limits.highest_c)
                ),
                humidity=HumidityAnswer.model_validate(humidity),
            )
        )
    return BuildingAir(
        asset_id=building.id,
        name=building.name,
        commune=building.commune,
        evaluation=EvaluationAnswer.model_validate(evaluation_of(air)),
        rooms=shown,
    )


@router.get("/openings", operation_id="listOpenings", summary="Compter les ouvertures de portes d'un mois")
async def list_openings(
    caller: Reader,
    paging: Paged,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    month: OneMonth = None,
) -> DoorPage:
    """Par contact des bâtiments et de ce qui en dépend ; lu des mesures brutes, tant qu'elles sont gardées."""
    most = min(paging.limit, MOST)
    async with caller.reading() as connection:
        region = await _region(caller, connection)
        first = last_month(datetime.now(UTC), region.zone) if month is None else first_of(month)
        begin, end = midnight(first, region.zone), midnight(moved(first, "month", 1), region.zone)
        found = await WantedBuildings(asset_id, commune).select(connection, paging.after, most + 1)
        doors = await list_doors(connection, [one.id for one in found[:most]])
        await caller.audit_personal(connection, streams=[one.id for one in doors])
        calendars = await read_calendars(connection, caller.principal.tenant_id, region)
        states = await read_states(connection, [one.id for one in doors], begin, end, READINGS_MOST)
    by_door: dict[int, list[State]] = {}
    for state in states:
        by_door.setdefault(state.id, []).append(state)
    items = [_door(one, by_door.get(one.id, []), calendars, named(first), region.zone) for one in doors]
    return DoorPage(items=items, next=next_of(found, most), formula=OPENINGS_FORMULA)


def _door(door: Door, states: Sequence[State], calendars: Calendars, month: str, zone: ZoneInfo) -> DoorAnswer:
    calendar = calendars.named(door.calendar)
    changes = (StateChange(one.time, one.time.astimezone(zone), one.value >= 1) for one in states)
    counted = count_openings(changes, None if calendar is None else lambda at: calendars.is_open(calendar[1], at))
    return DoorAnswer(
        datastream_id=door.id,
        asset_id=door.asset_id,
        name=door.name,
        building_id=door.building_id,
        month=month,
        count=counted.count,
        by_hour=list(counted.by_hour),
        outside=counted.outside,
    )
