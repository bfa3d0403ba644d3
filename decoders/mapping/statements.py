"""The units that a vendor states of values in its examples, as far as they are those of fields."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from decoders.mapping.fields import float_of
from decoders.mapping.leaves import leaves
from decoders.mapping.scoring import Point, base_name
from decoders.mapping.vocabulary import words_of

LEAST_BY_VALUE = 2  # 0 and 1 are the value of too many fields to say which is meant.


def units_of_points(samples: Sequence[Any], points: Sequence[Sequence[Point]]) -> Mapping[str, str]:
    """Units by path: those of points that record the value of one field, in each sample that has both.

    The unit of a point is that of the value that it records, and not of a field that happens to bear its name: a
    point of 894,135,000 Wh says nothing of a field of 894,135. Of several fields with the value, the one whose
    name has a word of the point's is meant.
    """
    found: dict[str, set[str]] = {}
    for sample, stated in zip(samples, points, strict=True):
        numbers = {
            leaf.path: float_of(leaf.values[0])
            for leaf in leaves([sample])
            if len(leaf.values) == 1 and isinstance(leaf.values[0], int | float)
        }
        for point in stated:
            path = _field_of(point, stated, numbers)
            if path is not None:
                found.setdefault(path, set()).add(point.unit)
    return {path: units.pop() for path, units in found.items() if len(units) == 1}


def _field_of(point: Point, stated: Sequence[Point], numbers: Mapping[str, float]) -> str | None:
    if len(point.values) != 1:
        return None
    same = [path for path, number in numbers.items() if math.isclose(number, point.values[0], abs_tol=1e-9)]
    alone = sum(other.values == point.values for other in stated) == 1
    if len(same) != 1 or not alone or abs(point.values[0]) < LEAST_BY_VALUE:
        words = set(words_of(base_name(point.name)))
        same = [path for path in same if words <= set(words_of(path))]
    return same[0] if len(same) == 1 else None
