"""Readings of a Watteco standard frame, by the tables of `clusters`."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.watteco.causes import FieldFormat, read_causes
from decoders.watteco.clusters import TEXTS, Attribute, attribute_of, format_of
from decoders.watteco.frame import CHARACTER_STRING, F_PORT, Command, StandardFrame
from decoders.watteco.modbus import MASTER_SLAVE, MULTI_MASTER_SLAVE, read_answer, read_answers
from decoders.watteco.reporting import read_configuration
from decoders.watteco.tic import TIC_CLUSTERS, read_tic

# Attribute 0050/0006: one voltage in millivolts for each bit of the source bitmap, in this order.
_POWER_SOURCES = ((0x01, "mains"), (0x02, "rechargeable"), (0x04, "disposable"), (0x08, "solar"), (0x10, "tic"))
_POWER_FIELDS = {index: name for index, (_, name) in enumerate(_POWER_SOURCES, start=2)}
_POWER_SIZE = 3  # Mode, bitmap of sources, source in use.
# A cell's voltage says something about its end of life; the others are only kept in `data`.
_CELLS = {"disposable": "", "rechargeable": "rechargeable"}


def decode_standard(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode any standard frame of a Watteco device.

    A well-formed report of a cluster that the tables do not have is kept as octets in `data`, with a
    warning. TIC clusters read the options of `decoders.linky`. Raises MalformedPayload.
    """
    if f_port != F_PORT:
        raise MalformedPayload(f"f_port {f_port} : les trames Watteco arrivent sur {F_PORT}")
    frame = StandardFrame.from_bytes(payload)
    decoded = Decoded(data={"report": _header(frame)})
    if frame.command in (Command.CONFIGURE_REPORTING_RESPONSE, Command.REPORTING_CONFIGURATION):
        if frame.data:
            decoded.data["configuration"] = read_configuration(frame)
        return decoded
    if frame.type is None:
        decoded.warnings.append(f"lecture refusée par le capteur, statut {frame.status:#04x}")
        return decoded
    if frame.status:
        decoded.warnings.append(f"réponse avec le statut {frame.status:#04x}")
    _read_attribute(frame, time_us, options, decoded)
    return decoded


def _header(frame: StandardFrame) -> dict[str, Any]:
    header: dict[str, Any] = {
        "endpoint": frame.endpoint,
        "command": frame.command.name.lower(),
        "cluster": f"{frame.cluster:04x}",
        "attribute": f"{frame.attribute:04x}",
    }
    if frame.status is not None:
        header["status"] = frame.status
    return header


