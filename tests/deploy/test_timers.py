"""The hours of the timers of one server, through a year of French time."""

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

SYSTEMD = Path(__file__).parents[2] / "deploy/systemd"
PARIS = ZoneInfo("Europe/Paris")
HOURS = {
    timer.name: time.fromisoformat(hour)
    for timer in SYSTEMD.glob("*.timer")
    for hour in re.findall(r"^OnCalendar=\S+ (\S+)$", timer.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("timer", ["territoire-backup.timer", "territoire-pitr.timer", "territoire-drill.timer"])
def test_a_timer_elapses_once_on_every_day_of_a_year(timer: str) -> None:
    """An hour that a day does not have is left out by systemd, not moved; one that it has twice is ambiguous."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]

    for day in days:
        local = datetime.combine(day, HOURS[timer], PARIS)
        first, second = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
        assert first == second, f"{local:%d/%m %H:%M} does not exist once"
