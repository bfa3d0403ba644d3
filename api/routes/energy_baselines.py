"""Baselines of buildings before works, frozen, and what was saved since (IPMVP, option C)."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Manager, Reader
from api.baseline_months import FORMULA, AskedMonths, read_months_of, why_not
from api.building_store import USES, Use
from api.fields import Answer, Body, Day, Id, IdQuery, IdRef, Label, answer_of, example
from api.months import MONTH, first_of, months_between
from api.pages import Page, Paged, page_of
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.weather import METHOD_TEXT, choose_station, zone_of
from api.weather_store import MethodName
from core.model.calendar_buckets import moved
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from indicators.buildings import baseline_store as store
from indicators.buildings.baseline_store import Baseline, NewBaseline
from indicators.buildings.savings import (
    RejectedBaseline,
    fit_baseline,
    usable,
)

MONTHS_MOST = 60

router = APIRouter(prefix="/v1", tags=["indicators"], responses=PROBLEM_RESPONSES)

MonthText = Annotated[str, Field(pattern=MONTH, examples=["2024-01"])]


class NewBaselineBody(Body):
    """Une référence à figer : un usage d'un bâtiment, des mois d'avant travaux."""

    model_config = example(
        {
            "asset_id": 42,
            "use": "gas",
            "from": "2024-01",
            "to": "2024-12",
            "works_from": "2025-03-01",
            "works_to": "2025-09-30",
        }
    )

    asset_id: IdRef
    use: Use
    depends_on_weather: bool = Field(True, description="false : comparé par la moyenne, sans degrés-jours")
    method: MethodName = Field("meteo", description=METHOD_TEXT)
    station: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="Station météo ; absente : la seule importée"
    )
    since: MonthText = Field(alias="from", description="Premier mois de la référence, compris")
    until: MonthText = Field(
        alias="to", description="Dernier mois de la référence, compris : fini avant les travaux"
    )
    works_since: Day = Field(alias="works_from", description="Premier jour des travaux", examples=["2025-03-01"])
    works_until: Day = Field(alias="works_to", description="Dernier jour des travaux", examples=["2025-09-30"])
    label: Label = ""

    @model_validator(mode="after")
    def _before_the_works(self) -> Self:
        if self.works_until < self.works_since:
            raise PydanticCustomError("works", "les travaux finissent avant de commencer")
        if self.until < self.since:
            raise PydanticCustomError("range", "« from » est avant « to »")
        if moved(first_of(self.until), "month", 1) > self.works_since:
            raise PydanticCustomError(
                "baseline", "la référence va jusque dans les travaux : elle finit au plus tard le mois d'avant"
            )
        return self


class FrozenMonth(Answer):
    """Un mois dont une référence a été faite."""

    month: date
    days: int
    amount: float
    degree_days: float | None


class BaselineAnswer(answer_of(Baseline, {"energy_use", "months", "x_mean", "x_spread", "dof", "residual_s"})):
    """Une référence figée ; `until` et `works_until` sont les premiers jours d'après."""

    use: Use
    unit: str
    method: MethodName | None
    station: str | None
    n: int = Field(description="Mois")
    intercept: float = Field(description="a : par jour")
    slope: float = Field(description="b : par degré-jour")
    r2: float | None = Field(description="Null : comparé par la moyenne")
    cv_rmse: float = Field(description="Écart-type résiduel sur la moyenne")
    months: list[FrozenMonth]
    retired_at: datetime | None
    formula: str


class RetiredBaselineBody(Body):
    """Une référence qui ne compte plus, ou qui compte de nouveau."""

    model_config = example({"retired": True})

    retired: bool


def _shown(one: Baseline) -> BaselineAnswer:
    use = one.energy_use
    more = {"use": use, "unit": USES[use].unit, "formula": FORMULA}  # type: ignore[index]
    return BaselineAnswer.model_validate({**asdict(one), **more})


