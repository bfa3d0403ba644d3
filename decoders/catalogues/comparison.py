"""Compares a codec's answer with its vendor's expectation: numbers within 1e-6, times to the millisecond."""

import re
from collections.abc import Iterator
from typing import Any, cast

from decoders.mapping.times import read_instant

TOLERANCE = 1e-6
MILLISECOND_US = 1000
MOST_DIFFERENCES = 20
SHOWN = 80
# What a vendor writes in an example where the value depends on the day that the test is run.
ANY_DATE, ANY_NUMBER = "XXXX-XX-XXTXX:XX:XX.XXXZ", "SKIP_NUMBER"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?", re.ASCII)


def differences(expected: Any, actual: Any) -> list[str]:
    """Each place where they differ, in French; the first MOST_DIFFERENCES. Empty: they are equal.

    A member that is null, or an empty list of errors or warnings, is one that is not there: JSON knows neither
    undefined nor NaN, and vendors write either.
    """
    found: list[str] = []
    for difference in _differences(expected, actual, ""):
        found.append(difference)
        if len(found) == MOST_DIFFERENCES:
            break
    return found


def _differences(expected: Any, actual: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from _of_objects(cast("dict[str, Any]", expected), cast("dict[str, Any]", actual), path)
    elif isinstance(expected, list) and isinstance(actual, list):
        here, there = cast("list[Any]", expected), cast("list[Any]", actual)
        if len(here) != len(there):
            yield f"{path or 'réponse'} : {len(here)} éléments attendus, {len(there)} obtenus"
        for index, (one, other) in enumerate(zip(here, there, strict=False)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif not _equal(expected, actual):
        yield f"{path or 'réponse'} : attendu {_shown(expected)}, obtenu {_shown(actual)}"


def _of_objects(expected: dict[str, Any], actual: dict[str, Any], path: str) -> Iterator[str]:
    for key in dict.fromkeys((*expected, *actual)):
        below = f"{path}.{key}" if path else key
        one, other = expected.get(key), actual.get(key)
        if not path and key in ("errors", "warnings"):
            one, other = one or None, other or None
        if one is None and other is None:
            continue
        if other is None and not isinstance(one, str):
            yield f"{below} : attendu {_shown(one)}, absent"
        elif one is None:
            yield f"{below} : {_shown(other)} n'était pas attendu"
        else:
            yield from _differences(one, other, below)


def _equal(expected: Any, actual: Any) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return expected == actual or _is_near(expected, actual)
    if isinstance(expected, str) and isinstance(actual, str):
        return expected == actual or (expected == ANY_DATE and _is_date(actual)) or _same_instant(expected, actual)
    if expected == ANY_NUMBER:
        return isinstance(actual, int | float)
    return expected == actual


def _is_near(expected: float, actual: float) -> bool:
    try:
        return abs(expected - actual) <= TOLERANCE
    except OverflowError:
        return False


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None


def _same_instant(expected: str, actual: str) -> bool:
    if not (_is_date(expected) and _is_date(actual)):
        return False
    one, other = read_instant(expected, "iso"), read_instant(actual, "iso")
    return one is not None and other is not None and one // MILLISECOND_US == other // MILLISECOND_US


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
