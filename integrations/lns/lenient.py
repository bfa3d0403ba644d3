"""Reads JSON of many origins: zero fields omitted, numbers as strings, nanosecond times. Pure; never raises."""

import base64
import binascii
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from integrations.lns.lns_uplink import NO_F_PORT, Unreadable
from lorawan.identifiers import EUI_LENGTH, parse_eui
from lorawan.instants import to_us

F_CNT_END = 1 << 32
F_PORTS = range(NO_F_PORT, 256)
PAYLOAD_OCTETS_MOST = 16_384
LONGEST_NUMBER = 40
LOWEST_FREQUENCY_IN_HZ = 100_000  # Below it, a frequency is in MHz.
SPREADING_FACTORS = range(5, 13)
HIGHEST_BANDWIDTH = 10_000_000
INT8_END = 1 << 63

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,12}))?\s?(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_DATA_RATE = re.compile(r"SF(\d{1,2})(?:BW(\d{1,4}))?", re.ASCII)


class Fields:
    """A JSON object, or what stands in its place: a field that is absent, or not what it should be, is None."""

    def __init__(self, value: object) -> None:
        self._fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def at(self, *path: str) -> "Fields":
        """The object under this path; one without fields when there is none."""
        found: object = self._fields
        for name in path:
            found = Fields(found)._fields.get(name)
        return Fields(found)

    def each(self, name: str) -> list["Fields"]:
        """The objects of a list; what was XML once has an only one without its list."""
        found = self._fields.get(name)
        if isinstance(found, dict):
            return [Fields(cast("object", found))]
        return [Fields(one) for one in cast("list[object]", found)] if isinstance(found, list) else []

    def texts(self, name: str) -> list[str]:
        """The texts of a list."""
        found = self._fields.get(name)
        entries = cast("list[object]", found) if isinstance(found, list) else []
        return [one for one in entries if isinstance(one, str)]

    def text(self, name: str) -> str | None:
        """A text, or a number as it would be written."""
        found = self._fields.get(name)
        if isinstance(found, str):
            return found
        is_number = isinstance(found, int) and not isinstance(found, bool) and abs(found) < INT8_END
        return str(found) if is_number else None

    def number(self, name: str) -> float | None:
        """A finite number, also one that is written as a text."""
        found = self._fields.get(name)
        if isinstance(found, str) and len(found) <= LONGEST_NUMBER:
            try:
                found = float(found)
            except ValueError:
                return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            return None
        try:
            number = float(found)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def integer(self, name: str) -> int | None:
        """A whole number below 2^63, also one that is written as a text."""
        found = self._fields.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return found if abs(found) < INT8_END else None
        number = self.number(name)
        return int(number) if number is not None and number.is_integer() and abs(number) < INT8_END else None

    def flag(self, name: str) -> bool:
        """Whether the field is true: true, 1, "1", "true"."""
        found = self._fields.get(name)
        return found is True or (self.text(name) or "").lower() in {"1", "true"}

    def instant(self, name: str) -> int | None:
        """Microseconds since 1970 of an RFC 3339 text; nanoseconds are cut, without a zone it is UTC."""
        found = self._fields.get(name)
        return instant_of(found) if isinstance(found, str) else None

    def millis(self, name: str) -> int | None:
        """Microseconds since 1970 of milliseconds since 1970."""
        found = self.number(name)
        return None if found is None or abs(found) > INT8_END / 1000 else round(found * 1000)


def json_object(body: bytes) -> Fields:
    """The object that `body` is.

    Raises:
        Unreadable: it is not JSON, or not an object.
    """
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise Unreadable("not_json", "le corps du message n'est pas du JSON lisible") from None
    if not isinstance(found, dict):
        raise Unreadable("not_an_object", "le message n'est pas un objet JSON")
    return Fields(cast("object", found))


def instant_of(text: str) -> int | None:
    """Microseconds since 1970 of an RFC 3339 text; None for any other."""
    found = _RFC3339.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    offset = timedelta()
    if zone and zone not in "Zz":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    date, time = (int(year), int(month), int(day)), (int(hour), int(minute), int(second))
    try:
        return to_us(datetime(*date, *time, microsecond, tzinfo=UTC) - offset)
    except (ValueError, OverflowError):
        return None


def eui_of(text: str | None) -> bytes | None:
    """The octets of an EUI; None for what is none."""
    try:
        octets = parse_eui(text or "")
    except ValueError:
        return None
    return octets if len(octets) == EUI_LENGTH else None


def dev_eui_of(text: str | None) -> bytes:
    """Raises Unreadable when there is no DevEUI."""
    dev_eui = eui_of(text)
    if dev_eui is None:
        raise Unreadable("no_dev_eui", "DevEUI absent ou illisible : 16 chiffres hexadécimaux attendus")
    return dev_eui


def payload_of(text: str | None, encoding: str) -> bytes:
    """The payload from "hex" or "base64"; absent or empty, the frame had none.

    Raises:
        Unreadable: it is not what it should be, or longer than any payload.
    """
    try:
        octets = bytes.fromhex(text or "") if encoding == "hex" else base64.b64decode(text or "", validate=True)
    except (ValueError, binascii.Error):
        french = f"charge utile illisible : {'hexadécimal' if encoding == 'hex' else 'base64'} attendu"
        raise Unreadable("bad_payload", french) from None
    if len(octets) > PAYLOAD_OCTETS_MOST:
        raise Unreadable("bad_payload", f"charge utile de plus de {PAYLOAD_OCTETS_MOST} octets")
    return octets


def f_cnt_of(f_cnt: int | None) -> int | None:
    """The counter; raises Unreadable when it is none of LoRaWAN."""
    if f_cnt is not None and not 0 <= f_cnt < F_CNT_END:
        raise Unreadable("bad_f_cnt", "compteur de trames hors limites (32 bits)")
    return f_cnt


def f_port_of(f_port: int | None) -> int:
    """The port, NO_F_PORT when it is absent; raises Unreadable for a number that is no port."""
    if f_port is None:
        return NO_F_PORT
    if f_port not in F_PORTS:
        raise Unreadable("bad_f_port", "port hors limites : 0 à 255 attendu")
    return f_port


def frequency_of(value: float | None) -> int:
    """Hz, whether it was stated in Hz or in MHz; 0 when it is no frequency of a radio."""
    if value is None or not 0 < value < 10**11:
        return 0
    return round(value if value >= LOWEST_FREQUENCY_IN_HZ else value * 1_000_000)


def spreading_factor_of(value: int | None) -> int:
    """The spreading factor; 0 when it is none."""
    return value if value is not None and value in SPREADING_FACTORS else 0


def bandwidth_of(value: int | None) -> int:
    """The bandwidth in Hz; 0 when it is none."""
    return value if value is not None and 0 < value < HIGHEST_BANDWIDTH else 0


def data_rate_of(text: str | None) -> tuple[int, int]:
    """Spreading factor and bandwidth (Hz) of "SF12BW125"; zeros when it is none of LoRa."""
    found = _DATA_RATE.fullmatch((text or "").strip().upper())
    if found is None:
        return 0, 0
    spreading_factor = spreading_factor_of(int(found[1]))
    return spreading_factor, int(found[2] or 125) * 1000 if spreading_factor else 0
