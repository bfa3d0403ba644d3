"""Decentlab's products as data: sensors in the order of the flags (facts of the vendor's public decoders).

Profile options: `pressure_minimum` and `pressure_maximum` (bar, PR21 and PR26), `kp` (PR36 and PR36CTD),
`resolution` (mm of rain per tip, TBRG), `shunt` (ohms, DLR2-004), each as the device's label says.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from decoders.codec import Codec
from decoders.decentlab.frame import Derived, Sensor, Value, product

HALF = 32_768  # What stands for zero where a value may be negative.
_KPA_PER_BAR = 100
_WHOLE = 65_535


def _signed(word: int, quantity: str, divisor: float = 1, channel: str = "", multiplier: float = 1) -> Value:
    return Value(word, quantity, channel, HALF, multiplier, divisor)


def _kept(word: int, name: str, divisor: float = 1, shift: int = 0, *, wide: bool = False) -> Value:
    return Value(word, shift=shift, divisor=divisor, name=name, wide=wide)


BATTERY = Sensor(1, (Value(0, "battery_voltage", divisor=1_000),))
# Sensirion's two generations of thermometers.
SHT3X = Sensor(
    2,
    (
        Value(0, "temperature", multiplier=175, divisor=_WHOLE, offset=-45),
        Value(1, "relative_humidity", multiplier=100, divisor=_WHOLE),
    ),
)
SHT2X = Sensor(
    2,
    (
        Value(0, "temperature", multiplier=175.72, divisor=65_536, offset=-46.85),
        Value(1, "relative_humidity", multiplier=125, divisor=65_536, offset=-6),
    ),
)
BAROMETER = Sensor(1, (Value(0, "pressure", multiplier=2, divisor=100),))
INFRARED = Sensor(
    2,
    (
        Value(0, "temperature", "surface", 1_000, divisor=10),
        Value(1, "temperature", "head", 1_000, divisor=10),
    ),
)


def _illuminance(words: Sequence[int], _options: Mapping[str, Any]) -> float:
    """From the two photodiodes, visible with infrared, and infrared alone."""
    visible, infrared = words
    return max(1.0 * visible - 1.64 * infrared, 0.59 * visible - 0.86 * infrared, 0) * 1.5504


def _option(options: Mapping[str, Any], name: str) -> float | None:
    value: Any = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _ranged_pressure(words: Sequence[int], options: Mapping[str, Any]) -> float | None:
    least, most = _option(options, "pressure_minimum"), _option(options, "pressure_maximum")
    if least is None or most is None:
        return None
    return ((words[0] - 16_384) / HALF * (most - least) + least) * _KPA_PER_BAR


def _precise_pressure(words: Sequence[int], options: Mapping[str, Any]) -> float | None:
    kp = _option(options, "kp")
    return (words[0] - HALF) / kp * _KPA_PER_BAR if kp else None


def _rain(low: int, *, wide: bool) -> Callable[[Sequence[int], Mapping[str, Any]], float | None]:
    def read(words: Sequence[int], options: Mapping[str, Any]) -> float | None:
        resolution = _option(options, "resolution")
        tips = words[low] + (words[low + 1] << 16 if wide else 0)
        return None if resolution is None else tips * resolution

    return read


def _current(words: Sequence[int], options: Mapping[str, Any]) -> float | None:
    """Milliamperes through the shunt, of which the label says the ohms."""
    shunt = _option(options, "shunt")
    return 3 * (words[0] - HALF) / HALF / 2 / shunt * 1_000 if shunt else None


RANGED_PRESSURE = Sensor(
    2,
    (
        Derived("water_pressure", "", _ranged_pressure),
        Value(1, "water_temperature", shift=384, multiplier=0.003125, offset=-50),
    ),
)
PRECISE_PRESSURE = (Derived("water_pressure", "", _precise_pressure),)
DEPTH = (_signed(0, "water_level", 1_000), _signed(1, "water_temperature", 10))
SOIL = (
    # Cubic metres of water in one of soil, in percent.
    Value(0, "soil_moisture", multiplier=0.003879, offset=-69.56),
    _signed(1, "temperature", 10, "soil"),
)
MICROMETRES = 20_000  # Of a dendrometer, from its middle to one end.
MIDDLE = 8_388_608  # What stands for it in 24 bits.
DISTANCES = ("", "minimum", "maximum", "median", "p10", "p25", "p75", "p90", "mode")

PRODUCTS: tuple[Codec, ...] = (
    product("dl_mbx", Sensor(2, (Value(0, "distance"), _kept(1, "valid_samples"))), BATTERY),
    product(
        "dl_lid",
        Sensor(
            11,
            (
                *(Value(word, "distance", channel) for word, channel in enumerate(DISTANCES)),
                _kept(9, "samples"),
                _kept(10, "acquisition_ms", 1.024),
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_iam",
        BATTERY,
        SHT3X,
        BAROMETER,
        Sensor(
            2,
            (
                Value(0, "light_count", "visible_infrared"),
                Value(1, "light_count", "infrared"),
                Derived("illuminance", "", _illuminance),
            ),
        ),
        Sensor(3, (_signed(0, "co2"), _kept(1, "co2_status"), _kept(2, "co2_raw"))),
        Sensor(1, (Value(0, "motion"),)),
        Sensor(1, (Value(0, "tvoc"),)),
    ),
    product(
        "dl_lp8p",
        SHT2X,
        Sensor(
            2,
            (
                Value(0, "temperature", "barometer", 5_000, divisor=100),
                Value(1, "pressure", multiplier=2, divisor=100),
            ),
        ),
        Sensor(
            8,
            (
                _signed(0, "co2"),
                _signed(1, "co2", channel="filtered"),
                _signed(2, "temperature", 100, "co2_sensor"),
                _kept(3, "capacitor_voltage_1", 1_000),
                _kept(4, "capacitor_voltage_2", 1_000),
                _kept(5, "co2_status"),
                _kept(6, "co2_raw"),
                _kept(7, "co2_raw_filtered"),
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_pm",
        BATTERY,
        Sensor(
            10,
            (
                *(Value(word, name, divisor=10) for word, name in enumerate(("pm1", "pm2_5", "pm4", "pm10"))),
                _kept(4, "typical_size_nm"),
                *(
                    _kept(word, f"number_{size}", 10)
                    for word, size in enumerate(("pm0_5", "pm1", "pm2_5", "pm4", "pm10"), start=5)
                ),
            ),
        ),
        SHT2X,
        BAROMETER,
    ),
    product("dl_sht21", SHT2X, BATTERY),
    product("dl_sht35", SHT3X, BATTERY),
    product("dl_ds18", Sensor(1, (_signed(0, "temperature", 16),)), BATTERY),
    product("dl_itst", INFRARED, BATTERY),
    product("dl_wrm", SHT3X, INFRARED, BATTERY),
    product(
        "dl_cws",
        Sensor(
            6,
            (
                _signed(0, "temperature", 100, "surface"),
                _signed(1, "temperature", 100),
                _signed(2, "relative_humidity", 100),
                _signed(3, "temperature", 100, "dew_point"),
                _signed(4, "angle"),
                _signed(5, "temperature", 100, "head"),
            ),
        ),
        BATTERY,
    ),
    product("dl_ctd10", Sensor(4, (*DEPTH, Value(2, "conductivity"), _kept(3, "freezing"))), BATTERY),
    product(
        "dl_ctd10b", Sensor(4, (*DEPTH, Value(2, "conductivity", multiplier=2), _kept(3, "freezing"))), BATTERY
    ),
    product("dl_pr21", RANGED_PRESSURE, BATTERY),
    product("dl_pr26", RANGED_PRESSURE, BATTERY),
    product("dl_pr36", Sensor(2, (*PRECISE_PRESSURE, _signed(1, "water_temperature", 256))), BATTERY),
    product(
        "dl_pr36ctd",
        Sensor(
            4,
            (
                *PRECISE_PRESSURE,
                _signed(1, "temperature", 256, "electronics"),
                _signed(2, "water_temperature", 256),
                _signed(3, "conductivity", 1_024, multiplier=1_000),
            ),
        ),
        BATTERY,
    ),
    product("dl_trs11", Sensor(2, SOIL), BATTERY),
    product("dl_trs12", Sensor(3, (*SOIL, Value(2, "conductivity", "soil"))), BATTERY),
    product(
        "dl_trs21",
        Sensor(2, (Value(0, "soil_water_potential", divisor=-10), _signed(1, "temperature", 10, "soil"))),
        BATTERY,
    ),
    product(
        "dl_smtp",
        Sensor(
            16,
            tuple(
                value
                for depth in range(8)
                for value in (
                    _kept(2 * depth, f"soil_moisture_index_{depth}", 500, 2_500),
                    _signed(2 * depth + 1, "temperature", 100, f"soil_{depth}"),
                )
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_tbrg",
        Sensor(
            4,
            (
                Derived("rain", "", _rain(0, wide=False)),
                _kept(1, "interval_s"),
                Derived("rain_total", "", _rain(2, wide=True)),
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_atm22",
        Sensor(
            8,
            (
                _signed(0, "wind_speed", 100),
                _signed(1, "wind_direction", 10),
                _signed(2, "wind_speed", 100, "maximum"),
                _signed(3, "temperature", 10),
                _signed(4, "angle", 10, "x"),
                _signed(5, "angle", 10, "y"),
                _signed(6, "wind_speed", 100, "north"),
                _signed(7, "wind_speed", 100, "east"),
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_atm41",
        Sensor(
            17,
            (
                _signed(0, "solar_irradiance"),
                _signed(1, "rain", 1_000),
                _kept(2, "lightning_strikes", shift=HALF),
                _kept(3, "lightning_distance_km", shift=HALF),
                _signed(4, "wind_speed", 100),
                _signed(5, "wind_direction", 10),
                _signed(6, "wind_speed", 100, "maximum"),
                _signed(7, "temperature", 10),
                _kept(8, "vapour_pressure_kpa", 100, HALF),
                _signed(9, "pressure", 10),
                _signed(10, "relative_humidity", 10),
                _signed(11, "temperature", 10, "internal"),
                _signed(12, "angle", 10, "x"),
                _signed(13, "angle", 10, "y"),
                _signed(14, "angle", channel="heading"),
                _signed(15, "wind_speed", 100, "north"),
                _signed(16, "wind_speed", 100, "east"),
            ),
        ),
        BATTERY,
    ),
    product(
        "dl_dlr2_002",
        Sensor(
            4,
            (_kept(0, "pulses_since_last"), _kept(1, "interval_s"), Value(2, "pulse_count", wide=True)),
        ),
        BATTERY,
    ),
    product("dl_dlr2_004", Sensor(1, (Derived("input_current", "", _current),)), BATTERY),
    product("dl_pyr", Sensor(1, (_signed(0, "solar_irradiance", HALF, multiplier=15_000),)), BATTERY),
    product("dl_lws", Sensor(2, (_kept(0, "leaf_wetness", MIDDLE, MIDDLE, wide=True),)), BATTERY),
    product(
        "dl_zn1", Sensor(2, (Value(0, "", "", MIDDLE, MICROMETRES, MIDDLE, 0, "position_um", wide=True),)), BATTERY
    ),
    product(
        "dl_atm41g2",
        Sensor(
            17,
            (
                _signed(0, "solar_irradiance", 10),
                Value(1, "rain", divisor=1_000),
                _kept(2, "lightning_strikes", shift=HALF),
                _kept(3, "lightning_distance_km", shift=HALF),
                _signed(4, "wind_speed", 100),
                _signed(5, "wind_direction", 10),
                _signed(6, "wind_speed", 100, "maximum"),
                _signed(7, "temperature", 10),
                _kept(8, "vapour_pressure_kpa", 100, HALF),
                _signed(9, "pressure", 10),
                _signed(10, "relative_humidity", 10),
                _signed(11, "temperature", 10, "internal"),
                _signed(12, "angle", 10, "x"),
                _signed(13, "angle", 10, "y"),
                _signed(14, "conductivity", channel="rain"),
                Value(15, "rain_total", divisor=1_000, wide=True),
            ),
        ),
        BATTERY,
    ),
)
