"""From Lambert-93 (RGF93, EPSG:2154), in which French surveyors' files are, to degrees of WGS 84. Pure.

RGF93 and WGS 84 are the same to a few decimetres, less than what a lamp's position is known to.
"""

import math
from dataclasses import dataclass

# To 1e-11 radian, 0.06 mm on the ground (IGN, NTG 71, algorithm ALG0002).
PRECISE = 1e-11


@dataclass(frozen=True, slots=True)
class Conic:
    """A conformal conic projection: exponent, constant, the pole's plane coordinates, meridian, eccentricity."""

    n: float
    c: float
    x_pole: float
    y_pole: float
    meridian: float
    eccentricity: float

    def inverse(self, x: float, y: float) -> tuple[float, float]:
        """Latitude and longitude in radians of a point in metres (IGN, NTG 71, algorithm ALG0004)."""
        radius = math.hypot(x - self.x_pole, y - self.y_pole)
        longitude = self.meridian + math.atan((x - self.x_pole) / (self.y_pole - y)) / self.n
        return self._latitude(math.log(self.c / radius) / self.n), longitude

    def _latitude(self, isometric: float) -> float:
        latitude, before = 2 * math.atan(math.exp(isometric)) - math.pi / 2, math.inf
        while abs(latitude - before) > PRECISE:
            before = latitude
            sine = self.eccentricity * math.sin(before)
            ratio = ((1 + sine) / (1 - sine)) ** (self.eccentricity / 2)
            latitude = 2 * math.atan(ratio * math.exp(isometric)) - math.pi / 2
        return latitude


# IGN, NTG 71, "Projection Lambert-93": GRS 80, parallels 44° and 49°, origin 46.5° N 3° E.
LAMBERT_93 = Conic(
    0.7256077650532670, 11754255.426096, 700_000.0, 12655612.049876, math.radians(3), 0.0818191910428158
)
# Metropolitan France with Corsica, and some sea around.
EASTINGS, NORTHINGS = (0.0, 1_300_000.0), (6_000_000.0, 7_200_000.0)
# A centimetre: the same file twice gives the same position.
DIGITS = 7


def to_degrees(x: float, y: float) -> tuple[float, float] | None:
    """Latitude and longitude in degrees; None for a point that is nowhere near metropolitan France."""
    if not (EASTINGS[0] <= x <= EASTINGS[1] and NORTHINGS[0] <= y <= NORTHINGS[1]):
        return None
    latitude, longitude = LAMBERT_93.inverse(x, y)
    return round(math.degrees(latitude), DIGITS), round(math.degrees(longitude), DIGITS)
