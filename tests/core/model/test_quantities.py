"""The one catalogue: units by the grammar of UCUM (ucum.org, version 2.2, chapter 2), names in two languages."""

import re

import pytest

from core.model.quantities import QUANTITIES, Kind, Quantity
from tests.each import each

# From the tables of UCUM: prefixes (table 1), and of the atoms (tables 2 to 19) those that our sensors may need;
# only a metric atom takes a prefix. (It has no var: an annotation in braces says so, of the unity.)
PREFIXES = ("k", "h", "d", "c", "m", "u", "M", "G", "")
METRIC = [
    "m",
    "s",
    "g",
    "K",
    "V",
    "A",
    "W",
    "Hz",
    "Pa",
    "lx",
    "lm",
    "Cel",
    "B",
    "L",
    "l",
    "J",
    "N",
    "mol",
    "Ohm",
    "S",
    "bar",
    "[g]",
]
NOT_METRIC = ["1", "%", "[ppm]", "[ppb]", "[pH]", "min", "h", "d", "deg"]
ATOM = "|".join(
    re.escape(atom) for atom in sorted([prefix + unit for prefix in PREFIXES for unit in METRIC] + NOT_METRIC)
)
TERM = rf"(?:(?:{ATOM})(?:[+-]?[0-9]+)?(?:\{{[!-z|~]+\}})?|\{{[!-z|~]+\}})"
UCUM = re.compile(rf"/?{TERM}(?:[./]{TERM})*")


@each(QUANTITIES.values())
def test_a_quantity_has_a_unit_of_ucum_and_names_in_both_languages(quantity: Quantity) -> None:
    assert UCUM.fullmatch(quantity.unit)
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", quantity.name)
    assert quantity.label_fr[0] == quantity.label_fr[0].upper()
    assert quantity.label_en[0] == quantity.label_en[0].upper()
    assert quantity.kind is Kind.GAUGE or quantity.unit == "1" or quantity.kind is Kind.COUNTER
    if quantity.minimum is not None and quantity.maximum is not None:
        assert quantity.minimum < quantity.maximum


@pytest.mark.parametrize("unit", ["ppm", "°C", "kWh", "m³", "ug/m^3", "", "L/", "k%", "VA", "Celsius"])
def test_what_ucum_does_not_know_is_no_unit(unit: str) -> None:
    assert not UCUM.fullmatch(unit)
