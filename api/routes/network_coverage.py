"""How the network covers what it serves, from its own traffic: by asset, by commune, and by gateway."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.auth import Caller, Reader
from api.extent import Commune
from api.fields import Answer, EuiPath, answer_of
from api.list_formats import GEOJSON
from api.pages import Page, Paged, page_of
from api.public_pages import compressed
from api.routes.gateways import GATEWAYS
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from core.runtime.postgres import Connection
from indicators.network import coverage, store
from indicators.network.coverage import CommuneCoverage, State
from indicators.network.store import AirDay, CoveredAsset, LostAsset
from registry import outlines
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1", tags=["network"], responses=PROBLEM_RESPONSES)

DAYS, DAYS_MOST = 30, 366
OBJECTIVE = 90.0
"""Percent: the report's objective deep indoors."""
NO_STORE = "private, no-store"

DaysQuery = Annotated[int, Query(ge=1, le=DAYS_MOST, description="Jours révolus, jusqu'à hier")]
TargetQuery = Annotated[float, Query(ge=0, le=100, description="L'objectif, en pour cent d'actifs couverts")]


class Covered(Answer):
    """Un actif, et comment le réseau le reçoit entre deux dates."""

    id: int = Field(description="L'actif")
    name: str
    kind: str
    commune: str
    latitude: float | None
    longitude: float | None
    sent: int = Field(description="Trames émises d'après FCnt, hors coupures")
    loss_percent: float | None = Field(description="Trames perdues hors coupures ; null : inconnu")
    mean_margin: float | None = Field(description="Marge moyenne au plancher de démodulation, en dB")
    redundancy: float | None = Field(description="Passerelles par trame, en moyenne")
    best_gateway: str | None = Field(description="Celle qui reçoit le plus ; null : aucune, ou d'une autre")
    since: date
    until: date = Field(description="Exclu")

    @classmethod
    def of_asset(cls, row: CoveredAsset, since: date, until: date, **others: Any) -> Self:
        """What is the same of every asset, and what this answer says besides."""
        known = coverage.coverage_of(row.sums)
        return cls(
            id=row.asset_id,
            name=row.name,
            kind=row.kind,
            commune=row.commune,
            latitude=row.latitude,
            longitude=row.longitude,
            sent=row.sums.sent,
            loss_percent=known.loss_percent,
            mean_margin=known.mean_margin,
            redundancy=known.redundancy,
            best_gateway=row.best_gateway,
            since=since,
            until=until,
            **others,
        )


class AssetCoverage(Covered):
    """Comment un actif est reçu."""

    state: State = Field(
        description="`white` : plus de 50 % de trames perdues ; `weak` : plus de 10 %, ou moins de 5 dB de marge "
        "moyenne ; `unknown` : moins de 20 trames émises, on ne sait pas"
    )
    least_margin: float | None = Field(description="La plus faible marge, en dB")
    days: int = Field(description="Jours dont on sait quelque chose")


class CommuneCoverageAnswer(answer_of(CommuneCoverage)):
    """L'objectif et l'observé d'une commune."""

    name: str = Field(description="La commune")
    known: int = Field(description="n : actifs dont on sait quelque chose")
    unknown: int = Field(description="Actifs dont on ne sait rien : ni couverts, ni en zone blanche")
    percent: float | None = Field(description="Actifs couverts, en pour cent des connus")
    target: float
    since: date
    until: date = Field(description="Exclu")


class DependentAnswer(answer_of(LostAsset, {"asset_id"})):
    """Ce qui ne tient qu'à cette passerelle."""

    id: int = Field(description="L'actif")
    with_receptions: int = Field(description="Trames dont on sait par où elles sont venues")
    alone: int = Field(description="Trames que cette passerelle est seule à avoir reçues")
    percent: float
    is_dark: bool = Field(description="Plus de la moitié des trames : l'actif se tairait avec elle")


class GatewayAirAnswer(answer_of(AirDay)):
    """Ce qu'une passerelle a émis un jour."""

    busiest_percent: float | None = Field(
        description="Part de la limite légale (rapport cyclique), dans l'heure glissante et la sous-bande les "
        "plus chargées ; null : rien d'émis dans une sous-bande"
    )


class CoverageLayerAnswer(Answer):
    """Une `FeatureCollection` : le contour et la couverture de chaque commune."""

    type: str = "FeatureCollection"
    features: list[dict[str, Any]]


async def whole_days(caller: Caller, connection: Connection, days: int) -> tuple[date, date]:
    """The whole local days before today, the last excluded."""
    tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
    today = datetime.now(UTC).astimezone(region_of(tenant.department, timezone).zone).date()
    return today - timedelta(days=days), today


def _asset(row: CoveredAsset, since: date, until: date) -> AssetCoverage:
    known = coverage.coverage_of(row.sums)
    return AssetCoverage.of_asset(
        row, since, until, state=known.state, least_margin=known.least_margin, days=row.sums.days
    )


