"""Rounds, their stops and what became of them in the database: written here alone, under row security."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from core.runtime.postgres import Connection
from indicators.waste.rounds.model import ChosenBy, DistanceSource, LeftReason, Outcome, Part, SkipReason, Trip
from registry.rows import arrays, columns_of, fetch_all, fetch_one

RoundState = Literal["planned", "cancelled"]


@dataclass(frozen=True, slots=True)
class NewRound:
    """What was asked for, and what the solver made of it."""

    name: str
    planned_for: date
    kind: str
    commune: str | None
    threshold: int
    forecast_threshold: int
    forecast_part: Part
    next_round_on: date
    trucks: int
    truck_volume_l: int
    truck_weight_kg: int
    opens_at: time
    closes_at: time
    service_s: int
    unloading_s: int
    speed_kmh: float
    depot_latitude: float
    depot_longitude: float
    outlet_latitude: float
    outlet_longitude: float
    distance_source: DistanceSource
    distance_note: str
    seed: int
    iterations: int
    solver: str
    metres_before: int | None
    bins_before: int
    metres_after: int
    trips: tuple[Trip, ...]


@dataclass(frozen=True, slots=True)
class NewStop:
    """A bin that was to be emptied: where it stands, or why in no trip."""

    asset_id: int
    chosen_by: ChosenBy
    truck: int | None
    trip: int | None
    position: int | None
    arrival: datetime | None
    left_reason: LeftReason | None
    level: float | None
    level_at: datetime | None
    full_at: datetime | None
    volume_l: float | None
    weight_kg: float | None


@dataclass(frozen=True, slots=True)
class WasteRound(NewRound):
    """A round as it was planned, and how many of its stops are done."""

    id: int
    tenant_id: int
    state: RoundState
    trips: Any  # As they were written, in JSON.
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None
    cancelled_by: str | None
    cancel_reason: str
    stops: int
    left_out: int
    emptied: int
    skipped: int


@dataclass(frozen=True, slots=True)
class RoundStop:
    """A bin of a round: where it stands, what it was expected to hold, and what became of it."""

    round_id: int
    asset_id: int
    name: str
    street: str
    commune: str
    latitude: float | None
    longitude: float | None
    chosen_by: ChosenBy
    truck: int | None
    trip: int | None
    position: int | None
    arrival: datetime | None
    left_reason: LeftReason | None
    level: float | None
    level_at: datetime | None
    full_at: datetime | None
    volume_l: float | None
    weight_kg: float | None
    outcome: Outcome | None
    reason: SkipReason | None
    done_at: datetime | None
    level_seen: float | None
    remark: str | None
    recorded_at: datetime | None
    recorded_by: str | None


@dataclass(frozen=True, slots=True)
class NewOutcome:
    """What became of a stop, as somebody says; it takes the place of what was said before."""

    outcome: Outcome
    reason: SkipReason | None
    at: datetime
    level_seen: float | None
    remark: str


_ROUND_COLUMNS = columns_of(NewRound)
# One that was taken back is none.
_LAST = """(
SELECT * FROM (
    SELECT o.outcome, o.reason, o.at, o.level_seen, o.remark, o.recorded_at, o.recorded_by
    FROM waste_round_outcome o WHERE o.round_id = s.round_id AND o.asset_id = s.asset_id ORDER BY o.id DESC LIMIT 1
) AS o WHERE o.outcome <> 'withdrawn')
"""
_ROUNDS = f"""
SELECT r.id, r.tenant_id, r.state, {_ROUND_COLUMNS}, r.created_at, r.created_by, r.cancelled_at, r.cancelled_by,
       r.cancel_reason, n.stops, n.left_out, n.emptied, n.skipped
FROM waste_round r CROSS JOIN LATERAL (
    SELECT count(s.position) AS stops, count(s.left_reason) AS left_out,
           count(*) FILTER (WHERE l.outcome = 'emptied') AS emptied,
           count(*) FILTER (WHERE l.outcome = 'skipped') AS skipped
    FROM waste_round_stop s LEFT JOIN LATERAL {_LAST} AS l ON true
    WHERE s.round_id = r.id
) AS n
"""
LIST_ROUNDS = f"""
{_ROUNDS}
WHERE ($1::int IS NULL OR r.id < $1) AND ($2::text IS NULL OR r.state = $2) AND ($3::text IS NULL OR r.kind = $3)
  AND ($4::date IS NULL OR r.planned_for = $4)
