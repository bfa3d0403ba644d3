"""Milesight's switches, sockets, current transformers (WS, CT) (docs/decoders-formats.md, "Milesight")."""

import struct

from decoders.canonical import Decoded, Reading
from decoders.milesight.common import COMMON, METERED, TEMPERATURE, one, settings
from decoders.milesight.frame import Table, alarm
from decoders.tlv import Field, Record

_SWITCHES = 3


def _read_switches(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """One octet: the states of three switches in its low half, which of them changed in its high half."""
    octet = payload[start]
    for rank in range(_SWITCHES):
        decoded.readings.append(Reading(time_us, str(rank + 1), "switch_state", float(octet >> rank & 1)))
    decoded.data["changed"] = [rank + 1 for rank in range(_SWITCHES) if octet >> 4 + rank & 1]


WS50X: Table = {**METERED, 0xFF29: Record(1, _read_switches), 0x0829: Record(1, _read_switches)}


def _read_socket(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    decoded.readings.append(Reading(time_us, "", "switch_state", float(payload[start] & 1)))


def _read_outage(_payload: bytes, _start: int, _time_us: int, decoded: Decoded) -> None:
    decoded.data.setdefault("device", {})["power_outage"] = True
    decoded.warnings.append("coupure de courant signalée")


WS52X: Table = {**METERED, 0x0870: Record(1, _read_socket), 0xFF3F: Record(1, _read_outage)}


def _read_lights(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """Which of the eight outputs changed, then the state of each."""
    changed, values = payload[start], payload[start + 1]
    for rank in range(8):
        decoded.readings.append(Reading(time_us, str(rank + 1), "switch_state", float(values >> rank & 1)))
    decoded.data["changed"] = [rank + 1 for rank in range(8) if changed >> rank & 1]


WS558: Table = {**METERED, 0x0831: Record(2, _read_lights)}

_FAILED = 0xFFFF
_ALARM = struct.Struct("<HHHB")
# Bits of the alarm's octet.
_ALARMS = ("raised", "released", "over_range", "over_range_released")


def _current(code_divisor: float, channel: str = "") -> Record:
    """A current, or FFFF when the clamp could not be read."""
    return one(Field("H", "current", code_divisor, channel, absent_from=_FAILED))


def _current_alarm(divisor: float, channel: str = "") -> Record:
    """The highest and lowest currents, the present one, and which alarms there are."""

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        highest, lowest, present, bits = _ALARM.unpack_from(payload, start)
        key = f"current_{channel}".rstrip("_")
        decoded.data.setdefault("alarms", {})[key] = [
            name for rank, name in enumerate(_ALARMS) if bits >> rank & 1
        ]
        for value, suffix in ((present, ""), (highest, "maximum"), (lowest, "minimum")):
            if value == _FAILED:
                decoded.warnings.append(f"le capteur n'a pas de mesure de current (valeur {value:#x})")
                continue
            name = "_".join(part for part in (channel, suffix) if part)
            decoded.readings.append(Reading(time_us, name, "current", value / divisor))

    return Record(_ALARM.size, read)


_CLAMPS = settings("clamps")
CT10X: Table = {
    **COMMON,
    **_CLAMPS,
    0x0397: one(Field("I", "electric_charge", 100)),
    0x0498: _current(100),
    0x8498: _current_alarm(100),
    0x0967: one(TEMPERATURE),
    0x8967: alarm(TEMPERATURE),
}


def _ct3xx() -> Table:
    table: dict[int, Record] = {**COMMON, **_CLAMPS, 0x0967: one(TEMPERATURE), 0x8967: alarm(TEMPERATURE)}
    for rank in range(3):
        name = str(rank + 1)
        channel = 0x03 + 2 * rank
        table[channel << 8 | 0x97] = one(Field("I", "electric_charge", 100, name))
        table[channel + 1 << 8 | 0x99] = _current(10, name)
        table[(channel + 1 | 0x80) << 8 | 0x99] = _current_alarm(10, name)
    return table


CT3XX: Table = _ct3xx()
