"""Programs of lamps against an ephemeris of its own, a naive clock, and nights counted by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import ephem
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.lighting import (
    Burnt,
    CalendarRule,
    Change,
    Expected,
    LampPlace,
    Program,
    Schedule,
    Switching,
    burnt,
    changes,
    dimmed_to,
    expected,
    level_at,
    schedule_of,
)
from core.model.region import region_of

BREST = LampPlace(48.39, -4.49, region_of("29", "Europe/Paris"), "B")
METZ = LampPlace(49.12, 6.18, region_of("57", "Europe/Paris"), "B")
SAINT_DENIS = LampPlace(-20.88, 55.45, region_of("974", "Europe/Paris"))
TWO_MINUTES = timedelta(minutes=2)
CLOCKED = Program(
    Schedule(Switching(None, 18 * 60), Switching(None, 8 * 60), (23 * 60 + 30, 5 * 60), ((21 * 60, 50),))
)


def local(place: LampPlace, text: str) -> datetime:
    """The instant of an hour on the wall there."""
    return datetime.fromisoformat(text).replace(tzinfo=place.region.zone)


def sun_of(place: LampPlace, noon: datetime) -> tuple[datetime, datetime]:
    """The next sunset after noon and the sunrise after it, by an independent library."""
    observer = ephem.Observer()
    observer.lat, observer.lon = str(place.latitude), str(place.longitude)
    observer.date = ephem.Date(noon.astimezone(UTC))
    # The upper edge at the horizon, 34 minutes of arc of refraction (the Nautical Almanac's convention).
    observer.pressure, observer.horizon = 0, "-0:34"
    sets = observer.next_setting(ephem.Sun())
    observer.date = sets
    rises = observer.next_rising(ephem.Sun())
    return tuple(found.datetime().replace(tzinfo=UTC) for found in (sets, rises))  # type: ignore[return-value]


@pytest.mark.parametrize("place", [BREST, METZ, SAINT_DENIS], ids=["Brest", "Metz", "Saint-Denis"])
def test_in_a_year_every_switching_by_the_sun_is_within_two_minutes_of_an_ephemeris(place: LampPlace) -> None:
    program = Program(Schedule(Switching("sunset", 10), Switching("sunrise", -15), (23 * 60 + 30, 5 * 60)))
    for number in range(365):
        night = date(2026, 1, 1) + timedelta(days=number)
        sets, rises = sun_of(place, datetime(night.year, night.month, night.day, 12, tzinfo=place.region.zone))
        found = changes(program, place, night)
        assert found is not None
        on, off = sets + timedelta(minutes=10), rises - timedelta(minutes=15)
        wanted = [(on, 100), (local(place, f"{night}T23:30"), 0)]
        again = local(place, f"{night + timedelta(days=1)}T05:00")
        wanted += [(again, 100), (off, 0)] if again < off else []
        assert [change.level for change in found] == [level for _, level in wanted], night
        for change, (at, _) in zip(found, wanted, strict=True):
            assert abs(change.at - at) < TWO_MINUTES, (night, change, at)


def test_a_night_goes_over_midnight_and_over_the_change_of_clocks() -> None:
    for night, hours in ((date(2026, 3, 28), 7.5), (date(2026, 10, 24), 9.5), (date(2026, 6, 1), 8.5)):
        found = changes(CLOCKED, METZ, night)
        morning = night + timedelta(days=1)
        assert found is not None
        assert [(change.at.astimezone(METZ.region.zone), change.level) for change in found] == [
            (local(METZ, f"{night}T18:00"), 100),
            (local(METZ, f"{night}T21:00"), 50),
            (local(METZ, f"{night}T23:30"), 0),
            (local(METZ, f"{morning}T05:00"), 50),
            (local(METZ, f"{morning}T08:00"), 0),
        ]
        # 5.5 h in the evening and 3 h in the morning; the cut's own hours are one less or one more.
        assert burnt(CLOCKED, METZ, night, 1).hours == 8.5
        begin, end = found[2].at, found[3].at
        assert (end - begin).total_seconds() / 3600 == 5.5 + {7.5: -1, 9.5: 1}.get(hours, 0)


def test_an_hour_that_comes_twice_begins_the_first_time_and_a_missing_one_passes() -> None:
    program = Program(
        Schedule(Switching(None, 22 * 60), Switching(None, 6 * 60), (150, 180))
    )  # A cut from 2:30 to 3:00.
    autumn = changes(program, METZ, date(2026, 10, 24))
    spring = changes(program, METZ, date(2026, 3, 28))

    assert autumn is not None
    assert spring is not None
    assert [change.at for change in autumn[1:3]] == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 2, 0, tzinfo=UTC),
    ]
    # 2:30 is 3:30 by the new clocks, later than the end of the cut: there is none that night.
    assert [change.level for change in spring] == [100, 0]


@given(
    on=st.integers(0, 1439),
    off=st.integers(0, 1439),
    cut=st.tuples(st.integers(0, 1439), st.integers(0, 1439)) | st.none(),
    dimming=st.dictionaries(st.integers(0, 1439), st.integers(1, 100), max_size=4),
    minute=st.integers(0, 1439),
)
def test_level_is_that_of_a_naive_clock(
    on: int, off: int, cut: tuple[int, int] | None, dimming: dict[int, int], minute: int
) -> None:
    schedule = Schedule(Switching(None, on), Switching(None, off), cut, tuple(dimming.items()))
    at = datetime(2026, 6, 10, 12, tzinfo=METZ.region.zone) + timedelta(minutes=minute)

    # All in minutes since noon: what was switched on and not yet off, not cut, and the last step that has passed.
    now, begin, end = minute, (on - 720) % 1440, (off - 720) % 1440
    level = 0
    if begin <= now < end:
        level = 100
        for step in sorted(dimming, key=lambda one: (one - 720) % 1440):
            if (step - 720) % 1440 <= now:
                level = dimming[step]
        if cut is not None and cut[0] != cut[1]:
            first, after = (cut[0] - 720) % 1440, (cut[1] - 720) % 1440
            if (first <= now < after) if first < after else now >= first:
                level = 0
    assert level_at(Program(schedule), METZ, at) == level


def test_the_first_rule_that_matches_decides_by_the_day_on_which_the_night_begins() -> None:
    late, dark, holiday = Schedule(cut=(60, 300)), None, Schedule(cut=(120, 300))
    program = Program(
        Schedule(cut=(1410, 300)),
        (
            CalendarRule(dark, dates=frozenset({date(2026, 12, 12)})),
            CalendarRule(holiday, holidays="public"),
            CalendarRule(late, first=(12, 20), last=(1, 5)),
            CalendarRule(late, weekdays=frozenset({4, 5})),
        ),
    )
    of_night = {
        day: schedule_of(program, METZ, date.fromisoformat(day))
        for day in (
            "2026-12-12",
            "2026-12-26",
            "2026-12-31",
            "2027-01-05",
            "2027-01-06",
            "2026-11-27",
            "2026-11-29",
        )
    }

    # The 26th of December is a holiday in Moselle, and not in Brest.
    assert schedule_of(program, BREST, date(2026, 12, 26)) == late
    assert of_night == {
        "2026-12-12": None,
        "2026-12-26": holiday,
        "2026-12-31": late,
        "2027-01-05": late,
        "2027-01-06": program.default,
        "2026-11-27": late,
        "2026-11-29": program.default,
    }
    # Three in the morning of Saturday belongs to Friday.
    assert level_at(program, METZ, local(METZ, "2026-11-28T03:00")) == 0
    assert level_at(program, METZ, local(METZ, "2026-11-28T00:30")) == 100


def test_around_a_switching_nobody_can_say_and_without_a_place_nothing_of_the_sun() -> None:
    place = LampPlace(None, None, METZ.region)
    at = {
        hour: expected(CLOCKED, METZ, local(METZ, f"2026-06-01T{hour}"))
        for hour in ("12:00", "17:50", "18:20", "21:14", "22:00", "23:40", "23:50")
    }

    assert at == {
        "12:00": Expected(0, 0.0),
        "17:50": None,
        "18:20": Expected(100, 1.0),
        "21:14": None,
        "22:00": Expected(50, 0.5),
        "23:40": None,
        "23:50": Expected(0, 0.0),
    }
    assert expected(Program(), place, local(METZ, "2026-06-01T23:50")) is None
    assert expected(Program(), METZ, local(METZ, "2026-06-01T22:00")) is None  # Sunset is at 21:36.
    assert dimmed_to(CLOCKED, place, local(METZ, "2026-06-01T22:00")) == 50
    assert dimmed_to(CLOCKED, place, local(METZ, "2026-06-01T12:10")) == 100
    assert dimmed_to(CLOCKED, place, local(METZ, "2026-06-01T21:05")) is None


def test_hours_and_energy_of_nights_are_those_counted_by_hand() -> None:
    program = Program(CLOCKED.default, coefficient=0.9)

    assert burnt(program, METZ, date(2026, 6, 1), 10) == Burnt(
        85.0, pytest.approx(10 * 0.9 * (3 + 2.5 / 2 + 1.5)), 0
    )
    assert Burnt(1, 10.0).energy_kwh(4200) == 42.0
    # Five nights without light, and another season's cut, which two nights of June are not in.
    seasons = (
        CalendarRule(None, (6, 1), (6, 5)),
        CalendarRule(Schedule(Switching(None, 18 * 60), Switching(None, 8 * 60)), (6, 9), (8, 31)),
    )
    assert burnt(replace(program, rules=seasons), METZ, date(2026, 6, 1), 10).hours == 3 * 8.5 + 2 * 14
    assert burnt(Program(), LampPlace(None, None), date(2026, 6, 1), 3) == Burnt(0.0, 0.0, 3)
    # A lamp at sunset that goes off at ten burns not at all when the sun sets after that.
    assert changes(Program(Schedule(off=Switching(None, 22 * 60))), BREST, date(2026, 6, 20)) == ()


def test_change_is_of_the_sun_where_the_sun_makes_it() -> None:
    found = changes(Program(Schedule(off=Switching(None, 360))), METZ, date(2026, 12, 1))

    assert found is not None
    assert [change.is_solar for change in found] == [True, False]
    assert isinstance(found[0], Change)
