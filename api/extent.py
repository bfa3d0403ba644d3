"""Where: a commune, a box of longitudes and latitudes, or around a point, in queries of lists."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Query

from api.fields import PRINTABLE
from core.runtime.http.errors import FieldError, Problem
from registry.places import Circle, Place

LONGITUDE, LATITUDE = 180.0, 90.0
RADIUS_MOST, USUAL_RADIUS = 100_000, 1_000
NUMBERS = r"^[-+0-9.eE,]+$"

BoundingBox = Annotated[
    str | None,
    Query(
        max_length=100,
        pattern=NUMBERS,
        description="Ouest, sud, est, nord en degrés, séparés par des virgules (`bbox` de la RFC 7946)",
        examples=["-4.5,48.3,-4.1,48.6"],
    ),
]
Near = Annotated[
    str | None,
    Query(
        max_length=60,
        pattern=NUMBERS,
        description="Longitude, latitude en degrés : ce qui est à moins de `radius` mètres",
        examples=["-4.2516,48.4499"],
    ),
]
Radius = Annotated[
    int | None,
    Query(
        ge=1,
        le=RADIUS_MOST,
        description=f"Rayon autour de `near`, en mètres ; {USUAL_RADIUS} s'il n'est pas dit",
        examples=[500],
    ),
]
Commune = Annotated[str | None, Query(max_length=200, pattern=PRINTABLE, description="Nom de la commune")]
CommuneOrCode = Annotated[
    str | None,
    Query(
        max_length=200, pattern=PRINTABLE, description="Commune, par son nom ou son code INSEE", examples=["29103"]
    ),
]


class Box(NamedTuple):
    """West, south, east and north, in degrees (GeoJSON's `bbox`, RFC 7946)."""

    west: float
    south: float
    east: float
    north: float


def box_of(text: str | None) -> Box | None:
    """The box that a query names; raises 422 when it names none."""
    if text is None:
        return None
    try:
        box = Box(*map(float, text.split(",")))
    except (TypeError, ValueError):
        box = None
    if box is None or not (
        -LONGITUDE <= box.west <= LONGITUDE
        and -LONGITUDE <= box.east <= LONGITUDE
        and -LATITUDE <= box.south <= LATITUDE
        and -LATITUDE <= box.north <= LATITUDE
    ):
        raise _wrong("bbox", "quatre nombres attendus : ouest, sud, est, nord, en degrés")
    if box.west > box.east or box.south > box.north:
        raise _wrong("bbox", "emprise inversée : ouest, sud, est, nord attendus, dans cet ordre")
    return box


def circle_of(near: str | None, radius: int | None) -> Circle | None:
    """The circle that a query names; raises 422 when it names none."""
    if near is None:
        if radius is not None:
            raise _wrong("radius", "un rayon se donne avec `near`, longitude et latitude de son centre")
        return None
    try:
        longitude, latitude = map(float, near.split(","))
    except ValueError:
        longitude, latitude = LONGITUDE + 1, LATITUDE + 1
    if not (-LONGITUDE <= longitude <= LONGITUDE and -LATITUDE <= latitude <= LATITUDE):
        raise _wrong("near", "deux nombres attendus : longitude, latitude, en degrés")
    return Circle(longitude, latitude, USUAL_RADIUS if radius is None else radius)


def _wrong(parameter: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{parameter}", code=parameter, message=message)])


def _place(
    bbox: BoundingBox = None, near: Near = None, radius: Radius = None, commune: CommuneOrCode = None
) -> Place:
    return Place(box_of(bbox), circle_of(near, radius), commune or None)


# Of a list of what has a place.
Placed = Annotated[Place, Depends(_place)]
