import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import Decoded, Reading
from decoders.mapping import InvalidMapping, Mapping, apply
from decoders.mapping.units import CONVERSIONS

T = 1_760_000_000_000_000
S = 1_000_000


def decoded(data: Any, *rules: dict[str, Any]) -> Decoded:
    return apply(Mapping.parse(list(rules)), data, T)


def test_a_value_is_converted_to_the_unit_of_its_quantity() -> None:
    rules = (
        {"path": "t", "quantity": "temperature", "unit": "°F"},
        {"path": "v", "quantity": "battery_voltage", "unit": "mV"},
        {"path": "raw", "quantity": "temperature", "channel": "raw", "scale": 0.1, "offset": -40},
    )

    readings = decoded({"t": 212, "v": 3600, "raw": 615}, *rules).readings

    assert [(r.quantity, r.channel, pytest.approx(r.value)) for r in readings] == [
        ("temperature", "", 100.0),
        ("battery_voltage", "", 3.6),
        ("temperature", "raw", 21.5),
    ]
    assert {r.time_us for r in readings} == {T}


def test_history_has_the_instants_of_its_elements() -> None:
    data = {"history": [{"ts": 1_759_999_000, "t": 20.5}, {"ts": "2025-10-09T08:00:00.250Z", "t": 21}]}

    readings = decoded(data, {"path": "history[*].t", "quantity": "temperature", "time": {"path": "ts"}}).readings

    later = int(datetime(2025, 10, 9, 8, 0, 0, 250_000, tzinfo=UTC).timestamp() * 1000) * 1000
    assert readings == [
        Reading(1_759_999_000 * S, "", "temperature", 20.5),
        Reading(later, "", "temperature", 21.0),
    ]


@pytest.mark.parametrize(
    ("sample_order", "expected"),
    [("newest_first", [0, -600, -1200]), ("oldest_first", [-1200, -600, 0])],
)
def test_samples_without_a_date_are_counted_back(sample_order: str, expected: list[int]) -> None:
    rule = {"path": "t[*]", "quantity": "temperature", "time": {"step_s": 600, "order": sample_order}}

    readings = decoded({"t": [20, 21, 22]}, rule).readings

    assert [(r.time_us - T) // S for r in readings] == expected


def test_samples_are_counted_back_from_a_date_of_the_answer() -> None:
    rule = {"path": "n[*]", "quantity": "pulse_count", "time": {"path": "$.at", "step_s": 3600}}

    readings = decoded({"at": 1_759_000_000, "n": [295, 294]}, rule).readings

    assert [r.time_us // S for r in readings] == [1_759_000_000, 1_758_996_400]


def test_history_that_two_frames_repeat_has_the_same_instants_on_a_grid() -> None:
    rule = {"path": "n[*]", "quantity": "pulse_count", "time": {"step_s": 900, "round_s": 900}}
    mapping = Mapping.parse([rule])

    first = apply(mapping, {"n": [30, 20, 10]}, T)
    second = apply(mapping, {"n": [40, 30, 20]}, T + 902 * S)

    both = {(r.time_us, r.value) for r in first.readings} | {(r.time_us, r.value) for r in second.readings}
    assert len(both) == 4


def test_one_instant_has_one_value_and_a_contradiction_is_a_warning() -> None:
    rule = {"path": "h[*].t", "quantity": "temperature", "time": {"path": "at"}}
    at = 1_759_999_000

    answer = decoded({"h": [{"at": at, "t": 20}, {"at": at, "t": 20}, {"at": at, "t": 25}]}, rule)

    assert answer.readings == [Reading(at * S, "", "temperature", 20.0)]
    assert answer.warnings == ["« h[*].t » : 25 au même instant que 20, qui est gardé"]


@pytest.mark.parametrize(
    "nonsense", [math.nan, math.inf, -math.inf, "NaN", "Infinity", "abc", "", [], {}, 10**400, "1e999"]
)
def test_what_is_no_value_is_a_warning(nonsense: Any) -> None:
    answer = decoded({"t": nonsense, "h": 40}, {"path": "t", "quantity": "temperature"})

    assert answer.readings == []
    assert len(answer.warnings) == 1
    assert answer.warnings[0].startswith("« t » : ")


def test_a_long_history_of_nonsense_is_a_few_warnings() -> None:
    answer = decoded({"t": [f"x{n}" for n in range(500)]}, {"path": "t[*]", "quantity": "temperature"})

    assert len(answer.warnings) == 21
    assert answer.warnings[-1] == "et 480 autres avertissements"


def test_null_is_nothing_measured() -> None:
    answer = decoded({"t": None}, {"path": "t", "quantity": "temperature"})

    assert (answer.readings, answer.warnings) == ([], [])


def test_a_value_without_a_readable_date_is_a_warning_and_not_a_value() -> None:
    rule = {"path": "h[*].t", "quantity": "temperature", "time": {"path": "at"}}

    answer = decoded({"h": [{"t": 20}, {"t": 21, "at": "hier"}, {"t": 22, "at": 12}]}, rule)

    assert answer.readings == []
    assert len(answer.warnings) == 3


def test_words_are_read_as_the_rule_says_and_others_are_warnings() -> None:
    rule = {"path": "door", "quantity": "open", "values": {"open": 1, "closed": 0}}

    assert [r.value for r in decoded({"door": "Open"}, rule).readings] == [1.0]
    assert [r.value for r in decoded({"door": "closed "}, rule).readings] == [0.0]
    assert decoded({"door": "ajar"}, rule).warnings == ["« door » : 'ajar' n'est pas une valeur"]


def test_a_boolean_is_0_or_1() -> None:
    rule = {"path": "x", "quantity": "leak"}

    assert [r.value for r in decoded({"x": True}, rule).readings] == [1.0]
    assert [r.value for r in decoded({"x": 0}, rule).readings] == [0.0]
    assert decoded({"x": 7}, rule).readings == []


def test_numbers_may_come_as_text_with_their_unit() -> None:
    rule = {"path": "t", "quantity": "temperature", "unit": "°C"}

    assert [r.value for r in decoded({"t": "21.50"}, rule).readings] == [21.5]
    assert [r.value for r in decoded({"t": "21.5 °C"}, rule).readings] == [21.5]
    assert [r.value for r in decoded({"n": "311"}, {"path": "n", "quantity": "pulse_count"}).readings] == [311]
    assert [r.value for r in decoded({"h": "97 %"}, {"path": "h", "quantity": "battery_level"}).readings] == [97]


def test_everything_that_the_codec_said_is_kept_beside_the_readings() -> None:
    assert decoded({"a": {"b": 1}}).data == {"a": {"b": 1}}
    assert decoded([1, 2]).data == {"data": [1, 2]}


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ({"path": "t", "quantity": "warmth"}, "grandeur 'warmth' inconnue"),
        ({"path": "t", "quantity": "temperature", "unit": "furlong"}, "unité 'furlong' inconnue"),
        ({"path": "t[", "quantity": "temperature"}, "crochet non fermé"),
        ({"path": "t", "quantity": "temperature", "scale": "2"}, "« scale » doit être un nombre"),
        ({"path": "t", "quantity": "temperature", "scale": 0}, "ne peut pas être 0"),
        ({"path": "t", "quantity": "temperature", "size": 2}, "size inconnu"),
        ({"path": "t", "quantity": "temperature", "time": {"step_s": -1}}, "« time.step_s »"),
        ({"path": "t", "quantity": "temperature", "time": {"format": "lunar"}}, "« time.format »"),
        ({"path": 3, "quantity": "temperature"}, "sont des textes"),
        ("t", "doit être un objet"),
    ],
)
def test_rejects_a_rule_that_cannot_be_followed_and_says_which(rule: Any, what: str) -> None:
    with pytest.raises(InvalidMapping, match="règle 2 : ") as refused:
        Mapping.parse([{"path": "h", "quantity": "relative_humidity"}, rule])

    assert what in str(refused.value)


