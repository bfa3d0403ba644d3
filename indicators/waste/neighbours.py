"""Which bins stand near a bin and are of its kind. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import cos, floor, hypot, radians

MOST_NEIGHBOURS = 5
WITHIN_M = 2_000.0
METRES_A_DEGREE = 111_195.0  # Of a great circle of the mean Earth.


@dataclass(frozen=True, slots=True)
class PlacedBin:
    """A level that is measured, of what, and where; without a position it has no neighbours."""

    datastream_id: int
    asset_id: int
    name: str
    kind: str
    commune: str
    latitude: float | None
    longitude: float | None


class Bands:
    """Bins by kind and band of latitude, each band as wide as a neighbourhood: few are looked at of many."""

    def __init__(self, bins: Iterable[PlacedBin]) -> None:
        self._bins: dict[tuple[str, int], list[PlacedBin]] = {}
        for one in bins:
            if one.latitude is not None:
                self._bins.setdefault((one.kind, _band(one.latitude)), []).append(one)

    def around(self, one: PlacedBin) -> Iterator[PlacedBin]:
        """Of its kind in its band and in the two beside it, itself among them."""
        if one.latitude is None:
            return
        middle = _band(one.latitude)
        for band in (middle - 1, middle, middle + 1):
            yield from self._bins.get((one.kind, band), ())


def _band(latitude: float) -> int:
    return floor(latitude * METRES_A_DEGREE / WITHIN_M)


def neighbours_of(one: PlacedBin, others: Iterable[PlacedBin]) -> list[PlacedBin]:
    """The nearest of its kind, five at most, within two kilometres."""
    near = [
        (metres, other.datastream_id, other)
        for other in others
        if other.datastream_id != one.datastream_id
        and other.kind == one.kind
        and (metres := _metres(one, other)) is not None
        and metres <= WITHIN_M
    ]
    return [other for _, _, other in sorted(near, key=lambda found: found[:2])][:MOST_NEIGHBOURS]


def _metres(one: PlacedBin, other: PlacedBin) -> float | None:
    """Over some kilometres the Earth is flat."""
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        return None
    east = (other.longitude - one.longitude) * cos(radians((one.latitude + other.latitude) / 2))
    return METRES_A_DEGREE * hypot(east, other.latitude - one.latitude)
