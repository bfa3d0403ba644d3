"""Reads raw Linky TIC of a meter behind a 4G modem (docs/decoders-formats.md, "Linky TIC").

A payload is a stretch of the meter's output: whole frames, or the end of one and the beginning of the next. Groups
whose checksum is wrong are left out. Both modes give the readings of `decoders.linky`, with the same profile
options (`tariff`, `phases`); of several frames each label keeps its last value. In the standard mode readings are
at the meter's own date, when it is certain.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload
from decoders.codec import Codec
from decoders.linky import Dated, MeterDate, TicValue, normalise

STX, ETX, EOT = 0x02, 0x03, 0x04
_HT, _SP = b"\t", b" "
_SEVEN_BITS = bytes(octet & 0x7F for octet in range(256))  # A modem may leave the parity in.
_GROUP = re.compile(rb"\n([^\n\r\x02\x03\x04]{5,200})\r")
_LABEL = re.compile(r"[A-Z][A-Z0-9+-]{2,8}")
_DATE = re.compile(r"([EHeh ])(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})")
_OLDEST_US, _AHEAD_US = 400 * 86_400_000_000, 300_000_000

_TEXTS = frozenset(
    (
        *("ADCO", "OPTARIF", "PTEC", "DEMAIN", "HHPHC", "MOTDETAT"),
        *("ADSC", "NGTF", "LTARF", "MSG1", "MSG2", "PRM", "PJOURF+1", "PPOINTE"),
    )
)
_HEXADECIMAL = frozenset({"STGE", "PPOT"})
_DATED = frozenset(
    [f"{label}{before}" for label in ("SMAXSN", "SMAXIN", "CCASN", "CCAIN") for before in ("", "-1")]
    + [f"SMAXSN{phase}{before}" for phase in "123" for before in ("", "-1")]
    + [f"{label}{rank}" for label in ("UMOY", "DPM", "FPM") for rank in "123"]
)
_INTEGERS = frozenset(
    ["ISOUSC", "BASE", "HCHC", "HCHP", "EJPHN", "EJPHPM", "PEJP", "ADPS", "PMAX", "PAPP", "GAZ", "AUTRE"]
    + [f"BBR{period}J{colour}" for period in ("HC", "HP") for colour in "BWR"]
    + [f"{label}{phase}" for label in ("IINST", "IMAX", "SINSTS") for phase in ("", "1", "2", "3")]
    + [f"{label}{phase}" for label in ("ADIR", "IRMS", "URMS") for phase in "123"]
    + [
        "EAST",
        "EAIT",
        *(f"EASF{index:02d}" for index in range(1, 11)),
        *(f"EASD{index:02d}" for index in range(1, 5)),
    ]
    + [f"ERQ{quadrant}" for quadrant in "1234"]
    + ["VTIC", "PREF", "PCOUP", "SINSTI", "RELAIS", "NTARF", "NJOURF", "NJOURF+1"]
)


class Group(NamedTuple):
    """One line of a frame: its label, its date if it has one, and its value as characters."""

    label: str
    date: str
    value: str


class Stretch(NamedTuple):
    """What lies between two controls, and whether it is a whole frame."""

    octets: bytes
    whole: bool


def checksum(octets: bytes) -> int:
    """The sum's lowest six bits, as a printable character."""
    return (sum(octets) & 0x3F) + 0x20


