"""Categories of the arrêté of 27 December 2018: those with hours are held to them, the others have none."""

from datetime import date

import pytest

from core.model.lighting import LampPlace, Program, Schedule, Switching
from lighting.legal_hours import CATEGORIES, judge

BREST = LampPlace(48.39, -4.49)
FIRST = date(2026, 11, 1)


def off_at(hour: int) -> Program:
    return Program(Schedule(off=Switching(None, hour * 60)))


@pytest.mark.parametrize(
    ("attributes", "program", "verdict"),
    [
        ({}, Program(), "no_hour"),
        ({"legal_category": "c"}, Program(), "no_hour"),
        ({"legal_category": "f", "activity": ["20:00", "23:00"]}, Program(), "no_hour"),
        # A building site goes dark an hour after work, and nothing says when it may be lit in the evening.
        ({"legal_category": "g", "activity": ["08:00", "20:00"]}, off_at(21), "held"),
        ({"legal_category": "g", "activity": ["08:00", "20:00"]}, off_at(23), "not_held"),
        ({"legal_category": "b"}, off_at(1), "held"),
        ({"legal_category": "b"}, off_at(2), "not_held"),
        # A park by its closing, earlier or later than one o'clock.
        ({"legal_category": "b", "activity": ["08:00", "22:00"]}, off_at(23), "held"),
        ({"legal_category": "b", "activity": ["08:00", "22:00"]}, off_at(1), "not_held"),
        ({"legal_category": "b", "activity": ["08:00", "01:30"]}, off_at(2), "held"),
        ({"legal_category": "d", "activity": ["08:00", "22:00"]}, off_at(1), "held"),
        ({"legal_category": "e", "activity": ["08:00", "20:00"]}, off_at(22), "held"),
        ({"legal_category": "e", "activity": ["08:00", "20:00"]}, off_at(23), "not_held"),
        ({"legal_category": "e"}, off_at(22), "unknown"),
    ],
)
def test_each_category_is_held_to_its_own_hours(
    attributes: dict[str, object], program: Program, verdict: str
) -> None:
    assert judge(attributes, program, BREST, FIRST).verdict == verdict


def test_public_roads_sports_grounds_and_events_have_no_hour_and_it_is_said() -> None:
    assert "aucune heure légale" in CATEGORIES["a"].hours
    assert all("ne fixe pas d'heure" in CATEGORIES[name].hours for name in ("c", "f"))
