"""What each cluster's attribute means, as a table (docs/decoders-formats.md, "nke Watteco").

Channels: endpoint 0 is `""` and endpoint n is `"n"`; clusters of a three-phase meter give the phase
(`phase_a`, `phase_b`, `phase_c`) and `""` for the three together.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from decoders.watteco.causes import FieldFormat, FormatOf

PHASES = ("phase_a", "phase_b", "phase_c", "")


class Field(NamedTuple):
    """One value of an attribute: its octets, and the quantity that it is a reading of.

    `quantity` is empty for what only goes into `data`. `channel` is None when the endpoint says it.
    Several fields of one quantity and channel are added, with their `factor`: powers are sent as a
    positive and a negative part, and the reading is their difference.
    """

    layout: FieldFormat
    quantity: str = ""
    channel: str | None = None
    factor: int = 1
    boolean: bool = False


def _code(layout: FieldFormat) -> str:
    """The `struct` code of a field; empty when there is none."""
    if layout.single:
        return "f"
    code = {1: "b", 2: "h", 4: "i"}.get(layout.size, "")
    return code if layout.signed else code.upper()


@dataclass(frozen=True, slots=True)
class Attribute:
    """Consecutive fields of fixed size; `by_phase` when the endpoint numbers a phase."""

    fields: tuple[Field, ...]
    by_phase: bool = False
    # Octets of the attribute, and how to read all its numbers at once, where no field has three octets.
    size: int = field(init=False)
    _at_once: struct.Struct | None = field(init=False)

    def __post_init__(self) -> None:
        layouts = [one.layout for one in self.fields]
        object.__setattr__(self, "size", sum(layout.size for layout in layouts))
        codes = [_code(layout) for layout in layouts]
        at_once = struct.Struct(">" + "".join(codes)) if all(codes) else None
        object.__setattr__(self, "_at_once", at_once)

    def numbers(self, data: bytes) -> Sequence[float]:
        """The numbers of the attribute's `size` octets, one for each field."""
        if self._at_once is not None:
            return self._at_once.unpack(data)
        position, numbers = 0, list[float]()
        for one in self.fields:
            end = position + one.layout.size
            numbers.append(one.layout.number(data[position:end]))
            position = end
        return numbers

    def channel_of(self, endpoint: int) -> str:
        """The channel that the endpoint stands for."""
        if self.by_phase and endpoint < len(PHASES):
            return PHASES[endpoint]
        return str(endpoint) if endpoint else ""


def _unsigned(name: str, size: int, quantity: str = "", channel: str | None = None, divisor: float = 1) -> Field:
    return Field(FieldFormat(name, size, divisor=divisor), quantity, channel)


def _signed(
    name: str, size: int, quantity: str = "", channel: str | None = None, *, divisor: float = 1, factor: int = 1
) -> Field:
    return Field(FieldFormat(name, size, signed=True, divisor=divisor), quantity, channel, factor)


def _frequency(name: str, quantity: str = "") -> Field:
    """Millihertz above 22.232 Hz, so that 16 bits reach the frequencies of a network."""
    return Field(FieldFormat(name, 2, signed=True, divisor=1000, offset=22_232), quantity)


def _boolean(name: str, quantity: str = "") -> Field:
    return Field(FieldFormat(name, 1), quantity, boolean=True)


def _one(field: Field) -> Attribute:
    return Attribute((field,))


def _voltage_and_current(suffix: str = "", channel: str | None = None) -> tuple[Field, ...]:
    return (
        _unsigned(f"voltage{suffix}", 2, "voltage", channel, divisor=10),
        _unsigned(f"current{suffix}", 2, "current", channel, divisor=10),
        _signed(f"angle{suffix}", 2),
    )


def _active_and_reactive(kind: str, active: str, reactive: str) -> tuple[Field, ...]:
    fields: list[Field] = []
    for phase in PHASES:
        suffix = f"_{phase}" if phase else ""
        fields.append(_signed(f"active_{kind}{suffix}", 4, active, phase))
        fields.append(_signed(f"reactive_{kind}{suffix}", 4, reactive, phase))
    return tuple(fields)


_METERING = Attribute(
    (
        _signed("active_energy_import", 4, "active_energy_import"),
        _signed("active_energy_export", 4, "active_energy_export"),
        _signed("reactive_energy_import", 4, "reactive_energy_import"),
        _signed("reactive_energy_export", 4, "reactive_energy_export"),
        _signed("active_power_import", 4, "active_power"),
        _signed("active_power_export", 4, "active_power", factor=-1),
        _signed("reactive_power_import", 4, "reactive_power"),
        _signed("reactive_power_export", 4, "reactive_power", factor=-1),
    ),
    by_phase=True,
)
_SIMPLE_METERING = Attribute(
    (
        _signed("active_energy", 3, "active_energy_import"),
        _signed("reactive_energy", 3, "reactive_energy"),
        _unsigned("samples", 2),
        _signed("active_power", 2, "active_power"),
        _signed("reactive_power", 2, "reactive_power"),
    )
)
_POWER_QUALITY = Attribute(
    (
        _frequency("frequency", "frequency"),
        _frequency("frequency_min"),
        _frequency("frequency_max"),
        _unsigned("voltage", 2, "voltage", divisor=10),
        _unsigned("voltage_min", 2, divisor=10),
        _unsigned("voltage_max", 2, divisor=10),
        _unsigned("voltage_peak", 2, divisor=10),
        _unsigned("voltage_peak_min", 2, divisor=10),
        _unsigned("voltage_peak_max", 2, divisor=10),
        _unsigned("over_voltage_count", 2),
        _unsigned("sag_count", 2),
        _unsigned("brownout_count", 2),
    ),
    by_phase=True,
)

