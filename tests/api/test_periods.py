from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.periods import period
from api.routes.daily import LONGEST_DAYS
from api.routes.measurements import LONGEST, LONGEST_HOURS, LONGEST_RAW
from core.runtime.http.errors import Problem

PARIS = ZoneInfo("Europe/Paris")
DAY = timedelta(days=1)


def local(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=PARIS).astimezone(UTC)


@pytest.mark.parametrize(
    ("since", "until", "longest"),
    [
        (local(2026, 10), local(2026, 11), LONGEST_RAW),
        (local(2026, 10), local(2027, 1), LONGEST_DAYS),
        (local(2026, 7), local(2026, 10), LONGEST_DAYS),
        (local(2028, 1), local(2029, 1), LONGEST_HOURS),
        (local(2024, 4), local(2034, 4), LONGEST),
    ],
)
def test_what_the_longest_period_is_called_after_fits_whatever_the_clocks_do(
    since: datetime, until: datetime, longest: timedelta
) -> None:
    assert period(since, until, usual=DAY, longest=longest) == (since, until)


def test_without_ends_it_is_the_usual_time_until_now() -> None:
    before = datetime.now(UTC)

    since, until = period(None, None, usual=DAY, longest=DAY)

    assert until - since == DAY
    assert before <= until <= datetime.now(UTC)


@pytest.mark.parametrize("length", [timedelta(0), -DAY, 31 * DAY + timedelta(hours=1, microseconds=1)])
def test_what_is_too_long_or_ends_before_it_begins_is_rejected(length: timedelta) -> None:
    since = local(2026, 10)

    with pytest.raises(Problem, match="31 jours au plus"):
        period(since, since + length, usual=DAY, longest=LONGEST_RAW)
