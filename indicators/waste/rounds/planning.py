"""From bins and trucks to what a solver is asked, and from its order to instants, loads and metres. Pure.

What a solver answers is counted again here: a plan that overloads a truck, or has it out too late, is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from indicators.waste.rounds.model import (
    DEPOT,
    FIRST_VISIT,
    OUTLET,
    Distances,
    Fleet,
    Plan,
    PlannedStop,
    Routes,
    Trip,
    Visit,
)


class BrokenPlan(Exception):
    """The solver's order is not one of this problem, which its solution promises to be."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What the solver is asked. Loads are whole litres and kilograms, rounded up: a truck never carries more.

    `open_s`: for how long a truck may be out; None: for as long as it takes, and every bin has to be visited.
    """

    distances: Distances
    loads: tuple[tuple[int, int], ...]
    matters: tuple[int, ...]
    capacity: tuple[int, int]
    trucks: int
    open_s: int | None
    service_s: int
    unloading_s: int


def problem_of(visits: Sequence[Visit], fleet: Fleet, distances: Distances, *, has_hours: bool = True) -> Problem:
    """Bins that each fit into an empty truck, for these trucks; without their hours all are visited."""
    return Problem(
        distances,
        tuple((math.ceil(one.volume_l), math.ceil(one.weight_kg)) for one in visits),
        tuple(one.matters for one in visits),
        (fleet.volume_l, fleet.weight_kg),
        fleet.trucks,
        fleet.open_s if has_hours else None,
        fleet.service_s,
        fleet.unloading_s,
    )


def fits(visit: Visit, fleet: Fleet) -> bool:
    """Whether an empty truck can take what is in the bin."""
    return math.ceil(visit.volume_l) <= fleet.volume_l and math.ceil(visit.weight_kg) <= fleet.weight_kg


def shortest_way_s(distances: Distances, fleet: Fleet) -> int:
    """How long a truck is out that visits nothing: to the outlet and back."""
    there, back = distances.seconds[DEPOT][OUTLET], distances.seconds[OUTLET][DEPOT]
    return there + fleet.unloading_s + back


def metres_of(routes: Routes, distances: Distances) -> int:
    """What all trucks drive."""
    return sum(
        sum(_trip_metres(visits, number, len(trips), distances) for number, visits in enumerate(trips))
        for trips in routes
    )


def _trip_metres(visits: Sequence[int], number: int, trips: int, distances: Distances) -> int:
    places = [DEPOT if number == 0 else OUTLET, *(FIRST_VISIT + visit for visit in visits), OUTLET]
    places += [DEPOT] if number == trips - 1 else []
    return sum(distances.metres[one][other] for one, other in pairwise(places))


def plan_of(routes: Routes, visits: Sequence[Visit], fleet: Fleet, distances: Distances) -> Plan:
    """When each bin is reached, and what each trip carries.

    Raises:
        BrokenPlan: a bin is visited twice, or a truck is overloaded, out too late or one too many.
    """
    visited = [visit for trips in routes for trip in trips for visit in trip]
    if len(set(visited)) != len(visited) or len(routes) > fleet.trucks:
        raise BrokenPlan(f"{len(visited)} visits of {len(set(visited))} bins by {len(routes)} trucks")
    stops: list[PlannedStop] = []
    made: list[Trip] = []
    for truck, trips in enumerate(routes, 1):
        _drive(truck, trips, visits, fleet, distances, stops, made)
    left = set(range(len(visits))) - set(visited)
    return Plan(
        tuple(stops),
        tuple(made),
        sum(trip.metres for trip in made),
        tuple(visits[n].asset_id for n in sorted(left)),
    )


def _drive(
    truck: int,
    trips: Sequence[Sequence[int]],
    visits: Sequence[Visit],
    fleet: Fleet,
    distances: Distances,
    stops: list[PlannedStop],
    made: list[Trip],
) -> None:
    """Add the stops and trips of a truck, which leaves when it may and waits for nothing."""
    now, here, position = fleet.opens_at, DEPOT, 0

    def reached(there: int) -> None:
        nonlocal now, here
        now += timedelta(seconds=distances.seconds[here][there])
        here = there

    for number, trip in enumerate(trips):
        leaves_at = now
        for visit in trip:
            reached(FIRST_VISIT + visit)
            position += 1
            stops.append(PlannedStop(visits[visit].asset_id, truck, number + 1, position, now))
            now += timedelta(seconds=fleet.service_s)
        reached(OUTLET)
        outlet_at = now
        now += timedelta(seconds=fleet.unloading_s)
        if number == len(trips) - 1:
            reached(DEPOT)
        volume, weight = (sum(getattr(visits[v], name) for v in trip) for name in ("volume_l", "weight_kg"))
        if volume > fleet.volume_l or weight > fleet.weight_kg:
            raise BrokenPlan(f"truck {truck}, trip {number + 1}: {volume:.0f} l, {weight:.0f} kg")
        metres = _trip_metres(trip, number, len(trips), distances)
        made.append(Trip(truck, number + 1, leaves_at, outlet_at, now, metres, volume, weight))
    if now > fleet.closes_at:
        raise BrokenPlan(f"truck {truck} is back at {now:%H:%M}")
