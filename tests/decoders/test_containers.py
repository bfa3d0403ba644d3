"""Fill levels of containers whose answers are known by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.containers import ContainerGeometry, InvalidGeometry, fill_level, geometry_of

PRISM = ContainerGeometry(((1_700, 0), (300, 100)))


@pytest.mark.parametrize(
    ("distance", "percent"), [(1_700, 0), (1_000, 50), (300, 100), (650, 75), (100, 100), (1_750, 0)]
)
def test_a_prismatic_container_fills_in_proportion(distance: float, percent: float) -> None:
    assert fill_level(distance, PRISM) == percent


def test_an_echo_from_beyond_the_bottom_is_no_level() -> None:
    assert fill_level(2_000, PRISM) is None


@pytest.mark.parametrize("distance", [0, -1, float("nan"), float("inf")])
def test_what_is_no_distance_is_no_level(distance: float) -> None:
    assert fill_level(distance, PRISM) is None


def test_in_the_dead_zone_the_container_is_full() -> None:
    assert fill_level(340, ContainerGeometry(PRISM.points, dead_zone_mm=350)) == 100


def test_a_table_that_stops_before_full_says_its_last_level_up_to_the_dead_zone() -> None:
    geometry = ContainerGeometry(((1_700, 5), (300, 90)), dead_zone_mm=250)

    assert [fill_level(distance, geometry) for distance in (1_800, 1_700, 280, 250)] == [5, 5, 90, 100]


def test_any_other_body_takes_a_table() -> None:
    geometry = geometry_of({"container": {"table": [[2_000, 0], [1_000, 20], [200, 100]]}})

    assert geometry is not None
    assert fill_level(1_500, geometry) == 10
    assert fill_level(600, geometry) == 60


def test_an_asset_without_a_container_has_no_geometry() -> None:
    assert geometry_of({"anything": 1}) is None


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({}, "empty_distance_mm"),
        ({"empty_distance_mm": 300, "full_distance_mm": 1_700}, "doit diminuer"),
        ({"empty_distance_mm": "1700", "full_distance_mm": 300}, "millimètres"),
        ({"table": [[1_700, 0]]}, "deux points au moins"),
        ({"table": [[300, 0], [1_700, 100]]}, "deux points au moins"),
        ({"table": [1_700, 300]}, "couple"),
        ({"table": "1700"}, "liste de couples"),
        ({"table": [[1_700, 0], [300, 120]]}, "pourcentage, de 0 à 100"),
        ({"table": [[1_700, 0], [300, 100]], "full_distance_mm": 300}, "retirer les deux autres"),
        ({"empty_distance_mm": float("nan"), "full_distance_mm": 300}, "millimètres"),
        ({"empty_distance_mm": 1_700, "full_distance_mm": 300, "dead_zone_mm": 1_700}, "va jusqu'au fond"),
        ({"empty_distance_mm": 1_700, "full_distance_mm": 300, "dead_zone": 250}, "dead_zone inconnu"),
        ("bac", "objet"),
    ],
)
def test_says_why_a_geometry_cannot_be_used(container: Any, reason: str) -> None:
    with pytest.raises(InvalidGeometry, match=reason):
        geometry_of({"container": container})


@given(st.floats(0.1, 1_950), st.floats(0.1, 1_950))
def test_a_shorter_distance_is_never_emptier(one: float, other: float) -> None:
    near, far = sorted((one, other))
    nearer, farther = fill_level(near, PRISM), fill_level(far, PRISM)

    assert nearer is not None
    assert farther is not None
    assert 0 <= farther <= nearer <= 100
