"""Decentlab's products, as products.toml describes them."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from decoders.decentlab.formulas import FORMULAS
from decoders.decentlab.frame import Sensor, Value, product


def _sensor(entries: Sequence[dict[str, Any]]) -> Sensor:
    values: list[Value] = []
    size = 0
    for entry in entries:
        given: dict[str, Any] = {"word": size, **entry}
        if "formula" in entry:
            given["formula"] = FORMULAS[entry["formula"]]
        value = Value(**given)
        values.append(value)
        size = max(size, value.word + (2 if value.wide else 1))
    return Sensor(size, tuple(values))


_TABLE: dict[str, Any] = tomllib.loads(files("decoders.decentlab").joinpath("products.toml").read_text("utf-8"))
_SHARED = {name: _sensor(entries) for name, entries in _TABLE["sensors"].items()}
PRODUCTS = tuple(
    product(name, *(_SHARED[sensor] if isinstance(sensor, str) else _sensor(sensor) for sensor in sensors))
    for name, sensors in _TABLE["products"].items()
)
