"""Outlines of communes from GeoJSON: as they are, and simplified for maps.

Those that maps draw are a few kilobytes for a department's syndicat. The others say which commune a place is in.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, cast

Point = tuple[float, float]
Ring = list[Point]
Polygon = list[Ring]

# 0.001 degree of latitude is 111 m: of a commune on a map of a territory less than a pixel is lost.
TOLERANCE = 0.0008
POINTS_MOST = 90
# Eleven metres.
DIGITS = 4
# Of a closed ring, which ends where it began.
SHORTEST_RING = 4
# Islets below this size (square degrees; six hectares) are left out, unless there is nothing else.
SMALLEST = 7e-6
INSEE = re.compile("[0-9][0-9AB][0-9]{3}")
# As INSEE's, IGN's, the State's (geo.api.gouv.fr) and OpenStreetMap's files call them.
CODES = ("insee", "code_insee", "insee_com", "code", "codgeo", "ref:insee", "com", "inseecom")
NAMES = ("nom", "name", "nom_com", "nom_officiel", "libgeo", "libelle", "nomcom", "nom_commune")
LONGITUDE, LATITUDE = 180.0, 90.0
# Of borders that are kept as they are: eleven centimetres.
BORDER_DIGITS, AS_GIVEN = 6, 12
RINGS_MOST = 5_000
# Of a real commune of 40,000 points a tenth of this.
COMPARED_MOST = 3_000_000


class InvalidOutline(ValueError):
    """A feature that is no commune's; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A commune by its INSEE code; polygons of a GeoJSON MultiPolygon: for maps, and with all of its points."""

    insee: str
    name: str
    polygons: list[Polygon]
    borders: list[Polygon]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        points = [point for polygon in self.borders for point in polygon[0]]
        east, north = [one[0] for one in points], [one[1] for one in points]
        return min(east), min(north), max(east), max(north)


def read_outline(feature: Any) -> Outline:
    """The commune of a GeoJSON Feature.

    Raises:
        InvalidOutline: there is no INSEE code, no name or no polygon in it, or its outline crosses itself.
    """
    shown = cast(dict[str, Any], feature) if isinstance(feature, dict) else {}
    if shown.get("type") != "Feature":
        raise InvalidOutline("ce n'est pas un objet « Feature » de GeoJSON")
    given = shown.get("properties")
    properties = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    named = {key.lower(): value for key, value in properties.items()}
    insee = _first_of(named, CODES).upper()
    if len(insee) == 4 and insee.isdecimal():  # noqa: PLR2004 - A spreadsheet has taken 01004 for a number.
        insee = f"0{insee}"
    if not INSEE.fullmatch(insee):
        raise InvalidOutline(f"code INSEE attendu, dans une des propriétés {', '.join(CODES)}")
    name = " ".join(_first_of(named, NAMES).split())
    if not name or len(name) > 200:  # noqa: PLR2004 - As any other name.
        raise InvalidOutline(f"nom attendu, dans une des propriétés {', '.join(NAMES)}")
    polygons = _polygons(shown.get("geometry"))
    # As it was given: where it is narrow, a rounded one crosses itself.
    crossing = find_crossing([_closed(ring, AS_GIVEN) for polygon in polygons for ring in polygon])
    if crossing is not None:
        raise InvalidOutline(f"le contour se croise lui-même, près de {crossing[0]:.5f}, {crossing[1]:.5f}")
    borders = [[_closed(ring, BORDER_DIGITS) for ring in polygon] for polygon in polygons]
    return Outline(insee, name, simplified(polygons), borders)


def _first_of(named: Mapping[str, Any], keys: Sequence[str]) -> str:
    found = (named[key] for key in keys if isinstance(named.get(key), str | int))
    return str(next(found, "")).strip()


