from typing import Any

import pytest

from decoders.catalogues.comparison import MOST_DIFFERENCES, differences


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 21.5, "b": [1, {"c": "x"}]}, {"b": [1, {"c": "x"}], "a": 21.5}),
        ({"a": 1}, {"a": 1.0000005}),
        ({"a": "2023-07-19T07:51:25.508306410Z"}, {"a": "2023-07-19T07:51:25.508Z"}),
        ({"a": "2020-08-02T20:00:00.000+05:00"}, {"a": "2020-08-02T15:00:00.000Z"}),
        ({"a": None, "b": 1}, {"b": 1}),
        ({"b": 1}, {"a": None, "b": 1}),
        ({"errors": [], "data": 1}, {"data": 1, "warnings": []}),
        ({"a": "XXXX-XX-XXTXX:XX:XX.XXXZ"}, {"a": "2026-01-02T11:40:59.000Z"}),
        ({"a": "SKIP_NUMBER"}, {"a": 17.2}),
    ],
)
def test_answers_within_tolerance_are_equal(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ({"a": 1}, {"a": 1.00001}, "a : attendu 1, obtenu 1.00001"),
        ({"a": 1}, {"a": "1"}, "a : attendu 1, obtenu '1'"),
        ({"a": 1}, {"a": True}, "a : attendu 1, obtenu True"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b : attendu 1, absent"),
        ({"a": {}}, {"a": {"b": 0}}, "a.b : 0 n'était pas attendu"),
        ({"a": [1, 2]}, {"a": [1]}, "a : 2 éléments attendus, 1 obtenus"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a[1] : attendu 2, obtenu 3"),
        (
            {"a": "2023-07-19T07:51:25.508Z"},
            {"a": "2023-07-19T07:51:25.509Z"},
            "a : attendu '2023-07-19T07:51:25.508Z', obtenu '2023-07-19T07:51:25.509Z'",
        ),
        ({"a": "SKIP_NUMBER"}, {}, "a : attendu 'SKIP_NUMBER', obtenu None"),
        ({"errors": ["x"]}, {"errors": []}, "errors : attendu ['x'], absent"),
        ({"a": {"errors": []}}, {"a": {}}, "a.errors : attendu [], absent"),
    ],
)
def test_answers_beyond_tolerance_differ(expected: Any, actual: Any, difference: str) -> None:
    assert differences(expected, actual) == [difference]


def test_numbers_beyond_all_bounds_differ() -> None:
    assert len(differences({"a": 10**400, "b": 1.5}, {"a": 1.0, "b": float("inf")})) == 2


def test_says_no_more_than_a_screen_of_differences() -> None:
    assert len(differences(list(range(100)), [0] * 100)) == MOST_DIFFERENCES
