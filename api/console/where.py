"""Where and what: the part of a filter that every list and the map have in common, in words and in addresses."""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query

from api.asset_state_store import list_communes, list_quarters
from api.auth import Caller
from api.console.navigation import marked
from api.extent import NUMBERS, box_of, circle_of
from api.fields import PRINTABLE
from core.runtime.http.errors import Problem
from registry.places import Circle, Place

Text = Annotated[str, Query(max_length=200, pattern=PRINTABLE)]
Word = Annotated[str, Query(max_length=63, pattern=PRINTABLE)]
# Metres; of a point without one the first.
RADII = {"500": "500 m", "200": "200 m", "1000": "1 km", "5000": "5 km", "20000": "20 km"}
POINT_EXPECTED = marked("latitude et longitude attendues, 48.4499, -4.2516 par exemple")
# Between two numbers. Where it is there, a comma is a decimal one.
BETWEEN = re.compile(r"[;\s]+")
INVALID = 422


@dataclass(frozen=True, slots=True)
class Where:
    """Whose assets, and where they are: the parameters of an address, empty where it says nothing."""

    commune: Text = ""
    quartier: Word = ""
    etiquette: Word = ""
    zone: Annotated[str, Query(max_length=100, pattern=rf"({NUMBERS})|^$")] = ""
    """West, south, east and north of what a map shows."""
    autour: Annotated[str, Query(max_length=60, pattern=PRINTABLE)] = ""
    """Latitude, longitude: people say them in this order."""
    rayon: Annotated[str, Query(max_length=6, pattern="^[0-9]*$")] = ""

    def place(self) -> Place:
        """For a list; raises 422 for a place that is none."""
        return Place(box_of(self.zone or None), self.circle(), self.commune or None)

    def circle(self) -> Circle | None:
        """Around a point; raises 422 for one that is none."""
        if not self.autour.strip():
            return None
        parts = [part.strip(",") for part in BETWEEN.split(self.autour.strip())]
        numbers = [part.replace(",", ".") for part in parts] if len(parts) > 1 else parts[0].split(",")
        radius = int(self.rayon) if self.rayon in RADII else int(next(iter(RADII)))
        try:
            latitude, longitude = numbers
            return circle_of(f"{float(longitude)},{float(latitude)}", radius)
        except (ValueError, Problem):
            raise Problem(INVALID, POINT_EXPECTED) from None

    @property
    def tag(self) -> str | None:
        """For a list."""
        return self.etiquette.strip().lower() or None

    @property
    def quarter(self) -> str | None:
        """For a list."""
        return self.quartier or None

    @property
    def is_narrow(self) -> bool:
        """Whether more is said than a commune: that part of the form is then open."""
        return bool(self.quartier or self.etiquette or self.zone or self.autour)

    def named(self) -> dict[str, str]:
        """What the address says."""
        radius = self.rayon if self.autour else ""
        named = {"commune": self.commune, "quartier": self.quartier, "etiquette": self.etiquette}
        named |= {"zone": self.zone, "autour": self.autour, "rayon": radius}
        return {name: value for name, value in named.items() if value}

    def for_lists(self) -> dict[str, str]:
        """The same as the API's lists are asked; a point that is none says nothing."""
        try:
            circle = self.circle()
        except Problem:
            circle = None
        around: dict[str, str] = {}
        if circle is not None:
            around = {"near": f"{circle.longitude},{circle.latitude}", "radius": str(int(circle.radius))}
        named = {"commune": self.commune, "quarter": self.quarter, "tag": self.tag, "bbox": self.zone}
        return {name: value for name, value in named.items() if value} | around

    @property
    def address(self) -> str:
        """As the part of an address behind `?`."""
        return urlencode(self.named())


@dataclass(frozen=True, slots=True)
class Places:
    """What the filter offers to choose from."""

    communes: list[str]
    quarters: list[str]

    @property
    def radii(self) -> dict[str, str]:
        """How far from a point, in metres."""
        return RADII


async def read_places(caller: Caller) -> Places:
    """Where there is something."""
    async with caller.reading() as connection:
        return Places(await list_communes(connection), await list_quarters(connection))
