"""Axioma Qalcosonic W1: index, hourly history, alarms (docs/decoders-formats.md, "Axioma")."""

import struct
from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

INDEX_PORT, CONFIGURATION_PORT, ALARM_PORT = 100, 101, 103
HOUR_US = 3_600_000_000
# Corrupted frames happen: a clock further from the reception than this condemns the whole frame.
CLOCK_TOLERANCE_US = 150 * 24 * HOUR_US
LOW_BATTERY, PERMANENT_ERROR, TEMPORARY_ERROR = 0x04, 0x08, 0x10
# Meters of 2024 may send another layout on the same f_port: 23 differences of 14 bits, least significant first.
EXTENDED_SIZE, EXTENDED_VERSION = 51, 1
_EXTENDED_COUNT, _EXTENDED_BITS = 23, 14

_HEADER = struct.Struct("<IBIII")  # Time, status, volume, time and volume of the first log.
_ALARM = struct.Struct("<IB")
_EXTENDED = struct.Struct("<xIBI")  # Time, status, volume of the first log.
# What a configuration lists, in the order of the octets of an index: DIF and VIF of each field.
_FIELDS = {
    "04ff8913": "time",
    "31fd17": "status",
    "0413": "volume",
    "44ff8913": "log_time",
    "4413": "log_volume",
    "4493": "log_volume",
    "4493bd": "log_volume_ounces",
}
_HISTORY = {"4d931e": "history", "4d93bd1e": "history_ounces"}
_SPACING_UNITS = ("seconds", "minutes", "hours", "days")
_SPACING_MODES = ("absolute", "positive_differences", "negative_differences", "differences")
# Bits 7 to 5 of the status, which say what the temporary error is.
_TEMPORARY_ERRORS = {0b000: "dry", 0b001: "leak", 0b011: "backflow", 0b100: "freeze", 0b101: "burst"}


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode an index with its history (f_port 100), an alarm (103), or what the index is made of (101).

    Volumes are in litres; each instant is the meter's own. Raises MalformedPayload for another f_port or
    size, and a clock too far from `time_us`.
    """
    if f_port == INDEX_PORT:
        return _decode_index(payload, time_us)
    if f_port == ALARM_PORT:
        return _decode_alarm(payload, time_us)
    if f_port == CONFIGURATION_PORT and payload:
        return _decode_configuration(payload)
    raise MalformedPayload(
        f"f_port {f_port} : un W1 émet sur 100, 101 et 103, reçu {payload.hex() or 'aucun octet'}"
    )


def _decode_index(payload: bytes, time_us: int) -> Decoded:
    size = len(payload)
    if size == EXTENDED_SIZE and payload[0] == EXTENDED_VERSION:
        return _decode_extended(payload, time_us)
    if size < _HEADER.size or (size - _HEADER.size) % 2:
        raise MalformedPayload(
            f"un index a {_HEADER.size} octets, et deux par heure, {size} reçus : {payload.hex()}"
        )
    seconds, status, volume, first_seconds, first_volume = _HEADER.unpack_from(payload)
    at_us = _instant(seconds, time_us, payload)
    deltas = struct.unpack_from(f"<{(size - _HEADER.size) // 2}H", payload, _HEADER.size)
    decoded = Decoded(data={"frame": "index"})
    refusal = _why_reject(first_seconds, first_volume, deltas, at_us, volume)
    if refusal is None:
        _add_history(first_seconds * 1_000_000, first_volume, deltas, decoded)
    else:
        decoded.warnings.append(f"historique écarté : {refusal}")
        refused = {"first_log": first_seconds, "first_volume": first_volume, "deltas": list(deltas)}
        decoded.data["refused_history"] = refused
    decoded.readings.append(Reading(at_us, "", "water_volume", float(volume)))
    _add_status(status, at_us, decoded)
    return decoded


def _why_reject(
    first_seconds: int, first_volume: int, deltas: tuple[int, ...], at_us: int, volume: int
) -> str | None:
    """Why the history cannot be this meter's: it must end before the index, in time and in volume."""
    first_us, last_us = first_seconds * 1_000_000, (first_seconds + 3_600 * len(deltas)) * 1_000_000
    if at_us - first_us > CLOCK_TOLERANCE_US or last_us > at_us:
        return f"il va de {first_us // 1_000_000} à {last_us // 1_000_000} s, l'index est à {at_us // 1_000_000} s"
    if first_volume + sum(deltas) > volume:
        return f"il mène à {first_volume + sum(deltas)} L, l'index est {volume} L"
    return None


