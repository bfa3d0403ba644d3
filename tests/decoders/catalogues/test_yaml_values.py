from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from decoders.catalogues.yaml_values import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: on\nb: yes\nc: off", {"a": "on", "b": "yes", "c": "off"}),
        ("a: true\nb: FALSE\nc: tRue", {"a": True, "b": False, "c": "tRue"}),
        ("a: 2024-03-01T12:00:00Z\nb: 12:30:45", {"a": "2024-03-01T12:00:00Z", "b": "12:30:45"}),
        ("[0x1F, 010, 0o17, -5, 1e3, 1., .5, 1_0]", [31, 10, 15, -5, 1000.0, 1.0, 0.5, "1_0"]),
        ("{1: a, true: b, null: c}", {"1": "a", "true": "b", "null": "c"}),
        ("a: ~\nb:\nc: null\nd: .nan", {"a": None, "b": None, "c": None, "d": None}),
        ("a: '12'\nb: |\n  12\n", {"a": "12", "b": "12\n"}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        ("", None),
    ],
)
def test_reads_yaml_as_the_catalogues_own_tools_do(text: str, value: Any) -> None:
    assert read(text) == value


def test_what_an_alias_repeats_is_made_once() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
    )

    assert set(read(bomb)) == set("abcdefghijklmn")


def test_what_is_nested_without_end_is_rejected() -> None:
    with pytest.raises(yaml.YAMLError):
        read("[" * 100 + "]" * 100)


@given(st.text(max_size=60))
def test_any_text_is_read_or_rejected(text: str) -> None:
    try:
        read(text)
    except yaml.YAMLError:
        return
