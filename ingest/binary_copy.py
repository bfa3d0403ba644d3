"""Rows in PostgreSQL's binary COPY format (PostgreSQL 17, COPY, "Binary Format").

Built by struct from integers: on this program's rows it costs a fifth of `copy_records_to_table`, which needs a
datetime and a UUID object for each. What repeats from row to row is built once.
"""

from collections.abc import Iterable
from struct import Struct

import msgspec

from core.messages.uplinks import Uplink
from core.model.identities import digest_of
from ingest.batch import ReceptionRow
from ingest.pipeline import NO_DOCUMENT, Interpreted, Row

# Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
EPOCH_2000_US = 946_684_800_000_000
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
JSONB_VERSION = b"\x01"
NULL = b"\xff\xff\xff\xff"
REMEMBERED = 1_000  # Endings of rows; a network has some dozens.
MEASUREMENT_OCTETS = 40
ARRAY_OCTETS = 20  # Before the elements.
INT4, TIMESTAMPTZ = 23, 1184  # In pg_type.

# The count of fields, then for each its length in octets and its value.
_MEASUREMENT = Struct(">h ii iq id ih").pack
_FEED_HEAD = Struct(">h ii i iiiii").pack
_ARRAY = Struct(">i iiiii").pack
_RECEPTION = Struct(">h ii iq i16s ii ih if if").pack
_SEEN = Struct(">h ii iq iq iq i16s iq").pack
_SEEN_WITHOUT_SESSION = Struct(">h ii iq iq iq i16s i").pack
_UPLINK_HEAD = Struct(">h ii iq i16s").pack
_USUAL_UPLINK = Struct(">h ii iq i16s iq iq ih i").pack
_INT8 = Struct(">iq").pack
_INT2 = Struct(">ih").pack
_INT4 = Struct(">ii").pack
_LENGTH = Struct(">i").pack

_radios: dict[tuple[int, int, int, bool], bytes] = {}
_endings: dict[tuple[str, bytes | None, str | None, int | None], bytes] = {}


def copy_of_measurements(rows: Iterable[Row]) -> bytearray:
    """observation.measurement (datastream_id, time, value, flags)."""
    pack, epoch = _MEASUREMENT, EPOCH_2000_US
    return _copy([pack(4, 4, of, 8, time_us - epoch, 8, value, 2, flags) for of, time_us, value, flags in rows])


def feed_octets(measurements: bytearray) -> bytearray:
    """One row of observation.feed (n, datastream_ids, times): of what `copy_of_measurements` has made.

    Each element of an array has its length before it, as the field of a row has: they are taken out as they are.
    """
    first, end = len(HEADER) + 2, len(measurements) - len(TRAILER)
    n = (end - len(HEADER)) // MEASUREMENT_OCTETS
    ids, times = bytearray(8 * n), bytearray(12 * n)
    for place in range(8):
        ids[place::8] = measurements[first + place : end : MEASUREMENT_OCTETS]
    for place in range(12):
        times[place::12] = measurements[first + 8 + place : end : MEASUREMENT_OCTETS]
    head = _FEED_HEAD(3, 4, n, ARRAY_OCTETS + len(ids), *_array_of(INT4, n))
    return _copy([head, ids, _ARRAY(ARRAY_OCTETS + len(times), *_array_of(TIMESTAMPTZ, n)), times])


def _array_of(element: int, n: int) -> tuple[int, int, int, int, int]:
    """Dimensions, whether there are nulls, the type of the elements, how many they are, the first one's number."""
    return 1, 0, element, n, 1


def copy_of_receptions(rows: Iterable[ReceptionRow]) -> bytearray:
    """observation.reception (device_id, time, uplink_id, gateway_id, antenna, rssi, snr)."""
    pack, epoch = _RECEPTION, EPOCH_2000_US
    return _copy(
        [
            pack(7, 4, device_id, 8, time_us - epoch, 16, uplink_id, 4, gateway_id, 2, antenna, 4, rssi, 4, snr)
            for device_id, time_us, uplink_id, gateway_id, antenna, rssi, snr in rows
        ]
    )


