"""Openings of doors, counted by hand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from indicators.buildings.openings import StateChange, count_openings

PARIS = ZoneInfo("Europe/Paris")


def readings(*states: tuple[str, bool]) -> list[StateChange]:
    found = []
    for clock, is_open in states:
        local = datetime.fromisoformat(f"2026-06-02T{clock}:00").replace(tzinfo=PARIS)
        found.append(StateChange(local.astimezone(UTC), local, is_open))
    return found


def opens_at_eight(at: datetime) -> bool:
    return at.astimezone(PARIS).hour >= 8


def test_each_change_to_open_is_one_and_a_repeated_state_none() -> None:
    door = readings(
        ("02:50", False), ("03:00", True), ("03:10", True), ("03:20", False), ("08:30", True), ("08:31", False),
        ("08:40", True),
    )  # fmt: skip

    found = count_openings(door, opens_at_eight)

    assert (found.count, found.outside) == (3, 1)
    assert [found.by_hour[hour] for hour in (2, 3, 8)] == [0, 1, 2]


def test_nobody_knows_what_was_before_the_first_reading() -> None:
    assert count_openings(readings(("03:00", True), ("03:30", True))).count == 0


def test_without_a_calendar_nothing_is_outside_it() -> None:
    assert count_openings(readings(("03:00", False), ("03:30", True))).outside is None


def test_hours_are_those_of_the_wall() -> None:
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in summer time, and an hour later again 02:30.
    found = count_openings(
        StateChange(at + timedelta(minutes=n), (at + timedelta(minutes=n)).astimezone(PARIS), n % 2 == 1)
        for n in range(0, 120, 1)
        if n in (0, 1, 58, 59)
    )

    assert found.by_hour[2] == 2
