"""PostgreSQL's ranges of instants over columns of microseconds."""

from collections.abc import Sequence
from typing import Any

from lorawan.instants import to_us

ALWAYS = 1 << 62


def within(times: Any, ranges: Sequence[Any]) -> Any:
    """Which of these instants, a column, are in one of the ranges."""
    chosen = times != times  # noqa: PLR0124 - A column of the same length, of False.
    for one in ranges:
        if not one.isempty:
            first, behind = _bounds(one)
            chosen |= (times >= first) & (times < behind)
    return chosen


def _bounds(one: Any) -> tuple[int, int]:
    """The first microsecond of a range, and the one behind its last."""
    first = -ALWAYS if one.lower is None else to_us(one.lower) + (not one.lower_inc)
    behind = ALWAYS if one.upper is None else to_us(one.upper) + bool(one.upper_inc)
    return first, behind
