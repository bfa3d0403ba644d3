"""Vendors' spellings of units, and their conversion to the unit of a quantity (UCUM)."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple, cast

from decoders.tables import read_table


class Conversion(NamedTuple):
    """Canonical value = vendor's value * scale + offset."""

    scale: float
    offset: float = 0.0


IDENTITY = Conversion(1.0)


def _known(names: Mapping[str, Any]) -> dict[str, Conversion]:
    """What is written for one unit of the catalogue: `same`, and the factors of the others, fractions as text."""
    known = dict.fromkeys(str(names.get("same", "")).split(), IDENTITY)
    for name, worth in names.items():
        if name != "same":
            scale, offset = cast("list[Any]", worth) if isinstance(worth, list) else (worth, 0)
            known[name] = Conversion(float(Fraction(scale)), float(Fraction(offset)))
    return known


# Unit of the catalogue -> what vendors call it or its multiples -> conversion.
CONVERSIONS: dict[str, dict[str, Conversion]] = {
    unit: _known(names) for unit, names in read_table("mapping/units.toml").items()
}
_SPACE = re.compile(r"\s+")


def conversion(vendor_unit: str, unit: str) -> Conversion | None:
    """From a vendor's unit to one of the catalogue; None when nobody knows how."""
    written = _SPACE.sub("", vendor_unit)
    if written != unit:
        written = written.removeprefix("[").removesuffix("]")
    if not written or written.lower() == unit.lower():
        return IDENTITY
    known = CONVERSIONS.get(unit, {})
    return known.get(written) or known.get(written.lower())


def is_known(vendor_unit: str, unit: str) -> bool:
    """Whether a value in the vendor's unit can be said in this one."""
    return conversion(vendor_unit, unit) is not None