BASELINES: Resource[Baseline, BaselineAnswer] = Resource(
    "energy_baseline", "référence", store.read_baseline, _shown, lambda one: one.asset_id
)


@router.post(
    "/energy-baselines", status_code=201, operation_id="createEnergyBaseline", summary="Figer une référence"
)
async def create(body: NewBaselineBody, caller: Manager) -> BaselineAnswer:
    """Figer ce qu'un bâtiment consommait avant des travaux : elle ne change plus, quoi qu'il arrive ensuite.

    Refusée sous douze mois entiers, et pour un usage qui dépend de la météo sous un R² de 0,7.
    """
    first, after = first_of(body.since), moved(first_of(body.until), "month", 1)
    if len(months_between(first, after)) > MONTHS_MOST:
        raise invalid("from", "range", f"{MONTHS_MOST} mois au plus")
    now = datetime.now(UTC)
    async with caller.changing() as change:
        building = await ASSETS.own(change, body.asset_id)
        if building.kind != "building":
            raise invalid("asset_id", "kind", f"l'actif {building.id} n'est pas un bâtiment")
        station = None
        if body.depends_on_weather:
            station = await choose_station(change.connection, body.station)
            if station is None:
                raise invalid("station", "missing", "aucune station météo importée, ou plusieurs : dites laquelle")
        new = NewBaseline(
            building.id, body.use, body.depends_on_weather, body.method if body.depends_on_weather else None,
            station, first, after, body.works_since, moved(body.works_until, "day", 1), body.label,
        )  # fmt: skip
        zone = await zone_of(caller, change.connection)
        [found] = await read_months_of(change.connection, [AskedMonths(new, first, after)], zone, now)
        try:
            fit = fit_baseline(found.whole, depends_on_weather=body.depends_on_weather)
        except RejectedBaseline as rejected:
            raise Problem(
                422, f"référence refusée : {why_not(rejected.reason, rejected.months, rejected.fit)}"
            ) from None
        kept = usable(found.whole, depends_on_weather=body.depends_on_weather)
        made = await store.create_baseline(change.connection, change.tenant_id, change.actor, new, fit, kept)
        shown = _shown(made)
        await change.audit("create", "energy_baseline", made.id, {"asset_id": made.asset_id}, after=shown)
        return shown


@router.get("/energy-baselines", operation_id="listEnergyBaselines", summary="Lister les références")
async def list_all(
    caller: Reader,
    paging: Paged,
    asset_id: IdQuery = None,
    retired: Annotated[bool, Query(description="true : aussi celles qui ne comptent plus")] = False,
) -> Page[BaselineAnswer]:
    """Les références figées, par ordre de création."""
    async with caller.reading() as connection:
        found = await store.list_baselines(
            connection, asset_id=asset_id, with_retired=retired, after=paging.after, most=paging.most
        )
        await BASELINES.audit_read(caller, connection, found[: paging.limit])
    return page_of(found, paging.limit, _shown)


@router.get("/energy-baselines/{id}", operation_id="readEnergyBaseline", summary="Lire une référence")
async def read(id: Id, caller: Reader) -> BaselineAnswer:
    """Une référence, avec les mois dont elle est faite."""
    return await BASELINES.read(caller, id)


@router.put(
    "/energy-baselines/{id}/retired",
    operation_id="retireEnergyBaseline",
    summary="Retirer une référence, ou la reprendre",
)
async def retire(id: Id, body: RetiredBaselineBody, caller: Manager) -> BaselineAnswer:
    """Une référence retirée n'est plus dans les économies ; elle reste lisible, et se reprend telle quelle."""
    async with caller.changing() as change:
        former = await BASELINES.get(change.connection, id)
        made = await store.retire_baseline(change.connection, id, is_retired=body.retired)
        if made is None:
            raise BASELINES.missing(id)
        shown = _shown(made)
        await change.audit("retire", "energy_baseline", id, before=_shown(former), after=shown)
        return shown
