"""Bins in a monthly report: days at the threshold with what nobody knows apart, emptyings, which are full soon."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from api.reporting.asked import Asked
from core.runtime.postgres import Connection
from indicators.reports.model import (
    NOTHING,
    Amount,
    Section,
    Table,
    Unknown,
    chart_of,
    figures_of,
    table_of,
)
from indicators.waste import days_above_store as store
from indicators.waste import tonnage_store
from indicators.waste.days_above import Bin, DaysAbove, days_above
from indicators.waste.days_above_store import EmptyingCount
from indicators.waste.forecasts import read_forecasts
from indicators.waste.tonnage import tonnages

THRESHOLD = 75
BINS_MOST = 5_000
FULLEST_MOST = 10
SOON = timedelta(days=7)
NOT_THEN = Amount(None, unknown=Unknown.NOT_OF_THEN)


async def read_waste(connection: Connection, asked: Asked) -> Section | None:
    """The section; None where no level of a bin is measured."""
    bins = await store.select_bins(connection, None, commune=asked.commune, most=BINS_MOST)
    if not bins:
        return None
    ids = [one.datastream_id for one in bins]
    period = (asked.chart[0], asked.after)
    known = await store.read_known_months(connection, ids, period, THRESHOLD)
    first_days = await store.read_first_days(connection, ids)
    emptied = await store.count_emptyings(connection, ids, period)
    by_month = days_above(bins, known, first_days, period, ["month"])
    days = {one.month: one for one in by_month if one.month is not None}
    amounts = {month: _amounts(days.get(month), month, emptied) for month in asked.months}
    tonnes = await _tonnes(connection, asked)
    for month in asked.months:
        amounts[month]["waste.tonnes"] = tonnes.get(month, Amount(None, unknown=Unknown.NOT_MEASURED))
    amounts[asked.month]["waste.full_soon"] = await _full_soon(connection, asked, ids)
    of_bins = days_above(bins, known, first_days, (asked.month, asked.after), ["bin"])
    return Section(
        "waste",
        tuple(figures_of(asked.month, amounts, ["waste.full_soon"])),
        tuple(
            chart_of("waste.days_above", _chart(days, asked.chart), asked.chart)
            + chart_of("waste.emptyings", _emptied(days, emptied, asked.chart), asked.chart)
        ),
        tuple(_fullest(of_bins, emptied, asked.month)),
    )


def _amounts(days: DaysAbove | None, month: date, emptied: Sequence[EmptyingCount]) -> dict[str, Amount]:
    names = ("days_above", "days_unknown", "emptyings", "emptyings_suspect")
    if days is None:
        nothing = Amount(None, unknown=Unknown.NOT_MEASURED)
        return {"waste.bins": nothing} | {f"waste.{name}": nothing for name in names}
    is_known = days.unknown < days.days
    of_month = [one for one in emptied if one.month == month]
    values = (
        days.above if is_known else None,
        days.unknown,
        sum(one.emptyings for one in of_month) if is_known else None,
        sum(one.suspect for one in of_month) if is_known else None,
    )
    # Of another number of bins days and emptyings are not to be compared.
    counted = (None if value is None else round(value, 4) for value in values)
    return {"waste.bins": Amount(days.bins)} | {
        f"waste.{name}": Amount(value, days.bins, days.bins, None if value is not None else Unknown.NOT_MEASURED)
        for name, value in zip(names, counted, strict=True)
    }


async def _tonnes(connection: Connection, asked: Asked) -> dict[date, Amount]:
    """Of the commune's bins, by month; calibrated by all that was weighed in the year before the month is over."""
    period = (asked.chart[0], asked.after)
    loads = asked.shared.loads.get(period)
    if loads is None:
        loads = asked.shared.loads[period] = await tonnage_store.read_loads(connection, period)
    of_commune = [one for one in loads.emptied if one.bin.commune == asked.commune]
    return {
        one.month: Amount(
            round(one.tonnes, 4) if one.emptyings else None,
            one.emptyings,
            one.emptyings + one.unknown,
            None if one.emptyings else Unknown.NOT_MEASURED,
        )
        for one in tonnages(of_commune, loads.calibrations, ["month"])
        if one.month is not None
    }


async def _full_soon(connection: Connection, asked: Asked, ids: Sequence[int]) -> Amount:
    if not asked.is_last:
        return NOT_THEN
    found = await read_forecasts(connection, BINS_MOST, wanted={*ids})
    ends = [one.instant(one.forecast.p50) for one in found if one.forecast is not None]
    if not found:
        return NOTHING
    if not ends:
        return Amount(None, 0, len(found), Unknown.NOT_MEASURED)
    full = sum(one is not None and one <= asked.now + SOON for one in ends)
    return Amount(full, len(ends), len(found))


def _chart(days: Mapping[date, DaysAbove], months: Sequence[date]) -> dict[date, float | None]:
    found = {month: days[month] for month in months if month in days}
    return {month: one.above if one.unknown < one.days else None for month, one in found.items()}


def _emptied(
    days: Mapping[date, DaysAbove], emptied: Sequence[EmptyingCount], months: Sequence[date]
) -> dict[date, float | None]:
    known = {month for month, above in _chart(days, months).items() if above is not None}
    return {month: float(sum(one.emptyings for one in emptied if one.month == month)) for month in known}


def _fullest(of_bins: Sequence[DaysAbove], emptied: Sequence[EmptyingCount], month: date) -> list[Table]:
    times = {one.datastream_id: float(one.emptyings) for one in emptied if one.month == month}
    full = sorted((one for one in of_bins if one.above > 0), key=lambda one: (-one.above, _bin(one).datastream_id))
    rows = [
        (_bin(one).name, round(one.above, 4), round(one.unknown, 4), times.get(_bin(one).datastream_id, 0.0))
        for one in full
    ]
    return table_of("waste.fullest", rows, FULLEST_MOST)


def _bin(one: DaysAbove) -> Bin:
    assert one.bin is not None  # noqa: S101 - Grouped by bin.
    return one.bin
