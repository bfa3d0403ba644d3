"""Opening hours of a place, with school and public holidays; hours and days are local (`Region`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.model.hours import MalformedHours, Span, minute_of
from core.model.region import METROPOLITAN, Region, is_school_holiday


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a place is open: minutes of the day by weekday, from Monday; and when it is closed all the same."""

    weekly: tuple[tuple[Span, ...], ...]
    school_zone: str | None = None
    closed_on_holidays: bool = True
    closures: tuple[tuple[date, date], ...] = ()  # First day, first day after.

    def is_open(self, at: datetime, region: Region = METROPOLITAN) -> bool:
        """Whether the place is open at this instant."""
        local = region.local(at)
        minute = local.hour * 60 + local.minute
        spans = self.weekly[local.weekday()]
        return any(first <= minute < after for first, after in spans) and not self._closes(local.date(), region)

    def _closes(self, day: date, region: Region) -> bool:
        return (
            (self.closed_on_holidays and region.is_public_holiday(day))
            or (self.school_zone is not None and is_school_holiday(day, self.school_zone))
            or any(first <= day < after for first, after in self.closures)
        )


def weekly_of(days: Sequence[Sequence[Sequence[str]]]) -> tuple[tuple[Span, ...], ...]:
    """Opening hours as they are stored: seven lists, from Monday, of ["HH:MM", "HH:MM"].

    Raises:
        MalformedHours: there are not seven of them, or one ends before it begins.
    """
    if len(days) != 7:  # noqa: PLR2004
        raise MalformedHours("les horaires comptent sept jours, du lundi au dimanche")
    week: list[tuple[Span, ...]] = []
    for spans in days:
        read: list[Span] = []
        for span in spans:
            if len(span) != 2:  # noqa: PLR2004
                raise MalformedHours("une plage horaire est un couple début, fin")
            first, after = minute_of(span[0]), minute_of(span[1])
            if first >= after:
                raise MalformedHours(
                    f"la plage {span[0]} à {span[1]} finit avant de commencer : au-delà de minuit, coupez-la en "
                    'deux, ["22:00", "24:00"] puis ["00:00", "02:00"] le lendemain'
                )
            read.append((first, after))
        week.append(tuple(read))
    return tuple(week)
