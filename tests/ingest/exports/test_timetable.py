"""When drops are due and what they cover, by hand from a calendar of 2026 in Paris."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ingest.exports.timetable import (
    Timetable,
    file_name_of,
    name_problem,
    next_due,
    previous_period,
    usual_name,
)

PARIS = ZoneInfo("Europe/Paris")


def at(text: str) -> datetime:
    """Of the wall in Paris."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).astimezone(UTC)


def table(
    frequency: Any, covers: Any = "previous", every: int | None = None, hour: int = 2, day: int = 1
) -> Timetable:
    return Timetable(frequency, every, hour, day, covers)


def test_it_is_due_at_its_hour_of_the_local_clock() -> None:
    cases = (
        (table("day"), "2026-11-28T01:59", "2026-11-28T02:00"),
        (table("day"), "2026-11-28T02:00", "2026-11-29T02:00"),
        (table("day"), "2026-03-28T12:00", "2026-03-29T03:00"),  # Two o'clock does not exist that night.
        (table("day", hour=23), "2026-11-28T01:59", "2026-11-28T23:00"),
        (table("week", day=1), "2026-11-28T12:00", "2026-11-30T02:00"),  # A Saturday, and the Monday after.
        (table("week", day=7), "2026-11-28T12:00", "2026-11-29T02:00"),
        (table("month", day=1), "2026-11-28T12:00", "2026-12-01T02:00"),
        (table("month", day=28), "2026-02-28T03:00", "2026-03-28T02:00"),
        (table("hours", every=6), "2026-11-28T05:59", "2026-11-28T06:00"),
        (table("hours", every=6), "2026-11-28T06:00", "2026-11-28T12:00"),
    )
    for timetable, after, due in cases:
        assert next_due(timetable, at(after), PARIS) == at(due), (timetable, after)


def test_what_it_covers_is_a_whole_period_of_the_calendar() -> None:
    cases = (
        (table("day"), "2026-11-28T02:00", "2026-11-27T00:00", "2026-11-28T00:00"),
        (table("week"), "2026-11-30T02:00", "2026-11-23T00:00", "2026-11-30T00:00"),
        (table("month"), "2026-12-01T02:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        (table("hours", every=6), "2026-11-28T06:00", "2026-11-28T00:00", "2026-11-28T06:00"),
        (table("hours", every=6), "2026-11-28T08:30", "2026-11-28T00:00", "2026-11-28T06:00"),
    )
    for timetable, due, since, until in cases:
        assert previous_period(timetable, at(due), PARIS) == (at(since), at(until)), timetable
    since, until = previous_period(table("day"), at("2026-10-26T02:00"), PARIS)
    assert (until - since).total_seconds() == 25 * 3600


def test_hours_of_the_night_that_has_25_are_all_covered_once() -> None:
    timetable = table("hours", every=2)
    reached = at("2026-10-25T00:00")
    while reached < at("2026-10-26T00:00"):
        due = next_due(timetable, reached, PARIS)
        since, until = previous_period(timetable, due, PARIS)
        assert (since, until) == (reached, due)
        reached = due
    assert reached == at("2026-10-26T00:00")


def test_a_file_is_named_by_the_days_that_it_covers() -> None:
    since, until = at("2026-11-01T00:00"), at("2026-12-01T00:00")

    named = file_name_of("a-{from}-{date}-{month}-{instant}.csv", since, until, PARIS)

    assert named == "a-2026-11-01-2026-11-30-2026-11-20261130T230000Z.csv"


def test_names_that_would_hide_leave_the_folder_or_meet_are_refused() -> None:
    refused = (
        ("../{date}.csv", "day"), ("a/{date}.csv", "day"), (".{date}.csv", "day"), ("mesures.csv", "day"),
        ("{date}{0}.csv", "day"), ("{date!r}.csv", "day"), ("{date:>9999}", "day"), ("{month}.csv", "day"),
        ("é{date}.csv", "day"), ("{date}\n.csv", "day"), ("", "day"),
    )  # fmt: skip
    for pattern, frequency in refused:
        assert name_problem(pattern, table(frequency)) is not None, pattern
    assert name_problem("{month}.csv", table("month")) is None
    assert name_problem("{date}.csv", table("day", "since_last")) is not None
    assert name_problem("{date}.csv", table("hours", every=1)) is not None
    for timetable in (table("day"), table("day", "since_last"), table("hours", every=1)):
        assert name_problem(usual_name(timetable, "csv"), timetable) is None
