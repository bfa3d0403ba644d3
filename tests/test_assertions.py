"""Every assertion compares something: `assert x, y == z` holds whatever y is."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def that_compare_nothing(source: str) -> Iterator[str]:
    """The assertions whose message is a comparison: meant to be part of what is asserted, and never looked at."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Compare | ast.BoolOp):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_no_assertion_has_a_comparison_for_its_message() -> None:
    found = {
        str(file.relative_to(TESTS)): wrong
        for file in sorted(TESTS.rglob("*.py"))
        if (wrong := list(that_compare_nothing(file.read_text("utf-8"))))
    }

    assert found == {}


def test_an_assertion_that_compares_nothing_is_found() -> None:
    source = "assert a, b == c\nassert a, b or c\nassert (a, b) == c, d\nassert a == b, (c, d)\n"

    assert [one.partition(":")[0] for one in that_compare_nothing(source)] == ["line 1", "line 2"]
