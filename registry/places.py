"""Where things are, in statements of lists: a box, a circle, a commune by its name or its INSEE code."""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

# Of the sphere (IUGG's mean): of a kilometre three metres are lost against the ellipsoid.
EARTH_M = 6_371_008.8
DEGREE_M = math.pi * EARTH_M / 180
POLE = 90.0


def within(table: str) -> str:
    """The condition of a statement with the names of `Place.values`, over a table's longitude and latitude.

    Plain comparisons come first: they leak nothing, so row security lets an index answer them.
    """
    return f"""
(:west::float8 IS NULL OR ({table}.longitude BETWEEN :west AND :east
                             AND {table}.latitude BETWEEN :south AND :north))
AND (:near_radius::float8 IS NULL OR {distance(table)} <= :near_radius)
"""


def distance(table: str) -> str:
    """Metres from the middle of the circle."""
    return distance_from(table, ":near_longitude", ":near_latitude")


def distance_from(table: str, longitude: str, latitude: str) -> str:
    """Metres from a point that two parameters say, by the haversine formula."""
    half_latitude = f"sind(({table}.latitude - {latitude}::float8) / 2) ^ 2"
    half_longitude = f"sind(({table}.longitude - {longitude}::float8) / 2) ^ 2"
    return f"""
({2 * EARTH_M} * asin(least(1, sqrt({half_latitude}
    + cosd({table}.latitude) * cosd({latitude}::float8) * {half_longitude}))))
"""


def in_commune(table: str) -> str:
    """The condition for a table that has a commune and its code."""
    return f"(:commune::text IS NULL OR {table}.commune = :commune OR {table}.insee = :commune)"


@dataclass(frozen=True, slots=True)
class Circle:
    """Around a point, in degrees; the radius in metres."""

    longitude: float
    latitude: float
    radius: float

    def box(self) -> tuple[float, float, float, float]:
        """West, south, east and north of it; a circle over a pole or the 180th meridian has the whole width."""
        high = self.radius / DEGREE_M
        south, north = max(-POLE, self.latitude - high), min(POLE, self.latitude + high)
        widest = math.cos(math.radians(max(abs(south), abs(north))))
        wide = 2 * POLE if widest <= 0 else high / widest
        west, east = self.longitude - wide, self.longitude + wide
        if west < -2 * POLE or east > 2 * POLE:
            west, east = -2 * POLE, 2 * POLE
        return west, south, east, north


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are that a list is asked for; None: anywhere."""

    box: tuple[float, float, float, float] | None = None
    circle: Circle | None = None
    commune: str | None = None

    def values(self) -> dict[str, Any]:
        """By the names of `within` and `in_commune`; a circle is looked for in its box, too."""
        named: dict[str, Any] = {"commune": self.commune}
        box = self.box_of_both()
        if box is not None:
            named["west"], named["south"], named["east"], named["north"] = box
        if self.circle is not None:
            named["near_longitude"], named["near_latitude"] = self.circle.longitude, self.circle.latitude
            named["near_radius"] = self.circle.radius
        return named

    def box_of_both(self) -> tuple[float, float, float, float] | None:
        """What the box and the circle's have in common; None: neither is asked for."""
        boxes = [one for one in (self.box, None if self.circle is None else self.circle.box()) if one is not None]
        if not boxes:
            return None
        west, south = (max(one[side] for one in boxes) for side in (0, 1))
        east, north = (min(one[side] for one in boxes) for side in (2, 3))
        return west, south, east, north


ANYWHERE = Place()


class _HasPlace(Protocol):
    """A dataclass of what a list is asked for, one field of which is where."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def place(self) -> Place: ...


def values_of(wanted: _HasPlace, *left_out: str) -> dict[str, Any]:
    """By the names of a statement's parameters, `place` taken apart; without what no parameter is named after."""
    other = {"place", *left_out}
    named = {one.name: getattr(wanted, one.name) for one in fields(wanted) if one.name not in other}
    return named | wanted.place.values()
