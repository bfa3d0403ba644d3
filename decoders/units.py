"""From the unit that a device speaks to the unit of the catalogue of quantities (UCUM codes)."""

from fractions import Fraction
from typing import NamedTuple


class Conversion(NamedTuple):
    """`catalogue = stated * factor + shift`, exactly."""

    factor: Fraction
    shift: Fraction = Fraction(0)


SAME = Conversion(Fraction(1))
# Units by what they measure: each one's worth in the first of its family.
_FAMILIES: tuple[dict[str, Fraction], ...] = (
    {"mm": Fraction(1), "cm": Fraction(10), "m": Fraction(1_000), "[in_i]": Fraction(254, 10)},
    {"V": Fraction(1), "mV": Fraction(1, 1_000), "uV": Fraction(1, 1_000_000)},
    {"A": Fraction(1), "mA": Fraction(1, 1_000)},
    {"W": Fraction(1), "kW": Fraction(1_000), "mW": Fraction(1, 1_000)},
    {"{var}": Fraction(1), "k{var}": Fraction(1_000)},
    {"V.A": Fraction(1), "kV.A": Fraction(1_000)},
    {"W.h": Fraction(1), "kW.h": Fraction(1_000), "MW.h": Fraction(1_000_000), "J": Fraction(1, 3_600)},
    {"{var}.h": Fraction(1), "k{var}.h": Fraction(1_000)},
    {"L": Fraction(1), "m3": Fraction(1_000), "dL": Fraction(1, 10), "mL": Fraction(1, 1_000)},
    {"hPa": Fraction(1), "Pa": Fraction(1, 100), "kPa": Fraction(10), "mbar": Fraction(1), "bar": Fraction(1_000)},
    {"mg/m3": Fraction(1), "ug/m3": Fraction(1, 1_000)},
    {"[ppm]": Fraction(1), "[ppb]": Fraction(1, 1_000)},
    {"%": Fraction(1), "[ppth]": Fraction(1, 10), "1": Fraction(100)},
    {"[g]": Fraction(1), "m[g]": Fraction(1, 1_000)},
    {"s": Fraction(1), "min": Fraction(60), "h": Fraction(3_600), "d": Fraction(86_400)},
)
_TO_CELSIUS = {
    "K": Conversion(Fraction(1), Fraction(-27_315, 100)),
    "[degF]": Conversion(Fraction(5, 9), Fraction(-160, 9)),
}
# What technicians write for what UCUM calls otherwise.
_SPELLINGS = {
    spelling: unit
    for unit, spellings in {
        "Cel": "°C C degC",
        "[degF]": "°F",
        "L": "l litre",
        "m3": "m³",
        "W.h": "Wh",
        "kW.h": "kWh",
        "MW.h": "MWh",
        "V.A": "VA",
        "kV.A": "kVA",
        "{var}.h": "varh",
        "[ppm]": "ppm",
        "[ppb]": "ppb",
        "ug/m3": "µg/m³ µg/m3",
        "mg/m3": "mg/m³",
        "lx": "lux",
        "[g]": "g",
        "m[g]": "mg",
        "%": "%RH",
        "[ppth]": "‰",
        "min": "mn",
        "d": "j",
        "{var}": "var",
    }.items()
    for spelling in spellings.split()
}


def conversion(stated: str, catalogue: str) -> Conversion | None:
    """How to get from a value in `stated` to one in `catalogue`; None when the two measure other things."""
    unit = stated if stated == catalogue else _SPELLINGS.get(stated, stated)
    if unit == catalogue:
        return SAME
    if catalogue == "Cel":
        return _TO_CELSIUS.get(unit)
    for family in _FAMILIES:
        if unit in family and catalogue in family:
            return Conversion(family[unit] / family[catalogue])
    return None


def convertible(catalogue: str) -> list[str]:
    """The units that can be converted into this one, itself first."""
    if catalogue == "Cel":
        return [catalogue, *_TO_CELSIUS]
    others = [unit for family in _FAMILIES if catalogue in family for unit in family if unit != catalogue]
    return [catalogue, *others]
