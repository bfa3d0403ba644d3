"""SQL that reads uplinks and measurements through the views of row security (docs/architecture.md, "Tenancy")."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

from core.model.quantities import QUANTITIES
from core.runtime.postgres import Connection
from registry.listing import OF_TENANTS, Ask, Key, Listing, Part, reached, reached_or_placed, rows_in_order
from registry.places import distance
from registry.rows import entity, fetch_all, fetch_one
from registry.wanted_datastreams import ASSET_WANTED, WantedDatastreams

DATASTREAM_COLUMNS = """
d.id, d.asset_id, a.name AS asset_name, v.dev_eui, d.position, d.channel, d.quantity, d.unit, d.created_at,
a.kind AS asset_kind, a.commune, a.insee, a.longitude, a.latitude
"""
OF_DATASTREAMS = "datastream d JOIN device v ON v.id = d.device_id LEFT JOIN asset a ON a.id = d.asset_id"
OF_DEVICE = "(:dev_eui::bytea IS NULL OR v.dev_eui = :dev_eui)"
DISTANCE = f"CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance('a')} END AS distance"
# Joined to `d`: of a few of them, one by one.
FEW = f"""
JOIN device v ON v.id = d.device_id LEFT JOIN asset a ON a.id = d.asset_id
WHERE {reached_or_placed("d")} AND {OF_DEVICE} AND {ASSET_WANTED}
"""
# Or of all of them: the planner does not know that conditions on the tenant of several tables are one, expects few
# rows, and would look each of them up. A group by its key it can only hash, and leaves out where nothing asks for
# it (decision 102).
ALL = f"""
LEFT JOIN (SELECT a.id, a.name, a.kind, a.commune, a.insee, a.quarter, a.tags, a.longitude, a.latitude
           FROM asset a WHERE {reached("a")} GROUP BY a.id) a ON a.id = d.asset_id
WHERE {reached("d")} AND {ASSET_WANTED}
  AND (d.device_id IN (SELECT v.id FROM device v WHERE {reached("v")} AND {OF_DEVICE})) IS TRUE
"""
KEYS = {
    "asset": Key("asset COLLATE french", "text"),
    "quantity": Key("quantity", "text"),
    "commune": Key("commune COLLATE french", "text"),
    "distance": Key("distance", "float8"),
}
_SORTED_BY = f"a.name AS asset, d.quantity, a.commune, {DISTANCE}"
_DATASTREAMS = f"d.id, {_SORTED_BY} FROM datastream d"
LIST_DATASTREAMS = Listing(f"SELECT {_DATASTREAMS} {ALL}", KEYS, walked=f"SELECT {_DATASTREAMS} {FEW}")
# Those that have a last value; its view has asked the policies of the datastream.
_LATEST = f"d.datastream_id AS id, {_SORTED_BY}, d.time, d.value FROM latest d"
LIST_LATEST = Listing(
    # Whose each is stands beside the value, too: looked up one by one they take two thirds of the time.
    f"SELECT {_LATEST} {ALL} AND d.value_tenant_id = ANY({OF_TENANTS})",
    KEYS | {"time": Key("time", "timestamptz"), "value": Key("value", "float8")},
    walked=f"SELECT {_LATEST} {FEW}",
)
READ_THESE = f"SELECT {DATASTREAM_COLUMNS} FROM {OF_DATASTREAMS} WHERE d.id = ANY($1)"
READ_DATASTREAM = f"SELECT {DATASTREAM_COLUMNS} FROM {OF_DATASTREAMS} WHERE d.id = $1"
LATEST = "SELECT datastream_id, time, value, flags FROM latest WHERE datastream_id = ANY($1::int[])"
# Another device serves the place now, which has not measured this.
STALE = """
SELECT s.id FROM datastream s
JOIN assignment g ON g.asset_id = s.asset_id AND g.position = s.position AND g.during @> now()
WHERE s.id = ANY($1::int[]) AND g.device_id <> s.device_id
"""
MEASUREMENTS_UP = """
SELECT time, value, flags FROM measurement
WHERE datastream_id = $1 AND time >= $2 AND time < $3 ORDER BY time LIMIT $4
"""
MEASUREMENTS_DOWN = """
SELECT time, value, flags FROM measurement
WHERE datastream_id = $1 AND time >= $2 AND time < $3 ORDER BY time DESC LIMIT $4
"""
UPLINKS = """
SELECT uplink_id, time, received_at, f_cnt, f_port, payload, radio, status, reason, decoded, codec, codec_version,
       detail
