"""Samples are answers of codecs as their vendors print them in public READMEs and examples."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.mapping import Mapping, apply, leaves, propose
from decoders.mapping.units import conversion
from decoders.mapping.vocabulary import TERMS, words_of

T = 1_760_000_000_000_000


def proposed(*samples: Any, units: dict[str, str] | None = None) -> dict[str, tuple[str, str, str]]:
    """Path -> (quantity, channel, unit)."""
    return {
        rule["path"]: (rule["quantity"], rule["channel"], rule.get("unit", ""))
        for rule in propose(samples, units).as_json()
    }


def test_a_counter_with_history() -> None:
    # Milesight EM300-DI
    sample = {
        "battery": 92,
        "temperature": 30.8,
        "humidity": 50.5,
        "history": [{"temperature": 27.2, "humidity": 46.5, "pulse": 256, "timestamp": 1665561758}],
    }

    assert proposed(sample) == {
        "battery": ("battery_level", "", ""),
        "temperature": ("temperature", "", ""),
        "humidity": ("relative_humidity", "", ""),
        "history[*].temperature": ("temperature", "", ""),
        "history[*].humidity": ("relative_humidity", "", ""),
        "history[*].pulse": ("pulse_count", "", ""),
    }
    readings = apply(propose([sample]), sample, T).readings
    assert {r.time_us // 1_000_000 for r in readings} == {T // 1_000_000, 1665561758}


def test_a_water_meter_that_repeats_its_last_hours() -> None:
    # Axioma Qalcosonic W1
    sample = {
        "status": {"lowBattery": False, "permanentError": False},
        "lastLogTime": "2021-07-09T03:51:27.000Z",
        "lastVolume": 103720,
        "deltaVolumes": [30, 4],
        "volumes": [
            {"time": "2021-07-08T12:00:00.000Z", "volume": 103415},
            {"time": "2021-07-08T13:00:00.000Z", "volume": 103445},
        ],
    }

    assert proposed(sample) == {
        "status.lowBattery": ("low_battery", "", ""),
        "lastVolume": ("water_volume", "", ""),
        "volumes[*].volume": ("water_volume", "", ""),
    }


def test_records_that_name_themselves() -> None:
    # Watteco Clos'O
    date = "2023-07-19T07:51:25.508306410Z"
    samples = (
        [{"variable": "index", "value": 3, "date": date}, {"variable": "firmware", "value": "3.5", "date": date}],
        [{"variable": "disposable_battery_voltage", "value": 3.688, "date": date}],
        [{"variable": "open", "value": True, "date": date}],
    )

    assert proposed(*samples) == {
        "[variable=index].value": ("pulse_count", "", ""),
        "[variable=disposable_battery_voltage].value": ("battery_voltage", "", ""),
        "[variable=open].value": ("open", "", ""),
    }
    assert propose(samples).as_json()[0]["time"] == {"path": "date"}


def test_a_record_that_is_repeated_beside_its_array_is_read_once_in_the_unit_that_it_says() -> None:
    # Watteco Alt'O
    date = "2023-07-19T07:51:25.508Z"
    sample = {
        "samples": [
            {"variable": "Tilt", "value": 13, "date": date, "unit": "deg"},
            {"variable": "distance", "value": 1.25, "date": date, "unit": "m"},
        ],
        "Tilt": 13,
        "Tilt_unit": "deg",
        "distance": 1.25,
        "distance_unit": "m",
        "batch_counter": 2,
    }

    assert proposed(sample) == {
        "samples[variable=Tilt].value": ("angle", "", ""),
        "samples[variable=distance].value": ("distance", "", "m"),
    }
    assert [r.value for r in apply(propose([sample]), sample, T).readings] == [13, 1250]


def test_the_unit_beside_a_value_or_behind_it_is_used() -> None:
    sample = {"tank": {"distance": 85, "distanceUnit": "cm"}, "battery": "97 %", "temperature": "21.5°C"}

    assert proposed(sample) == {
        "tank.distance": ("distance", "", "cm"),
        "battery": ("battery_level", "", ""),
        "temperature": ("temperature", "", "°C"),
    }
    assert [r.value for r in apply(propose([sample]), sample, T).readings] == [850, 97, 21.5]


def test_imported_and_exported_energy_become_two_quantities() -> None:
    sample = {
        "positive_active_energy": 10,
        "negative_active_energy": 2,
        "over_voltage": 3,
        "counterA": 1,
        "counterB": 2,
    }

    assert proposed(sample) == {
        "positive_active_energy": ("active_energy_import", "", ""),
        "negative_active_energy": ("active_energy_export", "", ""),
        "counterA": ("pulse_count", "a", ""),
        "counterB": ("pulse_count", "b", ""),
    }


def test_two_probes_and_abbreviated_names() -> None:
    # Dragino LHT65
    sample = {"BatV": 3.1, "TempC_SHT": 21.5, "Hum_SHT": 45.2, "TempC_DS": 18.1}

    assert proposed(sample) == {
        "BatV": ("battery_voltage", "", ""),
        "TempC_SHT": ("temperature", "sht", "°C"),
        "Hum_SHT": ("relative_humidity", "", ""),
        "TempC_DS": ("temperature", "ds", "°C"),
    }


def test_numbered_channels_and_words_for_booleans() -> None:
    # Milesight UC300
    sample = {"counter_1": 10, "counter_2": 20, "gpio_in_3": "off", "gpio_out_1": "on"}

    assert proposed(sample) == {
        "counter_1": ("pulse_count", "1", ""),
        "counter_2": ("pulse_count", "2", ""),
        "gpio_in_3": ("input_state", "", ""),
        "gpio_out_1": ("switch_state", "", ""),
    }
    assert [r.value for r in apply(propose([sample]), sample, T).readings] == [10, 20, 0, 1]


@pytest.mark.parametrize(
    ("name", "value", "quantity", "unit"),
    [
        ("battery", 3.6, "battery_voltage", ""),
        ("battery", 3601, "battery_voltage", "mV"),
        ("battery", 0.93, "battery_level", "fraction"),
        ("battery", 93, "battery_level", ""),
        ("pressure", 101325, "pressure", "Pa"),
        ("pressure", 101.3, "pressure", "kPa"),
        ("pressure", 1013.2, "pressure", ""),
        ("distance", 1.274, "distance", ""),
        ("distance_m", 1.274, "distance", "m"),
        ("volume", 103.415, "water_volume", "m3"),
        ("energy", 12.5, "active_energy_import", "kWh"),
        ("total_energy_kwh", 12, "active_energy_import", "kWh"),
        ("CO2", 612, "co2", ""),
        ("power_factor", 0.9, "power_factor", "fraction"),
        ("power_factor", 93, "power_factor", ""),
        ("soil_moisture", 31.5, "soil_moisture", ""),
        ("windSpeed", 3.2, "wind_speed", ""),
        ("pm1_0", 5, "pm1", ""),
        ("target_temperature", 19.5, "target_temperature", ""),
        ("valve_opening", 40, "valve_opening", ""),
        ("people_count", 4, "people_count", ""),
        ("light_level", 3, "light_level", ""),
        ("tVOC", 300, "tvoc", ""),
        ("pm2_5", 12, "pm2_5", ""),
        ("vdd", 3594, "battery_voltage", "mV"),
        ("LAeq", 47.4, "sound_level", ""),
    ],
)
def test_a_name_and_its_values_give_quantity_and_unit(name: str, value: float, quantity: str, unit: str) -> None:
    assert proposed({name: value}) == {name: (quantity, "", unit)}


def test_the_unit_that_a_catalogue_gives_is_used() -> None:
    assert proposed({"water": {"volume": 12}}, units={"water.volume": "m3"}) == {
        "water.volume": ("water_volume", "", "m3")
    }


@pytest.mark.parametrize(
    "sample",
    [
        {"firmware_version": "v1.2", "sn": "6746d38802580000", "report_interval": 600},
        {"temperature_alarm_settings": {"threshold_min": 10, "threshold_max": 30}},
        {"temperature": "broken"},
        {"leak": 7},
        {"temperature": 5000},
        {},
        [],
        [[[1]]],
    ],
)
def test_what_is_not_understood_is_left_to_the_technician(sample: Any) -> None:
    assert proposed(sample) == {}


def test_every_path_is_listed_with_the_values_that_were_seen() -> None:
    seen = {
        leaf.path: leaf.values for leaf in leaves([{"a": {"b": 1}, "c": [1, 2]}, {"a": {"b": None}, "c": [3]}])
    }

    assert seen == {"a.b": [1], "c[*]": [1, 2, 3]}


def test_every_term_means_a_quantity_of_the_catalogue_in_units_that_convert() -> None:
    for term in TERMS:
        if term.quantity is not None:
            unit = QUANTITIES[term.quantity].unit
            assert all(conversion(one, unit) is not None for one in term.units), term


def test_the_names_of_quantities_are_understood_as_what_they_are() -> None:
    named = {term.quantity for term in TERMS}
    for name in (
        "temperature",
        "relative_humidity",
        "co2",
        "battery_voltage",
        "fill_level",
        "pulse_count",
        "leak",
    ):
        assert name in named
        assert words_of(name)


names = st.sampled_from(
    ["temperature", "time", "value", "name", "battery", "history", "x.y", "a[1]", "", "volume"]
)
answers = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(answers, max_size=3))
def test_a_proposal_can_always_be_stored_and_applied(samples: list[Any]) -> None:
    mapping = propose(samples)

    assert Mapping.parse(mapping.as_json()) == mapping
    for sample in samples:
        apply(mapping, sample, T)
