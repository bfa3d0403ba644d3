"""Buildings in a monthly report: energy and water, degree days, savings, the air of rooms, leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import fsum

from api.baseline_months import AskedMonths, after_works, as_new, read_months_of
from api.building_store import (
    USES,
    Building,
    Use,
    UseMeters,
    UseMonths,
    days_of,
    list_buildings,
    meters_of,
    midnight,
    read_hours,
    read_months,
)
from api.reporting.asked import Asked
from api.reporting.rooms import read_rooms
from api.weather_store import read_degree_days
from core.model.calendar_buckets import moved
from core.runtime.postgres import Connection
from indicators.buildings import baseline_store
from indicators.buildings.amounts import MonthAmount, change_percent
from indicators.buildings.baseline_store import Baseline
from indicators.buildings.leaks import LITRES_PER_M3, USUAL_LIMIT_L_H, HourFlow, Leaks, find_leaks, nights_of
from indicators.buildings.savings import Savings, savings
from indicators.reports.model import (
    NOTHING,
    Amount,
    Cell,
    Chart,
    Section,
    Table,
    Unknown,
    chart_of,
    figures_of,
    table_of,
    total,
)
from ingest.series.series_choice import Series
from registry.weather_days import list_stations

BUILDINGS_MOST = 2_000
TABLE_MOST = 20
BASELINES_MOST = 1_000
KWH, M3 = ("electricity", "heat"), ("water", "gas")


@dataclass(frozen=True, slots=True)
class _Metered:
    """Buildings that are nobody's home, and what their meters say of each month of the charts."""

    buildings: Mapping[int, Building]
    meters: Sequence[UseMeters]
    series: Sequence[Series]
    uses: Sequence[UseMonths]

    def whole(self, use: Use, month: date) -> list[float | None]:
        """What each building took of a use; None: that month of it is not whole."""
        return [
            one.amount if one.is_whole else None
            for of in self.uses
            if of.meters.use == use
            for one in of.months
            if one.first == month
        ]


async def read_buildings(connection: Connection, asked: Asked, personal: frozenset[int]) -> Section | None:
    """The section; None where there is no building. What is measured of homes is in no figure."""
    found = await list_buildings(connection, None, asked.commune, 0, BUILDINGS_MOST)
    buildings = {one.id: one for one in found if one.id not in personal}
    if not buildings:
        return None
    metered = await _read_metered(connection, asked, buildings, personal)
    amounts: dict[date, dict[str, Amount]] = {month: _uses(metered, month) for month in asked.months}
    for month, degrees in (await _degree_days(connection, asked)).items():
        amounts[month]["buildings.degree_days"] = degrees
    saved, savings_rows = await _savings(connection, asked, buildings)
    rooms = await read_rooms(connection, asked, list(buildings), personal)
    leaks = {month: await _leaks(connection, metered, month, asked) for month in asked.months}
    for month in asked.months:
        amounts[month] |= saved[month] | rooms.amounts[month]
        amounts[month]["buildings.leak_litres"] = _litres(leaks[month])
    return Section(
        "buildings",
        tuple(figures_of(asked.month, amounts)),
        tuple(chart for use in USES for chart in _chart(metered, use, asked)),
        tuple(
            table_of("buildings.uses", _use_rows(metered, asked), TABLE_MOST)
            + table_of("buildings.savings", savings_rows, TABLE_MOST)
            + rooms.tables
            + _leak_table(leaks[asked.month], buildings)
        ),
    )


async def _read_metered(
    connection: Connection, asked: Asked, buildings: Mapping[int, Building], personal: frozenset[int]
) -> _Metered:
    meters, series = await meters_of(connection, list(buildings), list(USES))
    home = {one.id for one in series if one.asset_id in personal}
    meters = [one for one in meters if not home.intersection(one.counted)]
    counted = {
        id_ for one in meters for id_ in (*one.counted, *(id_ for of in one.tariffs.values() for id_ in of))
    }
    series = [one for one in series if one.id in counted]
    uses = await read_months(
        connection, meters, series, asked.chart[0], asked.after, asked.zone, asked.now
    ) if meters else []  # fmt: skip
    return _Metered(buildings, meters, series, uses)


def _uses(metered: _Metered, month: date) -> dict[str, Amount]:
    return {f"buildings.{use}": total(metered.whole(use, month)) for use in USES}


def _chart(metered: _Metered, use: Use, asked: Asked) -> list[Chart]:
    """Months in which as many buildings are known as in the report's own: others cannot stand beside it."""
    amounts = {month: total(metered.whole(use, month)) for month in asked.chart}
    known = {
        month: one.value if one.known == amounts[asked.month].known else None for month, one in amounts.items()
    }
    return chart_of(f"buildings.{use}", known, asked.chart)


