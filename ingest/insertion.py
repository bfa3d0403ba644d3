"""Inserts rows that may be stored already, by ON CONFLICT DO NOTHING."""

from collections.abc import Sequence

from core.runtime.postgres import Connection
from ingest.batch import Batch, ReceptionRow
from ingest.binary_copy import radio_of
from ingest.pipeline import Interpreted, Row

INSERT_UPLINKS = """
INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, f_port, payload, received_at, radio,
                                status, reason, decoded, codec, codec_version, detail)
SELECT device_id, timestamptz 'epoch' + us * interval '1 microsecond', encode(id, 'hex')::uuid, session_id, f_cnt,
       f_port, payload, timestamptz 'epoch' + received_us * interval '1 microsecond',
       convert_from(radio, 'UTF8')::jsonb, status, reason, convert_from(decoded, 'UTF8')::jsonb, codec, version,
       detail
FROM unnest($1::int[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::smallint[], $7::bytea[],
            $8::bigint[], $9::bytea[], $10::text[], $11::text[], $12::bytea[], $13::text[], $14::int[],
            $15::text[])
     AS of (device_id, us, id, session_id, f_cnt, f_port, payload, received_us, radio, status, reason, decoded,
            codec, version, detail)
ON CONFLICT DO NOTHING
"""
INSERT_RECEPTIONS = """
INSERT INTO observation.reception (device_id, time, uplink_id, gateway_id, antenna, rssi, snr)
SELECT device_id, timestamptz 'epoch' + us * interval '1 microsecond', encode(id, 'hex')::uuid, gateway_id,
       antenna, rssi, snr
FROM unnest($1::int[], $2::bigint[], $3::bytea[], $4::int[], $5::smallint[], $6::real[], $7::real[])
     AS of (device_id, us, id, gateway_id, antenna, rssi, snr)
ON CONFLICT DO NOTHING
"""
# The feed gets those that are new.
INSERT_MEASUREMENTS = """
WITH new AS (
    INSERT INTO observation.measurement (datastream_id, time, value, flags)
    SELECT id, timestamptz 'epoch' + us * interval '1 microsecond', value, flags
    FROM unnest($1::int[], $2::bigint[], $3::float8[], $4::smallint[]) AS of (id, us, value, flags)
    ON CONFLICT DO NOTHING
    RETURNING datastream_id, time
), noted AS (
    INSERT INTO observation.feed (n, datastream_ids, times)
    SELECT count(*), array_agg(datastream_id), array_agg(time) FROM new HAVING count(*) > 0
)
SELECT count(*) FROM new
"""


async def insert_all(connection: Connection, batch: Batch) -> None:
    """The rows that a batch of new uplinks brings by COPY."""
    if batch.uplinks:
        await insert_uplinks(connection, batch.uplinks)
    if batch.receptions:
        await insert_receptions(connection, batch.receptions)
    if batch.measurements:
        await insert_measurements(connection, batch.measurements)


async def insert_uplinks(connection: Connection, uplinks: Sequence[Interpreted]) -> None:
    """observation.uplink; at least one row."""
    columns = zip(*map(_uplink_row, uplinks), strict=True)
    await connection.execute(INSERT_UPLINKS, *map(list, columns))


async def insert_receptions(connection: Connection, rows: Sequence[ReceptionRow]) -> None:
    """observation.reception; at least one row."""
    await connection.execute(INSERT_RECEPTIONS, *zip(*rows, strict=True))


async def insert_measurements(connection: Connection, rows: Sequence[Row]) -> int:
    """observation.measurement; at least one row. Returns how many of them are new."""
    return await connection.fetchval(INSERT_MEASUREMENTS, *zip(*rows, strict=True))


def _uplink_row(interpreted: Interpreted) -> tuple[object, ...]:
    uplink = interpreted.uplink
    return (
        uplink.device_id,
        uplink.time_us,
        uplink.uplink_id,
        uplink.session_id or None,
        uplink.f_cnt,
        None if uplink.f_port < 0 else uplink.f_port,
        uplink.payload,
        uplink.received_at_us,
        radio_of(uplink),
        interpreted.status,
        interpreted.reason,
        interpreted.document,
        interpreted.codec,
        interpreted.codec_version,
        interpreted.detail,
    )