def _read_attribute(frame: StandardFrame, time_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    key = (frame.cluster, frame.attribute)
    attribute = attribute_of(frame.cluster, frame.attribute, frame.endpoint)
    if frame.cluster in TIC_CLUSTERS:
        read_tic(frame, time_us, options, decoded)
        _keep_tail(frame, decoded)
    elif attribute is not None:
        _read_fields(frame, attribute, time_us, decoded)
        _add_causes(frame, decoded, *read_causes(frame.tail, frame.structured, format_of(attribute)))
    elif key in _READERS:
        _READERS[key](frame, time_us, decoded)
    elif key in TEXTS and frame.type == CHARACTER_STRING:
        decoded.data[TEXTS[key]] = frame.data.decode("latin-1").rstrip("\0")
    elif not frame.type_known:
        raise MalformedPayload(
            f"l'attribut {frame.cluster:04x}/{frame.attribute:04x} est du type inconnu {frame.type:#04x}"
        )
    else:
        decoded.data["octets"] = frame.data.hex()
        decoded.warnings.append(f"attribut {frame.cluster:04x}/{frame.attribute:04x} inconnu, gardé tel quel")
        _keep_tail(frame, decoded)


def _expect(frame: StandardFrame, size: int) -> None:
    if len(frame.data) != size:
        raise MalformedPayload(
            f"l'attribut {frame.cluster:04x}/{frame.attribute:04x} a {size} octets, "
            f"reçu {frame.data.hex() or 'aucun'}"
        )


def _read_fields(frame: StandardFrame, attribute: Attribute, time_us: int, decoded: Decoded) -> None:
    _expect(frame, attribute.size)
    if not frame.type_known:
        decoded.warnings.append(f"type d'attribut inconnu {frame.type:#04x}, lu d'après le cluster")
    data, default_channel = decoded.data, attribute.channel_of(frame.endpoint)
    sums: dict[tuple[str, str], float] = {}
    numbers = attribute.numbers(frame.data)
    for (layout, quantity, channel, factor, boolean), number in zip(attribute.fields, numbers, strict=True):
        value = layout.value(number)
        if layout.single and not isfinite(value):
            data[layout.name] = None
            decoded.warnings.append(f"{layout.name} : le capteur n'envoie pas un nombre")
            continue
        data[layout.name] = bool(value) if boolean else value
        if quantity:
            key = (default_channel if channel is None else channel, quantity)
            sums[key] = sums.get(key, 0.0) + (float(bool(value)) if boolean else value * factor)
    decoded.readings += [Reading(time_us, channel, name, value) for (channel, name), value in sums.items()]


def _read_power_causes(frame: StandardFrame, decoded: Decoded) -> None:
    """Causes about the power supply: fields 2 to 6 are the voltages of the sources."""

    def by_index(index: int) -> FieldFormat | None:
        name = _POWER_FIELDS.get(index)
        return None if name is None else FieldFormat(name, 2, divisor=1000)

    _add_causes(frame, decoded, *read_causes(frame.tail, frame.structured, by_index))


def _add_causes(frame: StandardFrame, decoded: Decoded, causes: list[dict[str, Any]], rest: bytes) -> None:
    if causes:
        decoded.data["causes"] = causes
    if rest:
        decoded.data["causes_octets"] = rest.hex()
        decoded.warnings.append("causes du rapport non décodées, gardées telles quelles")
    if frame.command is Command.ALARM_REPORT:
        decoded.warnings.append("rapport d'alarme")


def _keep_tail(frame: StandardFrame, decoded: Decoded) -> None:
    _add_causes(frame, decoded, [], frame.tail)


def _read_power(frame: StandardFrame, time_us: int, decoded: Decoded) -> None:
    """Attribute 0050/0006: mode, bitmap of sources, a voltage for each, the source in use."""
    if len(frame.data) < _POWER_SIZE:
        raise MalformedPayload(
            f"l'attribut 0050/0006 a au moins {_POWER_SIZE} octets, reçu {frame.data.hex() or 'aucun'}"
        )
    present = [name for bit, name in _POWER_SOURCES if frame.data[1] & bit]
    _expect(frame, _POWER_SIZE + 2 * len(present))
    volts: dict[str, float] = {}
    for rank, source in enumerate(present):
        volts[source] = int.from_bytes(frame.data[2 + 2 * rank : 4 + 2 * rank]) / 1000
        if source in _CELLS:
            decoded.readings.append(Reading(time_us, _CELLS[source], "battery_voltage", volts[source]))
    current = [name for bit, name in _POWER_SOURCES if frame.data[-1] & bit]
    source = current[0] if len(current) == 1 else f"{frame.data[-1]:02x}"
    decoded.data["power"] = {"mode": frame.data[0], "source": source, "volts": volts}
    _read_power_causes(frame, decoded)


def _read_pins(frame: StandardFrame, time_us: int, decoded: Decoded) -> None:
    """Attribute 8005/0000: ten inputs, the first in the lowest bit, on the channels of their endpoints."""
    _expect(frame, 2)
    bits = int.from_bytes(frame.data)
    for pin in range(10):
        channel = str(pin) if pin else ""
        decoded.readings.append(Reading(time_us, channel, "input_state", float(bits >> pin & 1)))
    _keep_tail(frame, decoded)


def _read_firmware(frame: StandardFrame, _time_us: int, decoded: Decoded) -> None:
    _expect(frame, 6)
    build = int.from_bytes(frame.data[3:6])
    decoded.data["firmware"] = ".".join(str(part) for part in (*frame.data[:3], build))


def _read_dev_addr(frame: StandardFrame, _time_us: int, decoded: Decoded) -> None:
    _expect(frame, 4)
    decoded.data["dev_addr"] = frame.data.hex()


def _read_modbus(frame: StandardFrame, _time_us: int, decoded: Decoded) -> None:
    decoded.data["modbus"] = read_answer(frame.data)
    _keep_tail(frame, decoded)


def _read_modbus_frames(frame: StandardFrame, _time_us: int, decoded: Decoded) -> None:
    """Seen with a length that leaves out the last answer's registers: the end of the frame is the truth."""
    decoded.data["modbus"] = read_answers(frame.data + frame.tail)


# What no table of fields can say.
_READERS: dict[tuple[int, int], Callable[[StandardFrame, int, Decoded], None]] = {
    (0x0000, 0x0002): _read_firmware,
    (0x0050, 0x0006): _read_power,
    (0x8004, 0x0004): _read_dev_addr,
    (0x8005, 0x0000): _read_pins,
    MASTER_SLAVE: _read_modbus,
    MULTI_MASTER_SLAVE: _read_modbus_frames,
}
