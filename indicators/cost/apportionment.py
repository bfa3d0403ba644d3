"""An amount in cents shared so that its parts add up to it exactly. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

HALF = Fraction(1, 2)


def to_cent(exact: Fraction) -> int:
    """The nearest cent; half a cent is rounded up."""
    return floor(exact + HALF)


def largest_remainder(exact: Mapping[int, Fraction]) -> dict[int, int]:
    """Each part in whole cents, less than a cent from what is exact; together the rounded sum, to the cent.

    The cents that are left when all are rounded down go to those of the largest remainders, of equal ones to the
    lowest id: who is listed first has no influence. Raises ValueError for a negative part.
    """
    if any(part < 0 for part in exact.values()):
        raise ValueError(f"a part is negative: {min(exact.values())}")
    cents = {id_: floor(part) for id_, part in exact.items()}
    left = to_cent(sum(exact.values(), Fraction(0))) - sum(cents.values())
    by_remainder = sorted(exact, key=lambda id_: (cents[id_] - exact[id_], id_))
    for id_ in by_remainder[:left]:
        cents[id_] += 1
    return cents
