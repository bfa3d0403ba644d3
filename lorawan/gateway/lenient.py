"""Reads values as gateways really write them: nearly JSON, numbers in strings, times of several kinds."""

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import UTC, datetime
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from typing import Any, cast

import msgspec

from lorawan.instants import GPS_EPOCH_US, GPS_LEAP_SECONDS, from_us, to_us

# A damaged array is searched for its next whole element this often, then given up: a datagram is cheap to forge.
MAX_DAMAGED_ELEMENTS = 32

_decoder = msgspec.json.Decoder()
# Control characters are let through in strings, and NaN and Infinity as numbers.
_lenient_decoder = JSONDecoder(strict=False)
# C prints what is not a number as nan, -nan or inf, which is no JSON.
_NOT_A_NUMBER = re.compile(r"([:\[,]\s*)[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_BETWEEN_OBJECTS = re.compile(r"\}\s*,\s*(?=\{)")
_URL_SAFE = str.maketrans("-_", "+/", "= \r\n\t")


def whole_json(octets: bytes) -> Any:
    """The JSON value, when it is whole; a trailing NUL and `nan` for a number are not held against it.

    Raises:
        ValueError: it is not whole.
    """
    try:
        return _decoder.decode(octets)
    except (msgspec.MsgspecError, RecursionError):
        return lenient_json(text_of(octets))


def lenient_json(text: str) -> Any:
    """The JSON value of a text, where `nan` and `inf` in place of a number are null.

    Raises:
        ValueError: the text is not one JSON value.
    """
    try:
        return _lenient_decoder.decode(_NOT_A_NUMBER.sub(r"\1null", text))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def text_of(octets: bytes) -> str:
    """The text of a body, without the NUL and white space that some forwarders put after it."""
    return octets.decode(errors="replace").rstrip("\0 \r\n\t")


def salvaged_elements(text: str, key: str) -> Iterator[Any]:
    """The whole elements of the array under `key` in a damaged JSON text; ValueError in place of a damaged one."""
    opening = re.search(rf'"{key}"\s*:\s*\[\s*', text)
    if opening is None:
        return
    text = _NOT_A_NUMBER.sub(r"\1null", text[opening.end() :])
    at, damaged = 0, 0
    while text.startswith("{", at):
        try:
            element, at = _lenient_decoder.raw_decode(text, at)
            yield element
            separator = re.compile(r"\s*,\s*").match(text, at)
        except (JSONDecodeError, RecursionError, ValueError) as error:
            yield ValueError(f"not JSON: {error}")
            damaged += 1
            separator = _BETWEEN_OBJECTS.search(text, at) if damaged < MAX_DAMAGED_ELEMENTS else None
        if separator is None:
            return
        at = separator.end()


def json_object(value: Any) -> dict[str, Any] | None:
    """The value when it is a JSON object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def json_array(value: Any) -> list[Any] | None:
    """The value when it is a JSON array."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def number(value: Any) -> float | None:
    """A finite number from a number or a numeric string; None for anything else."""
    if type(value) is float or type(value) is int:
        found: float = value
    elif isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
    else:
        return None
    try:
        return float(found) if isfinite(found) else None
    except OverflowError:
        return None


def integer(value: Any) -> int | None:
    """An integer from an integer, a float or a numeric string (rounded); None for anything else."""
    if type(value) is int:
        return value
    found = number(value)
    return None if found is None else round(found)


def octets_of_base64(text: str) -> bytes:
    """Decodes Base64, padded or not, of the standard or the URL-safe alphabet.

    Raises:
        ValueError: it is not Base64.
    """
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        digits = text.translate(_URL_SAFE)
        padding = "=" * (-len(digits) % 4)
        return a2b_base64(digits + padding, strict_mode=True)


def base64_of(octets: bytes) -> str:
    """Standard Base64 with its padding."""
    return b64encode(octets).decode()


def time_us_of(text: Any) -> int | None:
    """Microseconds since 1970 from ISO 8601 or `2014-01-12 08:59:28 GMT`; a missing zone means UTC.

    None when it says nothing: absent, empty, odd, or before 1970.
    """
    if not isinstance(text, str) or not text:
        return None
    try:
        if text.endswith(("GMT", "UTC", " ")):
            text = text.removesuffix("GMT").removesuffix("UTC").strip()
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        time_us = to_us(moment)
    except (ValueError, OverflowError):
        return None
    return time_us if time_us >= 0 else None


def text_of_time_us(time_us: int) -> str:
    """ISO 8601 in UTC with six decimals, as `rxpk.time` is written."""
    return from_us(time_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc_us_of_gps_ms(milliseconds: Any) -> int | None:
    """Microseconds since 1970 UTC from GPS time in milliseconds since 6 January 1980."""
    found = integer(milliseconds)
    if found is None or found <= 0:
        return None
    time_us = found * 1000 + GPS_EPOCH_US - GPS_LEAP_SECONDS * 1_000_000
    return time_us if time_us < 1 << 62 else None


def gps_ms_of_utc_us(time_us: int) -> int:
    """GPS time in milliseconds since 6 January 1980, from microseconds since 1970 UTC."""
    return (time_us - GPS_EPOCH_US) // 1000 + GPS_LEAP_SECONDS * 1000
