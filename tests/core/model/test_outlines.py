"""Communes from GeoJSON: what is read, and how few points stay of it."""

import gzip
import json
import math
import random
from typing import Any

import pytest

from core.model.outlines import POINTS_MOST, InvalidOutline, Outline, read_outline

SQUARE = [[-4.3, 48.4], [-4.2, 48.4], [-4.2, 48.5], [-4.3, 48.5], [-4.3, 48.4]]

HOLE_ACROSS = [[-4.25, 48.42], [-4.1, 48.42], [-4.25, 48.44], [-4.25, 48.42]]
# Touches itself at one corner, and has a hole that touches its border: both are outlines.
TOUCHING = [[0, 0], [1, 1], [2, 0], [2, 2], [1, 1], [0, 2]]


def feature(ring: Any = SQUARE, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    given = {"insee": "29103", "nom": "Landerneau"} | properties
    return {"type": "Feature", "properties": given, "geometry": {"type": kind, "coordinates": [ring]}}


def coast(number: int) -> Outline:
    """A commune of four thousand points, and forty islets."""
    source = random.Random(number)
    angles = [2 * math.pi * step / 4000 for step in range(4000)]
    ring = [
        [
            -4 + 0.04 * math.cos(a) * (1 + 0.2 * math.sin(9 * a) + source.uniform(-0.01, 0.01)),
            48 + 0.03 * math.sin(a),
        ]
        for a in angles
    ]
    islets = [
        [[x, 48.1], [x + 0.001, 48.1], [x, 48.101], [x, 48.1]]
        for x in (one / 500 for one in source.sample(range(500), 40))
    ]
    whole = feature(insee=f"29{number:03}")
    whole["geometry"] = {"type": "MultiPolygon", "coordinates": [[[*ring, ring[0]]], *([one] for one in islets)]}
    return read_outline(whole)


def test_outlines_of_communes_with_long_coasts_are_half_a_kilobyte_each_compressed() -> None:
    made = [coast(number) for number in range(12)]

    assert all(len(one.polygons) == 1 for one in made)
    assert all(20 < len(one.polygons[0][0]) <= POINTS_MOST for one in made)
    assert all(one.polygons[0][0][0] == one.polygons[0][0][-1] for one in made)
    assert len(gzip.compress(json.dumps([one.polygons for one in made]).encode())) < 12 * 550


def test_what_has_few_points_stays_and_what_is_tiny_stays_something() -> None:
    tiny = [[2.0, 48.0], [2.0002, 48.0], [2.0002, 48.0001], [2.0, 48.0]]

    assert read_outline(feature()).polygons == [[[(x, y) for x, y in SQUARE]]]
    assert read_outline(feature(insee=None, INSEE_COM="2a004", nom=None, NOM_COM="Ajaccio")).insee == "2A004"
    assert read_outline(feature(insee=1004)).insee == "01004"
    assert len(read_outline(feature(TOUCHING)).borders[0][0]) == len(TOUCHING) + 1
    assert len(read_outline(feature(tiny)).polygons[0][0]) >= 4


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"type": "Point"}, "Feature"),
        (None, "Feature"),
        (feature(insee="Brest"), "code INSEE"),
        (feature(nom=" "), "nom attendu"),
        (feature(kind="LineString"), "Polygon"),
        (feature([[0, 0], [1, 1], [0, 0]]), "quatre points"),
        (feature([[145_000, 6_840_000]] * 5), "WGS 84"),
        (feature([[float("nan"), 0]] * 5), "WGS 84"),
        (feature("x"), "WGS 84"),
        (feature(None), "WGS 84"),
        (feature([[0, 0], [1, 1], [1, 0], [0, 1]]), "se croise lui-même, près de 0.50000"),
        # At a corner that it passes twice, and at a corner that lies on another side.
        (feature([[0, 0], [1, 1], [2, 2], [2, 0], [1, 1], [0, 2]]), "se croise"),
        (feature([[0, 0], [2, 2], [2, 0], [1, 1], [0, 2]]), "se croise"),
        ({**feature(), "geometry": {"type": "Polygon", "coordinates": [SQUARE, HOLE_ACROSS]}}, "se croise"),
        ({"type": "Feature", "properties": 3, "geometry": []}, "code INSEE"),
    ],
)
def test_what_is_no_commune_is_rejected_with_why(given: Any, why: str) -> None:
    with pytest.raises(InvalidOutline, match=why):
        read_outline(given)
