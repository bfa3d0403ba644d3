"""Months beside the year before, corrected by degree days where a baseline proves that they count."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from api.building_store import UseMonths
from api.months import months_between
from api.weather_store import read_degree_days
from core.model.calendar_buckets import a_year_before
from core.runtime.postgres import Connection
from indicators.buildings.amounts import MonthAmount
from indicators.buildings.baseline_store import Baseline, latest_baselines
from indicators.buildings.climate import Corrected, Uncorrected, correct
from indicators.buildings.degree_days import DegreeDays
from indicators.buildings.savings import Month

FORMULA = (
    "Corrigé du climat : l'an dernier ramené aux jours et aux degrés-jours de ce mois, E' + a x (jours - jours') "
    "+ b x (DJ - DJ'), a et b de la dernière référence figée de l'usage ; seulement si elle prouve qu'il dépend "
    "de la météo"
)
Cold = Mapping[date, DegreeDays]


class CorrectedMonth(NamedTuple):
    """A month's comparison, and by which baseline; `found` says why there is none."""

    baseline: Baseline | None
    found: Corrected | Uncorrected


async def read_corrected(
    connection: Connection, uses: Sequence[UseMonths], begin: date, after: date
) -> dict[tuple[int, str], dict[date, CorrectedMonth]]:
    """Of each use by month; what is compared has to be among the months that were read."""
    baselines = await latest_baselines(connection, [one.meters.building_id for one in uses])
    cold: dict[tuple[str, Any], Cold] = {}
    for one in baselines.values():
        if one.station is not None and (one.station, one.method) not in cold:
            method: Any = one.method
            months = months_between(begin, after)
            cold[one.station, method] = await read_degree_days(connection, one.station, method, months)
    found: dict[tuple[int, str], dict[date, CorrectedMonth]] = {}
    for use in uses:
        key = (use.meters.building_id, use.meters.use)
        baseline = baselines.get(key)
        weather: Cold = {} if baseline is None else cold.get((baseline.station or "", baseline.method), {})
        amounts = {one.first: one for one in use.months}
        found[key] = {month: CorrectedMonth(baseline, _of(baseline, month, amounts, weather)) for month in amounts}
    return found


def _of(
    baseline: Baseline | None, first: date, amounts: Mapping[date, MonthAmount], weather: Cold
) -> Corrected | Uncorrected:
    if baseline is None:
        return Uncorrected.NO_BASELINE
    if not baseline.depends_on_weather:
        return Uncorrected.NO_WEATHER_USE
    this, former = amounts[first], amounts.get(a_year_before(first) or first)
    if former is None or not (this.is_whole and former.is_whole):
        return Uncorrected.MONTH_NOT_WHOLE
    return correct(baseline.fit, _month(this, weather), _month(former, weather))


def _month(month: MonthAmount, weather: Cold) -> Month:
    degrees = weather.get(month.first)
    return Month(month.first, month.days, month.amount or 0.0, None if degrees is None else degrees.total)
