"""Milesight's controllers and valves, the UC series (docs/decoders-formats.md, "Milesight")."""

import struct
from collections.abc import Callable
from math import isfinite
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.milesight.common import COMMON, flag, one, settings
from decoders.milesight.frame import Table, alarm, change_alarm, entry, state_name
from decoders.tlv import Field, Measure, Read, Record, add_readings, layout_of

_SIGNED = 0x80


def _value(octets: bytes, signed: bool, single: bool) -> float:
    if single and len(octets) == 4:  # noqa: PLR2004 - IEEE 754, 32 bits.
        return struct.unpack("<f", octets)[0]
    return int.from_bytes(octets, "little", signed=signed)


def _add_register(register: int, value: float, time_us: int, decoded: Decoded) -> None:
    """What the register means is the installation's: an analogue input of channel `modbus_1` on."""
    if isfinite(value):
        decoded.readings.append(Reading(time_us, f"modbus_{register}", "analog_input", float(value)))
    else:
        decoded.warnings.append(f"registre Modbus {register} : l'esclave n'envoie pas un nombre")


def _registers(singles: frozenset[int]) -> Record:
    """FF 19: register, size, type with its sign in the highest bit, value."""

    def measure(payload: bytes, start: int) -> int:
        return 3 + payload[start + 1]

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        register, size, kind = payload[start : start + 3]
        if size:
            octets = payload[start + 3 : start + 3 + size]
            value = _value(octets, bool(kind & _SIGNED), kind & 0x7F in singles)
            _add_register(register + 1, value, time_us, decoded)

    return Record(3, read, measure)