def _polygons(geometry: Any) -> list[Polygon]:
    given = cast(dict[str, Any], geometry) if isinstance(geometry, dict) else {}
    kind, coordinates = given.get("type"), given.get("coordinates")
    if kind == "Polygon":
        coordinates = [coordinates]
    elif kind != "MultiPolygon":
        raise InvalidOutline("géométrie « Polygon » ou « MultiPolygon » attendue")
    try:
        polygons = [[[_point(one) for one in ring] for ring in polygon] for polygon in cast(Any, coordinates)]
    except (TypeError, ValueError, IndexError):
        raise InvalidOutline(
            "coordonnées illisibles : [longitude, latitude] en degrés (WGS 84) attendues"
        ) from None
    if not polygons or any(
        not polygon or any(len(ring) < SHORTEST_RING for ring in polygon) for polygon in polygons
    ):
        raise InvalidOutline("un contour a moins de quatre points")
    if sum(map(len, polygons)) > RINGS_MOST:
        raise InvalidOutline(f"{RINGS_MOST} anneaux au plus")
    return polygons


def _point(one: Any) -> Point:
    x, y = float(one[0]), float(one[1])
    if not (abs(x) <= LONGITUDE and abs(y) <= LATITUDE):  # Also what is no number.
        raise ValueError(one)
    return x, y


def simplified(polygons: Sequence[Polygon]) -> list[Polygon]:
    """The same with fewer points (Douglas-Peucker), coarser until they are few; holes and islets are left out."""
    rings = [polygon[0] for polygon in polygons]
    kept = [ring for ring in rings if _area(ring) >= SMALLEST] or [max(rings, key=_area)]
    tolerance = TOLERANCE
    while True:
        made = [one for one in (_simplified(ring, tolerance) for ring in kept) if len(one) >= SHORTEST_RING]
        if made and sum(map(len, made)) <= POINTS_MOST:
            return [[ring] for ring in made]
        if not made:
            return [[_boxed(max(kept, key=_area))]]
        tolerance *= 1.5
        if len(kept) > 1 and tolerance > 4 * TOLERANCE:
            kept = sorted(kept, key=_area, reverse=True)[: max(1, len(kept) // 2)]


def _boxed(ring: Ring) -> Ring:
    """What is smaller than any tolerance, as a rectangle."""
    (west, south), (east, north) = (
        (edge(one[0] for one in ring), edge(one[1] for one in ring)) for edge in (min, max)
    )
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def _area(ring: Sequence[Point]) -> float:
    pairs = pairwise(ring)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairs)) / 2


def _simplified(ring: Ring, tolerance: float) -> Ring:
    """A closed ring, cut where it is widest: of a line from a point to itself nothing would be left."""
    closed = ring if ring[0] == ring[-1] else [*ring, ring[0]]
    first = closed[0]
    far = max(range(len(closed)), key=lambda place: _apart(closed[place], first))
    kept = sorted({*_kept(closed, 0, far, tolerance), *_kept(closed, far, len(closed) - 1, tolerance)})
    return _rounded([closed[place] for place in kept])


Segment = tuple[Point, Point]


def find_crossing(rings: Sequence[Ring]) -> Point | None:
    """Where two segments of closed rings cross; None: nowhere. Rings may touch each other, and themselves.

    Segments are sorted into the cells of a grid as wide as a segment is long, and compared within a cell alone.

    Raises:
        InvalidOutline: too many segments are close together.
    """
    segments = [pair for ring in rings for pair in pairwise(ring)]
    length = sum(abs(bx - ax) + abs(by - ay) for (ax, ay), (bx, by) in segments)
    size = max(length / max(len(segments), 1), 1e-6)
    cells = dict[tuple[int, int], list[Segment]]()
    for segment in segments:
        for cell in _cells(segment, size):
            cells.setdefault(cell, []).append(segment)
    if sum(len(there) ** 2 for there in cells.values()) > COMPARED_MOST * 2:
        raise InvalidOutline("contour trop enchevêtré pour être vérifié")
    passed = dict[Point, list[Segment]]()
    for there in cells.values():
        for one, other in combinations(there, 2):
            if (crossing := _crossing(one, other)) is not None:
                return crossing
            for (a, b), ends in ((one, other), (other, one)):
                for point in ends:
                    if _is_on(point, a, b):
                        passed.setdefault(point, []).append((a, b))
    return _crossed_points(rings, passed)


