"""What buildings saved since works, against their frozen baselines (IPMVP, option C)."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from api.auth import Reader
from api.baseline_months import (
    FORMULA,
    AskedMonths,
    FoundMonths,
    after_works,
    as_new,
    read_months_of,
    why_not,
)
from api.building_store import USES, Building, Use, list_buildings
from api.fields import Answer, IdQuery
from api.months import FromMonth, ToMonth, named, span_of
from api.pages import Page, Paged, next_of
from api.routes.weather import zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from indicators.buildings import baseline_store as store
from indicators.buildings.amounts import MonthAmount
from indicators.buildings.baseline_store import Baseline
from indicators.buildings.degree_days import DegreeDays
from indicators.buildings.savings import Month, Savings, expected_amount, savings, usable

SAVINGS_MOST = 100

router = APIRouter(prefix="/v1", tags=["indicators"], responses=PROBLEM_RESPONSES)


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
        asked = [AskedMonths(as_new(one), max(first, after_works(one)), after) for one in visible]
        months = await read_months_of(connection, asked, zone, now, caller)
    items = [_savings(one, names[one.asset_id], of) for one, of in zip(visible, months, strict=True)]
    return SavingsPage(items=items, next=next_of(found, most), formula=FORMULA)


def _savings(one: Baseline, building: Building, found: FoundMonths) -> SavingsAnswer:
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
        reason=None if isinstance(result, Savings) else why_not(result),
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
