"""Water that ran at night: leaks of buildings, in litres and euros."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.building_store import days_of, list_buildings, meters_of, midnight, read_hours
from api.extent import Commune
from api.fields import Answer, answer_of
from api.months import FromMonth, ToMonth, last_month, months_between, named, span_of
from api.pages import Page, Paged, next_of
from api.routes.building_energy import BuildingIds
from api.routes.weather import zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from indicators.buildings.leaks import (
    LITRES_PER_M3,
    USUAL_LIMIT_L_H,
    HourFlow,
    Leak,
    find_leaks,
    nights_of,
)

MOST = 50
MONTHS_MOST = 12
FORMULA = (
    "Débit de nuit : la moindre des heures de 2 h à 5 h, heure locale, toutes connues ; une fuite : deux nuits de "
    "suite au-dessus de la limite ; litres : débit de nuit x heures du jour ; une nuit inconnue n'ajoute rien"
)

router = APIRouter(prefix="/v1/indicators/buildings", tags=["indicators"], responses=PROBLEM_RESPONSES)


class LeakAnswer(answer_of(Leak)):
    """Une fuite ; `first` et `last` sont des matins."""

    nights: int = Field(description="Nuits connues au-dessus de la limite")
    eur: float | None = Field(description="Null : aucun prix n'est dit")


class BuildingLeaks(Answer):
    """Les fuites d'un bâtiment."""

    asset_id: int
    name: str
    commune: str
    nights: int
    known_nights: int
    litres: float
    eur: float | None
    leaks: list[LeakAnswer]


class BuildingLeaksPage(Page[BuildingLeaks]):
    """Les bâtiments qui ont un compteur d'eau."""

    formula: str


@router.get("/leaks", operation_id="listLeaks", summary="Lire les fuites d'eau par débit de nuit")
async def list_leaks(
    caller: Reader,
    paging: Paged,
    asset_id: BuildingIds = None,
    commune: Commune = None,
    since: FromMonth = None,
    until: ToMonth = None,
    limit_l_h: Annotated[
        float, Query(gt=0, le=100_000, description="Débit au-dessus duquel l'eau fuit, L/h")
    ] = USUAL_LIMIT_L_H,
    eur_per_m3: Annotated[float | None, Query(ge=0, le=100, description="Prix de l'eau, €/m³")] = None,
) -> BuildingLeaksPage:
    """De chaque bâtiment qui a un compteur d'eau, 12 mois au plus ; sans période : le dernier mois fini."""
    now = datetime.now(UTC)
    most = min(paging.limit, MOST)
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        last = named(last_month(now, zone))
        first, after = span_of(since or until or last, until or last, now, zone)
        if len(months_between(first, after)) > MONTHS_MOST:
            message = f"{MONTHS_MOST} mois au plus"
            raise Problem(422, message, errors=[FieldError(field="query.from", code="range", message=message)])
        found = await list_buildings(connection, asset_id, commune, paging.after, most + 1)
        buildings = {one.id: one for one in found[:most]}
        meters, series = await meters_of(connection, list(buildings), ("water",))
        await caller.audit_personal(connection, streams=[one.id for one in series])
        hours = await read_hours(connection, meters, series, midnight(first, zone), midnight(after, zone), zone)
    mornings = days_of(first, after, zone)
    items: list[BuildingLeaks] = []
    for meter, of in zip(meters, hours, strict=True):
        building = buildings[meter.building_id]
        flows = [HourFlow(local, None if one is None else one * LITRES_PER_M3) for local, one in of]
        leaks = find_leaks(nights_of(mornings, flows), limit_l_h, eur_per_m3)
        items.append(
            BuildingLeaks(
                asset_id=building.id,
                name=building.name,
                commune=building.commune,
                nights=leaks.nights,
                known_nights=leaks.known_nights,
                litres=leaks.litres,
                eur=leaks.eur(eur_per_m3),
                leaks=[LeakAnswer.model_validate(one) for one in leaks.leaks],
            )
        )
    return BuildingLeaksPage(items=items, next=next_of(found, most), formula=FORMULA)