def _cells(segment: Segment, size: float) -> list[tuple[int, int]]:
    """The cells that a segment passes through, row by row."""
    (ax, ay), (bx, by) = sorted(segment, key=lambda point: point[1])
    low, high = math.floor(ay / size), math.floor(by / size)
    cells = list[tuple[int, int]]()
    for row in range(low, high + 1):
        begin, end = max(ay, row * size), min(by, (row + 1) * size)
        across = [
            ax + (bx - ax) * ((y - ay) / (by - ay) if by > ay else part) for y, part in ((begin, 0), (end, 1))
        ]
        cells += [
            (column, row) for column in range(math.floor(min(across) / size), math.floor(max(across) / size) + 1)
        ]
    return cells


def _side(a: Point, b: Point, c: Point) -> float:
    """Above zero: c is to the left of the way from a to b."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _crossing(one: Segment, other: Segment) -> Point | None:
    """Where they cross between their ends; None: nowhere."""
    (a, b), (c, d) = one, other
    from_a, from_b = _side(c, d, a), _side(c, d, b)
    if not (_side(a, b, c) * _side(a, b, d) < 0 and from_a * from_b < 0):
        return None
    along = from_a / (from_a - from_b)
    return a[0] + (b[0] - a[0]) * along, a[1] + (b[1] - a[1]) * along


def _is_on(point: Point, a: Point, b: Point) -> bool:
    """Whether a point is on the segment from a to b, and none of its ends."""
    if point in (a, b):
        return False
    within = min(a[0], b[0]) <= point[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])
    return within and _side(a, b, point) == 0


def _crossed_points(rings: Sequence[Ring], passed: dict[Point, list[Segment]]) -> Point | None:
    """A point that rings pass twice, and cross there; `passed` has segments that pass a corner midway."""
    for ring in rings:
        corners = ring[:-1]
        for place, point in enumerate(corners):
            before, after = corners[place - 1], corners[(place + 1) % len(corners)]
            for a, b in passed.setdefault(point, []):
                if {_between(point, a, b, before), _between(point, a, b, after)} == {True, False}:
                    return point
            passed[point].append((before, after))
    return None


def _between(centre: Point, a: Point, b: Point, one: Point) -> bool | None:
    """Whether a point is seen between two others, turning left from the first; None: as one of them is."""
    seen = [math.atan2(y - centre[1], x - centre[0]) for x, y in (a, b, one)]
    width, place = (seen[1] - seen[0]) % math.tau, (seen[2] - seen[0]) % math.tau
    return None if place in (0.0, width) else place < width


def _closed(ring: Ring, digits: int) -> Ring:
    """The ring, rounded, with its first point at its end."""
    return _rounded(ring if ring[0] == ring[-1] else [*ring, ring[0]], digits)


def _rounded(ring: Ring, digits: int = DIGITS) -> Ring:
    made: Ring = []
    for x, y in ring:
        point = (round(x, digits), round(y, digits))
        if not made or made[-1] != point:
            made.append(point)
    return made


def _kept(line: Ring, begin: int, end: int, tolerance: float) -> set[int]:
    """The places of a line that stay, its ends among them; without recursion, for coasts are long."""
    kept, waiting = {begin, end}, [(begin, end)]
    while waiting:
        first, last = waiting.pop()
        widest, place = tolerance, -1
        for between in range(first + 1, last):
            apart = _off(line[between], line[first], line[last])
            if apart > widest:
                widest, place = apart, between
        if place >= 0:
            kept.add(place)
            waiting += [(first, place), (place, last)]
    return kept


def _apart(one: Point, other: Point) -> float:
    return math.hypot(_shrunk(one, other) * (one[0] - other[0]), one[1] - other[1])


def _shrunk(one: Point, other: Point) -> float:
    """How much shorter a degree of longitude is there than one of latitude."""
    return math.cos(math.radians((one[1] + other[1]) / 2))


def _off(point: Point, first: Point, last: Point) -> float:
    """How far a point is from the line between two, in degrees of latitude."""
    scale = _shrunk(first, last)
    ax, ay = (last[0] - first[0]) * scale, last[1] - first[1]
    px, py = (point[0] - first[0]) * scale, point[1] - first[1]
    length = ax * ax + ay * ay
    along = max(0.0, min(1.0, (px * ax + py * ay) / length)) if length else 0.0
    return math.hypot(px - along * ax, py - along * ay)
