"""Opening hours, holidays, night and lamps, against the official calendars and the sunrise equation."""

from datetime import UTC, date, datetime, timedelta

import pytest

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.duty import is_lit, is_on_duty, next_duty
from alerting.rules.model import Place
from core.model.hours import MalformedHours
from core.model.lighting import Program, Schedule
from core.model.region import METROPOLITAN, region_of

WEEK = weekly_of([[["07:30", "18:30"]]] * 5 + [[], []])
SCHOOL = Calendar(WEEK, school_zone="B")
BREST = Place(48.39, -4.49)
METZ = Place(49.12, 6.18)


def paris(text: str) -> datetime:
    """Local time with its offset, as people read it."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-25T10:00+01:00", True),
        ("2026-11-25T07:29+01:00", False),
        ("2026-11-25T18:30+01:00", False),
        ("2026-11-28T10:00+01:00", False),  # Saturday.
        ("2026-11-11T10:00+01:00", False),  # Armistice.
        ("2026-10-20T10:00+02:00", False),  # Holidays of All Saints.
        ("2027-02-22T10:00+01:00", False),  # Winter holidays of zone B, no longer of zone C.
        ("2026-07-14T10:00+02:00", False),
        ("2027-05-06T10:00+02:00", False),  # Ascension Day: Easter is reckoned.
        ("2026-10-02T07:45+02:00", True),  # Summer time.
    ],
)
def test_a_school_is_open_when_it_is(at: str, is_open: bool) -> None:
    assert SCHOOL.is_open(paris(at)) is is_open


# Of service-public.fr and the Code du travail (L3134-13, L3422-2); the last column: the same day in Brest.
@pytest.mark.parametrize(
    ("department", "day", "is_off", "in_brest"),
    [
        ("57", "2026-04-03", True, False),  # Good Friday.
        ("67", "2026-12-26", True, False),  # Saint Stephen.
        ("68", "2027-03-26", True, False),
        ("54", "2026-04-03", False, False),  # Nancy is Lorraine, and not Moselle.
        ("972", "2026-05-22", True, False),  # Abolition of slavery, each at its own date.
        ("971", "2026-05-27", True, False),
        ("973", "2026-06-10", True, False),
        ("974", "2026-12-20", True, False),
        ("976", "2026-04-27", True, False),
        ("974", "2026-07-14", True, True),
        (None, "2026-12-26", False, False),
    ],
)
def test_alsace_moselle_and_overseas_have_holidays_of_their_own(
    department: str | None, day: str, is_off: bool, in_brest: bool
) -> None:
    found = region_of(department, "Europe/Paris").is_public_holiday(date.fromisoformat(day))

    assert (found, METROPOLITAN.is_public_holiday(date.fromisoformat(day))) == (is_off, in_brest)


def test_opening_hours_are_those_of_the_clocks_on_the_wall() -> None:
    at = paris("2026-11-25T08:00+01:00")  # 11 o'clock on Réunion, 3 in Martinique.
    open_at = {one: Calendar(WEEK).is_open(at, region_of(one, "Europe/Paris")) for one in ("29", "974", "972")}

    assert open_at == {"29": True, "974": True, "972": False}
    assert Calendar(WEEK).is_open(at, region_of(None, "America/Martinique")) is False


# Sunrise and sunset of Saint-Denis and Fort-de-France by the sunrise equation, as below.
@pytest.mark.parametrize(
    ("place", "rises", "sets"),
    [
        (Place(-20.88, 55.45, region=region_of("974", "Europe/Paris")), "2026-06-21T06:52+04:00",
         "2026-06-21T17:48+04:00"),
        (Place(14.6, -61.07, region=region_of("972", "Europe/Paris")), "2026-06-21T05:37-04:00",
         "2026-06-21T18:36-04:00"),
    ],
    ids=["Réunion", "Martinique"],
)  # fmt: skip
def test_lamps_burn_by_the_sun_of_where_they_stand(place: Place, rises: str, sets: str) -> None:
    rise, sunset, aside = paris(rises), paris(sets), timedelta(minutes=40)

    assert [is_lit(at, place) for at in (rise - aside, rise, rise + aside)] == [True, None, False]
    assert [is_lit(at, place) for at in (sunset - aside, sunset, sunset + aside)] == [False, None, True]


def test_zones_have_their_own_holidays() -> None:
    at = paris("2027-02-15T10:00+01:00")

    assert Calendar(WEEK, school_zone="A").is_open(at) is False
    assert Calendar(WEEK, school_zone="B").is_open(at) is True


def test_without_opening_hours_a_place_is_never_closed() -> None:
    at = paris("2026-11-25T03:00+01:00")

    assert is_on_duty("open", Place(), at)
    assert not is_on_duty("closed", Place(), at)
    assert is_on_duty("night", Place(), at)
    assert is_on_duty("always", Place(), at)


# By the sunrise equation, worked out by hand (declination, hour angle at -0.833 degrees, equation of time).
@pytest.mark.parametrize(
    ("place", "rises", "sets"),
    [
        (BREST, "2026-12-21T09:07+01:00", "2026-12-21T17:25+01:00"),
        (METZ, "2026-06-21T05:30+02:00", "2026-06-21T21:44+02:00"),
    ],
)
def test_lamps_are_expected_on_from_dusk_to_dawn_and_unknown_at_twilight(
    place: Place, rises: str, sets: str
) -> None:
    rise, sunset, aside = paris(rises), paris(sets), timedelta(minutes=35)

    assert [is_lit(at, place) for at in (rise - aside, rise, rise + aside)] == [True, None, False]
    assert [is_lit(at, place) for at in (sunset - aside, sunset, sunset + aside)] == [False, None, True]


def test_lamps_are_expected_off_in_a_night_cut_and_unknown_without_a_place() -> None:
    cut = Place(48.39, -4.49, program=Program(Schedule(cut=(23 * 60, 5 * 60))))

    assert is_lit(paris("2026-11-25T02:00+01:00"), cut) is False
    assert is_lit(paris("2026-11-25T23:05+01:00"), cut) is None
    assert is_lit(paris("2026-11-25T22:00+01:00"), cut) is True
    assert is_lit(paris("2026-11-25T02:00+01:00"), Place()) is None


def test_the_next_duty_is_found_to_the_minute_over_a_long_weekend_and_the_change_of_the_clock() -> None:
    place = Place(calendar=Calendar(WEEK))

    assert next_duty("open", place, paris("2026-11-10T18:30+01:00")) == paris("2026-11-12T07:30+01:00")
    assert next_duty("closed", place, paris("2026-11-25T09:07+01:00")) == paris("2026-11-25T18:30+01:00")
    assert next_duty("open", place, paris("2026-10-24T12:00+02:00")) == paris("2026-10-26T07:30+01:00")
    assert next_duty("closed", Place(), datetime(2026, 11, 25, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "days",
    [[], [[]] * 6, [[["7h", "8h"]]] + [[]] * 6, [[["18:00", "08:00"]]] + [[]] * 6, [[["08:00"]]] + [[]] * 6],
)
def test_what_are_no_opening_hours_are_rejected(days: list[list[list[str]]]) -> None:
    with pytest.raises(MalformedHours):
        weekly_of(days)
