"""When a team is not to be disturbed, local time; dates of November and December 2026, of May 2027."""

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.quiet_hours import Quiet
from core.model.region import PARIS, region_of

NIGHT = Quiet(time(20), time(7), on_days_off=False)
OFFICE = Quiet(time(20), time(7), on_days_off=True)
WEDNESDAY = 25
REUNION, MOSELLE = region_of("974", "Europe/Paris"), region_of("57", "Europe/Paris")


def local(day: int, hour: int, minute: int = 0, month: int = 11, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        (NIGHT, local(WEDNESDAY, 12), None),
        (NIGHT, local(WEDNESDAY, 19, 59), None),
        (NIGHT, local(WEDNESDAY, 20), local(26, 7, 30)),
        (NIGHT, local(26, 6, 59), local(26, 7, 30)),
        (NIGHT, local(26, 7), None),
        (NIGHT, local(28, 12), None),  # A Saturday, which this team works.
        (OFFICE, local(27, 21), local(30, 7, 30)),  # Friday night: Monday morning.
        (OFFICE, local(28, 12), local(30, 7, 30)),
        (OFFICE, local(24, 21, month=12), local(28, 7, 30, month=12)),  # Christmas is a Friday.
        (OFFICE, local(5, 23, month=5, year=2027), local(7, 7, 30, month=5, year=2027)),  # The 6th: Ascension.
        (Quiet(time(12), time(14)), local(WEDNESDAY, 13), local(26, 7, 30)),
        (Quiet(), local(WEDNESDAY, 3), None),
        (Quiet(on_days_off=True), local(29, 3), local(30, 7, 30)),
        # On Réunion it is three hours later than in Paris.
        (Quiet(time(20), time(7), region=REUNION), local(WEDNESDAY, 17), local(26, 4, 30)),
        # In Moselle Good Friday is a day off, as Easter Monday is everywhere.
        (Quiet(on_days_off=True, region=MOSELLE), local(3, 12, month=4), local(7, 7, 30, month=4)),
        # The night when clocks go back is an hour longer.
        (NIGHT, local(24, 23, month=10), local(25, 7, 30, month=10)),
    ],
)
def test_what_happens_in_quiet_hours_waits_for_the_next_digest(
    quiet: Quiet, at: datetime, until: datetime | None
) -> None:
    assert quiet.held_until("major", "now", at) == until


@pytest.mark.parametrize("cadence", ["now", "weekly"])
def test_a_critical_notification_is_never_held(cadence: str) -> None:
    assert OFFICE.held_until("critical", cadence, local(28, 3)) is None


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        (NIGHT, local(WEDNESDAY, 12), local(30, 7, 30)),
        (NIGHT, local(30, 7, 29), local(30, 7, 30)),
        (NIGHT, local(30, 7, 30), local(7, 7, 30, month=12)),
        # Easter Monday, 29 March 2027.
        (OFFICE, local(25, 12, month=3, year=2027), local(30, 7, 30, month=3, year=2027)),
    ],
)
def test_the_weekly_list_comes_on_monday_or_the_first_working_day_after(
    quiet: Quiet, at: datetime, until: datetime
) -> None:
    assert quiet.held_until("info", "weekly", at) == until


@given(
    at=st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    start=st.times(),
    end=st.times(),
    days_off=st.booleans(),
)
def test_a_digest_is_always_later_and_never_on_a_day_off(
    at: datetime, start: time, end: time, days_off: bool
) -> None:
    quiet = Quiet(start, end, days_off)
    held = quiet.held_until("warning", "now", at)

    assert (held is not None) == quiet.covers(at)
    if held is not None:
        assert held > at
        assert held.astimezone(PARIS).time() == time(7, 30)
        assert not Quiet(on_days_off=days_off).covers(held)
