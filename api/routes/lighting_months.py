"""Lighting by commune and month: energy, hours lit, faults, availability, and what programs save."""

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.extent import Commune
from api.fields import INT4_MOST, answer_of
from api.lighting_figures import cabinet_months, list_cabinets, read_cabinets, streams_of_cabinets
from api.months import OneMonth, first_of, last_month, named
from api.pages import Page
from api.routes.weather import zone_of
from core.model.lighting import FROM_DUSK_TO_DAWN, Program
from core.model.lighting_programs import stored_program
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.lighting.months import CabinetMonth, CommuneMonth, commune_month
from lighting import program_store

CABINETS_MOST = 500
FORMULA = (
    "Par armoire, puis par commune : kWh, différence d'index aux bords du mois entier ; économie : programme de "
    "référence (du coucher au lever du soleil, ou celui qu'on dit) x puissance nominale - kWh relevés ; heures "
    "allumées : état relevé, une heure inconnue n'en est pas ; disponibilité : part allumée des heures que le "
    "programme veut allumées de bout en bout"
)
router = APIRouter(prefix="/v1/indicators", tags=["indicators"], responses=PROBLEM_RESPONSES)


class CommuneMonthAnswer(answer_of(CommuneMonth)):
    """Un mois d'une commune ; chaque somme dit de combien d'armoires elle est."""

    commune: str
    month: str
    metered: int = Field(description="Armoires dont le mois est entier")
    kwh: float | None
    compared: int = Field(description="Armoires dont les kWh et la référence sont connus")
    saved_kwh: float | None = Field(description="De ces armoires ; négatif : elles consomment davantage")
    saved_eur: float | None = Field(description="Null : aucun prix n'est dit")
    lit_hours: float | None = Field(description="Par armoire dont l'état est connu")
    known_hours: int = Field(description="Heures d'armoires connues, sur `hours`")
    availability: float | None = Field(description="De 0 à 1")
    faults: int = Field(description="Alertes de pannes ouvertes dans le mois")


class CommuneMonthPage(Page[CommuneMonthAnswer]):
    """Les communes, par nom."""

    reference: str
    formula: str


@router.get("/lighting", operation_id="listLightingMonths", summary="Lire l'éclairage d'un mois, par commune")
async def list_months(
    caller: Reader,
    month: OneMonth = None,
    commune: Commune = None,
    eur_per_kwh: Annotated[float | None, Query(ge=0, le=100, description="Prix du kWh, €")] = None,
    reference_id: Annotated[
        int | None,
        Query(ge=1, le=INT4_MOST, description="Programme de référence ; absent : du coucher au lever du soleil"),
    ] = None,
) -> CommuneMonthPage:
    """Ce qui n'est pas connu d'une armoire n'est dans aucune somme ; 500 armoires au plus."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        first = last_month(now, zone) if month is None else first_of(month)
        cabinets = await list_cabinets(connection, commune, CABINETS_MOST + 1)
        if len(cabinets) > CABINETS_MOST:
            raise _wrong("commune", f"plus de {CABINETS_MOST} armoires : dites une commune")
        name, reference = await _reference(connection, reference_id)
        streams = await streams_of_cabinets(connection, cabinets)
        await caller.audit_personal(connection, streams=[one.id for one in streams.every])
        found = await read_cabinets(connection, cabinets, streams, first, zone, now)
    await caller.end_sharing()
    figures = await asyncio.to_thread(cabinet_months, found, reference)
    by_commune: dict[str, list[CabinetMonth]] = {}
    for one in cabinets:
        by_commune.setdefault(one.commune, []).append(figures[one.id])
    items = [_answer(of_commune, first, commune_month(of, eur_per_kwh)) for of_commune, of in by_commune.items()]
    return CommuneMonthPage(items=items, next=None, reference=name, formula=FORMULA)


def _wrong(parameter: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{parameter}", code="range", message=message)])


async def _reference(connection: Connection, reference_id: int | None) -> tuple[str, Program]:
    if reference_id is None:
        return "du coucher au lever du soleil", FROM_DUSK_TO_DAWN
    stored = await program_store.read_program(connection, reference_id)
    if stored is None:
        raise _wrong("reference_id", f"programme {reference_id} introuvable")
    return stored.name, stored_program(stored.program)


def _answer(commune: str, first: date, month: CommuneMonth) -> CommuneMonthAnswer:
    values = {name: getattr(month, name) for name in CommuneMonth.__dataclass_fields__}
    return CommuneMonthAnswer.model_validate({**values, "commune": commune, "month": named(first)})
