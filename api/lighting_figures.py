"""Lighting of cabinets in a month, from what is stored: energy, hours lit, faults, what their programs want."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from alerting.rules.faults import FAULT_SQL, Fault
from api.building_store import UseMeters, UseMonths, meters_of, midnight, read_months
from api.room_store import read_means, streams_of
from core.model.calendar_buckets import moved
from core.model.lighting import Lamps, Program
from core.runtime.postgres import Connection
from indicators.lighting.months import CabinetMonth, LampHour, burning_of, expected_shares
from ingest.series.series_choice import Series
from lighting.energy import expected_kwh
from lighting.expected import LampRow, read_lamps
from registry.rows import fetch_all

CABINETS = """
SELECT id, commune FROM asset
WHERE kind = 'lighting_cabinet' AND archived_at IS NULL AND ($1::text IS NULL OR commune = $1)
ORDER BY commune, id LIMIT $2
"""
# A circuit's faults are its cabinet's.
FAULTS = f"""
SELECT coalesce(c.id, s.id) AS id, count(*)::int AS faults
FROM alert a JOIN alert_rule r ON r.id = a.rule_id AND {FAULT_SQL} = ANY($4::text[])
JOIN asset s ON s.id = a.asset_id LEFT JOIN asset c ON c.id = s.parent_id AND s.kind = 'lighting_circuit'
WHERE a.opened_at >= $2 AND a.opened_at < $3 AND coalesce(c.id, s.id) = ANY($1::int[]) GROUP BY 1
"""
OF_LAMPS = [
    str(fault) for fault in (Fault.BREAKER, Fault.DARK, Fault.LOST_PHASE, Fault.LOST_CURRENT, Fault.FEWER_LAMPS)
]
CIRCUITS = """
SELECT id, parent_id FROM asset
WHERE parent_id = ANY($1::int[]) AND kind = 'lighting_circuit' AND archived_at IS NULL ORDER BY id
"""
# Also of what is above or below: a circuit follows its cabinet's program.
PROGRAM_SINCE = """
SELECT s.id, max(greatest(g.assigned_at, g.ended_at)) AS at FROM asset s
JOIN asset o ON o.id = s.id OR o.id = s.parent_id OR (o.parent_id = s.id AND o.kind = 'lighting_circuit')
JOIN lighting_assignment g ON g.asset_id = o.id WHERE s.id = ANY($1::int[]) GROUP BY s.id
"""


@dataclass(frozen=True, slots=True)
class Cabinet:
    """One that is in service."""

    id: int
    commune: str


@dataclass(frozen=True, slots=True)
class CabinetStreams:
    """What is measured of cabinets: their indexes, and whether their lamps are on."""

    meters: Sequence[UseMeters]
    indexes: Sequence[Series]
    states: Sequence[Series]

    @property
    def every(self) -> list[Series]:
        """All of them."""
        return [*self.indexes, *self.states]


@dataclass(frozen=True, slots=True)
class _Faults:
    id: int
    faults: int


@dataclass(frozen=True, slots=True)
class FoundCabinets:
    """What a month's figures are computed from, by cabinet."""

    cabinets: Sequence[Cabinet]
    kwh: Mapping[int, float | None]
    lit: Mapping[tuple[int, str], Mapping[datetime, float]]
    hours: Sequence[datetime]
    lamps: Mapping[int, LampRow]
    circuits: Mapping[int, Sequence[LampRow]]
    is_same: frozenset[int]
    faults: Mapping[int, int]
    begin: datetime
    end: datetime


async def list_cabinets(connection: Connection, commune: str | None, most: int) -> list[Cabinet]:
    """Those that are visible, by commune."""
    return await fetch_all(connection, Cabinet, CABINETS, commune, most)


async def streams_of_cabinets(connection: Connection, cabinets: Sequence[Cabinet]) -> CabinetStreams:
    """What is measured of these."""
    ids = [one.id for one in cabinets]
    meters, indexes = await meters_of(connection, ids, ("electricity",))
    return CabinetStreams(meters, indexes, await streams_of(connection, ids, ("switch_state",)))


async def read_cabinets(
    connection: Connection,
    cabinets: Sequence[Cabinet],
    streams: CabinetStreams,
    first: date,
    zone: ZoneInfo,
    now: datetime,
) -> FoundCabinets:
    """What is stored of a month of these."""
    after = moved(first, "month", 1)
    begin, end = midnight(first, zone), midnight(after, zone)
    months = await read_months(connection, streams.meters, streams.indexes, first, after, zone, now)
    hours, lit = await read_means(connection, streams.states, begin, end, zone)
    return await _read_rest(connection, cabinets, begin, end, months, hours, lit)


async def _read_rest(
    connection: Connection,
    cabinets: Sequence[Cabinet],
    begin: datetime,
    end: datetime,
    months: Sequence[UseMonths],
    hours: Sequence[datetime],
    lit: Mapping[tuple[int, str], Mapping[datetime, float]],
) -> FoundCabinets:
    ids = [one.id for one in cabinets]
    circuits = await connection.fetch(CIRCUITS, ids)
    lamps = await read_lamps(connection, ids + [one["id"] for one in circuits])
    below: dict[int, list[LampRow]] = {}
    for one in circuits:
        if one["id"] in lamps:
            below.setdefault(one["parent_id"], []).append(lamps[one["id"]])
    changed = {one["id"]: one["at"] for one in await connection.fetch(PROGRAM_SINCE, ids)}
    faults = await fetch_all(connection, _Faults, FAULTS, ids, begin, end, OF_LAMPS)
    return FoundCabinets(
        cabinets,
        {one.meters.building_id: _whole(one) for one in months},
        lit,
        hours,
        lamps,
        below,
        frozenset(id_ for id_ in ids if changed.get(id_) is None or changed[id_] <= begin),
        {one.id: one.faults for one in faults},
        begin,
        end,
    )


def _whole(one: UseMonths) -> float | None:
    [month] = one.months
    return month.amount if month.is_whole else None


def cabinet_months(found: FoundCabinets, reference: Program) -> dict[int, CabinetMonth]:
    """Of each cabinet; a program that changed meanwhile says nothing of the month."""
    figures: dict[int, CabinetMonth] = {}
    for cabinet in found.cabinets:
        row = found.lamps.get(cabinet.id)
        known = found.lit.get((cabinet.id, "switch_state"), {})
        wanted: list[float | None] = [None] * len(found.hours)
        if known and row is not None and cabinet.id in found.is_same:
            wanted = expected_shares(row.lamps.program, row.place, found.begin, found.end)
        hours = [LampHour(expected, known.get(hour)) for expected, hour in zip(wanted, found.hours, strict=True)]
        rows = _lamps(row, found.circuits.get(cabinet.id, ()))
        figures[cabinet.id] = CabinetMonth(
            found.kwh.get(cabinet.id),
            expected_kwh(
                [(Lamps(reference, one.rated_power_w), one.place) for one in rows], found.begin, found.end
            ),
            burning_of(hours),
            found.faults.get(cabinet.id, 0),
        )
    return figures


def _lamps(own: LampRow | None, circuits: Sequence[LampRow]) -> Sequence[LampRow]:
    """The circuits where each says what it draws, else the whole."""
    if circuits and all(one.rated_power_w is not None for one in circuits):
        return circuits
    return [] if own is None else [own]
