"""Solves rounds by pyvrp, in a process of its own: problems as JSON come in, routes go out.

A fixed seed and a fixed number of iterations: the same problem has the same answer, on a busy machine, too.
Only this process imports pyvrp and numpy.
"""

import json
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

from indicators.waste.rounds.model import DEPOT, FIRST_VISIT, OUTLET
from indicators.waste.rounds.trimming import hours_at_bins, trimmed

# With these E-n22-k4, RC208 and C201R0.25 are within 3 % of the best known, and 88 bins take 2 s of a processor.
ITERATIONS = 500
# Times the longest way: what leaving a bin out costs more than any detour.
PRIZE_OF_LONGEST = 8


def solved(data: Any, seed: int, iterations: int, start: Any = None) -> Any:
    """The best that this finds from a seed on, or from a solution; it may not hold where it says so."""
    pyvrp, stop = import_module("pyvrp"), import_module("pyvrp.stop")
    result = pyvrp.solve(
        data,
        stop.MaxIterations(iterations),
        seed=seed,
        collect_stats=False,
        display=False,
        initial_solution=start,
    )
    return result.best


def solve_problem(problem: dict[str, Any], seed: int, iterations: int) -> list[list[list[int]]] | None:
    """The order of one; None: none was found that holds.

    First every bin is visited. Where the hours do not allow that, what matters least is taken out of that order,
    and the rest is improved: from nothing the search would not find that a truck may be emptied for one bin more.
    """
    if not problem["loads"]:
        return []
    whole = solved(data_of(problem, is_required=True), seed, iterations)
    if whole.is_feasible() or problem["open_s"] is None:
        return routes_of(whole) if whole.is_feasible() else None
    data = data_of(problem, is_required=False)
    start = solution_of(data, trimmed(routes_of(whole), problem))
    part = solved(data, seed, iterations, start)
    return routes_of(part if part.is_feasible() else start)


def data_of(problem: dict[str, Any], *, is_required: bool) -> Any:
    """The problem in pyvrp's words: trips end at the outlet, where a truck may be emptied and go on."""
    numpy, pyvrp = import_module("numpy"), import_module("pyvrp")
    metres, seconds = problem["distances"]["metres"], problem["distances"]["seconds"]
    prize = PRIZE_OF_LONGEST * max(map(max, metres)) + 1
    clients = [
        pyvrp.Client(
            FIRST_VISIT + number,
            pickup=list(load),
            service_duration=problem["service_s"],
            required=is_required,
            prize=0 if is_required else prize * matters,
        )
        for number, (load, matters) in enumerate(zip(problem["loads"], problem["matters"], strict=True))
    ]
    # From the outlet a truck goes home, which no order of bins changes: it is taken off its hours.
    last = hours_at_bins(problem)
    truck = pyvrp.VehicleType(
        problem["trucks"],
        list(problem["capacity"]),
        start_depot=DEPOT,
        end_depot=OUTLET,
        reload_depots=[OUTLET],
        fixed_cost=metres[OUTLET][DEPOT],
        **({} if last is None else {"tw_late": last}),
    )
    return pyvrp.ProblemData(
        [pyvrp.Location(0, 0) for _ in metres],
        clients,
        [pyvrp.Depot(DEPOT), pyvrp.Depot(OUTLET, service_duration=problem["unloading_s"])],
        [truck],
        [numpy.array(metres)],
        [numpy.array(seconds)],
    )


def solution_of(data: Any, routes: list[list[list[int]]]) -> Any:
    """Routes in pyvrp's words."""
    pyvrp = import_module("pyvrp")
    kinds = pyvrp.ActivityType
    made: list[Any] = []
    for trips in routes:
        activities: list[Any] = []
        for trip in trips:
            activities += [pyvrp.Activity(kinds.DEPOT, OUTLET)] if activities else []
            activities += [pyvrp.Activity(kinds.CLIENT, visit) for visit in trip]
        made.append(pyvrp.Route(data, activities, 0))
    return pyvrp.Solution(data, made)


def routes_of(solution: Any) -> list[list[list[int]]]:
    """Of each truck that drives its trips, of each trip its visits."""
    routes: list[list[list[int]]] = []
    for route in solution.routes():
        trips: dict[int, list[int]] = {}
        for activity in route:
            if activity.is_client():
                trips.setdefault(activity.trip, []).append(activity.idx)
        if trips:
            routes.append([trips[number] for number in sorted(trips)])
    return routes


def solve_problems(asked: dict[str, Any]) -> dict[str, Any]:
    """The routes of these problems, and by what they were found; null: it found none that holds."""
    routes = [solve_problem(problem, asked["seed"], asked["iterations"]) for problem in asked["problems"]]
    return {"routes": routes, "solver": f"pyvrp {version('pyvrp')}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(solve_problems(json.load(sys.stdin))))
