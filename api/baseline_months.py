"""What baselines are made of and compared with: whole months of uses, with their weather."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from api.building_store import meters_of, read_months
from api.weather_store import MethodName, read_degree_days
from core.model.calendar_buckets import months_between, moved
from core.runtime.postgres import Connection
from indicators.buildings.amounts import MonthAmount
from indicators.buildings.baseline_store import Baseline, NewBaseline
from indicators.buildings.degree_days import DegreeDays
from indicators.buildings.regression import Fit
from indicators.buildings.savings import LEAST_MONTHS, LEAST_R2, Month, Reason

if TYPE_CHECKING:
    from api.auth import Caller  # The web's, which a process without a web does without.

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


def why_not(reason: Reason, months: int = 0, fit: Fit | None = None) -> str:
    """Why there is no baseline, or no figure, in French."""
    r2 = "" if fit is None or fit.r2 is None else f"{fit.r2:.2f}".replace(".", ",")
    return REASONS[reason].format(
        months=months, r2=r2, least_months=LEAST_MONTHS, least_r2=str(LEAST_R2).replace(".", ",")
    )


class AskedMonths(NamedTuple):
    """A use of a building, with its weather, from one month to another."""

    of: NewBaseline
    first: date
    after: date


class FoundMonths(NamedTuple):
    """All of these months, and of those that are whole what baselines are made of and compared with."""

    months: list[tuple[MonthAmount, DegreeDays | None]]
    whole: list[Month]


def after_works(one: Baseline) -> date:
    """The first month that begins when the works are over."""
    first = one.works_until.replace(day=1)
    return first if first == one.works_until else moved(first, "month", 1)


def as_new(one: Baseline) -> NewBaseline:
    """What a baseline is of, as `AskedMonths` wants it."""
    return NewBaseline(
        one.asset_id, one.energy_use, one.depends_on_weather, one.method, one.station, one.since, one.until,
        one.works_since, one.works_until, one.label,
    )  # fmt: skip


async def read_months_of(
    connection: Connection,
    asked: Sequence[AskedMonths],
    zone: ZoneInfo,
    now: datetime,
    caller: "Caller | None" = None,
) -> list[FoundMonths]:
    """Of all of them at once, by one reading of all of their meters."""
    real = [one for one in asked if one.first < one.after]
    if not real:
        return [FoundMonths([], []) for _ in asked]
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
    asked: AskedMonths,
    amounts: Mapping[tuple[int, Any], Mapping[date, MonthAmount]],
    cold: Mapping[tuple[Any, Any], Mapping[date, DegreeDays]],
) -> FoundMonths:
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
    return FoundMonths(months, whole)