def copy_of_seen(uplinks: Iterable[Interpreted]) -> bytearray:
    """observation.uplink_seen (device_id, f_cnt, digest, time, uplink_id, session_id)."""
    return _copy([_seen(interpreted.uplink) for interpreted in uplinks])


def copy_of_uplinks(uplinks: Iterable[Interpreted]) -> bytearray:
    """observation.uplink, all fifteen columns in their order."""
    return _copy([_uplink(interpreted) for interpreted in uplinks])


def radio_of(uplink: Uplink) -> bytes:
    """The column `radio`, JSON; with the instant that was stated, in microseconds, where it is not credible."""
    radio: dict[str, int] = {
        "frequency": uplink.frequency,
        "spreading_factor": uplink.spreading_factor,
        "bandwidth": uplink.bandwidth,
        "confirmed": uplink.confirmed,
    }
    if uplink.stated_us is not None:
        radio["stated_us"] = uplink.stated_us
    return msgspec.json.encode(radio)


def _copy(rows: Iterable[bytes | bytearray]) -> bytearray:
    """The driver sends a bytearray as it is; it would take bytes for the name of a file."""
    octets = bytearray(HEADER)
    octets += b"".join(rows)
    octets += TRAILER
    return octets


def _seen(uplink: Uplink) -> bytes:
    digest = digest_of(uplink.f_port, uplink.payload)
    key = (6, 4, uplink.device_id, 8, uplink.f_cnt, 8, digest, 8, uplink.time_us - EPOCH_2000_US)
    if uplink.session_id:
        return _SEEN(*key, 16, uplink.uplink_id, 8, uplink.session_id)
    return _SEEN_WITHOUT_SESSION(*key, 16, uplink.uplink_id, -1)


def _uplink(interpreted: Interpreted) -> bytes:
    uplink, payload = interpreted.uplink, interpreted.uplink.payload
    session_id, f_port = uplink.session_id, uplink.f_port
    device_id, time = uplink.device_id, uplink.time_us - EPOCH_2000_US
    if session_id and f_port >= 0:
        key = (15, 4, device_id, 8, time, 16, uplink.uplink_id)
        head = _USUAL_UPLINK(*key, 8, session_id, 8, uplink.f_cnt, 2, f_port, len(payload))
    else:
        head = _UPLINK_HEAD(15, 4, device_id, 8, time, 16, uplink.uplink_id)
        head += _INT8(8, session_id) if session_id else NULL
        head += _INT8(8, uplink.f_cnt)
        head += (_INT2(2, f_port) if f_port >= 0 else NULL) + _LENGTH(len(payload))
    return head + payload + _INT8(8, uplink.received_at_us - EPOCH_2000_US) + _radio(uplink) + _ending(interpreted)


def _radio(uplink: Uplink) -> bytes:
    if uplink.stated_us is not None:
        return _json(radio_of(uplink))
    key = (uplink.frequency, uplink.spreading_factor, uplink.bandwidth, uplink.confirmed)
    octets = _radios.get(key)
    if octets is None:
        if len(_radios) >= REMEMBERED:
            _radios.clear()
        octets = _radios[key] = _json(radio_of(uplink))
    return octets


def _ending(interpreted: Interpreted) -> bytes:
    """status, reason, decoded, codec, codec_version, detail."""
    if interpreted.reason is not None or interpreted.document not in (None, NO_DOCUMENT):
        return _built_ending(interpreted)
    key = (interpreted.status, interpreted.document, interpreted.codec, interpreted.codec_version)
    octets = _endings.get(key)
    if octets is None:
        if len(_endings) >= REMEMBERED:
            _endings.clear()
        octets = _endings[key] = _built_ending(interpreted)
    return octets


def _built_ending(interpreted: Interpreted) -> bytes:
    version = interpreted.codec_version
    return (
        _text(interpreted.status)
        + _text(interpreted.reason)
        + _json(interpreted.document)
        + _text(interpreted.codec)
        + (NULL if version is None else _INT4(4, version))
        + _text(interpreted.detail)
    )


def _json(document: bytes | None) -> bytes:
    return NULL if document is None else _LENGTH(1 + len(document)) + JSONB_VERSION + document


def _text(text: str | None) -> bytes:
    if text is None:
        return NULL
    octets = text.encode()
    return _LENGTH(len(octets)) + octets
