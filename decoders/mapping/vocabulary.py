"""What vendors call what they measure: names of fields, split into words, and the quantities that they mean."""

import re
from typing import NamedTuple


class Term(NamedTuple):
    """Words that, together in a field's name, mean a quantity; None: something that is not in the catalogue.

    `units` are the vendor's units worth trying, the likeliest first; "" is the catalogue's own.
    """

    words: frozenset[str]
    quantity: str | None
    units: tuple[str, ...] = ("",)


def _term(words: str, quantity: str | None, *units: str) -> Term:
    return Term(frozenset(words.split()), quantity, units or ("",))


# The one with the most words wins, then the first.
TERMS = (
    _term("battery voltage", "battery_voltage", "", "mV"),
    _term("battery low", "low_battery"),
    _term("battery level", "battery_level", "", "fraction"),
    _term("battery", "battery_level", "", "fraction"),
    _term("water temperature", "water_temperature"),
    _term("target temperature", "target_temperature"),
    _term("temperature difference", "temperature_difference"),
    _term("temperature", "temperature"),
    _term("dew point", None),
    _term("soil humidity", "soil_moisture", "", "fraction"),
    _term("absolute humidity", None),
    _term("humidity", "relative_humidity", "", "fraction"),
    _term("co2", "co2"),
    _term("voc index", "tvoc_index"),
    _term("iaq", "tvoc_index"),
    _term("voc", "tvoc"),
    _term("differential pressure", "differential_pressure"),
    _term("water pressure", "water_pressure", "", "bar"),
    _term("water level", "water_level", "", "mm", "cm"),
    _term("pressure", "pressure", "", "Pa", "kPa", "bar"),
    _term("illuminance level", "light_level"),
    _term("illuminance", "illuminance"),
    _term("motion", "motion"),
    _term("occupancy", "occupancy"),
    _term("daylight", "daylight"),
    _term("people in", "people_passed_in_period"),
    _term("people total", "people_passed"),
    _term("people", "people_count"),
    _term("wind speed", "wind_speed"),
    _term("wind direction", "wind_direction"),
    _term("rain total", "rain_total"),
    _term("rain", "rain"),
    _term("solar", "solar_irradiance"),
    _term("irradiance", "solar_irradiance"),
    _term("conductivity", "conductivity"),
    _term("acceleration", "acceleration"),
    _term("sound", "sound_level"),
    _term("pm1", "pm1"),
    _term("pm25", "pm2_5"),
    _term("pm4", "pm4"),
    _term("pm10", "pm10"),
    _term("hcho", "hcho"),
    _term("o3", "o3"),
    _term("fill level", "fill_level", "", "fraction"),
    _term("fill", "fill_level", "", "fraction"),
    _term("distance", "distance", "", "m"),
    _term("tilt", "tilt"),
    _term("angle", "angle"),
    _term("water volume", "water_volume", "", "m3"),
    _term("volume", "water_volume", "", "m3"),
    _term("gas volume", "gas_volume"),
    _term("volume flow", "volume_flow"),
    _term("flow", "volume_flow"),
    _term("valve", "valve_open"),
    _term("valve open", "valve_open"),
    _term("valve opening", "valve_opening", "", "fraction"),
    _term("pulse", "pulse_count"),
    _term("counter", "pulse_count"),
    _term("leak", "leak"),
    _term("backflow", "backflow"),
    _term("burst", "burst"),
    _term("dry", "dry"),
    _term("freeze", "freeze"),
    _term("reactive energy", "reactive_energy"),
    _term("apparent energy", None),
    _term("heat energy", "thermal_energy", "", "kWh"),
    _term("heat power", "thermal_power", "", "kW"),
    _term("export energy", "active_energy_export", "", "kWh"),
    _term("import energy", "active_energy_import", "", "kWh"),
    _term("energy", "active_energy_import", "", "kWh"),
    _term("power factor", "power_factor", "fraction", ""),
    _term("reactive power", "reactive_power"),
    _term("apparent power", "apparent_power"),
    _term("power", "active_power"),
    _term("input voltage", "input_voltage", "", "mV"),
    _term("voltage", "voltage", "", "mV"),
    _term("current", "current"),
    _term("frequency", "frequency"),
    _term("switch", "switch_state"),
    _term("relay", "switch_state"),
    _term("open", "open"),
    _term("door", "open"),
    _term("tamper", "tamper"),
    _term("gpio out", "switch_state"),
    _term("output", "switch_state"),
    _term("input", "input_state"),
    _term("gpio", "input_state"),
    _term("analog", "analog_input"),
)

