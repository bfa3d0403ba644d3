"""Which values are believed, which may be true all the same, and which are none."""

import pytest

from core.model.plausibility import Plausibility, SensorRange, plausibility, sensor_ranges_of
from core.model.quantities import QUANTITIES
from decoders.catalogue import CODECS
from tests.each import each

TEMPERATURE = QUANTITIES["temperature"]


@pytest.mark.parametrize(
    ("value", "thought"),
    [
        (21.0, Plausibility.PLAUSIBLE),
        (150.0, Plausibility.PLAUSIBLE),
        (180.1, Plausibility.IMPROBABLE),
        (900.0, Plausibility.IMPROBABLE),
        (-80.0, Plausibility.IMPROBABLE),
        (-300.0, Plausibility.IMPOSSIBLE),
        (5000.0, Plausibility.IMPOSSIBLE),
        *((code, Plausibility.ERROR_CODE) for code in (-327.68, 327.67, 655.35, 3276.7, -3276.8, 6553.5, -127.0)),
    ],
)
def test_a_temperature_without_a_range_of_its_sensor_is_thought_of_as(value: float, thought: Plausibility) -> None:
    assert plausibility(value, TEMPERATURE) is thought


def test_the_range_of_a_sensor_goes_before_that_of_the_quantity_both_ways() -> None:
    wide, narrow = SensorRange("temperature", maximum=400), SensorRange("temperature", "probe", -10, 40)

    assert plausibility(399, TEMPERATURE, "", [wide]) is Plausibility.PLAUSIBLE
    assert plausibility(401, TEMPERATURE, "", [wide]) is Plausibility.IMPROBABLE
    assert plausibility(60, TEMPERATURE, "probe", [wide, narrow]) is Plausibility.IMPROBABLE
    assert plausibility(60, TEMPERATURE, "", [wide, narrow]) is Plausibility.PLAUSIBLE
    assert plausibility(-61, TEMPERATURE, "", [wide]) is Plausibility.IMPROBABLE


def test_an_error_code_that_a_profile_names_is_none_of_its_values_be_it_in_the_range() -> None:
    ranges = sensor_ranges_of([{"quantity": "temperature", "error_codes": [85.0]}])

    assert plausibility(85.0, TEMPERATURE, "", ranges) is Plausibility.ERROR_CODE
    assert plausibility(85.1, TEMPERATURE, "", ranges) is Plausibility.PLAUSIBLE


def test_the_pt1000_of_400_degrees_measures_up_to_400() -> None:
    ranges = CODECS["watteco.pt1000_400c"].ranges

    assert plausibility(380, TEMPERATURE, "", ranges) is Plausibility.PLAUSIBLE
    assert CODECS["watteco.pt1000"].ranges == ()


@each(QUANTITIES)
def test_what_sensors_measure_is_physically_possible(name: str) -> None:
    quantity = QUANTITIES[name]

    assert (quantity.minimum is None) == (quantity.lowest is None)
    assert (quantity.maximum is None) == (quantity.highest is None)
    assert quantity.lowest is None or quantity.minimum is None or quantity.lowest <= quantity.minimum
    assert quantity.highest is None or quantity.maximum is None or quantity.highest >= quantity.maximum
