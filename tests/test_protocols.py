"""The matrix of docs/protocols.md names a test for each of its rows; here each name is held to exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (\w+) \| (.*?) ?\|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
ROWS = ROW.findall((TESTS.parent / "docs" / "protocols.md").read_text())


def test_the_matrix_has_its_forty_eight_rows_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 49))


@pytest.mark.parametrize(("number", "behaviour", "verdict", "proof"), ROWS, ids=[f"row {row[0]}" for row in ROWS])
def test_what_the_matrix_calls_proved_names_tests_that_exist(
    number: str, behaviour: str, verdict: str, proof: str
) -> None:
    named = NAMED.findall(proof)

    assert verdict in {"proved", "partly", "missing"}
    assert bool(named) == (verdict != "missing"), f"row {number}: {behaviour}"
    for file, function in named:
        assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE), function
