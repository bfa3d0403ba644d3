"""The matrix of docs/protocols.md names a test for each of its rows; here each name is held to exist."""

import re

import pytest

from tests.protocol_matrix import TESTS, Row, listed, rows

ROWS = rows()


def test_the_matrix_has_its_forty_eight_rows_in_order() -> None:
    assert [row.number for row in ROWS] == list(range(1, 49))


@pytest.mark.parametrize("row", ROWS, ids=[f"row {row.number}" for row in ROWS])
def test_what_the_matrix_calls_proved_names_tests_that_exist(row: Row) -> None:
    assert row.verdict in {"proved", "partly", "missing"}
    assert bool(row.proofs) == (row.verdict != "missing"), row.behaviour
    for file, function in row.proofs:
        assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE), function


def test_the_run_lists_each_row_by_how_its_tests_ended() -> None:
    matrix = [
        Row(1, "MIC", "proved", [("a.py", "one"), ("a.py", "two")]),
        Row(2, "ADR", "proved", [("b.py", "one")]),
    ]

    assert [line.split()[2] for line in listed(matrix, ["tests/a.py::one[x]", "tests/a.py::two"], [])] == [
        "passed", "not",
    ]  # fmt: skip
    assert "FAILED" in listed(matrix, ["tests/a.py::one", "tests/b.py::one"], ["tests/a.py::two[y]"])[0]
    assert "partly" in listed(matrix, ["tests/a.py::one", "tests/b.py::one"], [])[0]
    assert listed(matrix, [], []) == []
