"""Watteco TIC'O: the labels of all five kinds of meter (docs/decoders-formats.md, "nke Watteco")."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.linky import Dated, MeterDate, Power, TicValue, normalise
from decoders.professional_meters import normalise_professional
from decoders.watteco.frame import BYTE_STRING, LONG_BYTE_STRING, StandardFrame
from decoders.watteco.tic_fields import (
    CONTRACTS,
    DATED_SIZES,
    HISTORIQUE,
    INTEGER_SIZES,
    PERIODS,
    STANDARD,
    WORDS,
    Kind,
    TicField,
)
from decoders.watteco.tic_professional import CJE, ICE, PME_PMI

TIC_CLUSTERS = {
    0x0053: "ICE",
    0x0054: "historique",
    0x0055: "CJE",
    0x0056: "standard",
    0x0057: "PME-PMI",
}
# (cluster, low octet of the attribute) -> the fields, in index order.
_TABLES = {
    **{(0x0053, kind): table for kind, table in ICE.items()},
    (0x0054, 0): HISTORIQUE,
    (0x0055, 0): CJE,
    (0x0056, 0): STANDARD,
    (0x0057, 0): PME_PMI,
}
_PME_PMI_CLUSTER = 0x0057
_LINKY_CLUSTERS = (0x0054, 0x0056)
_ICE_PERIODS = {0x01: "p", 0x02: "p1"}
_DAY_PROFILE_BLOCKS, _UNUSED_BLOCK = 11, 0xFF


class _Octets:
    """The octets of the attribute, taken from the left; running out of them is a malformed payload.

    `shift` is added to the codes of enumerations: modules of firmware 3.5.0.4852 to 3.5.0.5339 write them
    one too low for a PME-PMI.
    """

    __slots__ = ("_data", "_position", "_shift")

    def __init__(self, data: bytes, shift: int = 0) -> None:
        self._data = data
        self._position = 0
        self._shift = shift

    def read_octets(self, count: int, what: str) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise MalformedPayload(f"les données TIC s'arrêtent dans {what} : {self._data.hex()}")
        octets = self._data[self._position : end]
        self._position = end
        return octets

    def number(self, count: int, what: str) -> int:
        return int.from_bytes(self.read_octets(count, what))

    def text(self, what: str) -> str:
        end = self._data.find(0, self._position)
        if end < 0:
            raise MalformedPayload(f"le texte TIC {what} n'a pas d'octet nul : {self._data.hex()}")
        text = self._data[self._position : end].decode("latin-1")
        self._position = end + 1
        return text

    def enumeration(self, what: str, names: tuple[str, ...]) -> str:
        code = self.number(1, what)
        if code & 0x80:
            return self.read_octets(code & 0x7F, what).decode("latin-1")
        code += self._shift
        if code >= len(names):
            raise MalformedPayload(f"le code TIC {code} de {what} n'est pas dans la table")
        return names[code]

    def rest(self) -> bytes:
        return self._data[self._position :]


def read_tic(frame: StandardFrame, time_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    """Read a TIC attribute into `decoded`.

    Values are read where the format puts them: after the octets of the date for a dated value. The option
    `tic_enumeration_shift` (1) is for PME-PMI modules whose codes are one too low. Raises MalformedPayload
    for data that the descriptor does not explain to the last octet.
    """
    table = _TABLES.get((frame.cluster, frame.attribute & 0xFF))
    if table is None or frame.type not in (BYTE_STRING, LONG_BYTE_STRING):
        raise MalformedPayload(
            f"l'attribut {frame.cluster:04x}/{frame.attribute:04x} de type {frame.type or 0:#04x} "
            "n'est pas une trame TIC : attribut ii00 (ou ii01, ii02 d'un compteur ICE), type 0x41 ou 0x43"
        )
    shifted = frame.cluster == _PME_PMI_CLUSTER and options.get("tic_enumeration_shift") == 1
    octets = _Octets(frame.data, int(shifted))
    indexes, obsolete = _read_descriptor(octets)
    fields: dict[str, TicValue] = {}
    for index in indexes:
        if index >= len(table):
            raise MalformedPayload(f"le champ TIC {index} n'existe pas : {frame.data.hex()}")
        fields[table[index].label] = _read_field(octets, table[index])
    if octets.rest():
        raise MalformedPayload(f"octets après le dernier champ TIC : {octets.rest().hex()}")
    decoded.data["mode"] = TIC_CLUSTERS[frame.cluster]
    decoded.data["instance"] = frame.attribute >> 8
    if (period := _ICE_PERIODS.get(frame.attribute & 0xFF)) is not None:
        decoded.data["period"] = period
    if frame.cluster in _LINKY_CLUSTERS:
        normalise(fields, time_us, options, decoded)
    else:
        normalise_professional(fields, time_us, decoded)
    if obsolete:
        decoded.readings.clear()
        decoded.warnings.append("trame TIC périmée : le module ne reçoit plus le compteur")


def _read_descriptor(octets: _Octets) -> tuple[list[int], bool]:
    """The indexes of the fields that follow, and whether the module calls them obsolete.

    The first octet is the header: size with itself in bits 0 to 4 (0 is the older fixed form of eight
    octets), bit 5 set for a list of indexes, clear for a bitfield whose last octet holds fields 0 to 7.
    """
    header = octets.number(1, "le descripteur")
    body = octets.read_octets(((header & 0x1F) or 8) - 1, "le descripteur")
    if header & 0x20:
        indexes = list(body)
        if sorted(set(indexes)) != indexes:
            raise MalformedPayload(f"les indices des champs TIC ne sont pas croissants : {body.hex()}")
    else:
        bits = int.from_bytes(body)
        indexes = [index for index in range(8 * len(body)) if bits >> index & 1]
    return indexes, bool(header & 0x80)


def _read_field(octets: _Octets, field: TicField) -> TicValue:
    label, kind = field
    if kind in INTEGER_SIZES:
        return octets.number(INTEGER_SIZES[kind], label)
    if kind in DATED_SIZES:
        date = _read_date(octets, label)
        return Dated(date, octets.number(DATED_SIZES[kind], label))
    return _READERS[kind](octets, label)


def _read_date(octets: _Octets, label: str) -> MeterDate:
    season, *parts = octets.read_octets(7, label)
    return MeterDate(chr(season), *parts)


def _read_local_date(octets: _Octets, label: str) -> MeterDate:
    day, month, year, *clock = octets.read_octets(6, label)
    return MeterDate("", year, month, day, *clock)


def _read_instant(octets: _Octets, label: str) -> MeterDate:
    return MeterDate.of_seconds(octets.number(4, label))


def _read_instant_and_period(octets: _Octets, label: str) -> Dated:
    return Dated(_read_instant(octets, label), octets.enumeration(label, PERIODS))


def _read_power(octets: _Octets, label: str) -> Power:
    return Power(octets.number(3, label), octets.enumeration(label, WORDS))


def _read_identifier(octets: _Octets, label: str) -> str:
    return octets.read_octets(octets.number(1, label), label).hex()


def _read_hour_and_day(octets: _Octets, label: str) -> str:
    hour, minute, day, month = octets.read_octets(4, label)
    return f"{day:02d}/{month:02d} {hour:02d}:{minute:02d}"


def _read_day_and_hour(octets: _Octets, label: str) -> str:
    day, month, hour = octets.read_octets(3, label)
    return f"{day:02d}/{month:02d} {hour:02d}:00"


def _read_hour(octets: _Octets, label: str) -> str:
    hour, minute = octets.read_octets(2, label)
    return f"{hour:02d}:{minute:02d}"


def _read_single(octets: _Octets, label: str) -> float:
    return struct.unpack(">f", octets.read_octets(4, label))[0]


def _read_day_profile(octets: _Octets, label: str) -> list[dict[str, str]]:
    """The blocks in use; an unused one is the octet FF alone."""
    blocks: list[dict[str, str]] = []
    for _ in range(_DAY_PROFILE_BLOCKS):
        hour = octets.number(1, label)
        if hour == _UNUSED_BLOCK:
            continue
        minute = octets.number(1, label)
        blocks.append({"from": f"{hour:02d}:{minute:02d}", "action": octets.read_octets(2, label).hex()})
    return blocks


def _read_character(octets: _Octets, label: str) -> str:
    return octets.read_octets(1, label).decode("latin-1")


_READERS: dict[Kind, Callable[[_Octets, str], TicValue]] = {
    Kind.I16: lambda octets, label: int.from_bytes(octets.read_octets(2, label), signed=True),
    Kind.SINGLE: _read_single,
    Kind.DATE: _read_date,
    Kind.CONTRACT: lambda octets, label: octets.enumeration(label, CONTRACTS),
    Kind.PERIOD: lambda octets, label: octets.enumeration(label, PERIODS),
    Kind.WORD: lambda octets, label: octets.enumeration(label, WORDS),
    Kind.STATUS: lambda octets, label: octets.number(4, label),
    Kind.CHARACTER: _read_character,
    Kind.DAY_PROFILE: _read_day_profile,
    Kind.TEXT: _Octets.text,
    Kind.NOTHING: lambda _octets, _label: None,
    Kind.IDENTIFIER: _read_identifier,
    Kind.LOCAL_DATE: _read_local_date,
    Kind.INSTANT: _read_instant,
    Kind.INSTANT_AND_PERIOD: _read_instant_and_period,
    Kind.HOUR_AND_DAY: _read_hour_and_day,
    Kind.DAY_AND_HOUR: _read_day_and_hour,
    Kind.HOUR: _read_hour,
    Kind.POWER_AND_UNIT: _read_power,
}