def _register_error(first: int) -> Record:
    """FF 15: a register that could not be read."""

    def read(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
        decoded.warnings.append(f"registre Modbus {payload[start] - first + 1} : lecture en échec")

    return Record(1, read)


_UC300_SINGLES = frozenset({5, 7})
_UC100_SINGLES = frozenset({*range(10, 14), *range(22, 26)})


def _statistics(quantity: str, channel: str, code: str, divisor: float = 1) -> Record:
    """The last value, then the highest, the lowest and the mean of the period."""
    fields = tuple(
        Field(code, quantity, divisor, f"{channel}{suffix}") for suffix in ("", "_maximum", "_minimum", "_mean")
    )
    layout = layout_of("<", fields)

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        values = layout.unpack_from(payload, start)
        if not all(isfinite(value) for value in values):
            raise MalformedPayload(f"{quantity} n'est pas un nombre à l'octet {start} : {payload.hex()}")
        add_readings(fields, values, time_us, decoded)

    return Record(layout.size, read)


def _uc300() -> Table:
    table: dict[int, Record] = {**COMMON, 0xFF19: _registers(_UC300_SINGLES), 0xFF15: _register_error(0)}
    for rank in range(4):
        channel, name = 0x03 + rank << 8, str(rank + 1)
        table[channel | 0x00] = flag("input_state", name)
        table[channel | 0xC8] = one(Field("I", "pulse_count", channel=name))
    for rank in range(2):
        name = str(rank + 1)
        table[0x07 + rank << 8 | 0x01] = flag("switch_state", name)
        table[0x09 + rank << 8 | 0x67] = one(Field("h", "temperature", 10, f"pt100_{name}"))
        table[0x0B + rank << 8 | 0x02] = one(Field("i", "input_current", 100, name))
        table[0x0D + rank << 8 | 0x02] = one(Field("i", "input_voltage", 100, name))
        table[0x09 + rank << 8 | 0xE2] = _statistics("temperature", f"pt100_{name}", "e")
        table[0x0B + rank << 8 | 0xE2] = _statistics("input_current", name, "e")
        table[0x0D + rank << 8 | 0xE2] = _statistics("input_voltage", name, "e")
    return table


UC300: Table = _uc300()

_EVENTS = ("normal", "raised", "released", "change")
_STORED_SIZE, _MESSAGE_HEADER = 10, struct.Struct("<IB")


def _measure_register_alarm(payload: bytes, start: int) -> int:
    return 3 + payload[start + 1]


def _read_register_alarm(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """FF EE: the register under two bits of event, its size, its type, its value."""
    head, size, kind = payload[start : start + 3]
    register = (head & 0x3F) + 1
    if size:
        octets = payload[start + 3 : start + 3 + size]
        single = kind & 0x7F in _UC100_SINGLES
        _add_register(register, _value(octets, bool(kind & _SIGNED), single), time_us, decoded)
    decoded.data.setdefault("alarms", {})[f"modbus_{register}"] = state_name(head >> 6, _EVENTS)


def _measure_message(payload: bytes, start: int) -> int:
    return _MESSAGE_HEADER.size + payload[start + 4]


def _read_message(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    """20 CD: what a slave said, at its instant."""
    timestamp, size = _MESSAGE_HEADER.unpack_from(payload, start)
    octets = payload[start + _MESSAGE_HEADER.size : start + _MESSAGE_HEADER.size + size]
    decoded.data.setdefault("messages", []).append({"timestamp": timestamp, "octets": octets.hex()})


def _read_stored_register(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    """20 CE: how its channel is written is not published."""
    record = {"timestamp": int.from_bytes(payload[start : start + 4], "little")}
    octets = payload[start + 4 : start + _STORED_SIZE].hex()
    decoded.data.setdefault("stored_records", []).append({**record, "octets": octets})


UC100: Table = {
    **COMMON,
    0xFF19: _registers(_UC100_SINGLES),
    0xFF15: _register_error(0),
    0xFFEE: Record(3, _read_register_alarm, _measure_register_alarm),
    0x20CD: Record(_MESSAGE_HEADER.size, _read_message, _measure_message),
    0x20CE: Record(_STORED_SIZE, _read_stored_register),
}

_UC50X_SINGLES = frozenset({5, 7})
_FIRST_REGISTER = 7  # The number of register 1.
_CHANGE = ("threshold", "change")


def _measure_rs485(payload: bytes, start: int) -> int:
    return 2 + (payload[start + 1] >> 3)


def _read_rs485(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """FF 0E: register, its size above three bits of type, value; registers are numbered from 7."""
    register, definition = payload[start], payload[start + 1]
    octets = payload[start + 2 : start + 2 + (definition >> 3)]
    if register < _FIRST_REGISTER:
        raise MalformedPayload(f"registre {register} à l'octet {start}, numérotés à partir de 7 : {payload.hex()}")
    if octets:
        value = _value(octets, signed=False, single=definition & 0x07 in _UC50X_SINGLES)
        _add_register(register - _FIRST_REGISTER + 1, value, time_us, decoded)


def _after(measure: Measure, read: Read, more: int) -> Record:
    """The same record with octets of an alarm after it."""

    def longer(payload: bytes, start: int) -> int:
        return measure(payload, start) + more

    def read_alarm(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        read(payload, start, time_us, decoded)
        state = payload[start + longer(payload, start) - 1]
        decoded.data.setdefault("alarms", {})[f"modbus_{payload[start] - _FIRST_REGISTER + 1}"] = state_name(
            state, _CHANGE
        )

    return Record(2 + more, read_alarm, longer)


def _alarm_after(record: Record, key: str, change_octets: int = 0) -> Record:
    """A record, how much it changed if `change_octets` says so, and which alarm it is."""
    size = record.size + change_octets + 1

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        record.read(payload, start, time_us, decoded)
        decoded.data.setdefault("alarms", {})[key] = state_name(payload[start + size - 1], _CHANGE)

    return Record(size, read)


def _text(octets: bytes) -> str:
    return octets.rstrip(b"\0").decode("latin-1")


def _read_sdi12(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    decoded.data.setdefault("sdi12", {})[str(payload[start] + 1)] = _text(payload[start + 1 : start + 37])


def _uc50x() -> Table:
    table: dict[int, Record] = {
        **COMMON,
        0xFF0E: Record(2, _read_rs485, _measure_rs485),
        0x800E: _after(_measure_rs485, _read_rs485, 1),
        0x900E: _after(_measure_rs485, _read_rs485, 5),
        0xFF14: entry("device", "analog_type", 1, bytes.hex),
        0xFF15: _register_error(_FIRST_REGISTER),
        0x08DB: Record(37, _read_sdi12),
        0x20DC: entry("device", "stored_record", 22, bytes.hex),
    }
    for rank in range(2):
        name = str(rank + 1)
        counter = Field("I", "pulse_count", channel=name)
        old = _statistics("analog_input", name, "h", 1_000)
        new = _statistics("analog_input", name, "e")
        gpio, adc = 0x03 + rank, 0x05 + rank
        table[gpio << 8 | 0x00] = flag("input_state", name)
        table[gpio << 8 | 0x01] = flag("switch_state", name)
        table[gpio << 8 | 0xC8] = one(counter)
        table[(gpio | 0x80) << 8 | 0xC8] = alarm(counter, names=_CHANGE)
        table[(gpio | 0x90) << 8 | 0xC8] = change_alarm(counter, "I", names=_CHANGE)
        table[adc << 8 | 0x02] = old
        table[adc << 8 | 0xE2] = new
        table[(adc | 0x80) << 8 | 0xE2] = _alarm_after(new, f"analog_input_{name}")
        table[(adc | 0x90) << 8 | 0xE2] = _alarm_after(new, f"analog_input_{name}", 4)
    return table


UC50X: Table = _uc50x()


def _valve_record(octets: bytes) -> dict[str, Any]:
    """What a UC51x stored; which bits of the state are the valve's, its mode and its input is not published."""
    timestamp, state, pulses = struct.unpack("<IBI", octets)
    return {"timestamp": timestamp, "valve": 1 + (state >> 4 & 1), "state": state, "pulses": pulses}


def _read_valve_record(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    decoded.data.setdefault("stored_records", []).append(_valve_record(payload[start : start + 9]))


_VALVE_COUNTERS: Table = {
    0x04C8: one(Field("I", "pulse_count", channel="1")),
    0x06C8: one(Field("I", "pulse_count", channel="2")),
    0x0701: flag("input_state", "1"),
    0x0801: flag("input_state", "2"),
    0x097B: one(Field("H", "water_pressure", channel="1")),
    0x0A7B: one(Field("H", "water_pressure", channel="2")),
}
UC51X: Table = {
    **COMMON,
    **_VALVE_COUNTERS,
    **settings("uc51x"),
    0x0301: flag("valve_open", "1"),
    0x0501: flag("valve_open", "2"),
    0x20CE: Record(9, _read_valve_record),
}

_VALVE_FAULTS = ("low_battery", "stopped_by_input", "wrong_opening_time", "timeout", "stall")
_VALVE_TYPES = ("two_way", "three_way")


def _electric_valve(channel: str) -> Record:
    """Its type, then how far it is open."""

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        kind, opening = payload[start], payload[start + 1]
        decoded.data.setdefault("valves", {})[channel] = state_name(kind, _VALVE_TYPES)
        decoded.readings.append(Reading(time_us, channel, "valve_opening", float(opening)))

    return Record(2, read)


def _fault(key: str, size: int, name: Callable[[bytes], str]) -> Record:
    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        decoded.data.setdefault("faults", {})[key] = name(payload[start : start + size])
        decoded.readings.append(Reading(time_us, key, "device_fault", 1.0))

    return Record(size, read)


_PRESSURE_ALARM = struct.Struct("<BBHHHB")


def _pressure_alarm(channel: str) -> Record:
    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        _source, _condition, least, most, pressure, state = _PRESSURE_ALARM.unpack_from(payload, start)
        decoded.readings.append(Reading(time_us, channel, "water_pressure", float(pressure)))
        decoded.data.setdefault("alarms", {})[f"water_pressure_{channel}"] = state_name(state)
        decoded.data.setdefault("thresholds", {})[f"water_pressure_{channel}"] = [least, most]

    return Record(_PRESSURE_ALARM.size, read)


UC521: Table = {
    **COMMON,
    **_VALVE_COUNTERS,
    0x03F6: _electric_valve("1"),
    0x05F6: _electric_valve("2"),
    0x0BF5: _pressure_alarm("1"),
    0x0CF5: _pressure_alarm("2"),
    0x0DE3: entry("device", "calibration", 4, bytes.hex),
    0x0E01: entry("device", "opening_1_s", 1, lambda octets: octets[0]),
    0x0F01: entry("device", "opening_2_s", 1, lambda octets: octets[0]),
    0xB3F6: _fault("valve_1", 2, lambda octets: state_name(octets[1], _VALVE_FAULTS)),
    0xB5F6: _fault("valve_2", 2, lambda octets: state_name(octets[1], _VALVE_FAULTS)),
    0xB97B: _fault("pressure_1", 1, lambda _: "abnormal"),
    0xBA7B: _fault("pressure_2", 1, lambda _: "abnormal"),
}
