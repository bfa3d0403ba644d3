"""Vendors' spellings of units, and their conversion to the unit of a quantity (UCUM)."""

import re
from typing import NamedTuple


class Conversion(NamedTuple):
    """Canonical value = vendor's value * scale + offset."""

    scale: float
    offset: float = 0.0


IDENTITY = Conversion(1.0)
_KELVIN = 273.15

# Unit of the catalogue -> what vendors call it or its multiples -> conversion. Without spaces, and in lower case
# unless the case tells mega from milli.
CONVERSIONS: dict[str, dict[str, Conversion]] = {
    "Cel": {
        "°c": IDENTITY,
        "c": IDENTITY,
        "celsius": IDENTITY,
        "degc": IDENTITY,
        "℃": IDENTITY,
        "°f": Conversion(5 / 9, -160 / 9),
        "f": Conversion(5 / 9, -160 / 9),
        "fahrenheit": Conversion(5 / 9, -160 / 9),
        "k": Conversion(1.0, -_KELVIN),
    },
    "%": {
        "%rh": IDENTITY,
        "%r.h.": IDENTITY,
        "rh%": IDENTITY,
        "%hr": IDENTITY,
        "percent": IDENTITY,
        "pct": IDENTITY,
        "fraction": Conversion(100.0),
        "/255": Conversion(100 / 255),
        "/254": Conversion(100 / 254),
    },
    "V": {"mv": Conversion(0.001), "volt": IDENTITY, "volts": IDENTITY, "kv": Conversion(1000.0)},
    "A": {"ma": Conversion(0.001), "amp": IDENTITY, "ampere": IDENTITY, "ka": Conversion(1000.0)},
    "mA": {"a": Conversion(1000.0)},
    "A.h": {"ah": IDENTITY, "mah": Conversion(0.001)},
    "W": {"kw": Conversion(1000.0), "MW": Conversion(1e6), "mW": Conversion(0.001), "watt": IDENTITY},
    "V.A": {"va": IDENTITY, "kva": Conversion(1000.0)},
    "kV.A": {"kva": IDENTITY, "va": Conversion(0.001)},
    "{var}": {"var": IDENTITY, "kvar": Conversion(1000.0)},
    "W.h": {
        "wh": IDENTITY,
        "kwh": Conversion(1000.0),
        "MWh": Conversion(1e6),
        "mWh": Conversion(0.001),
        "j": Conversion(1 / 3600),
        "kj": Conversion(1 / 3.6),
        "MJ": Conversion(1e6 / 3600),
    },
    "{var}.h": {"varh": IDENTITY, "kvarh": Conversion(1000.0)},
    "Hz": {"khz": Conversion(1000.0)},
    "mm": {
        "cm": Conversion(10.0),
        "dm": Conversion(100.0),
        "m": Conversion(1000.0),
        "in": Conversion(25.4),
        "inch": Conversion(25.4),
        "ft": Conversion(304.8),
    },
    "m": {"mm": Conversion(0.001), "cm": Conversion(0.01), "km": Conversion(1000.0)},
    "L": {
        "litre": IDENTITY,
        "litres": IDENTITY,
        "liter": IDENTITY,
        "liters": IDENTITY,
        "dm3": IDENTITY,
        "m3": Conversion(1000.0),
        "m³": Conversion(1000.0),
        "hl": Conversion(100.0),
        "dl": Conversion(0.1),
        "cl": Conversion(0.01),
        "ml": Conversion(0.001),
    },
    "m3": {"m³": IDENTITY, "l": Conversion(0.001), "dm3": Conversion(0.001)},
    "hPa": {
        "mbar": IDENTITY,
        "pa": Conversion(0.01),
        "kpa": Conversion(10.0),
        "bar": Conversion(1000.0),
    },
    "kPa": {"pa": Conversion(0.001), "hpa": Conversion(0.1), "mbar": Conversion(0.1), "bar": Conversion(100.0)},
    "Pa": {"hpa": Conversion(100.0), "kpa": Conversion(1000.0), "mbar": Conversion(100.0)},
    "[ppm]": {"ppm": IDENTITY, "ppb": Conversion(0.001)},
    "[ppb]": {"ppb": IDENTITY, "ppm": Conversion(1000.0)},
    "ug/m3": {
        "µg/m3": IDENTITY,
        "µg/m³": IDENTITY,
        "ug/m³": IDENTITY,
        "μg/m³": IDENTITY,
        "μg/m3": IDENTITY,
        "mg/m3": Conversion(1000.0),
        "mg/m³": Conversion(1000.0),
    },
    "mg/m3": {
        "mg/m³": IDENTITY,
        "ug/m3": Conversion(0.001),
        "µg/m3": Conversion(0.001),
        "µg/m³": Conversion(0.001),
    },
    "lx": {"lux": IDENTITY, "klx": Conversion(1000.0)},
    "dB": {"dba": IDENTITY, "db(a)": IDENTITY, "db(c)": IDENTITY},
    "[g]": {
        "g": IDENTITY,
        "mg": Conversion(0.001),
        "m/s2": Conversion(1 / 9.80665),
        "m/s²": Conversion(1 / 9.80665),
    },
    "deg": {"°": IDENTITY, "degree": IDENTITY, "degrees": IDENTITY, "rad": Conversion(57.29577951308232)},
    "K": {"°c": IDENTITY, "c": IDENTITY, "celsius": IDENTITY},
    "uS/cm": {
        "µs/cm": IDENTITY,
        "μs/cm": IDENTITY,
        "ms/cm": Conversion(1000.0),
        "ds/m": Conversion(1000.0),
        "ms/m": Conversion(10.0),
        "us/m": Conversion(0.01),
    },
    "L/h": {"m3/h": Conversion(1000.0), "m³/h": Conversion(1000.0), "l/min": Conversion(60.0)},
    "W/m2": {"w/m²": IDENTITY},
    "m/s": {"km/h": Conversion(1 / 3.6), "kmh": Conversion(1 / 3.6)},
    "s": {"ms": Conversion(0.001), "min": Conversion(60.0), "h": Conversion(3600.0), "d": Conversion(86_400.0)},
    "1": {"count": IDENTITY, "counts": IDENTITY, "none": IDENTITY},
}
_SPACE = re.compile(r"\s+")


def conversion(vendor_unit: str, unit: str) -> Conversion | None:
    """From a vendor's unit to one of the catalogue; None when nobody knows how."""
    written = _SPACE.sub("", vendor_unit)
    if not written or written.lower() == unit.lower():
        return IDENTITY
    known = CONVERSIONS.get(unit, {})
    return known.get(written) or known.get(written.lower())