def test_a_mapping_is_written_as_it_is_read() -> None:
    rules = [
        {"path": "t", "quantity": "temperature", "channel": "", "unit": "°F", "scale": 0.1},
        {"path": "d", "quantity": "open", "channel": "1", "values": {"open": 1.0}},
        {"path": "n[*]", "quantity": "pulse_count", "channel": "", "time": {"path": "$.at", "format": "unix_ms"}},
    ]

    assert Mapping.parse(rules).as_json() == rules


def test_mega_is_not_milli() -> None:
    rules = [
        {"path": unit, "quantity": "active_energy_import", "channel": unit, "unit": unit}
        for unit in ("MWh", "mWh")
    ]

    assert [r.value for r in decoded({"MWh": 2, "mWh": 2}, *rules).readings] == [2e6, 0.002]


def test_every_conversion_is_from_a_unit_without_spaces_and_scales_up_or_down() -> None:
    for unit, known in CONVERSIONS.items():
        assert all(name.replace(" ", "") == name for name in known), unit
        assert all(one.scale > 0 for one in known.values()), unit


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abt"), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.sampled_from(sorted(QUANTITIES)))
def test_any_answer_gives_finite_readings_or_warnings(data: Any, quantity: str) -> None:
    rules = [
        {"path": path, "quantity": quantity, "channel": path, "time": time}
        for path in ("a", "t", "a.b", "a[*]", "[*].t", "a[*].b")
        for time in ({}, {"path": "t"}, {"step_s": 60, "round_s": 7})
    ]

    answer = decoded(data, *rules)

    assert all(math.isfinite(reading.value) for reading in answer.readings)
    keys = [(r.time_us, r.channel, r.quantity) for r in answer.readings]
    assert len(set(keys)) == len(keys)
    json.dumps(answer.warnings)


def test_rules_that_find_nothing_are_named() -> None:
    mapping = Mapping.parse(
        [
            {"path": "messages[measurementId=4097].value", "quantity": "temperature"},
            {"path": "messages[measurementId=4098].value", "quantity": "relative_humidity"},
            {"path": "battery", "quantity": "battery_level"},
            {"path": "battery", "quantity": "battery_voltage"},
        ]
    )
    data = {"messages": [{"measurementId": 4097, "value": 21.5}], "battery": None}

    decoded = apply(mapping, data, 0)

    assert [(reading.quantity, reading.value) for reading in decoded.readings] == [("temperature", 21.5)]
    assert decoded.unmatched == ["messages[measurementId=4098].value", "battery"]


def test_value_of_a_whole_number_is_found_by_its_text() -> None:
    mapping = Mapping.parse([{"path": "a", "quantity": "open", "values": {"3": 1, "2.5": 0, "true": 1}}])

    assert [apply(mapping, {"a": value}, 0).readings[0].value for value in (3, 3.0, "3", 2.5, True)] == [
        1,
        1,
        1,
        0,
        1,
    ]
