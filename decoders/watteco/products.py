"""Tables of Watteco's products: their endpoints and the layout of their batches.

Names are those of the codecs (`watteco.flasho`) and of the profile option `product`. Layouts and meanings
are the vendor's (Codec-API-LoRaWAN, folder `devices`). A measure that we have no sure scale for has no
quantity, and is kept in `data`; a product whose layout is not published refuses batches.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from decoders.watteco.batch import Layout, Series
from decoders.watteco.bits import Sample

_BOOLEAN, _U8, _U16, _I16, _U32, _I24 = (
    *(Sample.BOOLEAN, Sample.U8, Sample.U16, Sample.I16, Sample.U32),
    Sample.I24,
)
_FLOAT = Sample.FLOAT
_MILLI, _TO_MILLI = 1_000, 0.001


class Meaning(NamedTuple):
    """What a report of one value is on this product: the reading is value / `divisor`."""

    quantity: str
    channel: str = ""
    divisor: float = 1.0


# (cluster, attribute, endpoint) -> its meaning here, where it is not the cluster's.
Meanings = Mapping[tuple[int, int, int], Meaning]


class Product(NamedTuple):
    """A product: its name for people, its batches, its endpoints, and how many relays it has."""

    title: str
    batch: Layout | None = None
    meanings: Meanings = MappingProxyType({})
    relays: int = 0


def _battery(tag: int, resolution: float = 100) -> Series:
    return Series(tag, "battery_voltage", _U16, resolution, "battery_voltage", "", _MILLI)


def _temperature(tag: int, channel: str = "", resolution: float = 10) -> Series:
    return Series(tag, f"temperature_{channel}".rstrip("_"), _I16, resolution, "temperature", channel, 100)


def _humidity(tag: int, resolution: float = 100) -> Series:
    return Series(tag, "humidity", _U16, resolution, "relative_humidity", "", 100)


def _index(tag: int, channel: str = "") -> Series:
    return Series(tag, f"index_{channel}".rstrip("_"), _U32, 1, "pulse_count", channel)


def _state(tag: int, channel: str = "", quantity: str = "input_state") -> Series:
    return Series(tag, f"state_{channel}".rstrip("_"), _BOOLEAN, 1, quantity, channel)


def _analog(*meanings: Meaning) -> Meanings:
    return {(0x000C, 0x0055, endpoint): meaning for endpoint, meaning in enumerate(meanings)}


_TAMPER = {(0x000F, 0x0055, 0): Meaning("tamper")}
_LOOP, _VOLTAGE = Meaning("input_current"), Meaning("input_voltage", "1")
_ROOM = Layout(2, (_temperature(0), _humidity(1), _battery(2, 1), _state(3, quantity="tamper")))
_ANALOG_INPUTS = Layout(
    3,
    (
        Series(0, "4-20_mA", _FLOAT, 0.004, "input_current"),
        # Published as volts, with a resolution of 1 that only millivolts explain.
        Series(1, "0-10_V", _FLOAT, 1),
        _battery(2),
        Series(3, "external_power_voltage", _U16, 100, "input_voltage", "power", _MILLI),
        _index(4),
    ),
)
_PULSES = Layout(
    4,
    (
        *(_index(0), _index(1, "1"), _index(2, "2"), _state(3), _state(4, "1"), _state(5, "2"), _battery(6)),
        Series(7, "multi_state", _U16, 1),
    ),
)
_OUTDOOR = Layout(3, (_temperature(0), _battery(5)))

PRODUCTS: dict[str, Product] = {
    "alto": Product(
        "Alt'O",
        Layout(
            3,
            (
                Series(0, "acceleration", _U16, 1, "acceleration", "", _MILLI),
                Series(1, "tilt", _FLOAT, 0.1, "angle"),
                Series(2, "distance", _FLOAT, 0.001, "distance", "", _TO_MILLI),
                Series(3, "magnitude", _U16, 1),
                _battery(4, 0.1),
                _temperature(5, "accelerometer", 0.1),
            ),
        ),
        _analog(Meaning("angle"), Meaning("distance", "", _TO_MILLI)),
    ),
    "atmo": Product(
        "Atm'O",
        Layout(
            3,
            (
                *(_temperature(0, resolution=1), _humidity(1, 1), Series(2, "pressure", _I16, 1, "pressure")),
                *(_index(3), _index(4, "1"), _battery(5, 1)),
            ),
        ),
    ),
    "closo": Product(
        "Clos'O", None, {(0x000F, 0x0055, 0): Meaning("tamper"), (0x000F, 0x0055, 1): Meaning("open")}
    ),
    "fissuro": Product(
        "Fissur'O",
        Layout(
            2,
            (
                Series(0, "tilt", _FLOAT, 0.1, "angle"),
                Series(1, "distance", _FLOAT, 0.001, "distance", "", _TO_MILLI),
                _temperature(2),
                _battery(3, 20),
            ),
        ),
        {
            **_analog(Meaning("angle"), Meaning("distance", "", _TO_MILLI)),
            (0x0402, 0x0000, 0): Meaning("temperature", "accelerometer"),
            (0x0402, 0x0000, 1): Meaning("temperature"),
        },
    ),
    "flasho": Product("Flash'O", Layout(1, (_index(0), _battery(1)))),
    "inclino": Product(
        "Inclin'O",
        Layout(
            3, (Series(0, "acceleration", _U16, 1, "acceleration", "", _MILLI), Series(1, "tilt", _FLOAT, 0.1))
        ),
        _analog(Meaning("angle")),
    ),
    "indoor_temperature": Product("Temp'O intérieur"),
    "ino": Product("In'O", relays=4),
    "intenso": Product(
        "Intens'O",
        Layout(2, (Series(0, "irms", _FLOAT, 0.1, "current"), _battery(1))),
        _analog(Meaning("current")),
    ),
    "levo": Product("Lev'O", _ANALOG_INPUTS, _analog(_LOOP, _VOLTAGE)),
    "modbus": Product("Modbus"),
    "monito": Product(
        "Monit'O",
        Layout(
            3,
            (
                Series(0, "0-100_mV", _FLOAT, 0.02, "input_voltage", "", _MILLI),
                Series(1, "0-70_V", _FLOAT, 17, "input_voltage", "1", _MILLI),
                _battery(2),
                Series(3, "external_level", _U16, 100, "input_voltage", "power", _MILLI),
            ),
        ),
        _analog(Meaning("input_voltage", "", _MILLI), Meaning("input_voltage", "1", _MILLI)),
    ),
    "moveo_lite": Product(
        "Move'O Lite",
        Layout(
            3,
            (
                Series(0, "occupancy", _U8, 1, "occupancy"),
                _temperature(1),
                _humidity(2),
                Series(5, "illuminance", _U16, 10),
            ),
        ),
        _TAMPER,
    ),
    "presso": Product("Press'O", _ANALOG_INPUTS, _analog(_LOOP, _VOLTAGE)),
    "pt1000": Product("Temp'O PT1000", Layout(1, (_temperature(0),))),
    "pt1000_400c": Product(
        "Temp'O PT1000 400 °C", Layout(1, (Series(0, "temperature", _I16, 1, "temperature", "", 10),))
    ),
    "pulse_senso": Product("Pulse Sens'O", _PULSES),
    "pulse_senso_atex": Product("Pulse Sens'O ATEX", _PULSES),
    "smartpilot_wire": Product("SmartPilot Wire"),
    "smartplug": Product(
        "SmartPlug", Layout(1, (Series(0, "active_energy", _I24, 1, "active_energy_import", "1"),)), relays=1
    ),
    "tempo": Product("Temp'O"),
    "tempo_outdoor": Product("Temp'O extérieur", _OUTDOOR),
    "tempo_remote_1_probe": Product("Temp'O déporté, une sonde", Layout(1, (_temperature(0),))),
    "tempo_remote_2_probes": Product(
        "Temp'O déporté, deux sondes", Layout(3, (_temperature(0), _temperature(1, "1"), _battery(5)))
    ),
    "th": Product("TH, Clim'O et HygroTemp'O", _ROOM, _TAMPER),
    "ticso": Product("TIC'O et TICs'O"),
    "torano_atex": Product(
        "Toran'O ATEX",
        None,
        _analog(
            *(_LOOP, _VOLTAGE, Meaning("input_voltage", "2")),
            *(Meaning("input_voltage", "3"), Meaning("input_voltage", "4")),
        ),
    ),
    "triphaso": Product("Triphas'O", relays=1),
    "vaqao_lite": Product(
        "Vaqa'O Lite",
        Layout(
            3,
            (
                *(Series(0, "occupancy", _U8, 1, "occupancy"), _temperature(1), _humidity(2)),
                *(Series(3, "co2", _U16, 10, "co2"), Series(4, "iaq", _U16, 10, "tvoc_index")),
                Series(5, "illuminance", _U16, 10, "illuminance"),
                Series(6, "pressure", _I16, 10, "pressure", "", 10),
            ),
        ),
        _TAMPER,
    ),
    "ventilo": Product(
        "Ventil'O",
        Layout(
            3,
            (
                Series(0, "differential_pressure_mean", _I16, 1, "differential_pressure", "mean"),
                Series(1, "differential_pressure_minimum", _I16, 1, "differential_pressure", "minimum"),
                Series(2, "differential_pressure_maximum", _I16, 1, "differential_pressure", "maximum"),
                *(_battery(3, 1), _temperature(4)),
                Series(5, "differential_pressure", _I16, 1, "differential_pressure"),
                *(_index(6), _state(7)),
            ),
        ),
    ),
}
