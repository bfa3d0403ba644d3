"""Values as gateways write them, and an end to what a forged datagram may cost."""

from typing import Any

import pytest

from lorawan.gateway.lenient import (
    MAX_DAMAGED_ELEMENTS,
    integer,
    number,
    octets_of_base64,
    salvaged_elements,
    time_us_of,
    whole_json,
)


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7 ", "7.0", "7e0"])
def test_a_number_may_be_an_integer_a_float_or_a_string(value: Any) -> None:
    assert number(value) == 7.0
    assert integer(value) == 7


@pytest.mark.parametrize("value", [None, True, "", "sept", [], {}, float("nan"), float("inf"), "nan", 10**400])
def test_anything_else_is_no_number(value: Any) -> None:
    assert number(value) is None


@pytest.mark.parametrize("text", ["QA", "QA==", "QA=", " QA==\n"])
def test_base64_is_read_with_and_without_padding(text: str) -> None:
    assert octets_of_base64(text) == b"@"


@pytest.mark.parametrize("text", ["Q", "Q$==", "é", "QAAAA"])
def test_rejects_what_is_not_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        octets_of_base64(text)


def test_null_stands_for_what_c_prints_for_no_number_and_text_keeps_it() -> None:
    assert whole_json(b'{"a":nan,"b":[-inf, -nan],"c":"nan","d":1}') == {
        "a": None,
        "b": [None, None],
        "c": "nan",
        "d": 1,
    }


def test_nanoseconds_are_cut_to_microseconds() -> None:
    assert time_us_of("2026-11-25T00:00:00.123456789Z") == 1_795_564_800_123_456


def test_gives_up_on_an_array_in_which_nearly_nothing_is_whole() -> None:
    text = '{"rxpk":[' + '{"a":?},' * 10_000 + "{}]}"

    assert len(list(salvaged_elements(text, "rxpk"))) == MAX_DAMAGED_ELEMENTS
