"""Baselines of buildings before works, frozen, and what was saved since (IPMVP, option C)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Caller, Manager, Reader
from api.building_store import USES, Building, Use, list_buildings, meters_of, read_months
from api.calendar_buckets import moved
from api.fields import Answer, Body, Day, Id, IdQuery, IdRef, Label, answer_of, example
from api.months import MONTH, FromMonth, ToMonth, first_of, months_between, named, span_of
from api.pages import Page, Paged, next_of, page_of
from api.resources import Resource
from api.routes.assets import ASSETS
from api.routes.weather import METHOD_TEXT, MethodName, choose_station, read_degree_days, zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from core.runtime.postgres import Connection
from indicators.buildings import baseline_store as store
from indicators.buildings.amounts import MonthAmount
from indicators.buildings.baseline_store import Baseline, NewBaseline
from indicators.buildings.degree_days import DegreeDays
from indicators.buildings.regression import Fit
from indicators.buildings.savings import (
    LEAST_MONTHS,
    LEAST_R2,
    Month,
    Reason,
    RejectedBaseline,
    Savings,
    expected_amount,
    fit_baseline,
    savings,
    usable,
)

MONTHS_MOST = 60
SAVINGS_MOST = 100
FORMULA = (
    "IPMVP option C : économie = consommation de référence ajustée - consommation relevée, sur les mois entiers ; "
    "référence E / jours = a + b x (degrés-jours / jours), ou moyenne par jour pour un usage sans météo ; "
    "intervalle à 95 % (Student, écarts indépendants)"
)
REASONS = {
    Reason.TOO_FEW_MONTHS: "{months} mois entiers et à météo connue : il en faut {least_months}",
    Reason.SEASON_MISSING: "il manque des mois de l'année : chacun des douze doit y être",
    Reason.LOW_R2: "R² de {r2} : sous {least_r2}, la météo n'explique pas cette consommation",
    Reason.FALLING: "la consommation baisse quand il fait plus froid : ce n'est pas un chauffage",
    Reason.NO_COLD: "tous les mois ont les mêmes degrés-jours",
    Reason.NO_MONTHS: "aucun mois entier à comparer",
    Reason.ZERO_BASELINE: "la référence ne consomme rien",
}

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


class SavedMonth(Answer):
    """Un mois comparé à la référence."""

    month: str
    amount: float | None
    expected: float | None = Field(description="Ce que la référence aurait consommé ; null : météo inconnue")
    is_counted: bool = Field(description="Entier, et à météo connue : il est dans le total")


class SavingsAnswer(Answer):
    """Ce qui a été économisé depuis les travaux ; tout est null quand `reason` dit pourquoi."""

    baseline_id: int
    asset_id: int
    name: str
    use: Use
    unit: str
    reason: str | None
    n: int = Field(description="Mois comptés")
    actual: float | None
    expected: float | None
    saved: float | None
    saved_low: float | None = Field(description="Bas de l'intervalle à 95 %")
    saved_high: float | None
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    is_found: bool = Field(description="L'intervalle exclut zéro")
    months: list[SavedMonth]


class SavingsPage(Page[SavingsAnswer]):
    """Par référence."""

    formula: str


def _shown(one: Baseline) -> BaselineAnswer:
    use = one.energy_use
    more = {"use": use, "unit": USES[use].unit, "formula": FORMULA}  # type: ignore[index]
    return BaselineAnswer.model_validate({**asdict(one), **more})


BASELINES: Resource[Baseline, BaselineAnswer] = Resource(
    "energy_baseline", "référence", store.read_baseline, _shown, lambda one: one.asset_id
)


def _why(reason: Reason, months: int = 0, fit: Fit | None = None) -> str:
    r2 = "" if fit is None or fit.r2 is None else f"{fit.r2:.2f}".replace(".", ",")
    return REASONS[reason].format(
        months=months, r2=r2, least_months=LEAST_MONTHS, least_r2=str(LEAST_R2).replace(".", ",")
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
        [found] = await _months_of(change.connection, [_Asked(new, first, after)], zone, now)
        try:
            fit = fit_baseline(found.whole, depends_on_weather=body.depends_on_weather)
        except RejectedBaseline as rejected:
            raise Problem(
                422, f"référence refusée : {_why(rejected.reason, rejected.months, rejected.fit)}"
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


@router.get(
    "/indicators/buildings/savings", operation_id="listSavings", summary="Lire les économies depuis des travaux"
)
async def list_savings(
    caller: Reader, paging: Paged, asset_id: IdQuery = None, since: FromMonth = None, until: ToMonth = None
) -> SavingsPage:
    """De chaque référence, sur les mois entiers d'après les travaux ; sans période : les douze derniers mois."""
    now = datetime.now(UTC)
    most = min(paging.limit, SAVINGS_MOST)
    async with caller.reading() as connection:
        zone = await zone_of(caller, connection)
        first, after = span_of(since, until, now, zone)
        found = await store.list_baselines(connection, asset_id=asset_id, after=paging.after, most=most + 1)
        baselines = found[:most]
        names = {
            one.id: one
            for one in await list_buildings(
                connection, [one.asset_id for one in baselines], None, 0, len(baselines)
            )
        }
        visible = [one for one in baselines if one.asset_id in names]
        asked = [_Asked(_as_new(one), max(first, _after_works(one)), after) for one in visible]
        months = await _months_of(connection, asked, zone, now, caller)
    items = [_savings(one, names[one.asset_id], of) for one, of in zip(visible, months, strict=True)]
    return SavingsPage(items=items, next=next_of(found, most), formula=FORMULA)


