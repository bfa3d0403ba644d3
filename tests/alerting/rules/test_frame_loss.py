"""Frames lost while a device's gateways, the bridge or the platform were away are not the device's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.frame_loss import lost_percent
from core.model.frame_loss import CountedUplink

START = datetime(2026, 11, 25, 0, 0, tzinfo=UTC)


def minute(count: float) -> datetime:
    return START + timedelta(minutes=count)


def frames_but(lost: set[int], every_min: float = 10, count: int = 144) -> list[CountedUplink]:
    """A day of frames, without these."""
    return [
        CountedUplink(minute(every_min * number), 1, 500 + number) for number in range(count) if number not in lost
    ]


def test_nine_hours_without_a_gateway_lose_no_frame_of_the_device() -> None:
    lost = set(range(60, 114))
    outage = (minute(595), minute(1135))

    assert lost_percent(frames_but(lost)) == pytest.approx(100 * 54 / 144)
    assert lost_percent(frames_but(lost), [outage]) == 0


def test_six_short_restarts_of_the_bridge_lose_no_frame_of_the_device() -> None:
    lost = {20, 40, 60, 80, 100, 120}
    outages = [(minute(10 * number - 0.1), minute(10 * number + 0.2)) for number in lost]

    assert lost_percent(frames_but(lost), outages) == 0


def test_frames_that_are_missing_outside_an_outage_are_lost() -> None:
    lost = set(range(10, 20)) | set(range(60, 72))
    percent = lost_percent(frames_but(lost), [(minute(599), minute(715))])

    assert percent == pytest.approx(100 * 10 / (144 - 12))


def test_a_short_outage_explains_no_more_frames_than_it_can_have_lost() -> None:
    lost = set(range(60, 100))
    percent = lost_percent(frames_but(lost), [(minute(700), minute(719))])

    assert percent == pytest.approx(100 * 38 / 142)


def test_overlapping_outages_are_counted_once() -> None:
    lost = set(range(60, 100))
    outage = (minute(700), minute(719))

    assert lost_percent(frames_but(lost), [outage] * 5) == lost_percent(frames_but(lost), [outage])


def test_too_few_frames_outside_an_outage_say_nothing() -> None:
    lost = set(range(10, 140))

    assert lost_percent(frames_but(lost), [(minute(95), minute(1395))]) is None


@given(
    st.sets(st.integers(1, 142), max_size=60),
    st.lists(st.tuples(st.integers(0, 1440), st.integers(0, 300)), max_size=4),
)
def test_outages_only_ever_lower_the_loss_and_never_below_zero(
    lost: set[int], outages: list[tuple[int, int]]
) -> None:
    frames = frames_but(lost)
    before = lost_percent(frames)
    after = lost_percent(frames, [(minute(began), minute(began + lasted)) for began, lasted in outages])

    assert before is not None
    assert after is not None
    assert 0 <= after <= before
