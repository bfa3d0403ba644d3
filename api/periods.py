"""Parses the period of a question: instants, or whole months and quarters of the local calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.runtime.http.errors import FieldError, Problem

# 31 days of October have an hour more than 31 times 24.
CLOCKS_GO_BACK = timedelta(hours=1)


def period(
    since: datetime | None, until: datetime | None, *, usual: timedelta, longest: timedelta
) -> tuple[datetime, datetime]:
    """Both ends: `until` is now unless it is said, `since` as long before as is usual.

    Raises 422 for what ends before it begins, or is longer than `longest` by any calendar.
    """
    end = until or datetime.now(UTC)
    begin = since or end - usual
    if not timedelta(0) < end - begin <= longest + CLOCKS_GO_BACK:
        message = f"« from » doit précéder « to », de {longest.days} jours au plus"
        raise Problem(422, message, errors=[FieldError(field="query.from", code="range", message=message)])
    return begin, end


def zone_named(name: str) -> ZoneInfo:
    """Raises 422 for a time zone that nobody knows."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"fuseau inconnu : « {name} »"
        error = FieldError(field="query.timezone", code="timezone", message=message)
        raise Problem(422, message, errors=[error]) from None