async def _degree_days(connection: Connection, asked: Asked) -> dict[date, Amount]:
    stations = await list_stations(connection)
    if len(stations) != 1:
        return dict.fromkeys(asked.months, Amount(None, unknown=Unknown.NO_STATION))
    found = await read_degree_days(connection, stations[0].station, "meteo", asked.chart)
    return {
        month: Amount(found[month].total, unknown=Unknown.WEATHER_MISSING if found[month].total is None else None)
        for month in asked.months
    }


async def _savings(
    connection: Connection, asked: Asked, buildings: Mapping[int, Building]
) -> tuple[dict[date, dict[str, Amount]], list[tuple[Cell, ...]]]:
    """What each month saved, and the report's own month by baseline."""
    every = await baseline_store.list_baselines(connection, asset_id=None, after=0, most=BASELINES_MOST)
    baselines = [one for one in every if one.asset_id in buildings]
    amounts: dict[date, dict[str, Amount]] = {}
    rows: list[tuple[Cell, ...]] = []
    for month in asked.months:
        over = [one for one in baselines if after_works(one) <= month]
        results = await _saved_in(connection, over, month, asked)
        amounts[month] = {
            "buildings.saved_kwh": _saved(over, results, KWH),
            "buildings.saved_m3": _saved(over, results, M3),
        }
        if month == asked.month:
            rows = [
                _saving_row(buildings[one.asset_id], one, result)
                for one, result in zip(over, results, strict=True)
            ]
    return amounts, rows


async def _saved_in(
    connection: Connection, baselines: Sequence[Baseline], month: date, asked: Asked
) -> list[Savings | None]:
    wanted = [AskedMonths(as_new(one), month, moved(month, "month", 1)) for one in baselines]
    found = await read_months_of(connection, wanted, asked.zone, asked.now)
    judged = [
        savings(one.fit, months.whole, depends_on_weather=one.depends_on_weather)
        for one, months in zip(baselines, found, strict=True)
    ]
    return [one if isinstance(one, Savings) else None for one in judged]


def _saved(baselines: Sequence[Baseline], results: Sequence[Savings | None], uses: Sequence[str]) -> Amount:
    of_uses = [
        None if result is None else result.saved
        for one, result in zip(baselines, results, strict=True)
        if one.energy_use in uses
    ]
    return total(of_uses) if of_uses else Amount(None, unknown=Unknown.NO_BASELINE)


def _saving_row(building: Building, one: Baseline, result: Savings | None) -> tuple[Cell, ...]:
    unit = USES[one.energy_use].unit
    if result is None:
        return building.name, one.energy_use, None, None, None, unit
    low, high = result.saved - result.saved_half_width, result.saved + result.saved_half_width
    return building.name, one.energy_use, result.saved, low, high, unit


async def _leaks(connection: Connection, metered: _Metered, month: date, asked: Asked) -> dict[int, Leaks]:
    meters = [one for one in metered.meters if one.use == "water"]
    if not meters:
        return {}
    indexes = {id_ for one in meters for id_ in one.counted}
    series = [one for one in metered.series if one.id in indexes]
    after = moved(month, "month", 1)
    begin, end = midnight(month, asked.zone), midnight(after, asked.zone)
    hours = await read_hours(connection, meters, series, begin, end, asked.zone)
    mornings = days_of(month, after, asked.zone)
    return {
        meter.building_id: find_leaks(
            nights_of(
                mornings, [HourFlow(at, None if taken is None else taken * LITRES_PER_M3) for at, taken in of]
            ),
            USUAL_LIMIT_L_H,
        )
        for meter, of in zip(meters, hours, strict=True)
    }


def _litres(leaks: Mapping[int, Leaks]) -> Amount:
    if not leaks:
        return NOTHING
    return total((one.litres if one.known_nights else None for one in leaks.values()), Unknown.NOT_MEASURED)


def _leak_table(leaks: Mapping[int, Leaks], buildings: Mapping[int, Building]) -> list[Table]:
    rows: list[tuple[Cell, ...]] = [
        (
            buildings[id_].name,
            fsum(leak.litres for leak in one.leaks),
            float(sum(leak.nights for leak in one.leaks)),
            f"{min(leak.first for leak in one.leaks):%d/%m}",
            f"{max(leak.last for leak in one.leaks):%d/%m}",
        )
        for id_, one in leaks.items()
        if one.leaks
    ]
    return table_of("buildings.leaks", sorted(rows, key=lambda row: -float(row[1] or 0)), TABLE_MOST)


def _use_rows(metered: _Metered, asked: Asked) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for of in metered.uses:
        by_month: dict[date, MonthAmount] = {one.first: one for one in of.months}
        this = by_month[asked.month]
        change = change_percent(this, by_month[asked.months[2]])
        building = metered.buildings[of.meters.building_id]
        amount = this.amount if this.is_whole else None
        rows.append((building.name, of.meters.use, amount, USES[of.meters.use].unit, change))
    return sorted(rows, key=lambda row: (str(row[0]), str(row[1])))
