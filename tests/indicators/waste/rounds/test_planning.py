"""No truck carries too much or is out too late, every bin is in a trip or left, and metres are the table's."""

import asyncio
import math
import resource
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indicators.waste.rounds.distances import great_circle
from indicators.waste.rounds.model import DEPOT, OUTLET, Distances, Fleet, Place, Visit
from indicators.waste.rounds.planning import BrokenPlan, fits, metres_of, plan_of, problem_of
from indicators.waste.rounds.solver import Solver
from indicators.waste.rounds.solving import ITERATIONS, solve_problems

OPENS = datetime(2026, 12, 1, 5, tzinfo=UTC)


def fleet_of(hours: float = 8, **fields: int) -> Fleet:
    given = {"trucks": 1, "volume_l": 10_000, "weight_kg": 3_000, "service_s": 300, "unloading_s": 600} | fields
    closes = OPENS + timedelta(hours=hours)
    return Fleet(
        given["trucks"],
        given["volume_l"],
        given["weight_kg"],
        OPENS,
        closes,
        given["service_s"],
        given["unloading_s"],
    )


def as_json(problem) -> dict:
    fields = {name: getattr(problem, name) for name in problem.__dataclass_fields__ if name != "distances"}
    return fields | {"distances": {"metres": problem.distances.metres, "seconds": problem.distances.seconds}}


