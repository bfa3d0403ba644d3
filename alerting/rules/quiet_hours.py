"""When a team is not to be disturbed, and when its digest is due.

Hours and days are the team's own (`Region`); instants come and go as aware datetimes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from core.model.region import METROPOLITAN, Region

SATURDAY = 5
LOOK_AHEAD_DAYS = 30
ALWAYS_NOTIFIED = "critical"


@dataclass(frozen=True, slots=True)
class Quiet:
    """A team's quiet hours; without `start` it has none. They may run over midnight."""

    start: time | None = None
    end: time | None = None
    on_days_off: bool = False  # Saturdays, Sundays and public holidays, the whole day.
    digest_at: time = time(7, 30)
    region: Region = METROPOLITAN

    def covers(self, at: datetime) -> bool:
        """Whether the team is not to be disturbed at this instant."""
        local = self.region.local(at)
        if self._is_off(local):
            return True
        if self.start is None or self.end is None:
            return False
        now = local.time()
        if self.start <= self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def held_until(self, severity: str, cadence: str, at: datetime) -> datetime | None:
        """When the team is notified of something that happens at `at`; None: at once."""
        if severity == ALWAYS_NOTIFIED:
            return None
        if cadence == "weekly":
            return self._digest_after(at, weekly=True)
        return self._digest_after(at) if self.covers(at) else None

    def _is_off(self, local: datetime) -> bool:
        return self.on_days_off and (local.weekday() >= SATURDAY or self.region.is_public_holiday(local.date()))

    def _digest_after(self, at: datetime, *, weekly: bool = False) -> datetime:
        """The first digest after `at` on a day that is not off; the week's on the first one from Monday on."""
        day = self.region.local(at).date()
        monday_passed = False
        for _ in range(LOOK_AHEAD_DAYS):
            digest = datetime.combine(day, self.digest_at, self.region.zone)
            is_after = digest.astimezone(UTC) > at
            monday_passed = monday_passed or (is_after and day.weekday() == 0)
            if is_after and (monday_passed or not weekly) and not self._is_off(digest):
                break
            day += timedelta(days=1)
        return datetime.combine(day, self.digest_at, self.region.zone).astimezone(UTC)
