"""Street lighting in a monthly report: energy, hours lit, availability, faults, what the program saves."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date

from api.building_store import read_months
from api.lighting_figures import (
    Cabinet,
    CabinetStreams,
    cabinet_months,
    list_cabinets,
    read_cabinets,
    streams_of_cabinets,
)
from api.reporting.asked import Asked
from core.model.lighting import FROM_DUSK_TO_DAWN
from core.runtime.postgres import Connection
from indicators.lighting.months import CommuneMonth, commune_month
from indicators.reports.model import Amount, Chart, Section, Unknown, chart_of, figures_of, total

CABINETS_MOST = 2_000


async def read_lighting(connection: Connection, asked: Asked) -> Section | None:
    """The section; None where there is no cabinet."""
    cabinets = await list_cabinets(connection, asked.commune, CABINETS_MOST)
    if not cabinets:
        return None
    streams = await streams_of_cabinets(connection, cabinets)
    amounts: dict[date, dict[str, Amount]] = {}
    for month in asked.months:
        amounts[month] = _amounts(await _month(connection, asked, cabinets, streams, month), len(cabinets))
    chart = await _chart(connection, asked, streams)
    return Section("lighting", tuple(figures_of(asked.month, amounts)), tuple(chart))


async def _month(
    connection: Connection, asked: Asked, cabinets: Sequence[Cabinet], streams: CabinetStreams, month: date
) -> CommuneMonth:
    found = await read_cabinets(connection, cabinets, streams, month, asked.zone, asked.now)
    figures = await asyncio.to_thread(cabinet_months, found, FROM_DUSK_TO_DAWN)
    return commune_month([figures[one.id] for one in cabinets], None)


def _amounts(month: CommuneMonth, cabinets: int) -> dict[str, Amount]:
    is_read = month.known_hours > 0
    return {
        "lighting.kwh": _known(month.kwh, month.metered, cabinets, Unknown.NOT_WHOLE),
        "lighting.lit_hours": _known(month.lit_hours, None, None, Unknown.NOT_MEASURED),
        "lighting.availability": _known(
            None if month.availability is None else 100 * month.availability,
            None,
            None,
            Unknown.NO_REFERENCE if is_read else Unknown.NOT_MEASURED,
        ),
        "lighting.faults": Amount(month.faults),
        "lighting.saved_kwh": _known(
            month.saved_kwh,
            month.compared,
            cabinets,
            Unknown.NO_REFERENCE if month.metered else Unknown.NOT_WHOLE,
        ),
    }


def _known(value: float | None, known: int | None, of: int | None, unknown: Unknown) -> Amount:
    return Amount(value, known, of, unknown if value is None else None)


async def _chart(connection: Connection, asked: Asked, streams: CabinetStreams) -> list[Chart]:
    """Months of which as many cabinets are known as of the report's own."""
    if not streams.meters:
        return []
    uses = await read_months(
        connection, streams.meters, streams.indexes, asked.chart[0], asked.after, asked.zone, asked.now
    )
    by_month: Mapping[date, Amount] = {
        month: total(
            one.amount if one.is_whole else None for of in uses for one in of.months if one.first == month
        )
        for month in asked.chart
    }
    own = by_month[asked.month].known
    kwh = {month: one.value if one.known == own else None for month, one in by_month.items()}
    return chart_of("lighting.kwh", kwh, asked.chart)
