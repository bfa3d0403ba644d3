"""Whether an order keeps the bounds that a syndicat has set; instants by hand, the sun of Brest by ephem."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.model.lighting import LampPlace
from core.model.region import region_of
from lighting.programs import Bounds, override_outside

BREST = LampPlace(48.39, -4.49, region_of("29", "Europe/Paris"))
# Dusk is at 17:26 on that day, dawn at 9:05, legal time; which is an hour ahead of UTC.
BOUNDS = [
    Bounds("Le syndicat", earliest_cut=23 * 60, latest_return=5 * 60 + 30, least_level=30,
           protected_tags=("carrefour",), set_by_id=7),
]  # fmt: skip


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 12, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("level", "begin", "end", "tags", "why"),
    [
        (0, at(20, 22, 30), at(21, 4), (), None),
        (0, at(20, 9), at(20, 16, 30), (), None),  # By day, and half an hour of dusk.
        (50, at(20, 18), at(21, 6), (), None),
        (0, at(20, 20), at(20, 21), (), "une extinction à 21:00 : pas avant 23:00"),
        (0, at(20, 14), at(20, 21), (), "une extinction à 17:2"),
        (0, at(20, 23), at(21, 5), (), "un rallumage à 06:00 seulement : pas après 05:30"),
        (20, at(20, 18), at(21, 6), (), "un palier de 20 % : pas moins de 30 %"),
        (0, at(20, 22, 30), at(21, 4), ("carrefour",), "cet éclairage est protégé"),
    ],
)
def test_an_order_keeps_the_bounds_or_says_which_it_oversteps(
    level: int, begin: datetime, end: datetime, tags: tuple[str, ...], why: str | None
) -> None:
    found = override_outside(level, begin, end, BREST, BOUNDS, tags)

    if why is None:
        assert found == ()
    else:
        [overstep] = found
        assert why in overstep.why
        assert (overstep.set_by_id, "Le syndicat" in overstep.why) == (7, True)


def test_of_two_levels_each_is_named_whose_bound_is_overstepped() -> None:
    bounds = [
        Bounds("Le syndicat", earliest_cut=23 * 60, set_by_id=7),
        Bounds("Le SDEF", least_level=50, set_by_id=9),
    ]
    both = [replace(one, earliest_cut=22 * 60, least_level=50) for one in bounds]

    def set_by(level: float, given: list[Bounds]) -> list[int]:
        return [one.set_by_id for one in override_outside(level, at(20, 20), at(21, 4), BREST, given, ())]

    assert set_by(0, bounds) == [7]
    assert set_by(30, bounds) == [9]
    assert set_by(0, both) == [7, 9]
    assert set_by(60, both) == []


def test_where_nobody_knows_the_place_nobody_says_that_an_order_keeps_the_bounds() -> None:
    nowhere = LampPlace(None, None, BREST.region)

    assert not override_outside(0, at(20, 22, 30), at(21, 4), nowhere, [], ())
    assert override_outside(0, at(20, 22, 30), at(21, 4), nowhere, BOUNDS, ())