def _add_history(first_us: int, first_volume: int, deltas: tuple[int, ...], decoded: Decoded) -> None:
    """The index at the first log, and at the end of each of the hours that follow it."""
    at_us, volume = first_us, first_volume
    decoded.readings.append(Reading(at_us, "", "water_volume", float(volume)))
    for delta in deltas:
        at_us += HOUR_US
        volume += delta
        decoded.readings.append(Reading(at_us, "", "water_volume", float(volume)))


def _decode_extended(payload: bytes, time_us: int) -> Decoded:
    """The index at the meter's clock, and the volumes of the last 23 hours, whose instants the frame does not say.

    What follows the differences multiplies them; nobody has seen another value than zero.
    """
    seconds, status, volume = _EXTENDED.unpack_from(payload)
    at_us = _instant(seconds, time_us, payload)
    bits = int.from_bytes(payload[_EXTENDED.size :], "little")
    volumes = [volume]
    for rank in range(_EXTENDED_COUNT):
        volumes.append(volumes[-1] + (bits >> rank * _EXTENDED_BITS & (1 << _EXTENDED_BITS) - 1))
    multiplier = bits >> _EXTENDED_COUNT * _EXTENDED_BITS
    decoded = Decoded(data={"frame": "extended_index", "volumes": volumes})
    if multiplier:
        decoded.warnings.append(f"multiplicateur {multiplier} de l'historique inconnu : index non retenu")
    else:
        decoded.readings.append(Reading(at_us, "", "water_volume", float(volumes[-1])))
    _add_status(status, at_us, decoded)
    return decoded


def _decode_configuration(payload: bytes) -> Decoded:
    """What an index of this meter is made of, field by field; the octets are kept in any case."""
    text, fields, start = payload.hex(), list[str](), 0
    history: dict[str, Any] | None = None
    while start < len(text):
        found = max((code for code in (*_FIELDS, *_HISTORY) if text.startswith(code, start)), key=len, default="")
        if not found:
            break
        start += len(found)
        if found in _FIELDS:
            fields.append(_FIELDS[found])
        elif len(spacing := bytes.fromhex(text[start : start + 6])) == 3:  # noqa: PLR2004 - Size, form, interval.
            fields.append(_HISTORY[found])
            history = {
                "octets": spacing[0],
                "mode": _SPACING_MODES[spacing[1] >> 6],
                "unit": _SPACING_UNITS[spacing[1] >> 4 & 3],
                "interval": spacing[2],
            }
            start += 6
    decoded = Decoded(data={"frame": "configuration", "octets": text, "fields": fields})
    if history is not None:
        decoded.data["history"] = history
    if start < len(text):
        decoded.warnings.append(f"suite de la configuration inconnue : {text[start:]}")
    return decoded


def _decode_alarm(payload: bytes, time_us: int) -> Decoded:
    if len(payload) != _ALARM.size:
        raise MalformedPayload(f"une alarme a {_ALARM.size} octets, {len(payload)} reçus : {payload.hex()}")
    seconds, status = _ALARM.unpack(payload)
    decoded = Decoded(data={"frame": "alarm"})
    _add_status(status, _instant(seconds, time_us, payload), decoded)
    return decoded


def _instant(seconds: int, time_us: int, payload: bytes) -> int:
    at_us = seconds * 1_000_000
    if abs(at_us - time_us) > CLOCK_TOLERANCE_US:
        days = abs(at_us - time_us) // (24 * HOUR_US)
        raise MalformedPayload(
            f"l'horloge du compteur dit {seconds}, à {days} jours de la réception : {payload.hex()}"
        )
    return at_us


def _add_status(status: int, at_us: int, decoded: Decoded) -> None:
    """Every state is said each time, true or false, so that the end of an alarm is seen too."""
    temporary = status >> 5
    error = _TEMPORARY_ERRORS.get(temporary) if status & TEMPORARY_ERROR else None
    states = {
        "low_battery": bool(status & LOW_BATTERY),
        "device_fault": bool(status & PERMANENT_ERROR),
        **{name: name == error for name in _TEMPORARY_ERRORS.values()},
    }
    decoded.readings.extend(Reading(at_us, "", name, float(state)) for name, state in states.items())
    decoded.data["status"] = status
    unknown = status & 0x03 or (temporary and error is None) or (status & TEMPORARY_ERROR and error is None)
    if unknown:
        decoded.warnings.append(f"état {status:#04x} du compteur : certains bits ne sont pas documentés")


CODEC = Codec("axioma.w1", 2, decode)