FROM uplink
WHERE device_id = $1 AND ($2::text IS NULL OR status = $2)
  AND (time, uplink_id) < (coalesce($3::timestamptz, 'infinity'),
                           coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
ORDER BY time DESC, uplink_id DESC LIMIT $5
"""
RECEPTIONS = """
SELECT r.uplink_id, g.gateway_id, g.name AS gateway_name, r.antenna, r.rssi, r.snr
FROM reception r LEFT JOIN gateway g ON g.id = r.gateway_id
WHERE r.device_id = $1 AND r.time = ANY($2::timestamptz[]) AND r.uplink_id = ANY($3::uuid[])
ORDER BY r.rssi DESC
"""
ENTER_MANUAL = "SELECT enter_manual_reading($1, $2, $3, $4)"
CORRECTIONS = """
SELECT time, value, flags, source_id, received_at, in_force FROM correction
WHERE datastream_id = $1 AND time >= $2 AND time < $3
ORDER BY time DESC, received_at DESC NULLS LAST, value LIMIT $4
"""
READING_AT = "SELECT time, value, flags FROM measurement WHERE datastream_id = $1 AND time = $2"
# Whose slot its measurements have: the asset's, or the device's when it serves none.
SLOT_OWNER = "SELECT coalesce(asset_id, device_id) FROM datastream WHERE id = $1"


@dataclass(frozen=True, slots=True)
class DatastreamRow:
    """A datastream, the asset that it belongs to, and the device that feeds it now."""

    id: int
    asset_id: int | None
    asset_name: str | None
    dev_eui: bytes
    position: str
    channel: str
    quantity: str
    unit: str
    created_at: datetime
    asset_kind: str | None
    commune: str | None
    insee: str | None
    longitude: float | None
    latitude: float | None

    @property
    def label_fr(self) -> str:
        """The quantity's name in French; its code when the catalogue has it no longer."""
        known = QUANTITIES.get(self.quantity)
        return self.quantity if known is None else known.label_fr


class Reading(NamedTuple):
    """One measurement; `flags` are core.messages.measurements.Flag."""

    time: datetime
    value: float
    flags: int


@dataclass(frozen=True, slots=True)
class UplinkRow:
    """One uplink as stored."""

    uplink_id: UUID
    time: datetime
    received_at: datetime
    f_cnt: int | None
    f_port: int | None
    payload: bytes
    radio: dict[str, Any]
    status: str
    reason: str | None
    decoded: Any
    codec: str | None
    codec_version: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class ReceptionRow:
    """How a gateway received an uplink; its name is known to its owner only."""

    uplink_id: UUID
    gateway_id: bytes | None
    gateway_name: str | None
    antenna: int
    rssi: float
    snr: float


async def list_datastreams(connection: Connection, ask: Ask, wanted: WantedDatastreams) -> Part:
    """The ids of a page of datastreams."""
    return await LIST_DATASTREAMS.page(connection, ask, wanted.values())


async def list_latest(connection: Connection, ask: Ask, wanted: WantedDatastreams) -> Part:
    """The ids of a page of those that have a last value."""
    return await LIST_LATEST.page(connection, ask, wanted.values())


async def read_in_order(connection: Connection, ids: Sequence[int]) -> list[DatastreamRow]:
    """These datastreams, in this order."""
    return await rows_in_order(connection, DatastreamRow, READ_THESE, ids)


async def read_datastream(connection: Connection, datastream_id: int) -> DatastreamRow | None:
    """One datastream."""
    return await fetch_one(connection, DatastreamRow, READ_DATASTREAM, datastream_id)


async def read_stale(connection: Connection, datastream_ids: Sequence[int]) -> set[int]:
    """Those of these whose last value is of a device that was replaced by one which does not send it."""
    return {row["id"] for row in await connection.fetch(STALE, datastream_ids)}


async def read_latest(connection: Connection, datastream_ids: Sequence[int]) -> dict[int, Reading]:
    """The last reading of each of these datastreams."""
    return {id_: Reading(*rest) for id_, *rest in await connection.fetch(LATEST, datastream_ids)}


async def list_readings(
    connection: Connection, datastream_id: int, since: datetime, until: datetime, *, newest_first: bool, most: int
) -> list[Reading]:
    """Readings from `since` to before `until`."""
    statement = MEASUREMENTS_DOWN if newest_first else MEASUREMENTS_UP
    return [Reading(*row) for row in await connection.fetch(statement, datastream_id, since, until, most)]


async def list_uplinks(
    connection: Connection,
    device_id: int,
    *,
    status: str | None = None,
    before: tuple[datetime, UUID] | None = None,
    most: int = 100,
) -> list[UplinkRow]:
    """Uplinks of a device, newest first; `before` is where the former page ended."""
    time, uplink_id = before or (None, None)
    return await fetch_all(connection, UplinkRow, UPLINKS, device_id, status, time, uplink_id, most)


async def list_receptions(
    connection: Connection, device_id: int, uplinks: Sequence[UplinkRow]
) -> dict[UUID, list[ReceptionRow]]:
    """The receptions of these uplinks, the loudest first."""
    times, ids = [uplink.time for uplink in uplinks], [uplink.uplink_id for uplink in uplinks]
    found: dict[UUID, list[ReceptionRow]] = {}
    for row in await connection.fetch(RECEPTIONS, device_id, times, ids):
        found.setdefault(row["uplink_id"], []).append(entity(ReceptionRow, row))
    return found


class ManualOutcome(IntEnum):
    """What became of a manual reading."""

    ENTERED = 0
    KNOWN = 1  # This very value is there.
    CORRECTED = 2  # It took the place of another one.


@dataclass(frozen=True, slots=True)
class Correction:
    """One of several values that were stated of an instant; of the first one nobody knows who said it when."""

    time: datetime
    value: float
    flags: int
    source_id: int | None
    received_at: datetime | None
    in_force: bool


async def enter_manual_reading(
    connection: Connection, datastream_id: int, time: datetime, value: float, flags: int
) -> ManualOutcome | None:
    """Store it, in the place of what was measured; None for another tenant's datastream."""
    outcome = await connection.fetchval(ENTER_MANUAL, datastream_id, time, value, flags)
    return None if outcome is None else ManualOutcome(outcome)


async def reading_at(connection: Connection, datastream_id: int, time: datetime) -> dict[str, Any] | None:
    """The value of this very instant; None: there is none."""
    row = await connection.fetchrow(READING_AT, datastream_id, time)
    return None if row is None else dict(row)


async def list_corrections(
    connection: Connection, datastream_id: int, since: datetime, until: datetime, *, most: int
) -> list[Correction]:
    """The values of instants for which more than one was stated, the latest instant first."""
    return await fetch_all(connection, Correction, CORRECTIONS, datastream_id, since, until, most)


async def slot_owner(connection: Connection, datastream_id: int) -> int:
    """The asset or device whose slot the measurements of a datastream have."""
    return await connection.fetchval(SLOT_OWNER, datastream_id)
