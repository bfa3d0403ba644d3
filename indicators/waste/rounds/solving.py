"""Solves rounds by pyvrp, in a process of its own: problems as JSON come in, orders go out.

A fixed seed and a fixed number of iterations: the same problem has the same answer, on a busy machine, too.
pyvrp is an optional extra, and brings numpy: only this process imports them.
"""

import json
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

from indicators.waste.rounds.model import DEPOT, FIRST_VISIT, OUTLET

# Where RC208 and C201R0.25 are within 2 % of the best known, and more iterations find nothing for long.
ITERATIONS = 1_000
# Times the longest way: what leaving a bin out costs more than any detour.
PRIZE_OF_LONGEST = 8


def solved(data: Any, seed: int, iterations: int) -> Any:
    """The best solution of a problem of pyvrp's that this finds; None: it found none that holds."""
    pyvrp, stop = import_module("pyvrp"), import_module("pyvrp.stop")
    result = pyvrp.solve(data, stop.MaxIterations(iterations), seed=seed, collect_stats=False, display=False)
    return result.best if result.is_feasible() else None


def data_of(problem: dict[str, Any]) -> Any:
    """The problem in pyvrp's words: trips end at the outlet, where a truck may be emptied and go on.

    Where there are hours, bins may be left out, the ones that matter least first.
    """
    numpy, pyvrp = import_module("numpy"), import_module("pyvrp")
    metres, seconds = problem["distances"]["metres"], problem["distances"]["seconds"]
    open_s, unloading_s = problem["open_s"], problem["unloading_s"]
    prize = PRIZE_OF_LONGEST * max(map(max, metres)) + 1
    is_required = open_s is None
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
    hours = {} if is_required else {"tw_late": open_s - unloading_s - seconds[OUTLET][DEPOT]}
    truck = pyvrp.VehicleType(
        problem["trucks"],
        list(problem["capacity"]),
        start_depot=DEPOT,
        end_depot=OUTLET,
        reload_depots=[OUTLET],
        fixed_cost=metres[OUTLET][DEPOT],
        **hours,
    )
    return pyvrp.ProblemData(
        [pyvrp.Location(0, 0) for _ in metres],
        clients,
        [pyvrp.Depot(DEPOT), pyvrp.Depot(OUTLET, service_duration=unloading_s)],
        [truck],
        [numpy.array(metres)],
        [numpy.array(seconds)],
    )


def order_of(solution: Any) -> list[list[list[int]]]:
    """Of each truck that drives its trips, of each trip its visits."""
    order: list[list[list[int]]] = []
    for route in solution.routes():
        trips: dict[int, list[int]] = {}
        for activity in route:
            if activity.is_client():
                trips.setdefault(activity.trip, []).append(activity.idx)
        if trips:
            order.append([trips[number] for number in sorted(trips)])
    return order


def solve_problems(asked: dict[str, Any]) -> dict[str, Any]:
    """The orders of these problems, and by what they were found; null: it found none that holds."""
    orders: list[list[list[list[int]]] | None] = []
    for problem in asked["problems"]:
        solution = solved(data_of(problem), asked["seed"], asked["iterations"]) if problem["loads"] else None
        orders.append(order_of(solution) if solution is not None else None if problem["loads"] else [])
    return {"orders": orders, "solver": f"pyvrp {version('pyvrp')}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(solve_problems(json.load(sys.stdin))))
