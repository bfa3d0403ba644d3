"""Where: a commune by its name, or a box of longitudes and latitudes, in queries of lists."""

from typing import Annotated, NamedTuple

from fastapi import Query

from api.fields import PRINTABLE
from core.runtime.http.errors import FieldError, Problem

LONGITUDE, LATITUDE = 180.0, 90.0

BoundingBox = Annotated[
    str | None,
    Query(
        max_length=100,
        pattern=r"^[-+0-9.eE,]+$",
        description="Ouest, sud, est, nord en degrés, séparés par des virgules (`bbox` de la RFC 7946)",
        examples=["-4.5,48.3,-4.1,48.6"],
    ),
]
Commune = Annotated[str | None, Query(max_length=200, pattern=PRINTABLE, description="Nom de la commune")]


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
        -LONGITUDE <= box.west <= box.east <= LONGITUDE and -LATITUDE <= box.south <= box.north <= LATITUDE
    ):
        message = "quatre nombres attendus : ouest, sud, est, nord, en degrés"
        raise Problem(422, message, errors=[FieldError(field="query.bbox", code="bbox", message=message)])
    return box
