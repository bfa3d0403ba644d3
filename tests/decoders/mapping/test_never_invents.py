"""A proposed mapping never invents: what it is not sure of is to be confirmed, and measures nothing until then."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.codec_propose import propose_lines
from decoders.mapping import apply, propose
from decoders.mapping.doubts import FRENCH, Doubt

T = 1_760_000_000_000_000
MINUTE = 60_000_000
STATED = Path(__file__).parents[2] / "vectors" / "mapping.jsonl"
# Where a proposal contradicts the vendor's statement, and what is wrong with the statement.
ERRORS_OF_VENDORS = {
    # The sensor measures 30 to 4,500 mm: 2,116 cm is farther than it sees.
    ("milesight-iot/em310-udl", "distance"): "cm",
    # 1,560 V of a battery are 1,560 mV.
    ("thermokon/generic", "VBAT"): "V",
}


def live(sample: Any, units: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    return {
        rule["path"]: (rule["quantity"], rule.get("unit", ""))
        for rule in propose([sample], units).as_json()
        if "to_confirm" not in rule
    }


def doubts(sample: Any, units: dict[str, str] | None = None) -> dict[str, Doubt]:
    return {
        rule["path"]: Doubt(rule["to_confirm"])
        for rule in propose([sample], units).as_json()
        if "to_confirm" in rule
    }


@pytest.mark.parametrize(
    "sample",
    [
        {"Bat_status": 3},
        {"batteryStatus": 100},
        {"battery_state": 2},
        {"txPowerIndex": 2, "tx_power": 14, "TXPower": 16},
        {"currentAckTokenValue": 7},
        {"Current_Valve_Position": 71},
        {"activityReportingWindow": 300},
        {"loraPowerConsumption": 1234},
        {"distance_alarming": 1, "distance_alarm": True},
        {"temperatureOutOfRange": False, "leak_alarm": True},
        {"highCounter": 3, "lowCounter": 4},
        {"primaryCurrentTransformerRatio": 150, "voltageTransformerRatio": 230},
        {"temperature_threshold": {"min": 10, "max": 30}, "co2_limit": 1000, "currentRating": 16},
        {"total_current": 100},
        {"east_wind_speed": 3.2, "north_wind_speed": -1.0},
        {"temperature_min": 10, "temperature_max": 30},
        {"battery": 3},
        {"battery_level": 3.6},
        {"battery": 0.93},
        {"distance": 85},
        {"volume": 103.4, "energy": 12.5, "flow": 3, "current": 2, "acceleration": 1.1},
        {"power": 22.4},
        {"power": 3},
        {"humidity": 0.55},
        {"temperature": 5000},
        {"temperature": 301},
        {"pressure": 438745.1},
        {"wind_direction": 3},
        {"light_level": 1},
        {"tvoc": 2.27, "hcho": 0.1},
        {"dew_point_temperature": 12.5, "color_temperature": 40},
        {"comfortTemperature": 19, "temperature_offset": 0.5},
        {"door": True, "valve": False, "relay": "open"},
        {"motion": 1, "leak": 0, "tamper": 1},
        {"voltage": 3.6, "supply_voltage": {"value": 3000, "unit": "mV"}},
        {"phaseAngleL1": 120.5, "heading": {"value": 86, "unit": "°"}, "brightness": 1},
        {"packetCounter": 12, "payloadCounter": 3, "counter": 5},
        {"temp_trigger": 28, "humidity_trigger": 70},
        {"material_humidity": 11, "woodMoisture": 12.2, "leaf_moisture": 30},
        {"parameters": {"temperature": 30}, "setup": {"humidity": 60}, "setback_temperature": 17},
        {"pressure": 0, "distance": 0, "voltage": 0},
        {"bat_v": 36},
        {"pulse_value": 10, "Last_pulse": 3},
        {"volume_liters": 320, "tank_height_cm": 150},
        {"active_power": {"value": 45_210, "unit": "Wh"}},
        {"temperature_0": 20.1, "temperature_1": 20.3, "temperature_2": 20.2},
        {"sensors": [{"type": "temperature", "value": 21.1}, {"type": "temperature", "value": 4.2}]},
        {"frames": [{"pulse": 12, "pin": n, "time": "2026-11-27T10:00:00Z"} for n in (1, 2)]},
        {"status": {"temperature": 1, "humidity": 0}, "counts": {"temperature": 12}, "ranges": {"humidity": 100}},
        {"yesterday": {"temperature": 18}},
        {"Grenzwerttemperatur": 30, "seuil_temperature": 30, "alarme_co2": 800, "Batteriestatus": 2},
    ],
    ids=lambda sample: next(iter(sample)),
)
def test_a_name_that_misleads_or_leaves_its_unit_open_measures_nothing(sample: dict[str, Any]) -> None:
    assert live(sample) == {}
    assert apply(propose([sample]), sample, T).readings == []


def test_names_in_french_and_german_and_names_without_a_break_are_read() -> None:
    sample = {
        "température_extérieure": 4.2,
        "humidité": 47,
        "tension_pile": 3.56,
        "puissance_active_w": 1200,
        "fuite": False,
        "Batteriespannung": 3.58,
        "Luftfeuchtigkeit": 45.2,
        "Vorlauftemperatur": 71.2,
        "soilmoisture": 33.1,
        "relativehumidity": 44,
    }

    assert {path: quantity for path, (quantity, _) in live(sample).items()} == {
        "température_extérieure": "temperature",
        "humidité": "relative_humidity",
        "tension_pile": "battery_voltage",
        "puissance_active_w": "active_power",
        "fuite": "leak",
        "Batteriespannung": "battery_voltage",
        "Luftfeuchtigkeit": "relative_humidity",
        "Vorlauftemperatur": "temperature",
        "soilmoisture": "soil_moisture",
        "relativehumidity": "relative_humidity",
    }


def test_what_is_measured_is_in_the_name_around_a_channel_a_phase_or_what_it_is_at_present() -> None:
    sample = {
        "temperatureSensor": {"3": 27.2, "5": 25.5},
        "voltage": {"L1": 231.2, "L2": 230.1},
        "temperature": {"soil": 12.1},
        "humidity": {"current": 44},
        "battery": {"current": 12},
    }

    rules = propose([sample]).as_json()

    assert {rule["path"]: (rule["quantity"], rule["channel"]) for rule in rules if "to_confirm" not in rule} == {
        "temperatureSensor.3": ("temperature", "3"),
        "temperatureSensor.5": ("temperature", "5"),
        "voltage.L1": ("voltage", "l1"),
        "voltage.L2": ("voltage", "l2"),
        "temperature.soil": ("temperature", "soil"),
        "humidity.current": ("relative_humidity", ""),
    }


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ({"humidity": {"value": 452, "unit": "‰"}}, 45.2),
        ({"humidity_permille": 452}, 45.2),
        ({"flow": {"value": 0.2, "unit": "l/s"}}, 720),
        ({"flow_m3h": 1.2}, 1200),
        ({"flow_lpm": 12}, 720),
        ({"temp_k": 294.15}, 21),
        ({"hcho_ugm3": 12}, 0.012),
        ({"water_pressure": {"value": 30, "unit": "psi"}}, 206.8),
    ],
    ids=str,
)
def test_a_unit_in_a_name_or_beside_the_value_is_read(sample: dict[str, Any], value: float) -> None:
    decoded = apply(propose([sample]), sample, T)

    assert [one.value for one in decoded.readings] == [pytest.approx(value, abs=0.05)]


def test_what_is_to_be_confirmed_is_decoded_beside_the_readings_and_says_why() -> None:
    sample = {"temperature": 21.5, "distance": 85}

    decoded = apply(propose([sample]), sample, T)

    assert [(one.quantity, one.value) for one in decoded.readings] == [("temperature", 21.5)]
    assert [(one.quantity, one.value) for one in decoded.to_confirm] == [("distance", 85)]
    assert FRENCH[doubts(sample)["distance"]] == "une valeur d'exemple est invraisemblable"
    assert set(FRENCH) == set(Doubt)


@pytest.mark.parametrize(
    "name",
    [
        "temperature_threshold",
        "temperatureAlarm",
        "deltaTemperature",
        "temperature_limit",
        "temperature_error",
        "temperature_ratio",
        "temperature_rating",
        "temperature_token",
        "tx_temperature",
        "temperature_offset",
        "comfort_temperature",
    ],
)
def test_a_limit_or_a_setting_measures_nothing_even_with_the_unit_of_a_measurement(name: str) -> None:
    assert propose([{name: {"value": 21.5, "unit": "°C"}}]).rules == ()
    assert propose([{name: 21.5}], {name: "°C"}).rules == ()


def test_a_unit_that_contradicts_the_name_vetoes_the_quantity() -> None:
    assert live({"temperature": {"value": 50, "unit": "%"}}) == {}
    assert live({"power_consumption": 74}, {"power_consumption": "Wh"}) == {
        "power_consumption": ("active_energy_import", "Wh")
    }
    assert live({"battery_level": {"value": 2.88, "unit": "Volt"}}) == {
        "battery_level.value": ("battery_voltage", "Volt")
    }
    assert live({"power": 22.4}, {"power": "kW"}) == {"power": ("active_power", "kW")}
    assert live({"total_current": 100}, {"total_current": "Ah"}) == {"total_current": ("electric_charge", "Ah")}


def test_the_unit_beside_the_field_goes_before_the_catalogues() -> None:
    sample = {"power": 22.4, "powerUnit": "kW"}

    assert live(sample, {"power": "W"}) == {"power": ("active_power", "kW")}
    assert [one.value for one in apply(propose([sample], {"power": "W"}), sample, T).readings] == [22_400]


def test_a_name_of_another_multiple_than_the_unit_that_is_said_is_to_be_confirmed() -> None:
    assert doubts({"power_kw": 22}, {"power_kw": "W"}) == {"power_kw": Doubt.OTHER_UNIT}


def test_records_that_name_themselves_and_their_units_in_their_own_words_are_read() -> None:
    sample = {
        "readings": [
            {"_name": "Battery level", "_unit": "Volt", "_value": 2.879},
            {"_name": "Ambient temperature", "_unit": "°C", "_value": 21.1},
            {"_name": "Humidity", "_unit": "% rH", "_value": 27.3},
        ]
    }

    assert set(live(sample).values()) == {
        ("battery_voltage", "Volt"),
        ("temperature", "°C"),
        ("relative_humidity", "% rH"),
    }


def test_a_series_by_index_is_one_channel_with_instants_a_step_apart() -> None:
    sample = {
        "co2": {"unit": "ppm", "value": [210, 215, 225]},
        "periodBetweenRecord": {"unit": "minutes", "value": 10},
    }

    readings = apply(propose([sample]), sample, T).readings

    assert [(one.time_us, one.channel, one.value) for one in readings] == [
        (T - 20 * MINUTE, "", 210),
        (T - 10 * MINUTE, "", 215),
        (T, "", 225),
    ]


def test_a_series_has_the_channel_of_the_value_that_it_is_the_history_of() -> None:
    now = {"co2": {"unit": "ppm", "value": 410}}
    series = {"co2": {"unit": "ppm", "value": [410, 420]}, "periodBetweenRecord": {"unit": "minutes", "value": 10}}

    mapping = propose([now, series])

    assert [one.channel for one in apply(mapping, now, T).readings] == [""]
    assert [one.channel for one in apply(mapping, series, T).readings] == ["", ""]


def test_a_series_whose_step_nobody_says_is_one_channel_to_be_confirmed() -> None:
    assert doubts({"co2": {"unit": "ppm", "value": [210, 215, 225]}}) == {"co2.value[*]": Doubt.ORDER}


def test_pairs_of_an_instant_and_a_value_are_a_history() -> None:
    sample = {"temperatures": [["2024-08-02T18:00:00Z", 21.5], ["2024-08-02T18:15:00Z", 21.6]]}

    readings = apply(propose([sample]), sample, T).readings

    assert [one.value for one in readings] == [21.5, 21.6]
    assert readings[1].time_us - readings[0].time_us == 15 * MINUTE


def test_extremes_are_measured_where_an_average_lies_between_them() -> None:
    named = {"Temp_Min": 20.5, "Temp_Avg": 21.5, "Temp_Max": 22.5}
    nested = {"temperature": {"min": 20.5, "avg": 21.5, "max": 22.5}}
    impossible = {"temperature": {"min": 20.5, "avg": 80.5, "max": 22.5}}

    assert set(live(named)) == {"Temp_Min", "Temp_Avg", "Temp_Max"}
    assert set(live(nested)) == {"temperature.min", "temperature.avg", "temperature.max"}
    assert set(live(impossible)) == {"temperature.avg"}
    assert len({one.channel for one in apply(propose([named]), named, T).readings}) == len(named)


def test_what_came_since_the_last_frame_is_no_index_where_the_index_is_beside() -> None:
    sample = {"ch0_pulse_count": {"value": 4}, "ch0_cumulative_pulse_count": {"value": 68_592}}

    assert live(sample) == {"ch0_cumulative_pulse_count.value": ("pulse_count", "")}
    assert doubts(sample) == {"ch0_pulse_count.value": Doubt.PART}


@pytest.fixture(scope="module")
def stated() -> list[dict[str, Any]]:
    return [json.loads(line) for line in STATED.read_text("utf-8").splitlines()]


def test_frames_are_reproduced_from_their_data_alone_and_each_contradiction_is_the_vendors_error(
    stated: list[dict[str, Any]],
) -> None:
    answers, score = propose_lines(stated, datetime.now(UTC), data_alone=True)

    assert len(answers) == len(stated)
    assert score["reproduced"] >= 0.70 * score["holdable"]
    assert score["wrong_live"] < 0.01 * score["proposed_live"]
    assert {(one["line"], one["path"]): one["stated_unit"] for one in score["wrong"]} == ERRORS_OF_VENDORS


def test_frames_are_reproduced_with_the_units_that_their_vendor_states(stated: list[dict[str, Any]]) -> None:
    score = propose_lines(stated, datetime.now(UTC))[1]

    assert score["reproduced"] >= 0.80 * score["holdable"]
    assert score["wrong_live"] < 0.01 * score["proposed_live"]


def test_from_the_data_alone_what_the_vendor_states_judges_and_proposes_nothing(
    stated: list[dict[str, Any]],
) -> None:
    now = datetime.now(UTC)
    without = [{name: value for name, value in line.items() if name != "points"} for line in stated]

    assert propose_lines(stated, now, data_alone=True)[0] == propose_lines(without, now)[0]


def test_the_unit_that_a_vendor_states_of_a_value_vetoes_what_contradicts_it() -> None:
    line = {"data": {"power": 74}, "points": {"power": {"unitId": "Wh", "record": 74}}}

    (answer,), score = propose_lines([line], datetime.now(UTC))

    assert [rule for rule in answer["proposed"] if rule["live"]] == []
    assert score["wrong_live"] == 0