visits = st.lists(
    st.tuples(
        st.floats(-0.05, 0.05),
        st.floats(-0.05, 0.05),
        st.floats(0, 4_000),
        st.floats(0, 1_500),
        st.integers(1, 20),
    ),
    min_size=1,
    max_size=12,
).map(
    lambda drawn: [
        Visit(number, Place(48.1 + north, -1.68 + east), volume, weight, matters)
        for number, (north, east, volume, weight, matters) in enumerate(drawn, 100)
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    visits,
    st.integers(1, 3),
    st.integers(4_000, 12_000),
    st.integers(1_500, 4_000),
    st.floats(1, 6),
    st.integers(0, 9),
)
def test_no_plan_overloads_a_truck_or_loses_a_bin(drawn, trucks, volume, weight, hours, seed) -> None:
    fleet = fleet_of(hours, trucks=trucks, volume_l=volume, weight_kg=weight)
    table = great_circle([Place(48.05, -1.7), Place(48.12, -1.6), *(one.place for one in drawn)], 30)
    asked = {"problems": [as_json(problem_of(drawn, fleet, table))], "seed": seed, "iterations": 60}

    [routes] = solve_problems(asked)["routes"]
    plan = plan_of(routes, drawn, fleet, table)

    assert solve_problems(asked)["routes"] == [routes]
    # Counted here by itself, from the stops alone.
    at = {one.asset_id: number for number, one in enumerate(drawn)}
    assert sorted([stop.asset_id for stop in plan.stops] + list(plan.left)) == sorted(at)
    driven = 0
    for truck in {stop.truck for stop in plan.stops}:
        now, here = OPENS, DEPOT
        of_truck = [stop for stop in plan.stops if stop.truck == truck]
        assert [stop.position for stop in of_truck] == list(range(1, len(of_truck) + 1))
        for trip in sorted({stop.trip for stop in of_truck}):
            loaded = [stop for stop in of_truck if stop.trip == trip]
            assert math.fsum(drawn[at[stop.asset_id]].volume_l for stop in loaded) <= volume
            assert math.fsum(drawn[at[stop.asset_id]].weight_kg for stop in loaded) <= weight
            for stop in loaded:
                there = 2 + at[stop.asset_id]
                now += timedelta(seconds=table.seconds[here][there])
                driven += table.metres[here][there]
                assert stop.arrival == now
                now, here = now + timedelta(seconds=300), there
            now += timedelta(seconds=table.seconds[here][OUTLET] + 600)
            driven, here = driven + table.metres[here][OUTLET], OUTLET
        now += timedelta(seconds=table.seconds[OUTLET][DEPOT])
        driven += table.metres[OUTLET][DEPOT]
        assert now <= fleet.closes_at
    assert driven == plan.metres == metres_of(routes, table)


LINE = Distances(
    "matrix",
    ((0, 10, 5, 20), (10, 0, 5, 10), (5, 5, 0, 15), (20, 10, 15, 0)),
    ((0, 600, 300, 1200), (600, 0, 300, 600), (300, 300, 0, 900), (1200, 600, 900, 0)),
)
TWO = [Visit(7, Place(0, 0), 900.0, 100.0), Visit(8, Place(0, 0), 800.5, 200.0)]


def test_two_trips_by_hand() -> None:
    """Depot, 7 and the outlet; 8 and the outlet; home: 5 + 5 + 10 + 10 + 10 m, 5 minutes at each bin."""
    plan = plan_of([[[0], [1]]], TWO, fleet_of(volume_l=1_000), LINE)

    assert plan.metres == 40
    assert [(stop.asset_id, stop.trip, (stop.arrival - OPENS).total_seconds() / 60) for stop in plan.stops] == [
        (7, 1, 5),  # 5 to get there, 5 there, 5 to the outlet, 10 to unload, 10 to the next bin.
        (8, 2, 35),
    ]
    first, second = plan.trips
    assert (first.ends_at - OPENS, second.leaves_at - OPENS) == (timedelta(minutes=25), timedelta(minutes=25))
    assert second.outlet_at - OPENS == timedelta(minutes=50)
    assert second.ends_at - OPENS == timedelta(minutes=70)
    assert (first.metres, second.metres, second.volume_l, second.weight_kg) == (10, 30, 800.5, 200.0)


@pytest.mark.parametrize(
    ("routes", "fleet"),
    [
        ([[[0, 1]]], fleet_of(volume_l=1_700)),  # 1700.5 litres.
        ([[[0, 1]]], fleet_of(weight_kg=299)),
        ([[[0], [1]]], fleet_of(69 / 60)),
        ([[[0]], [[1]]], fleet_of()),  # One truck too many.
        ([[[0], [0]]], fleet_of()),
    ],
)
def test_an_order_that_does_not_hold_is_no_plan(routes, fleet) -> None:
    with pytest.raises(BrokenPlan):
        plan_of(routes, TWO, fleet, LINE)


def test_a_load_is_rounded_up_before_it_is_compared() -> None:
    assert not fits(Visit(1, Place(0, 0), 1000.2, 1.0), fleet_of(volume_l=1_000))
    assert problem_of(TWO, fleet_of(), LINE).loads == ((900, 100), (801, 200))


def test_what_there_is_no_time_for_is_what_matters_least() -> None:
    """Half an hour: one of two bins that are as far."""
    far, slow = ((9, 9, 0, 9), (9, 9, 9, 0)), ((500, 500, 0, 500), (500, 500, 500, 0))
    table = Distances("matrix", ((0, 1, 9, 9), (1, 0, 9, 9), *far), ((0, 60, 500, 500), (60, 0, 500, 500), *slow))
    for preferred in (0, 1):
        two = [Visit(n, Place(0, 0), 1, 1, 9 if n == preferred else 1) for n in range(2)]
        problem = as_json(problem_of(two, fleet_of(0.5, unloading_s=0), table))

        assert solve_problems({"problems": [problem], "seed": 1, "iterations": 50})["routes"] == [[[[preferred]]]]


def test_a_round_of_88_bins_takes_less_than_five_seconds() -> None:
    """Of a processor: what the process needs, with its start, for the round and the one over all bins."""
    source = Random(88)
    bins = [
        Visit(
            n,
            Place(48.1 + source.uniform(-0.1, 0.1), -1.68 + source.uniform(-0.15, 0.15)),
            4_000 * level,
            1_320 * level,
        )
        for n, level in enumerate(source.uniform(0.75, 1) for _ in range(88))
    ]
    fleet = fleet_of(trucks=4, volume_l=25_000, weight_kg=11_000)
    table = great_circle([Place(48.05, -1.7), Place(48.12, -1.6), *(one.place for one in bins)], 30)
    problems = [problem_of(bins, fleet, table), problem_of(bins, fleet, table, has_hours=False)]
    before = _seconds_of_children()

    solved = asyncio.run(Solver().solve(problems, 1, ITERATIONS))

    assert _seconds_of_children() - before < 5
    assert solved.solver.startswith("pyvrp ")
    plan = plan_of(solved.routes[0], bins, fleet, table)
    assert len(plan.stops) + len(plan.left) == 88
    assert sorted(n for trips in solved.routes[1] for trip in trips for n in trip) == list(range(88))


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