def decode(_f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a stretch of TIC in either mode. Raises MalformedPayload when no group of it is sound."""
    stretches = _stretches(payload.translate(_SEVEN_BITS))
    whole = [stretch for stretch in stretches if stretch.whole]
    decoded, fields = Decoded(), dict[str, TicValue]()
    unread: dict[str, str] = {}
    modes, wrong = set[str](), 0
    for stretch in whole or stretches:
        for octets in _GROUP.findall(stretch.octets):
            group = _read_group(octets)
            if group is None:
                wrong += 1
                continue
            modes.add("standard" if _HT in octets else "historique")
            _keep(group, fields, unread, decoded)
    if not fields:
        raise MalformedPayload(
            f"aucun groupe TIC à la somme de contrôle juste dans {len(payload)} octets : {payload[:32].hex()}"
        )
    if not whole:
        decoded.warnings.append("aucune trame TIC entière : ses groupes justes sont retenus")
    if wrong:
        decoded.warnings.append(f"{wrong} groupes TIC à la somme de contrôle fausse, écartés")
    decoded.data |= {"frames": len(whole), "mode": " et ".join(sorted(modes))}
    if unread:
        decoded.data["unread"] = unread
    normalise(fields, _instant(fields.get("DATE"), time_us, decoded), options, decoded)
    return decoded


def _stretches(octets: bytes) -> list[Stretch]:
    """Frames from STX to ETX; what EOT interrupted, or the payload cut, is not whole."""
    stretches: list[Stretch] = []
    start, inside = 0, False
    for position, octet in enumerate(octets):
        if octet in (STX, ETX, EOT):
            stretches.append(Stretch(octets[start:position], inside and octet == ETX))
            start, inside = position + 1, octet == STX
    stretches.append(Stretch(octets[start:], whole=False))
    return stretches


def _read_group(octets: bytes) -> Group | None:
    """The group, or None when its checksum or its form is wrong.

    The historique mode has a space before the checksum, which it does not cover; its value may hold spaces. The
    standard mode has a tabulation there, which it covers.
    """
    body, sign = octets[:-1], octets[-1]
    standard = _HT in octets
    if not body.endswith(_HT if standard else _SP) or checksum(body if standard else body[:-1]) != sign:
        return None
    text = body[:-1].decode("ascii")
    label, _, rest = text.partition("\t" if standard else " ")
    if not _LABEL.fullmatch(label):
        return None
    date, separator, value = rest.partition("\t") if standard else ("", "", rest)
    return Group(label, date, value) if separator or not standard else Group(label, "", rest)


def _keep(group: Group, fields: dict[str, TicValue], unread: dict[str, str], decoded: Decoded) -> None:
    label, date, text = group
    if label in ("ADCO", "ADSC") and fields.get(label, text) != text:
        raise MalformedPayload(f"trames de deux compteurs, {fields[label]} et {text}")
    if label == "DATE":
        fields[label] = _date(date)
    elif label in _TEXTS:
        fields[label] = text.strip() if text.isprintable() else None
    elif label in _DATED and (meter_date := _date(date)) is not None and (number := _integer(text)) is not None:
        fields[label] = Dated(meter_date, number)
    elif label in _INTEGERS or label in _HEXADECIMAL:
        number = _integer(text, 16 if label in _HEXADECIMAL else 10)
        fields[label] = number
        if number is None:
            decoded.warnings.append(f"{label} : « {text} » n'est pas un nombre")
    else:
        unread[label] = text if text.isprintable() else text.encode("ascii").hex()


def _integer(text: str, base: int = 10) -> int | None:
    digits = text.strip()
    return int(digits, base) if re.fullmatch(r"[0-9A-Fa-f]{1,12}" if base > 10 else r"\d{1,12}", digits) else None  # noqa: PLR2004


def _date(text: str) -> MeterDate | None:
    found = _DATE.fullmatch(text)
    return MeterDate(found[1], *(int(part) for part in found.groups()[1:])) if found else None


def _instant(date: TicValue, time_us: int, decoded: Decoded) -> int:
    """The meter's date when it is certain and near the reception, else the uplink's instant."""
    instant = date.instant() if isinstance(date, MeterDate) else None
    if instant is None:
        return time_us
    at_us = int(instant.timestamp()) * 1_000_000
    if time_us - _OLDEST_US <= at_us <= time_us + _AHEAD_US:
        return at_us
    decoded.warnings.append(f"horloge du compteur invraisemblable ({instant.isoformat()}), réception retenue")
    return time_us


CODEC = Codec("linky.tic", 1, decode)
