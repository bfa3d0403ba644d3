"""Rows in PostgreSQL's binary COPY format (PostgreSQL 17, COPY, "Binary Format").

Built by struct from integers: on this program's rows it costs a third of `copy_records_to_table`, which needs a
datetime and a UUID object for each.
"""

from collections.abc import Iterable
from struct import Struct

from core.messages.measurements import Measurement
from ingest.batch import ReceptionRow, UplinkRow

# Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
EPOCH_2000_US = 946_684_800_000_000
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
JSONB_VERSION = b"\x01"
NULL = b"\xff\xff\xff\xff"

# The count of fields, then for each its length in octets and its value.
_MEASUREMENT = Struct(">h ii iq id ih").pack
_RECEPTION = Struct(">h ii iq i16s ii ih if if").pack
_UPLINK_HEAD = Struct(">h ii iq i16s").pack
_INT8 = Struct(">iq").pack
_INT2 = Struct(">ih").pack
_INT4 = Struct(">ii").pack
_LENGTH = Struct(">i").pack


def copy_of_measurements(rows: Iterable[Measurement]) -> bytearray:
    """observation.measurement (datastream_id, time, value, flags)."""
    octets = bytearray(HEADER)
    for row in rows:
        octets += _MEASUREMENT(4, 4, row.datastream_id, 8, row.time_us - EPOCH_2000_US, 8, row.value, 2, row.flags)
    return octets + TRAILER


def copy_of_receptions(rows: Iterable[ReceptionRow]) -> bytearray:
    """observation.reception (device_id, time, uplink_id, gateway_id, antenna, rssi, snr)."""
    octets = bytearray(HEADER)
    for device_id, time_us, uplink_id, gateway_id, antenna, rssi, snr in rows:
        octets += _RECEPTION(
            7, 4, device_id, 8, time_us - EPOCH_2000_US, 16, uplink_id, 4, gateway_id, 2, antenna, 4, rssi, 4, snr
        )
    return octets + TRAILER


def copy_of_uplinks(rows: Iterable[UplinkRow]) -> bytearray:
    """observation.uplink, all fourteen columns in the order of `UplinkRow`."""
    octets = bytearray(HEADER)
    for row in rows:
        octets += _UPLINK_HEAD(14, 4, row.device_id, 8, row.time_us - EPOCH_2000_US, 16, row.uplink_id)
        octets += NULL if row.session_id is None else _INT8(8, row.session_id)
        octets += _INT8(8, row.f_cnt)
        octets += NULL if row.f_port is None else _INT2(2, row.f_port)
        octets += _LENGTH(len(row.payload)) + row.payload
        octets += _INT8(8, row.received_at_us - EPOCH_2000_US)
        octets += _json(row.radio)
        octets += _text(row.status)
        octets += _text(row.reason)
        octets += _json(row.decoded)
        octets += _text(row.codec)
        octets += NULL if row.codec_version is None else _INT4(4, row.codec_version)
    return octets + TRAILER


def _json(document: bytes | None) -> bytes:
    return NULL if document is None else _LENGTH(1 + len(document)) + JSONB_VERSION + document


def _text(text: str | None) -> bytes:
    if text is None:
        return NULL
    octets = text.encode()
    return _LENGTH(len(octets)) + octets
