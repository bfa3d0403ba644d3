"""The solver against the best known of three public instances, with the seed and iterations of a round."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pyvrp import read

from indicators.waste.rounds.solving import ITERATIONS, routes_of, solve_problems, solved

INSTANCES = Path(__file__).parent / "instances"
ROOT = Path(__file__).parents[4]
SEED = 1
AT_MOST = 1.10


def best_known(name: str) -> float:
    """Of the solution that is published with the instance."""
    [cost] = re.findall(r"^Cost:? ([\d.]+)$", (INSTANCES / name).read_text("ascii"), re.MULTILINE)
    return float(cost)


@pytest.mark.parametrize(
    ("name", "rounding", "best"),
    [
        ("E-n22-k4.txt", "round", 375),
        ("RC208.vrp", "dimacs", 10 * best_known("RC208.sol")),
        ("C201R0.25.vrp", "dimacs", 10 * best_known("C201R0.25.sol")),
    ],
)
def test_a_public_instance_is_within_a_tenth_of_the_best_known(name: str, rounding: str, best: float) -> None:
    found = solved(read(INSTANCES / name, round_func=rounding), SEED, ITERATIONS)

    assert found.is_feasible()
    assert best <= found.distance() + 1 <= best * AT_MOST + 1


def coordinates_and_demands() -> tuple[list[tuple[int, int]], list[int]]:
    numbers = re.findall(
        r"^(\d+) (\d+)(?: (\d+))?$", (INSTANCES / "E-n22-k4.txt").read_text("ascii"), re.MULTILINE
    )
    places = [(int(x), int(y)) for _, x, y in numbers if y]
    demands = [int(demand) for _, demand, y in numbers if not y]
    return places, demands


def test_one_truck_that_unloads_and_goes_on_solves_the_same_instance() -> None:
    """Trips of one truck from a depot that is its outlet are the routes of as many trucks: 375 again."""
    places, demands = coordinates_and_demands()
    depot, *bins = places
    listed = [depot, depot, *bins]
    table = [[round(((x - u) ** 2 + (y - v) ** 2) ** 0.5) for u, v in listed] for x, y in listed]
    problem = {
        "distances": {"metres": table, "seconds": table},
        "loads": [[demand, 0] for demand in demands[1:]],
        "matters": [1] * len(bins),
        "capacity": [6000, 1],
        "trucks": 1,
        "open_s": None,
        "service_s": 0,
        "unloading_s": 0,
    }

    [[trips]] = solve_problems({"problems": [problem], "seed": SEED, "iterations": ITERATIONS})["routes"]

    driven = 0
    for trip in trips:
        assert sum(demands[1 + visit] for visit in trip) <= 6000
        stops = [0, *(2 + visit for visit in trip), 0]
        driven += sum(table[one][other] for one, other in pairwise(stops))
    assert sorted(visit for trip in trips for visit in trip) == list(range(21))
    assert 375 <= driven <= 375 * AT_MOST


def test_the_same_seed_finds_the_same_order() -> None:
    data = read(INSTANCES / "E-n22-k4.txt", round_func="round")

    assert routes_of(solved(data, 7, 200)) == routes_of(solved(data, 7, 200))


def test_it_solves_where_the_library_of_charts_is_not_there() -> None:
    """The image leaves matplotlib out, which pyvrp asks for."""
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pyvrp import read\n"
        "from indicators.waste.rounds.solving import solved\n"
        f"print(solved(read({str(INSTANCES / 'E-n22-k4.txt')!r}, round_func='round'), 1, 50).is_feasible())"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ran.stdout.strip(), ran.returncode) == ("True", 0), ran.stderr