ORDER BY r.id DESC LIMIT $5
"""
READ_ROUND = f"{_ROUNDS} WHERE r.id = $1"
CREATE_ROUND = f"""
INSERT INTO waste_round (tenant_id, created_by, {_ROUND_COLUMNS})
VALUES ($1, $2, {", ".join(f"${number + 3}" for number in range(len(_ROUND_COLUMNS.split(", "))))}) RETURNING id
"""
_STOP_COLUMNS = columns_of(NewStop)
ADD_STOPS = f"""
INSERT INTO waste_round_stop (round_id, tenant_id, {_STOP_COLUMNS})
SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::int[], $6::int[], $7::int[], $8::timestamptz[], $9::text[],
    $10::float8[], $11::timestamptz[], $12::timestamptz[], $13::float8[], $14::float8[])
"""
LIST_STOPS = f"""
SELECT s.round_id, s.asset_id, a.name, a.street, a.commune, a.latitude, a.longitude, s.chosen_by, s.truck, s.trip,
       s.position, s.arrival, s.left_reason, s.level, s.level_at, s.full_at, s.volume_l, s.weight_kg, l.outcome,
       l.reason, l.at AS done_at, l.level_seen, l.remark, l.recorded_at, l.recorded_by
FROM waste_round_stop s JOIN asset a ON a.id = s.asset_id LEFT JOIN LATERAL {_LAST} AS l ON true
WHERE s.round_id = $1 AND ($2::int IS NULL OR s.asset_id = $2)
ORDER BY s.truck, s.position, a.commune, a.name, s.asset_id
"""
# A stop that is in a trip of a round that is not cancelled; the row is locked against the cancellation.
LOCK_ROUND = "SELECT state FROM waste_round WHERE id = $1 FOR UPDATE"
ADD_OUTCOME = """
INSERT INTO waste_round_outcome (
    tenant_id, round_id, asset_id, outcome, reason, at, level_seen, remark, recorded_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
CANCEL_ROUND = """
UPDATE waste_round SET state = 'cancelled', cancelled_at = now(), cancelled_by = $2, cancel_reason = $3
WHERE id = $1 AND state = 'planned'
  AND NOT EXISTS (SELECT FROM waste_round_outcome o WHERE o.round_id = waste_round.id)
RETURNING true
"""


async def create_round(
    connection: Connection, tenant_id: int, by: str, new: NewRound, stops: Sequence[NewStop]
) -> WasteRound:
    """Keep a round as it was planned, with its stops and with what is in no trip."""
    values = {name: getattr(new, name) for name in _ROUND_COLUMNS.split(", ")}
    values["trips"] = [_plain(trip) for trip in new.trips]
    round_id = await connection.fetchval(CREATE_ROUND, tenant_id, by, *values.values())
    await connection.execute(ADD_STOPS, round_id, tenant_id, *arrays(stops, _STOP_COLUMNS))
    made = await read_round(connection, round_id)
    assert made is not None  # noqa: S101 - It was made in this transaction.
    return made


def _plain(trip: Trip) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(trip).items()
    }


async def list_rounds(
    connection: Connection,
    *,
    before: int | None = None,
    state: RoundState | None = None,
    kind: str | None = None,
    planned_for: date | None = None,
    most: int,
) -> list[WasteRound]:
    """The tenant's, the last first."""
    return await fetch_all(connection, WasteRound, LIST_ROUNDS, before, state, kind, planned_for, most)


async def read_round(connection: Connection, round_id: int) -> WasteRound | None:
    """One of the tenant's."""
    return await fetch_one(connection, WasteRound, READ_ROUND, round_id)


async def list_stops(connection: Connection, round_id: int) -> list[RoundStop]:
    """Those that are visible: in the order of each truck, then what is in no trip."""
    return await fetch_all(connection, RoundStop, LIST_STOPS, round_id, None)


async def read_stop(connection: Connection, round_id: int, asset_id: int) -> RoundStop | None:
    """One of them."""
    return await fetch_one(connection, RoundStop, LIST_STOPS, round_id, asset_id)


async def lock_round(connection: Connection, round_id: int) -> RoundState | None:
    """Its state, which nobody changes until the transaction ends; None: there is none."""
    return await connection.fetchval(LOCK_ROUND, round_id)


async def add_outcome(
    connection: Connection, tenant_id: int, round_id: int, asset_id: int, new: NewOutcome, by: str
) -> None:
    """Say what became of a stop; what was said before stays, and counts no more."""
    await connection.execute(
        ADD_OUTCOME, tenant_id, round_id, asset_id, new.outcome, new.reason, new.at, new.level_seen, new.remark, by
    )


async def withdraw_outcome(
    connection: Connection, tenant_id: int, round_id: int, asset_id: int, at: datetime, by: str
) -> None:
    """What was said of a stop counts no more, and stays."""
    await connection.execute(ADD_OUTCOME, tenant_id, round_id, asset_id, "withdrawn", None, at, None, "", by)


async def cancel_round(connection: Connection, round_id: int, by: str, reason: str) -> bool:
    """Whether it is cancelled now; one that has begun, or is cancelled already, is not."""
    return await connection.fetchval(CANCEL_ROUND, round_id, by, reason) is True
