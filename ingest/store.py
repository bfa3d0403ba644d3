"""The one writer of observation.uplink, reception, measurement and latest."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from core.messages.measurements import Measurement
from core.runtime.lease import Lease
from core.runtime.ownership import fenced
from core.runtime.postgres import Connection, Pool, UniqueViolationError
from ingest.batch import Batch, Quarantined, ReceptionRow
from ingest.binary_copy import copy_of_measurements, copy_of_receptions, copy_of_uplinks

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCHEMA = "observation"
UPLINK_COLUMNS = (
    "device_id", "time", "uplink_id", "session_id", "f_cnt", "f_port", "payload", "received_at", "radio", "status",
    "reason", "decoded", "codec", "codec_version",
)  # fmt: skip
RECEPTION_COLUMNS = ("device_id", "time", "uplink_id", "gateway_id", "antenna", "rssi", "snr")
MEASUREMENT_COLUMNS = ("datastream_id", "time", "value", "flags")

INSERT_UPLINKS = f"""
INSERT INTO observation.uplink ({", ".join(UPLINK_COLUMNS)})
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::smallint[],
                     $7::bytea[], $8::timestamptz[], $9::jsonb[], $10::text[], $11::text[], $12::jsonb[],
                     $13::text[], $14::int[])
ON CONFLICT DO NOTHING
"""
INSERT_RECEPTIONS = f"""
INSERT INTO observation.reception ({", ".join(RECEPTION_COLUMNS)})
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::uuid[], $4::int[], $5::smallint[], $6::real[], $7::real[])
ON CONFLICT DO NOTHING
"""
INSERT_MEASUREMENTS = f"""
INSERT INTO observation.measurement ({", ".join(MEASUREMENT_COLUMNS)})
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::float8[], $4::smallint[])
ON CONFLICT DO NOTHING
"""
UPSERT_LATEST = """
INSERT INTO observation.latest (datastream_id, time, value, flags)
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::float8[], $4::smallint[])
ON CONFLICT (datastream_id) DO UPDATE
SET time = excluded.time, value = excluded.value, flags = excluded.flags
WHERE latest.time < excluded.time
"""
QUARANTINE = """
INSERT INTO observation.quarantine (service, subject, sequence, reason, data)
SELECT 'ingest', * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[])
"""


async def write_batch(pool: Pool, leases: Sequence[Lease], batch: Batch) -> bool:
    """Write all of the batch in one transaction; whether some of it was stored before.

    What is stored stays as it is. First by COPY, which is cheapest when all is new; when something is not, once
    more by statements that pass over what is there.

    Raises:
        ShardsLost: one of the leases is no longer ours; nothing was written.
    """
    try:
        async with fenced(pool, leases) as connection:
            await _copy(connection, batch)
            await _write_rest(connection, batch)
    except UniqueViolationError:
        async with fenced(pool, leases) as connection:
            await _insert(connection, batch)
            await _write_rest(connection, batch)
        return True
    return False


async def _copy(connection: Connection, batch: Batch) -> None:
    if batch.uplinks:
        await _copy_in(connection, "uplink", UPLINK_COLUMNS, copy_of_uplinks(batch.uplinks.values()))
    if batch.receptions:
        await _copy_in(connection, "reception", RECEPTION_COLUMNS, copy_of_receptions(batch.receptions.values()))
    if batch.measurements:
        octets = copy_of_measurements(batch.measurements.values())
        await _copy_in(connection, "measurement", MEASUREMENT_COLUMNS, octets)


async def _copy_in(connection: Connection, table: str, columns: Sequence[str], octets: bytearray) -> None:
    source: Any = octets  # The driver takes a buffer as it is; its stubs know files only.
    await connection.copy_to_table(table, source=source, columns=columns, schema_name=SCHEMA, format="binary")


async def _insert(connection: Connection, batch: Batch) -> None:
    if batch.uplinks:
        columns = list(zip(*batch.uplinks.values(), strict=True))
        columns[1], columns[7] = _instants(columns[1]), _instants(columns[7])
        columns[2] = _uuids(columns[2])
        columns[8], columns[11] = _documents(columns[8]), _documents(columns[11])
        await connection.execute(INSERT_UPLINKS, *columns)
    await _insert_receptions(connection, list(batch.receptions.values()))
    await _insert_measurements(connection, batch.measurements)


async def _write_rest(connection: Connection, batch: Batch) -> None:
    """What is written in the same way whether the batch is new or not."""
    await _insert_receptions(connection, batch.late_receptions)
    await _insert_measurements(connection, batch.history)
    latest = batch.latest()
    if latest:
        await connection.execute(
            UPSERT_LATEST,
            [row.datastream_id for row in latest],
            _instants(row.time_us for row in latest),
            [row.value for row in latest],
            [row.flags for row in latest],
        )
    await _quarantine(connection, batch.quarantined)


async def _insert_receptions(connection: Connection, rows: Sequence[ReceptionRow]) -> None:
    if rows:
        columns = list(zip(*rows, strict=True))
        columns[1], columns[2] = _instants(columns[1]), _uuids(columns[2])
        await connection.execute(INSERT_RECEPTIONS, *columns)


async def _insert_measurements(
    connection: Connection, measurements: Mapping[tuple[int, int], Measurement]
) -> None:
    if measurements:
        rows = [measurements[key] for key in sorted(measurements)]
        await connection.execute(
            INSERT_MEASUREMENTS,
            [row.datastream_id for row in rows],
            _instants(row.time_us for row in rows),
            [row.value for row in rows],
            [row.flags for row in rows],
        )


async def _quarantine(connection: Connection, items: Sequence[Quarantined]) -> None:
    if items:
        await connection.execute(
            QUARANTINE,
            [item.subject for item in items],
            [item.sequence for item in items],
            [item.reason for item in items],
            [item.data for item in items],
        )


def _instants(times_us: Iterable[int]) -> tuple[datetime, ...]:
    return tuple(EPOCH + timedelta(microseconds=time_us) for time_us in times_us)


def _uuids(ids: Iterable[bytes]) -> tuple[UUID, ...]:
    return tuple(UUID(bytes=octets) for octets in ids)


def _documents(documents: Iterable[bytes | None]) -> tuple[msgspec.Raw | None, ...]:
    return tuple(None if octets is None else msgspec.Raw(octets) for octets in documents)