# (cluster, attribute) -> its fields.
ATTRIBUTES: dict[tuple[int, int], Attribute] = {
    (0x0006, 0x0000): _one(_boolean("output", "switch_state")),
    (0x000C, 0x0055): _one(Field(FieldFormat("analog", 4, single=True), "analog_input")),
    (0x000F, 0x0055): _one(_boolean("input", "input_state")),
    (0x000F, 0x0054): _one(_unsigned("polarity", 1)),
    (0x000F, 0x0400): _one(_unsigned("edge_selection", 1)),
    (0x000F, 0x0401): _one(_unsigned("debounce_period", 1)),
    (0x000F, 0x0403): _one(_unsigned("poll_period", 1)),
    (0x000F, 0x0404): _one(_unsigned("force_notify", 1)),
    (0x000F, 0x0402): _one(_unsigned("index", 4, "pulse_count")),
    (0x0013, 0x0055): _one(_unsigned("output_value", 1, "multistate_output")),
    (0x0052, 0x0000): _SIMPLE_METERING,
    (0x0400, 0x0000): _one(_unsigned("illuminance", 2, "illuminance")),
    # 0402 is signed whatever the type sent: some products send it as an unsigned integer.
    (0x0402, 0x0000): _one(_signed("temperature", 2, "temperature", divisor=100)),
    (0x0403, 0x0000): _one(_signed("pressure", 2, "pressure")),
    (0x0405, 0x0000): _one(_unsigned("humidity", 2, "relative_humidity", divisor=100)),
    (0x0406, 0x0000): _one(_boolean("occupancy", "occupancy")),
    (0x8004, 0x0000): _one(_boolean("confirmed")),
    (0x8004, 0x0001): _one(_unsigned("retries", 1)),
    (0x8004, 0x0002): _one(_unsigned("automatic_association", 1)),
    (0x8004, 0x0003): _one(_unsigned("data_rate", 1)),
    (0x8006, 0x0000): _one(_unsigned("serial_speed", 3)),
    (0x8006, 0x0001): _one(_unsigned("serial_data_bits", 1)),
    (0x8006, 0x0002): _one(_unsigned("serial_parity", 1)),
    (0x8006, 0x0003): _one(_unsigned("serial_stop_bits", 1)),
    (0x8008, 0x0000): _one(_signed("differential_pressure", 2, "differential_pressure")),
    (0x800A, 0x0000): _METERING,
    (0x800B, 0x0000): Attribute(_voltage_and_current(), by_phase=True),
    (0x800C, 0x0000): _one(_unsigned("concentration", 2)),
    (0x800D, 0x0000): Attribute(
        tuple(field for phase in PHASES[:3] for field in _voltage_and_current(f"_{phase}", phase))
    ),
    (0x8010, 0x0000): Attribute(_active_and_reactive("energy", "active_energy_import", "reactive_energy")),
    (0x8010, 0x0001): Attribute(_active_and_reactive("power", "active_power", "reactive_power")),
    (0x8052, 0x0000): _POWER_QUALITY,
}
# Concentrations (Vaqa'O) mean another quantity on each endpoint.
BY_ENDPOINT: dict[tuple[int, int, int], Attribute] = {
    (0x800C, 0x0000, 0): _one(_unsigned("iaq", 2, "tvoc_index", "")),
    (0x800C, 0x0000, 1): _one(_unsigned("co2", 2, "co2", "")),
}
# Attributes of cluster 0000 (basic) that are character strings.
TEXTS = {
    (0x0000, 0x0003): "kernel",
    (0x0000, 0x0004): "manufacturer",
    (0x0000, 0x0005): "model",
    (0x0000, 0x0006): "date_code",
    (0x0000, 0x0010): "position",
    (0x0000, 0x8001): "application_name",
}


def attribute_of(cluster: int, attribute: int, endpoint: int) -> Attribute | None:
    """The meaning of an attribute on an endpoint; None when the tables do not have it."""
    return BY_ENDPOINT.get((cluster, attribute, endpoint)) or ATTRIBUTES.get((cluster, attribute))


def format_of(attribute: Attribute) -> FormatOf:
    """The format of the attribute's fields by their index."""
    fields = attribute.fields

    def by_index(index: int) -> FieldFormat | None:
        return fields[index].layout if index < len(fields) else None

    return by_index
