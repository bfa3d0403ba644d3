"""Outlines of the fleet's communes: its territory in cells of equal size, invented, and told so on the map."""

import random
from itertools import pairwise
from typing import Any

from lab.fleet.plan import CENTRE, COMMUNES, EXTENT, GRID

ROWS, COLUMNS = GRID
# Points of an edge between two corners, and by how much of a cell it winds.
BENDS, WINDS = 6, 0.12
# By the codes of the real ones: real outlines that are taken in replace these.
INSEE = (
    "29019", "29075", "29103", "29235", "29189", "29061", "29011", "29069", "29212", "29056", "29245", "29045",
)  # fmt: skip

Point = tuple[float, float]


def outlines() -> list[dict[str, Any]]:
    """A GeoJSON feature for each commune; neighbours share their edges."""
    return [
        {
            "type": "Feature",
            "properties": {"insee": INSEE[number], "nom": name},
            "geometry": {"type": "Polygon", "coordinates": [_ring(number // COLUMNS, number % COLUMNS)]},
        }
        for number, name in enumerate(COMMUNES)
    ]


def _corner(row: int, column: int) -> Point:
    west, south = CENTRE[1] - EXTENT[1] / 2, CENTRE[0] - EXTENT[0] / 2
    return (west + EXTENT[1] * column / COLUMNS, south + EXTENT[0] * row / ROWS)


def _border(begin: tuple[int, int], end: tuple[int, int]) -> list[Point]:
    """From a corner to before another: the same points whichever of two neighbours asks."""
    first, last = sorted((begin, end))
    source = random.Random(f"edge {first} {last}")
    (ax, ay), (bx, by) = _corner(*first), _corner(*last)
    across = (EXTENT[0] / ROWS, EXTENT[1] / COLUMNS)
    line = [(ax, ay)]
    for bend in range(1, BENDS):
        part, wind = bend / BENDS, source.uniform(-WINDS, WINDS)
        if first[0] == last[0]:
            line.append((ax + (bx - ax) * part, ay + wind * across[0]))
        else:
            line.append((ax + wind * across[1], ay + (by - ay) * part))
    line.append((bx, by))
    return line[:-1] if begin == first else line[:0:-1]


def _ring(row: int, column: int) -> list[Point]:
    corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column), (row, column)]
    ring = [point for begin, end in pairwise(corners) for point in _border(begin, end)]
    return [(round(x, 5), round(y, 5)) for x, y in [*ring, ring[0]]]
