"""Plays the examples of a declaration; it is accepted only if all are right."""

from collections.abc import Mapping
from math import isclose
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.codec import Codec, UnsupportedCommand
from decoders.declarative.nodes import Entry
from decoders.declarative.places import instant_us, word_of

EXAMPLE_TIME_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z, when an example says no time.
TOLERANCE = 1e-6
DEFAULT_F_PORT = 1


def check_example(entry: Entry, codec: Codec) -> None:
    """Play one example; raises InvalidDeclaration with what was expected and what came.

    An uplink has `payload`, `f_port` and `time`, and expects `readings` (by `quantity` or `quantity/channel`,
    a list where there are several), `data` (by name, those that matter) and `warnings`, or `error: true`. A
    downlink has `command`, `with` its parameters, and expects `payload` and `f_port`, or `error: true`.
    """
    keys = entry.mapping("f_port", "payload", "time", "readings", "data", "warnings", "error", "command", "with")
    fails = "error" in keys and keys["error"].flag()
    if "command" in keys:
        _check_command(keys, codec, fails)
        return
    if "payload" not in keys:
        raise entry.error("un exemple a « payload » (des octets en hexadécimal) ou « command »")
    f_port = keys["f_port"].integer(1, 255) if "f_port" in keys else DEFAULT_F_PORT
    time_us = instant_us(keys["time"]) if "time" in keys else EXAMPLE_TIME_US
    try:
        decoded = codec.decode(f_port, _octets(keys["payload"]), time_us, {})
    except MalformedPayload as malformed:
        if fails:
            return
        raise keys["payload"].error(f"cet exemple ne se décode pas : {malformed}") from None
    if fails:
        raise keys["payload"].error("cet exemple se décode, une erreur était attendue")
    _check_readings(keys, decoded)
    _check_data(keys, decoded.data)
    if "warnings" in keys and [item.text() for item in keys["warnings"].items()] != decoded.warnings:
        raise keys["warnings"].error(f"décodé : {' ; '.join(decoded.warnings) or 'aucun avertissement'}")


def _octets(entry: Entry) -> bytes:
    try:
        return bytes.fromhex(entry.text())
    except ValueError:
        raise entry.error(f"des octets en hexadécimal sont attendus, pas {entry.shown()}") from None


def _check_command(keys: Mapping[str, Entry], codec: Codec, fails: bool) -> None:
    if codec.encode is None:
        raise keys["command"].error("ce décodeur n'a pas de « commands »")
    parameters = {key.text(): _value(value) for key, value in keys["with"].pairs()} if "with" in keys else {}
    try:
        encoded = codec.encode(keys["command"].text(), parameters)
    except UnsupportedCommand as refused:
        if fails:
            return
        raise keys["command"].error(f"cette commande est refusée : {refused}") from None
    if fails:
        raise keys["command"].error(f"cette commande donne {encoded.payload.hex()}, un refus était attendu")
    if "payload" in keys and _octets(keys["payload"]) != encoded.payload:
        raise keys["payload"].error(f"la commande donne {encoded.payload.hex()}, pas {keys['payload'].shown()}")
    if "f_port" in keys and keys["f_port"].integer(1, 255) != encoded.f_port:
        raise keys["f_port"].error(f"la commande part sur le f_port {encoded.f_port}")


def _value(entry: Entry) -> Any:
    if entry.is_list:
        return [_value(item) for item in entry.items()]
    if entry.is_mapping:
        return {key.text(): _value(value) for key, value in entry.pairs()}
    return word_of(entry)


def _check_readings(keys: Mapping[str, Entry], decoded: Decoded) -> None:
    """Every reading is to be expected: one that nobody thought of is often a wrong one."""
    if "readings" not in keys:
        return
    read: dict[str, list[float]] = {}
    for reading in decoded.readings:
        place = f"{reading.quantity}/{reading.channel}" if reading.channel else reading.quantity
        read.setdefault(place, []).append(reading.value)
    for key, value in keys["readings"].pairs():
        wanted = [float(item.fraction()) for item in (value.items() if value.is_list else [value])]
        got = read.pop(key.text(), [])
        alike = len(wanted) == len(got) and all(
            isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in zip(wanted, got, strict=True)
        )
        if not alike:
            shown = ", ".join(f"{number:g}" for number in got) or "rien"
            raise value.error(f"{value.shown()} attendu, décodé : {shown}")
    if read:
        raise keys["readings"].error(f"l'exemple donne aussi {', '.join(sorted(read))}")


def _check_data(keys: Mapping[str, Entry], data: Mapping[str, Any]) -> None:
    if "data" not in keys:
        return
    for key, value in keys["data"].pairs():
        wanted, got = _value(value), data.get(key.text())
        if not _alike(wanted, got):
            raise value.error(f"{wanted!r} attendu, décodé : {got!r}")


def _alike(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(wanted, int | float) and isinstance(got, int | float):
        return isclose(wanted, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return wanted == got or str(wanted) == got
