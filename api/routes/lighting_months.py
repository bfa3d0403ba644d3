"""Lighting by commune and month: energy, hours lit, faults, availability, and what programs save."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from alerting.rules.faults import FAULT_SQL, Fault
from api.auth import Reader
from api.building_store import UseMonths, meters_of, midnight, read_months
from api.extent import Commune
from api.fields import INT4_MOST, answer_of
from api.months import OneMonth, first_of, last_month, named
from api.pages import Page
from api.room_store import read_means, streams_of
from api.routes.lighting_energy import CIRCUITS, PROGRAM_SINCE
from api.routes.weather import zone_of
from core.model.calendar_buckets import moved
from core.model.lighting import FROM_DUSK_TO_DAWN, Lamps, Program
from core.model.lighting_programs import stored_program
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.lighting.months import (
    CabinetMonth,
    CommuneMonth,
    LampHour,
    burning_of,
    commune_month,
    expected_shares,
)
from lighting import program_store
from lighting.energy import expected_kwh
from lighting.expected import LampRow, read_lamps
from registry.rows import fetch_all

CABINETS_MOST = 500
FORMULA = (
    "Par armoire, puis par commune : kWh, différence d'index aux bords du mois entier ; économie : programme de "
    "référence (du coucher au lever du soleil, ou celui qu'on dit) x puissance nominale - kWh relevés ; heures "
    "allumées : état relevé, une heure inconnue n'en est pas ; disponibilité : part allumée des heures que le "
    "programme veut allumées de bout en bout"
)
CABINETS = """
SELECT id, commune FROM asset
WHERE kind = 'lighting_cabinet' AND archived_at IS NULL AND ($1::text IS NULL OR commune = $1)
ORDER BY commune, id LIMIT $2
"""
# A circuit's faults are its cabinet's.
FAULTS = f"""
SELECT coalesce(c.id, s.id) AS id, count(*)::int AS faults
FROM alert a JOIN alert_rule r ON r.id = a.rule_id AND {FAULT_SQL} = ANY($4::text[])
JOIN asset s ON s.id = a.asset_id LEFT JOIN asset c ON c.id = s.parent_id AND s.kind = 'lighting_circuit'
WHERE a.opened_at >= $2 AND a.opened_at < $3 AND coalesce(c.id, s.id) = ANY($1::int[]) GROUP BY 1
"""
OF_LAMPS = [
    str(fault) for fault in (Fault.BREAKER, Fault.DARK, Fault.LOST_PHASE, Fault.LOST_CURRENT, Fault.FEWER_LAMPS)
]

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


@dataclass(frozen=True, slots=True)
class _Cabinet:
    id: int
    commune: str


@dataclass(frozen=True, slots=True)
class _Faults:
    id: int
    faults: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What a month's figures are computed from, by cabinet."""

    cabinets: Sequence[_Cabinet]
    kwh: Mapping[int, float | None]
    lit: Mapping[tuple[int, str], Mapping[datetime, float]]
    hours: Sequence[datetime]
    lamps: Mapping[int, LampRow]
    circuits: Mapping[int, Sequence[LampRow]]
    is_same: frozenset[int]
    faults: Mapping[int, int]


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
        cabinets = await fetch_all(connection, _Cabinet, CABINETS, commune, CABINETS_MOST + 1)
        if len(cabinets) > CABINETS_MOST:
            raise _wrong("commune", f"plus de {CABINETS_MOST} armoires : dites une commune")
        name, reference = await _reference(connection, reference_id)
        ids = [one.id for one in cabinets]
        meters, series = await meters_of(connection, ids, ("electricity",))
        states = await streams_of(connection, ids, ("switch_state",))
        await caller.audit_personal(connection, streams=[one.id for one in (*series, *states)])
        begin, end = midnight(first, zone), midnight(moved(first, "month", 1), zone)
        months = await read_months(connection, meters, series, first, moved(first, "month", 1), zone, now)
        hours, lit = await read_means(connection, states, begin, end, zone)
        found = await _read_rest(connection, cabinets, begin, end, months, hours, lit)
    await caller.end_sharing()
    figures = await asyncio.to_thread(_figures, found, reference, begin, end)
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


async def _read_rest(
    connection: Connection,
    cabinets: Sequence[_Cabinet],
    begin: datetime,
    end: datetime,
    months: Sequence[UseMonths],
    hours: Sequence[datetime],
    lit: Mapping[tuple[int, str], Mapping[datetime, float]],
) -> _Found:
    ids = [one.id for one in cabinets]
    circuits = await connection.fetch(CIRCUITS, ids)
    lamps = await read_lamps(connection, ids + [one["id"] for one in circuits])
    below: dict[int, list[LampRow]] = {}
    for one in circuits:
        if one["id"] in lamps:
            below.setdefault(one["parent_id"], []).append(lamps[one["id"]])
    changed = {one["id"]: one["at"] for one in await connection.fetch(PROGRAM_SINCE, ids)}
    faults = await fetch_all(connection, _Faults, FAULTS, ids, begin, end, OF_LAMPS)
    return _Found(
        cabinets,
        {one.meters.building_id: _whole(one) for one in months},
        lit,
        hours,
        lamps,
        below,
        frozenset(id_ for id_ in ids if changed.get(id_) is None or changed[id_] <= begin),
        {one.id: one.faults for one in faults},
    )


def _whole(one: UseMonths) -> float | None:
    [month] = one.months
    return month.amount if month.is_whole else None


def _figures(found: _Found, reference: Program, begin: datetime, end: datetime) -> dict[int, CabinetMonth]:
    """Of each cabinet; a program that changed meanwhile says nothing of the month."""
    figures: dict[int, CabinetMonth] = {}
    for cabinet in found.cabinets:
        row = found.lamps.get(cabinet.id)
        known = found.lit.get((cabinet.id, "switch_state"), {})
        wanted: list[float | None] = [None] * len(found.hours)
        if known and row is not None and cabinet.id in found.is_same:
            wanted = expected_shares(row.lamps.program, row.place, begin, end)
        hours = [LampHour(expected, known.get(hour)) for expected, hour in zip(wanted, found.hours, strict=True)]
        rows = _lamps(row, found.circuits.get(cabinet.id, ()))
        figures[cabinet.id] = CabinetMonth(
            found.kwh.get(cabinet.id),
            expected_kwh([(Lamps(reference, one.rated_power_w), one.place) for one in rows], begin, end),
            burning_of(hours),
            found.faults.get(cabinet.id, 0),
        )
    return figures


def _lamps(own: LampRow | None, circuits: Sequence[LampRow]) -> Sequence[LampRow]:
    """The circuits where each says what it draws, else the whole."""
    if circuits and all(one.rated_power_w is not None for one in circuits):
        return circuits
    return [] if own is None else [own]


def _answer(commune: str, first: date, month: CommuneMonth) -> CommuneMonthAnswer:
    values = {name: getattr(month, name) for name in CommuneMonth.__dataclass_fields__}
    return CommuneMonthAnswer.model_validate({**values, "commune": commune, "month": named(first)})