# One word for each thing.
SYNONYMS = {
    "temp": "temperature",
    "tmp": "temperature",
    "temperatures": "temperature",
    "hum": "humidity",
    "humi": "humidity",
    "rh": "humidity",
    "moisture": "humidity",
    "setpoint": "target temperature",
    "brightness": "illuminance",
    "person": "people",
    "persons": "people",
    "rainfall": "rain",
    "thermal": "heat",
    "flowrate": "flow",
    "bat": "battery",
    "batt": "battery",
    "vbat": "battery voltage",
    "vbatt": "battery voltage",
    "vdd": "battery voltage",
    "volt": "voltage",
    "volts": "voltage",
    "tvoc": "voc",
    "barometer": "pressure",
    "barometric": "pressure",
    "lux": "illuminance",
    "luminosity": "illuminance",
    "illumination": "illuminance",
    "luminance": "illuminance",
    "light": "illuminance",
    "pir": "motion",
    "movement": "motion",
    "occupied": "occupancy",
    "presence": "occupancy",
    "accelerometer": "acceleration",
    "noise": "sound",
    "laeq": "sound",
    "leq": "sound",
    "formaldehyde": "hcho",
    "ozone": "o3",
    "filling": "fill",
    "fullness": "fill",
    "tilted": "tilt",
    "volumes": "volume",
    "pulses": "pulse",
    "count": "counter",
    "counters": "counter",
    "index": "counter",
    "leakage": "leak",
    "exported": "export",
    "injected": "export",
    "amperage": "current",
    "relais": "relay",
    "plug": "switch",
    "socket": "switch",
    "opened": "open",
    "contact": "door",
    "lid": "door",
    "cover": "door",
    "window": "door",
    "magnet": "door",
    "digital": "input",
    "din": "input",
    "adc": "analog",
    "percentage": "percent",
}

# A field with one of these words is about the device or its settings, not about what it measures.
ABOUT_THE_DEVICE = frozenset(
    [
        "version",
        "firmware",
        "hardware",
        "software",
        "serial",
        "sn",
        "eui",
        "id",
        "threshold",
        "thresholds",
        "min",
        "max",
        "minimum",
        "maximum",
        "avg",
        "average",
        "config",
        "configuration",
        "settings",
        "setting",
        "interval",
        "period",
        "calibration",
        "enable",
        "enabled",
        "mode",
        "timestamp",
        "date",
        "type",
        "unit",
        "port",
        "length",
        "size",
        "frame",
        "crc",
        "protocol",
        "ipso",
        "tsl",
        "reset",
        "reboot",
        "delta",
        "deltas",
        "rssi",
        "snr",
        "previous",
        "gain",
        "conv",
        "latitude",
        "longitude",
        "altitude",
    ]
)

# Words that say in which unit, where they are not the whole name.
UNIT_WORDS = {
    "mv": "mV",
    "millivolt": "mV",
    "millivolts": "mV",
    "v": "V",
    "kwh": "kWh",
    "wh": "Wh",
    "kw": "kW",
    "w": "W",
    "watts": "W",
    "ma": "mA",
    "a": "A",
    "amps": "A",
    "mm": "mm",
    "cm": "cm",
    "m": "m",
    "hpa": "hPa",
    "kpa": "kPa",
    "pa": "Pa",
    "mbar": "mbar",
    "ppm": "ppm",
    "ppb": "ppb",
    "c": "°C",
    "degc": "°C",
    "celsius": "°C",
    "f": "°F",
    "fahrenheit": "°F",
    "percent": "%",
    "pct": "%",
    "l": "L",
    "liters": "L",
    "litres": "L",
    "m3": "m3",
    "db": "dB",
    "dba": "dBA",
    "hz": "Hz",
    "va": "VA",
    "kva": "kVA",
    "lx": "lx",
}

# Words that tell nothing apart.
EMPTY_WORDS = frozenset(
    [
        "value",
        "val",
        "data",
        "sensor",
        "measure",
        "measurement",
        "measured",
        "reading",
        "status",
        "state",
        "total",
        "in",
        "of",
        "last",
        "latest",
    ]
)

# Texts of a boolean, in pairs of sides that belong together: (what they say for 1, what they say for 0).
OPPOSITES = (
    (("open", "opened"), ("closed", "close")),
    (("on",), ("off",)),
    (("high",), ("low",)),
    (("occupied",), ("vacant", "unoccupied", "free", "empty")),
    (("leak", "leakage", "leaking"), ("no leak", "no leakage", "normal", "dry")),
    (("tilt", "tilted"), ("normal", "upright")),
    (("trigger", "triggered"), ("idle", "normal")),
    (("uninstalled", "tampered", "tamper"), ("installed", "normal")),
    (("yes", "true", "active", "detected", "alarm"), ("no", "false", "inactive", "none", "normal")),
)

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-zµ]+|[A-Z]+|\d+")
# Chemical and metrological names that the splitting takes apart.
_CUT = (("co2", 2), ("o3", 1), ("m3", 1), ("hpa", 1), ("kpa", 1))
_SMALL_AND_LARGE = [(prefix, unit) for prefix in ("m", "k", "d") for unit in ("v", "a", "w", "wh", "va", "b")]
_JOINED: dict[tuple[str, ...], str] = {
    ("pm", "2", "5"): "pm25",
    ("pm", "1", "0"): "pm1",
    ("pm", "4", "0"): "pm4",
    ("k", "v", "a"): "kva",
    **{("pm", size): f"pm{size}" for size in ("1", "25", "4", "10")},
    **{(name[:cut], name[cut:]): name for name, cut in _CUT},
    **{both: "".join(both) for both in _SMALL_AND_LARGE},
}


def words_of(name: str) -> list[str]:
    """The words of a field's name, in lower case, one word for each thing: `TempC_SHT` -> temperature, c, sht."""
    if name.lower() in SYNONYMS:
        return SYNONYMS[name.lower()].split()
    parts: list[str] = [part.lower() for part in _WORD.findall(name)]
    words: list[str] = []
    at = 0
    while at < len(parts):
        joined = next((one for one in _JOINED if tuple(parts[at : at + len(one)]) == one), None)
        words += SYNONYMS.get(parts[at], parts[at]).split() if joined is None else [_JOINED[joined]]
        at += 1 if joined is None else len(joined)
    return words
