"""Watteco TIC'O: the meter's labels in clusters 0054 and 0056 (reference: codecs.md, sections 4.1 and 5)."""

from collections.abc import Callable, Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.linky import Dated, MeterDate, TicValue, normalise
from decoders.watteco.frame import BYTE_STRING, LONG_BYTE_STRING, StandardFrame
from decoders.watteco.tic_fields import (
    CONTRACTS,
    DATED_SIZES,
    HISTORIQUE,
    INTEGER_SIZES,
    PERIODS,
    STANDARD,
    Kind,
    TicField,
)

TIC_CLUSTERS = {
    0x0053: "ICE",
    0x0054: "historique",
    0x0055: "CJE",
    0x0056: "standard",
    0x0057: "PME-PMI",
}
_TABLES = {0x0054: HISTORIQUE, 0x0056: STANDARD}
_DAY_PROFILE_BLOCKS, _UNUSED_BLOCK = 11, 0xFF


class _Octets:
    """The octets of the attribute, taken from the left; running out of them is a malformed payload."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int, what: str) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise MalformedPayload(f"les données TIC s'arrêtent dans {what} : {self._data.hex()}")
        octets = self._data[self._position : end]
        self._position = end
        return octets

    def number(self, count: int, what: str) -> int:
        return int.from_bytes(self.take(count, what))

    def text(self, what: str) -> str:
        end = self._data.find(0, self._position)
        if end < 0:
            raise MalformedPayload(f"le texte TIC {what} n'a pas d'octet nul : {self._data.hex()}")
        text = self._data[self._position : end].decode("latin-1")
        self._position = end + 1
        return text

    def rest(self) -> bytes:
        return self._data[self._position :]


def read_tic(frame: StandardFrame, time_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    """Read a TIC attribute into `decoded`.

    Values are read where the format puts them: after the seven octets of the date for a dated value.
    Raises MalformedPayload for the meters of professional sites (clusters 0053, 0055, 0057), which are
    not decoded yet, and for data that the descriptor does not explain to the last octet.
    """
    table = _TABLES.get(frame.cluster)
    if table is None:
        raise MalformedPayload(
            f"le cluster TIC {frame.cluster:04x} ({TIC_CLUSTERS[frame.cluster]}) n'est pas encore décodé : "
            "seuls 0054 (historique) et 0056 (standard) le sont"
        )
    if frame.type not in (BYTE_STRING, LONG_BYTE_STRING) or frame.attribute & 0xFF:
        raise MalformedPayload(
            f"l'attribut {frame.cluster:04x}/{frame.attribute:04x} de type {frame.type or 0:#04x} "
            "n'est pas une trame TIC : attribut ii00, type 0x41 ou 0x43"
        )
    octets = _Octets(frame.data)
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
    normalise(fields, time_us, options, decoded)
    if obsolete:
        decoded.readings.clear()
        decoded.warnings.append("trame TIC périmée : le module ne reçoit plus le compteur")


def _read_descriptor(octets: _Octets) -> tuple[list[int], bool]:
    """The indexes of the fields that follow, and whether the module calls them obsolete.

    The first octet is the header: size with itself in bits 0 to 4 (0 is the older fixed form of eight
    octets), bit 5 set for a list of indexes, clear for a bitfield whose last octet holds fields 0 to 7.
    """
    header = octets.number(1, "le descripteur")
    body = octets.take(((header & 0x1F) or 8) - 1, "le descripteur")
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
    season, *parts = octets.take(7, label)
    return MeterDate(chr(season), *parts)


def _read_enumeration(octets: _Octets, label: str, names: tuple[str, ...]) -> str:
    code = octets.number(1, label)
    if code & 0x80:
        return octets.take(code & 0x7F, label).decode("latin-1")
    if code >= len(names):
        raise MalformedPayload(f"le code TIC {code} de {label} n'est pas dans la table")
    return names[code]


def _read_day_profile(octets: _Octets, label: str) -> list[dict[str, str]]:
    """The blocks in use; an unused one is the octet FF alone."""
    blocks: list[dict[str, str]] = []
    for _ in range(_DAY_PROFILE_BLOCKS):
        hour = octets.number(1, label)
        if hour == _UNUSED_BLOCK:
            continue
        minute = octets.number(1, label)
        blocks.append({"from": f"{hour:02d}:{minute:02d}", "action": octets.take(2, label).hex()})
    return blocks


def _read_status(octets: _Octets, label: str) -> int:
    return octets.number(4, label)


def _read_character(octets: _Octets, label: str) -> str:
    return octets.take(1, label).decode("latin-1")


_READERS: dict[Kind, Callable[[_Octets, str], TicValue]] = {
    Kind.DATE: _read_date,
    Kind.CONTRACT: lambda octets, label: _read_enumeration(octets, label, CONTRACTS),
    Kind.PERIOD: lambda octets, label: _read_enumeration(octets, label, PERIODS),
    Kind.STATUS: _read_status,
    Kind.CHARACTER: _read_character,
    Kind.DAY_PROFILE: _read_day_profile,
    Kind.TEXT: _Octets.text,
}
