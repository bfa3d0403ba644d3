"""Takes bins out of an order that keeps trucks out too long, the ones that matter least first. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from indicators.waste.rounds.model import DEPOT, FIRST_VISIT, OUTLET

Trips = list[list[int]]


def hours_at_bins(problem: Mapping[str, Any]) -> int | None:
    """Until when a truck has to be back at the outlet for the last time, in seconds; None: whenever."""
    if problem["open_s"] is None:
        return None
    return problem["open_s"] - problem["unloading_s"] - problem["distances"]["seconds"][OUTLET][DEPOT]


def trimmed(routes: Sequence[Sequence[Sequence[int]]], problem: Mapping[str, Any]) -> list[Trips]:
    """What is left of an order of this problem when each truck carries what it may and is back in time."""
    last = hours_at_bins(problem)
    found: list[Trips] = []
    for truck in routes[: problem["trucks"]]:
        trips = [_light(list(trip), problem) for trip in truck]
        while last is not None and _seconds(trips, problem) > last:
            _take_one_out(trips, problem)
        trips = [trip for trip in trips if trip]
        if trips:
            found.append(trips)
    return found


def _light(trip: list[int], problem: Mapping[str, Any]) -> list[int]:
    """Without what overloads the truck."""
    while any(
        sum(problem["loads"][visit][kind] for visit in trip) > most
        for kind, most in enumerate(problem["capacity"])
    ):
        trip.remove(min(trip, key=lambda visit: (problem["matters"][visit], visit)))
    return trip


def _take_one_out(trips: Trips, problem: Mapping[str, Any]) -> None:
    """The bin that gives most time back for what it matters; a trip to no bin is driven no more."""
    before = _seconds(trips, problem)

    def worth(place: tuple[int, int]) -> tuple[float, int]:
        number, index = place
        rest = [[*trip[:index], *trip[index + 1 :]] if one == number else trip for one, trip in enumerate(trips)]
        visit = trips[number][index]
        return (before - _seconds(rest, problem)) / problem["matters"][visit], -visit

    number, index = max(
        ((number, index) for number, trip in enumerate(trips) for index in range(len(trip))), key=worth
    )
    del trips[number][index]


def _seconds(trips: Sequence[Sequence[int]], problem: Mapping[str, Any]) -> int:
    """From leaving the depot to the outlet for the last time."""
    seconds, lasts, here = problem["distances"]["seconds"], 0, DEPOT
    for trip in trips:
        if not trip:
            continue
        lasts += problem["unloading_s"] if here == OUTLET else 0
        for visit in trip:
            lasts += seconds[here][FIRST_VISIT + visit] + problem["service_s"]
            here = FIRST_VISIT + visit
        lasts += seconds[here][OUTLET]
        here = OUTLET
    return lasts
