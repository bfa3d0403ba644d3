import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.gateway_times import reception_time_us

NOW = 1_795_559_600_000_000
S = 1_000_000
HOUR = 3_600 * S


@pytest.mark.parametrize(
    ("gps", "clock", "replayed_since", "expected"),
    [
        (None, None, None, NOW),
        (NOW - S, NOW - 2 * S, None, NOW - S),
        (None, NOW - 2 * S, None, NOW - 2 * S),
        (None, NOW - 30 * S, None, NOW - 30 * S),
        (None, NOW - 31 * S, None, NOW),
        (None, NOW + 30 * S, None, NOW + 30 * S),
        (None, NOW + 31 * S, None, NOW),
        (NOW - HOUR, None, None, NOW - HOUR),
        (NOW + 31 * S, NOW - S, None, NOW - S),
        (0, NOW - S, None, NOW - S),
        (NOW - 1024 * 7 * 24 * HOUR, NOW - S, None, NOW - S),
        (NOW - 1024 * 7 * 24 * HOUR, None, None, NOW),
        (NOW - 29 * 24 * HOUR, None, None, NOW - 29 * 24 * HOUR),
        (None, NOW - HOUR, NOW - 2 * HOUR, NOW - HOUR),
        (None, NOW - 3 * HOUR, NOW - 2 * HOUR, NOW),
    ],
)
def test_gps_time_then_a_credible_clock_then_the_arrival(
    gps: int | None, clock: int | None, replayed_since: int | None, expected: int
) -> None:
    found = reception_time_us(NOW, gps_time_us=gps, gateway_time_us=clock, replayed_since_us=replayed_since)

    assert found == expected


@pytest.mark.parametrize("error", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_when_our_own_clock_is_an_hour_off_frames_bear_it_unless_gps_is_behind_it(error: int) -> None:
    """Nothing shows a bridge that the others are right: it believes itself, and what is behind it with GPS."""
    ours = NOW + error

    with_gps = reception_time_us(ours, gps_time_us=NOW, gateway_time_us=NOW)
    without = reception_time_us(ours, gateway_time_us=NOW)

    assert with_gps == (NOW if error > 0 else ours)
    assert without == ours


times = st.none() | st.integers(-(1 << 62), 1 << 62)


@given(gps=times, clock=times, since=times)
def test_no_time_is_ever_more_than_30_s_ahead(gps: int | None, clock: int | None, since: int | None) -> None:
    found = reception_time_us(NOW, gps_time_us=gps, gateway_time_us=clock, replayed_since_us=since)

    assert found <= NOW + 30 * S
