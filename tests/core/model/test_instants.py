"""What becomes of a stated instant."""

import pytest

from core.model.instants import EARLIEST_US, placed
from lorawan.instants import to_us
from tests.alerting.alert_scenario import on

NOW_US = to_us(on(16, 10))
SECOND_US, DAY_US = 1_000_000, 86_400_000_000


@pytest.mark.parametrize("late_us", [0, SECOND_US, 3 * 3600 * SECOND_US, 61 * DAY_US, 366 * DAY_US])
def test_what_is_up_to_366_days_late_is_stored_at_its_own_instant(late_us: int) -> None:
    assert placed(NOW_US - late_us, NOW_US) == (NOW_US - late_us, False)


@pytest.mark.parametrize("ahead_us", [1, 10 * SECOND_US, 300 * SECOND_US])
def test_what_is_up_to_five_minutes_ahead_is_stored_at_its_reception(ahead_us: int) -> None:
    assert placed(NOW_US + ahead_us, NOW_US) == (NOW_US, False)


@pytest.mark.parametrize(
    "stated_us",
    [NOW_US - 366 * DAY_US - 1, NOW_US + 300 * SECOND_US + 1, NOW_US + 3600 * SECOND_US, 0, -(10**17), 10**20],
)
def test_what_is_farther_off_is_stored_at_its_reception_and_suspect(stated_us: int) -> None:
    assert placed(stated_us, NOW_US) == (NOW_US, True)


def test_what_is_of_before_2015_is_suspect_however_near() -> None:
    assert placed(EARLIEST_US - 1, EARLIEST_US + SECOND_US) == (EARLIEST_US + SECOND_US, True)
    assert placed(EARLIEST_US, EARLIEST_US + SECOND_US) == (EARLIEST_US, False)
