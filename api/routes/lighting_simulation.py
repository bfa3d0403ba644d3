"""A year of a program of lamps: hours, energy, money and carbon dioxide, month by month, against another."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Reader
from api.fields import INT4_MOST, Answer, Body, Id, IdRef, Latitude, Longitude, answer_of, example
from api.routes.assets import ASSETS
from api.routes.lighting_programs import PROGRAMS, ProgramJson
from core.model.lighting import FROM_DUSK_TO_DAWN, LampPlace, Program
from core.model.lighting_programs import read_program, stored_program
from core.model.region import region_of, school_zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid
from core.runtime.postgres import Connection
from lighting import program_store as store
from lighting.expected import read_lamps
from lighting.programs import nights
from lighting.simulation import Prices, Span, simulate

router = APIRouter(prefix="/v1/lighting-programs", tags=["lighting"], responses=PROBLEM_RESPONSES)

YEARS = (2020, 2035)
# Of a cabinet that says none: what comes out is by the kilowatt.
USUAL_W = 1000.0


class SimulationBody(Body):
    """Une année d'un programme en un lieu, comparée à un autre."""

    model_config = example(
        {"asset_id": 42, "year": 2026, "rated_power_w": 4200, "price_eur_per_kwh": 0.2, "co2_g_per_kwh": 60}
    )

    year: int | None = Field(None, ge=YEARS[0], le=YEARS[1], description="Absente : celle-ci")
    asset_id: IdRef | None = Field(
        None, description="L'armoire qui donne le lieu, et sa puissance ; sans lieu : une armoire placée"
    )
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    rated_power_w: float | None = Field(
        None, gt=0, le=1_000_000_000, description="Absente : celle de l'armoire, sinon 1 000 W"
    )
    price_eur_per_kwh: float = Field(0.2, ge=0, le=100)
    co2_g_per_kwh: float = Field(60, ge=0, le=5000)
    version: int | None = Field(None, ge=1, le=INT4_MOST, description="Absente : la dernière")
    program: ProgramJson | None = Field(None, description="Un programme qui n'est pas encore enregistré")
    against_id: IdRef | None = Field(
        None, description="Le programme de comparaison ; absent : du coucher au lever du soleil"
    )

    nights: bool = Field(False, description="Donner aussi chaque nuit de l'année")

    @model_validator(mode="after")
    def _a_place(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise PydanticCustomError("place", "latitude et longitude vont ensemble")
        return self


class StretchAnswer(Answer):
    """Entre deux instants, autant de lumière."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    level: float = Field(description="En pour cent ; 0 : éteint")


class NightAnswer(Answer):
    """Une nuit, du coucher du soleil à son lever."""

    day: date = Field(description="Le jour où elle commence, à midi")
    dusk: datetime
    dawn: datetime
    stretches: list[StretchAnswer]


class SpanAnswer(answer_of(Span)):
    """Un mois, ou l'année (`month` 0)."""


class SimulatedYearAnswer(Answer):
    """L'année d'un programme."""

    name: str
    months: list[SpanAnswer]
    total: SpanAnswer


class Saved(Answer):
    """Ce que le programme économise par rapport à l'autre ; négatif : il prend davantage."""

    hours: float
    kwh: float
    eur: float
    co2_kg: float


class SimulationAnswer(Answer):
    """Une année simulée."""

    year: int
    rated_power_w: float
    program: SimulatedYearAnswer
    against: SimulatedYearAnswer
    saved: Saved
    nights: list[NightAnswer] = Field(description="Sur demande")


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    program: Program


@router.post(
    "/simulation",
    operation_id="simulateNewLightingProgram",
    summary="Simuler un programme qui n'est pas enregistré",
)
async def simulate_new(body: SimulationBody, caller: Reader) -> SimulationAnswer:
    """Heures d'éclairage, énergie, coût et CO2, mois par mois, sans rien enregistrer."""
    if body.program is None:
        raise invalid("program", "missing", "donnez le programme à simuler")
    async with caller.reading() as connection:
        place, watts = await _place_of(connection, caller.principal.tenant_id, body)
        against = await _against(connection, body)
    await caller.end_sharing()
    return await _simulated(body, _Named("", read_program(body.program)), against, place, watts)


@router.post(
    "/{id}/simulation", operation_id="simulateLightingProgram", summary="Simuler une année d'un programme"
)
async def simulate_program(id: Id, body: SimulationBody, caller: Reader) -> SimulationAnswer:
    """Heures d'éclairage, énergie, coût et CO2, mois par mois, comparés à un autre programme."""
    async with caller.reading() as connection:
        stored = await PROGRAMS.get(connection, id)
        document = body.program
        if document is None:
            version = await store.read_version(connection, id, body.version)
            if version is None:
                raise invalid("version", "unknown", f"ce programme n'a pas de version {body.version}")
            document = version.program
        place, watts = await _place_of(connection, stored.tenant_id, body)
        against = await _against(connection, body)
    await caller.end_sharing()
    return await _simulated(body, _Named(stored.name, stored_program(document)), against, place, watts)


async def _place_of(connection: Connection, tenant_id: int, body: SimulationBody) -> tuple[LampPlace, float]:
    watts, latitude, longitude = body.rated_power_w, body.latitude, body.longitude
    if body.asset_id is not None:
        row = (await read_lamps(connection, [body.asset_id])).get(body.asset_id)
        if row is None:
            raise ASSETS.missing(body.asset_id)
        watts = watts or row.rated_power_w
        if latitude is None or longitude is None:
            latitude, longitude = row.latitude, row.longitude
        if latitude is None or longitude is None:
            raise invalid("asset_id", "position", "cette armoire n'a pas de position : donnez un lieu")
        return LampPlace(latitude, longitude, row.place.region, row.place.school_zone), watts or USUAL_W
    if latitude is None:
        found = await store.find_place(connection, tenant_id)
        if found is None:
            raise invalid("latitude", "missing", "aucune armoire n'a de position : donnez un lieu")
        latitude, longitude = found
    department, timezone = await store.read_department(connection, tenant_id)
    place = LampPlace(latitude, longitude, region_of(department, timezone), school_zone_of(department))
    return place, watts or USUAL_W


async def _against(connection: Connection, body: SimulationBody) -> _Named:
    if body.against_id is None:
        return _Named("du coucher au lever du soleil", FROM_DUSK_TO_DAWN)
    other = await store.read_program(connection, body.against_id)
    if other is None:
        raise invalid("against_id", "unknown", f"programme {body.against_id} introuvable")
    return _Named(other.name, stored_program(other.program))


async def _simulated(
    body: SimulationBody, wanted: _Named, against: _Named, place: LampPlace, watts: float
) -> SimulationAnswer:
    year = body.year or min(max(datetime.now(UTC).year, YEARS[0]), YEARS[1])
    prices = Prices(body.price_eur_per_kwh, body.co2_g_per_kwh)
    mine, other = [
        await asyncio.to_thread(simulate, one.program, place, year, watts, prices) for one in (wanted, against)
    ]
    shown = await asyncio.to_thread(_nights, wanted.program, place, year) if body.nights else []
    return SimulationAnswer(
        year=year,
        rated_power_w=watts,
        program=_year(wanted.name, mine),
        against=_year(against.name, other),
        saved=Saved(
            hours=other[-1].hours - mine[-1].hours,
            kwh=other[-1].kwh - mine[-1].kwh,
            eur=other[-1].eur - mine[-1].eur,
            co2_kg=other[-1].co2_kg - mine[-1].co2_kg,
        ),
        nights=shown,
    )


def _nights(program: Program, place: LampPlace, year: int) -> list[NightAnswer]:
    first = date(year, 1, 1)
    found = nights(program, place, first, (date(year + 1, 1, 1) - first).days)
    return [NightAnswer.model_validate(one) for one in found if one.day.year == year]


def _year(name: str, spans: list[Span]) -> SimulatedYearAnswer:
    found = [SpanAnswer.model_validate(span) for span in spans]
    return SimulatedYearAnswer(name=name, months=found[:-1], total=found[-1])
