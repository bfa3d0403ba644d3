"""M-Bus data records: DIF, VIF and data, one after the other (EN 13757-3)."""

import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from decoders.canonical import MalformedPayload
from decoders.wmbus.vif import Meaning, meaning_of

FILLER, MANUFACTURER_DATA, MORE_FOLLOWS = 0x2F, 0x0F, 0x1F
MOST_RECORDS = 200
MOST_EXTENSIONS = 10
_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 8, 8: 0, 9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_FLOAT, _VARIABLE = 5, 13
_BCD = frozenset({9, 10, 11, 12, 14})
_TEXT_END, _POSITIVE_BCD, _NEGATIVE_BCD, _BINARY = 0xC0, 0xC0, 0xD0, 0xE0
_PLAIN_TEXT, _NO_FORM = 0x7C, 0x0F


class Function(StrEnum):
    """Of what moment the value is."""

    INSTANT = "instant"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ERROR = "error"


_FUNCTIONS = (Function.INSTANT, Function.MAXIMUM, Function.MINIMUM, Function.ERROR)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it belongs, what it measures, and its value.

    `value` is in the unit of the meaning (a text, an instant, a raw number), None when the meter has none.
    `raw` are the octets of the data, for compact profiles; `form` is the lower half of the DIF.
    """

    function: Function
    storage: int
    tariff: int
    subunit: int
    meaning: Meaning
    form: int
    raw: bytes
    value: float | str | datetime | None

    def at(self, storage: int, value: float | datetime | None) -> "Record":
        """The same measure in another storage."""
        return replace(self, storage=storage, value=value)


class _Octets:
    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def read_octets(self, count: int, what: str) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise MalformedPayload(
                f"{what} à l'octet {self.position} a {count} octets, il en reste "
                f"{len(self.data) - self.position} : {self.data.hex()}"
            )
        octets = self.data[self.position : end]
        self.position = end
        return octets

    def chain(self, what: str) -> bytes:
        """An octet and those that follow it as long as their highest bit says so."""
        start = self.position
        while self.read_octets(1, what)[0] & 0x80:
            if self.position - start > MOST_EXTENSIONS:
                raise MalformedPayload(f"{what} à l'octet {start} a trop d'extensions : {self.data.hex()}")
        return self.data[start : self.position]


def read_records(data: bytes) -> tuple[list[Record], bytes]:
    """The records, and what the manufacturer put behind them. Raises MalformedPayload."""
    octets, records = _Octets(data), list[Record]()
    while octets.position < len(data):
        dif = data[octets.position]
        if dif == FILLER:
            octets.position += 1
        elif dif in (MANUFACTURER_DATA, MORE_FOLLOWS):
            return records, data[octets.position + 1 :]
        else:
            records.append(_read_record(octets))
            if len(records) > MOST_RECORDS:
                raise MalformedPayload(f"plus de {MOST_RECORDS} enregistrements : {data.hex()}")
    return records, b""


def _read_record(octets: _Octets) -> Record:
    dib = octets.chain("le DIF")
    first, form = dib[0], dib[0] & 0x0F
    storage, tariff, subunit = first >> 6 & 1, 0, 0
    for index, extension in enumerate(dib[1:]):
        storage |= (extension & 0x0F) << (1 + 4 * index)
        tariff |= (extension >> 4 & 3) << (2 * index)
        subunit |= (extension >> 6 & 1) << index
    start = octets.position
    vib = octets.chain("le VIF")
    if vib[0] & 0x7F == _PLAIN_TEXT:  # The unit in plain text is between the VIF and its extensions.
        octets.position = start + 1
        length = octets.read_octets(1, "la longueur de l'unité")[0]
        unit = octets.read_octets(length, "l'unité")[::-1].decode("latin-1")
        extensions = octets.chain("le VIFE") if vib[0] & 0x80 else b""
        meaning = Meaning(
            "plain", unit if unit.isprintable() else unit.encode("latin-1").hex(), modifiers=extensions
        )
    else:
        meaning = meaning_of(vib)
    if form == _NO_FORM:
        raise MalformedPayload(f"DIF {first:02x} inconnu : {octets.data.hex()}")
    raw, variable = _read_data(octets, form)
    value = None if meaning.profile else _value(raw, form, variable, meaning)
    return Record(_FUNCTIONS[first >> 4 & 3], storage, tariff, subunit, meaning, form, raw, value)


def _read_data(octets: _Octets, form: int) -> tuple[bytes, int | None]:
    """The data, and for a variable length what its first octet says."""
    if form != _VARIABLE:
        return octets.read_octets(_SIZES[form], "une donnée"), None
    length = octets.read_octets(1, "la longueur variable")[0]
    if length < _TEXT_END:
        return octets.read_octets(length, "un texte"), length
    if length < _BINARY:
        return octets.read_octets(length & 0x0F, "un nombre BCD"), length
    if length <= 0xEF:  # noqa: PLR2004 - A binary number of up to 15 octets.
        return octets.read_octets(length & 0x0F, "un nombre binaire"), length
    raise MalformedPayload(f"longueur variable {length:02x} inconnue : {octets.data.hex()}")


def _value(raw: bytes, form: int, variable: int | None, meaning: Meaning) -> float | str | datetime | None:
    if not raw:
        return None
    if variable is not None and variable < _TEXT_END:
        text = raw[::-1].decode("latin-1")
        return text if text.isprintable() else raw.hex()
    if meaning.what in ("date", "datetime"):
        return read_date(raw)
    if meaning.is_digits:
        return raw[::-1].hex()
    number = _number(raw, form, variable)
    return None if number is None else meaning.scaled(number)


def _number(raw: bytes, form: int, variable: int | None) -> float | None:
    if form == _FLOAT:
        value = struct.unpack("<f", raw)[0]
        return value if value - value == 0 else None  # Neither infinite nor NaN.
    if form in _BCD or (variable is not None and _POSITIVE_BCD <= variable < _BINARY):
        return read_bcd(raw, negative=variable is not None and variable >= _NEGATIVE_BCD)
    return read_integer(raw)


def read_integer(raw: bytes) -> int | None:
    """Type B: two's complement, of which the most negative value is none."""
    value = int.from_bytes(raw, "little", signed=True)
    return None if value == -(1 << 8 * len(raw) - 1) else value


def read_bcd(raw: bytes, *, negative: bool = False) -> int | None:
    """Type A: BCD, negative behind a first digit F; other letters are an error that the meter reports."""
    digits = raw[::-1].hex()
    if digits.startswith("f"):
        digits, negative = digits[1:], not negative
    if not digits.isdecimal():
        return None
    return -int(digits) if negative else int(digits)


def read_date(raw: bytes) -> datetime | None:
    """Types G (2 octets), F (4) and I (6), as the meter's clock says; None when it is no date.

    The year has seven bits; the instant is naive in spirit and carries UTC only to be an instant: whose clock
    it is, the profile says.
    """
    match len(raw):
        case 2:
            return _instant(raw[0], raw[1])
        case 4:
            if raw[0] & 0x80:
                return None
            return _instant(raw[2], raw[3], raw[1] & 0x1F, raw[0] & 0x3F)
        case 6:
            if raw[1] & 0x80:
                return None
            return _instant(raw[3], raw[4], raw[2] & 0x1F, raw[1] & 0x3F, raw[0] & 0x3F)
        case _:
            return None


def _instant(day: int, month: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime | None:
    year = day >> 5 | (month & 0xF0) >> 1
    try:
        return datetime(2000 + year, month & 0x0F, day & 0x1F, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
