"""What a round of trucks is: bins to visit, trucks that carry so much, trips that end at the outlet. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

ChosenBy = Literal["threshold", "forecast", "forced", "unknown"]
LeftReason = Literal["unknown_level", "never_measured", "no_position", "no_volume", "too_large", "no_room"]
Outcome = Literal["emptied", "skipped"]
SkipReason = Literal["inaccessible", "not_full", "damaged", "wrong_content", "truck_full", "out_of_time", "other"]
DistanceSource = Literal["matrix", "osrm", "great_circle"]
Part = Literal["p10", "p50", "p90"]

# In a problem's distances the trucks' depot comes first, then the outlet, then the visits in their order.
DEPOT, OUTLET, FIRST_VISIT = 0, 1, 2


class Place(NamedTuple):
    """Degrees, WGS 84."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Trucks of one kind, out between two instants; seconds at a bin and at the outlet."""

    trucks: int
    volume_l: int
    weight_kg: int
    opens_at: datetime
    closes_at: datetime
    service_s: int
    unloading_s: int

    @property
    def open_s(self) -> int:
        """For how long a truck may be out."""
        return int((self.closes_at - self.opens_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Visit:
    """A bin that is to be emptied, and what it holds. `weight` of its prize: how much it matters that it is."""

    asset_id: int
    place: Place
    volume_l: float
    weight_kg: float
    matters: int = 1


@dataclass(frozen=True, slots=True)
class Distances:
    """Metres and seconds from each place to each, and where they are from."""

    source: DistanceSource
    metres: tuple[tuple[int, ...], ...]
    seconds: tuple[tuple[int, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlannedStop:
    """Where in a round a bin stands: `position` counts over all trips of a truck."""

    asset_id: int
    truck: int
    trip: int
    position: int
    arrival: datetime


@dataclass(frozen=True, slots=True)
class Trip:
    """From leaving full of nothing until the truck is unloaded; the last one of a truck ends at the depot."""

    truck: int
    trip: int
    leaves_at: datetime
    outlet_at: datetime
    ends_at: datetime
    metres: int
    volume_l: float
    weight_kg: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A solved round: its stops in order, its trips, its metres, and the bins that are in no trip."""

    stops: tuple[PlannedStop, ...]
    trips: tuple[Trip, ...]
    metres: int
    left: tuple[int, ...]


Routes = Sequence[Sequence[Sequence[int]]]
"""Of each truck the trips, of each trip the visits, by their place in the problem."""