@router.get("/network/coverage", operation_id="listNetworkCoverage", summary="Lister la couverture des actifs")
async def list_coverage(
    caller: Reader,
    paging: Paged,
    days: DaysQuery = DAYS,
    commune: Commune = None,
    state: Annotated[State | None, Query(description="`white` : les zones blanches")] = None,
) -> Page[AssetCoverage]:
    """Pertes hors coupures, marge, meilleure passerelle et redondance, d'après le trafic de production."""
    async with caller.reading() as connection:
        since, until = await whole_days(caller, connection, days)
        rows = await store.list_coverage(connection, since, until, commune)
        every = (_asset(row, since, until) for row in rows if row.asset_id > paging.after)
        found = [one for one in every if state is None or one.state == state][: paging.most]
        await caller.audit_personal(connection, assets=[one.id for one in found[: paging.limit]])
    return page_of(found, paging.limit, lambda one: one)


async def _communes(
    caller: Caller, connection: Connection, days: int, target: float
) -> tuple[list[CommuneCoverage], date, date]:
    since, until = await whole_days(caller, connection, days)
    rows = await store.list_coverage(connection, since, until)
    states: list[tuple[str, State]] = [(row.commune, coverage.coverage_of(row.sums).state) for row in rows]
    return coverage.by_commune(states, target), since, until


def _commune(one: CommuneCoverage, target: float, since: date, until: date) -> CommuneCoverageAnswer:
    values = {name: getattr(one, name) for name in CommuneCoverage.__slots__}
    return CommuneCoverageAnswer.model_validate(
        values | {"name": one.commune, "target": target, "since": since, "until": until}
    )


@router.get("/network/communes", operation_id="listNetworkCommunes", summary="Lister la couverture des communes")
async def list_communes(
    caller: Reader, days: DaysQuery = DAYS, target: TargetQuery = OBJECTIVE
) -> Page[CommuneCoverageAnswer]:
    """L'objectif et l'observé par commune, avec le nombre d'actifs connus et les dates."""
    async with caller.reading() as connection:
        found, since, until = await _communes(caller, connection, days, target)
    return Page(items=[_commune(one, target, since, until) for one in found], next=None)


@router.get(
    "/network/commune-layer",
    operation_id="getNetworkCommuneLayer",
    summary="Tracer la couverture des communes",
    response_model=CoverageLayerAnswer,
    responses={200: {"content": {GEOJSON: {}}}},
)
async def read_commune_layer(
    request: Request, caller: Reader, days: DaysQuery = DAYS, target: TargetQuery = OBJECTIVE
) -> Response:
    """Une couche de carte en GeoJSON : le contour de chaque commune, avec ce que dit la liste."""
    async with caller.reading() as connection:
        found, since, until = await _communes(caller, connection, days, target)
        shapes = {one.name.lower(): one for one in await outlines.list_outlines(connection)}
    features: list[dict[str, Any]] = []
    for one in found:
        shape = shapes.get(one.commune.lower())
        geometry = None if shape is None else {"type": "MultiPolygon", "coordinates": shape.polygons}
        properties = _commune(one, target, since, until).model_dump(mode="json")
        properties["insee"] = None if shape is None else shape.insee
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    layer = CoverageLayerAnswer(features=features)
    return compressed(request, msgspec.json.encode(layer.model_dump()), GEOJSON, NO_STORE)


@router.get(
    "/gateways/{gateway_id}/dependents",
    operation_id="listGatewayDependents",
    summary="Dire ce qui serait perdu avec une passerelle",
)
async def list_dependents(gateway_id: EuiPath, caller: Reader, days: DaysQuery = DAYS) -> Page[DependentAnswer]:
    """Les actifs dont elle est seule à recevoir des trames, le plus dépendant d'abord."""
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        since, until = await whole_days(caller, connection, days)
        rows = await store.list_lost(connection, since, until, gateway.id)
        await caller.audit_personal(connection, assets=[row.asset_id for row in rows])
    return Page(items=[_lost(row) for row in rows], next=None)


def _lost(row: LostAsset) -> DependentAnswer:
    lost = coverage.loss_without(row.with_receptions, row.alone)
    values = {name: getattr(row, name) for name in LostAsset.__slots__ if name != "asset_id"}
    return DependentAnswer.model_validate(
        values | {"id": row.asset_id, "percent": lost.percent, "is_dark": lost.is_dark}
    )


@router.get(
    "/gateways/{gateway_id}/air-time",
    operation_id="listGatewayAirTime",
    summary="Lister ce qu'une passerelle a émis",
)
async def list_air_time(gateway_id: EuiPath, caller: Reader, days: DaysQuery = DAYS) -> Page[GatewayAirAnswer]:
    """Par jour : émissions, temps d'antenne en microsecondes, et l'heure la plus chargée face à la limite."""
    async with caller.reading() as connection:
        gateway = await GATEWAYS.get(connection, gateway_id)
        since, until = await whole_days(caller, connection, days)
        rows = await store.list_air(connection, since, until, gateway.id)
    return Page(items=[GatewayAirAnswer.model_validate(row) for row in rows], next=None)
