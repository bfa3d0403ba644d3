"""Decentlab's products, as products.toml describes them."""

from collections.abc import Sequence
from typing import Any

from decoders.decentlab.formulas import FORMULAS
from decoders.decentlab.frame import Sensor, Value, product
from decoders.tables import read_table


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


_TABLE = read_table("decentlab/products.toml")
_SHARED = {name: _sensor(entries) for name, entries in _TABLE["sensors"].items()}
PRODUCTS = tuple(
    product(name, *(_SHARED[sensor] if isinstance(sensor, str) else _sensor(sensor) for sensor in sensors))
    for name, sensors in _TABLE["products"].items()
)
