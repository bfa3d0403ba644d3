"""What a vendor states beside its examples, as far as it says the unit of a field of the codec's answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from decoders.mapping.fields import float_of
from decoders.mapping.leaves import leaves
from decoders.mapping.scoring import Point

LEAST_FOR_ONE = 2  # 0 and 1 are the value of too many fields to say which is meant.


def units_of_points(samples: Sequence[Any], points: Sequence[Sequence[Point]]) -> Mapping[str, str]:
    """Units by path: those of points whose value is that of one field alone, in each sample that has both.

    The unit of a point is that of the value that it records, not of a field that happens to bear its name.
    """
    found: dict[str, set[str]] = {}
    for sample, stated in zip(samples, points, strict=True):
        numbers = {
            leaf.path: float_of(leaf.values[0])
            for leaf in leaves([sample])
            if len(leaf.values) == 1 and isinstance(leaf.values[0], int | float)
        }
        for point in stated:
            if len(point.values) == 1 and abs(point.values[0]) >= LEAST_FOR_ONE:
                same = [path for path, number in numbers.items() if math.isclose(number, point.values[0])]
                twins = [other for other in stated if other.values == point.values]
                if len(same) == 1 and len(twins) == 1:
                    found.setdefault(same[0], set()).add(point.unit)
    return {path: units.pop() for path, units in found.items() if len(units) == 1}
