"""Values of Decentlab's sensors that take more than a word and a scale.

Profile options: `pressure_minimum` and `pressure_maximum` (bar, PR21 and PR26), `kp` (PR36 and PR36CTD),
`resolution` (mm of rain per tip, TBRG), `shunt` (ohms, DLR2-004), each as the device's label says.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from decoders.decentlab.frame import Formula

_HALF = 32_768
_KPA_PER_BAR = 100


def _option(options: Mapping[str, Any], name: str) -> float | None:
    value: Any = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _illuminance(number: int, _options: Mapping[str, Any]) -> float:
    """From the two photodiodes, visible with infrared, and infrared alone."""
    infrared, visible = divmod(number, 1 << 16)
    return max(1.0 * visible - 1.64 * infrared, 0.59 * visible - 0.86 * infrared, 0) * 1.5504


def _ranged_pressure(number: int, options: Mapping[str, Any]) -> float | None:
    least, most = _option(options, "pressure_minimum"), _option(options, "pressure_maximum")
    if least is None or most is None:
        return None
    return ((number - 16_384) / _HALF * (most - least) + least) * _KPA_PER_BAR


def _precise_pressure(number: int, options: Mapping[str, Any]) -> float | None:
    kp = _option(options, "kp")
    return (number - _HALF) / kp * _KPA_PER_BAR if kp else None


def _rain(tips: int, options: Mapping[str, Any]) -> float | None:
    resolution = _option(options, "resolution")
    return None if resolution is None else tips * resolution


def _current(number: int, options: Mapping[str, Any]) -> float | None:
    """Milliamperes through the shunt, of which the label says the ohms."""
    shunt = _option(options, "shunt")
    return 3 * (number - _HALF) / _HALF / 2 / shunt * 1_000 if shunt else None


FORMULAS: Mapping[str, Formula] = {
    "illuminance": _illuminance,
    "ranged_pressure": _ranged_pressure,
    "precise_pressure": _precise_pressure,
    "rain": _rain,
    "current": _current,
}