def _after_works(one: Baseline) -> date:
    """The first month that begins when the works are over."""
    first = one.works_until.replace(day=1)
    return first if first == one.works_until else moved(first, "month", 1)


def _as_new(one: Baseline) -> NewBaseline:
    return NewBaseline(
        one.asset_id, one.energy_use, one.depends_on_weather, one.method, one.station, one.since, one.until,
        one.works_since, one.works_until, one.label,
    )  # fmt: skip


class _Asked(NamedTuple):
    """A use of a building, with its weather, from one month to another."""

    of: NewBaseline
    first: date
    after: date


class _Found(NamedTuple):
    """All of these months, and of those that are whole what baselines are made of and compared with."""

    months: list[tuple[MonthAmount, DegreeDays | None]]
    whole: list[Month]


async def _months_of(
    connection: Connection, asked: Sequence[_Asked], zone: ZoneInfo, now: datetime, caller: Caller | None = None
) -> list[_Found]:
    """Of all of them at once, by one reading of all of their meters."""
    real = [one for one in asked if one.first < one.after]
    if not real:
        return [_Found([], []) for _ in asked]
    uses: set[Any] = {one.of.energy_use for one in real}
    meters, series = await meters_of(connection, sorted({one.of.asset_id for one in real}), uses)
    if caller is not None:
        await caller.audit_personal(connection, streams=[one.id for one in series])
    begin, end = min(one.first for one in real), max(one.after for one in real)
    amounts = {
        (one.meters.building_id, one.meters.use): {month.first: month for month in one.months}
        for one in await read_months(connection, meters, series, begin, end, zone, now)
    }
    cold: dict[tuple[str, MethodName], Mapping[date, DegreeDays]] = {}
    for one in real:
        if one.of.station is not None and one.of.method is not None:
            key = (one.of.station, one.of.method)
            if key not in cold:
                cold[key] = await read_degree_days(connection, *key, months_between(begin, end))
    return [_found(one, amounts, cold) for one in asked]


def _found(
    asked: _Asked,
    amounts: Mapping[tuple[int, Any], Mapping[date, MonthAmount]],
    cold: Mapping[tuple[Any, Any], Mapping[date, DegreeDays]],
) -> _Found:
    of_use = amounts.get((asked.of.asset_id, asked.of.energy_use), {})
    of_weather = cold.get((asked.of.station, asked.of.method), {})
    months = [
        (of_use[month], of_weather.get(month))
        for month in months_between(asked.first, asked.after)
        if month in of_use
    ]
    whole = [
        Month(month.first, month.days, month.amount, None if degrees is None else degrees.total)
        for month, degrees in months
        if month.is_whole and month.amount is not None
    ]
    return _Found(months, whole)


def _savings(one: Baseline, building: Building, found: _Found) -> SavingsAnswer:
    result = savings(one.fit, found.whole, depends_on_weather=one.depends_on_weather)
    known = result if isinstance(result, Savings) else None
    counted = {month.first for month in usable(found.whole, depends_on_weather=one.depends_on_weather)}
    use: Any = one.energy_use
    values: dict[str, Any] = dict.fromkeys(
        ("actual", "expected", "saved", "saved_low", "saved_high", "percent", "percent_low", "percent_high")
    )
    if known is not None:
        values = {
            "actual": known.actual,
            "expected": known.expected,
            "saved": known.saved,
            "saved_low": known.saved - known.saved_half_width,
            "saved_high": known.saved + known.saved_half_width,
            "percent": known.percent,
            "percent_low": known.percent - known.percent_half_width,
            "percent_high": known.percent + known.percent_half_width,
        }
    return SavingsAnswer(
        baseline_id=one.id,
        asset_id=one.asset_id,
        name=building.name,
        use=use,
        unit=USES[use].unit,
        reason=None if isinstance(result, Savings) else _why(result),
        n=0 if known is None else known.n,
        is_found=known is not None and known.is_found,
        months=[
            SavedMonth(
                month=named(month.first),
                amount=month.amount,
                expected=_expected(one, month, degrees),
                is_counted=month.first in counted,
            )
            for month, degrees in found.months
        ],
        **values,
    )


def _expected(one: Baseline, month: MonthAmount, degrees: DegreeDays | None) -> float | None:
    total = None if degrees is None else degrees.total
    if one.depends_on_weather and total is None:
        return None
    return expected_amount(one.fit, Month(month.first, month.days, 0.0, total))
