"""Time on air against known figures, and a radio that never breaks the law, whatever it is asked."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.airtime import (
    GUARD_US,
    IMMEDIATE_SLACK_US,
    LEAD_US,
    SHARES,
    Granted,
    Priority,
    Scheduler,
    Transmission,
    TransmitRejected,
    downlink_airtime_us,
    fsk_airtime_us,
    lora_airtime_us,
)
from lorawan.regions import EU868, Fsk, Lora
from lorawan.regions.region import HOUR_US

NOW = 1_795_564_800_000_000
SECOND = 1_000_000
RX1 = 868_100_000
RX2 = 869_525_000
RX2_HOUR_US = 360 * SECOND


# Figures of docs/radio.md, "Air time" (join-accept of 33 octets, command of 13), in milliseconds.
@pytest.mark.parametrize(
    ("length", "spreading_factor", "milliseconds"),
    [(33, 7, 72), (33, 9, 247), (33, 12, 1810), (13, 9, 144), (13, 12, 1155)],
)
def test_a_downlink_lasts_as_documented(length: int, spreading_factor: int, milliseconds: int) -> None:
    airtime_us = downlink_airtime_us(length, Lora(spreading_factor, 125_000))

    assert round(airtime_us / 1000) == milliseconds


def test_64_octets_at_sf12_with_crc_last_2793_and_a_half_milliseconds() -> None:
    assert lora_airtime_us(64, 12, 125_000, crc=True) == 2_793_472


def test_twice_the_bandwidth_is_half_the_time() -> None:
    assert 2 * lora_airtime_us(20, 7, 250_000, crc=True) == lora_airtime_us(20, 7, 125_000, crc=True)


def test_fsk_lasts_its_octets_and_eleven_more() -> None:
    assert fsk_airtime_us(14, 50_000) == 4_000
    assert downlink_airtime_us(14, Fsk(50_000)) == 4_000


@pytest.mark.parametrize("spreading_factor", [0, 6, 13])
def test_rejects_a_spreading_factor_that_lorawan_does_not_have(spreading_factor: int) -> None:
    with pytest.raises(ValueError, match="7 to 12"):
        lora_airtime_us(20, spreading_factor, 125_000, crc=False)


@given(st.integers(0, 254), st.integers(7, 12))
def test_a_longer_frame_never_lasts_less(length: int, spreading_factor: int) -> None:
    assert lora_airtime_us(length, spreading_factor, 125_000, crc=False) <= lora_airtime_us(
        length + 1, spreading_factor, 125_000, crc=False
    )


def ask(
    scheduler: Scheduler,
    now_us: int = NOW,
    *,
    start_us: int | None = None,
    airtime_us: int = SECOND,
    frequency: int = RX2,
    priority: Priority = Priority.JOIN_OR_ACK,
    latest_start_us: int | None = None,
) -> Granted | TransmitRejected:
    return scheduler.request(
        now_us,
        start_us=start_us,
        airtime_us=airtime_us,
        frequency=frequency,
        priority=priority,
        latest_start_us=latest_start_us,
    )


def fill(scheduler: Scheduler, airtime_us: int, start_us: int = NOW - 1800 * SECOND) -> None:
    scheduler.restore(NOW, [Transmission(start_us, airtime_us, RX2)])


def test_an_immediate_request_starts_after_the_lead() -> None:
    assert ask(Scheduler(EU868)) == Granted(NOW + LEAD_US, SECOND, RX2)


def test_a_second_immediate_request_follows_the_first() -> None:
    scheduler = Scheduler(EU868)
    first = ask(scheduler)
    second = ask(scheduler, latest_start_us=NOW + 10 * SECOND)

    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    assert second.start_us == first.start_us + SECOND + GUARD_US + 2 * IMMEDIATE_SLACK_US


def test_an_immediate_request_uses_the_gap_before_a_window() -> None:
    scheduler = Scheduler(EU868)
    ask(scheduler, start_us=NOW + 5 * SECOND, frequency=RX1)

    short = ask(scheduler, latest_start_us=NOW + 10 * SECOND)
    long = ask(scheduler, latest_start_us=NOW + 10 * SECOND, airtime_us=4 * SECOND)

    assert short == Granted(NOW + LEAD_US, SECOND, RX2)
    assert long == Granted(NOW + 6 * SECOND + GUARD_US + IMMEDIATE_SLACK_US, 4 * SECOND, RX2)


def test_two_windows_at_once_collide_on_one_radio_whatever_their_frequencies() -> None:
    scheduler = Scheduler(EU868)
    ask(scheduler, start_us=NOW + 5 * SECOND, frequency=RX1)

    refused = ask(scheduler, start_us=NOW + 5 * SECOND + 999_999)

    assert refused == TransmitRejected("COLLISION_PACKET", NOW + 6 * SECOND + GUARD_US)


def test_an_immediate_request_is_rejected_when_the_radio_is_busy_until_too_late() -> None:
    scheduler = Scheduler(EU868)
    ask(scheduler)

    refused = ask(scheduler, latest_start_us=NOW + SECOND)

    free_at = NOW + LEAD_US + SECOND + GUARD_US + 2 * IMMEDIATE_SLACK_US
    assert refused == TransmitRejected("COLLISION_PACKET", free_at)


@pytest.mark.parametrize(
    ("start_us", "latest_start_us"), [(NOW + LEAD_US - 1, None), (NOW - 5, None), (None, NOW)]
)
def test_what_cannot_reach_the_gateway_in_time_is_too_late(
    start_us: int | None, latest_start_us: int | None
) -> None:
    assert ask(Scheduler(EU868), start_us=start_us, latest_start_us=latest_start_us) == TransmitRejected(
        "TOO_LATE"
    )


def test_a_slow_gateway_needs_a_longer_lead() -> None:
    refused = Scheduler(EU868).request(
        NOW,
        start_us=NOW + SECOND,
        airtime_us=SECOND,
        frequency=RX1,
        priority=Priority.COMMAND,
        lead_us=2 * SECOND,
    )

    assert refused == TransmitRejected("TOO_LATE")


def test_nothing_is_granted_outside_the_sub_bands() -> None:
    assert ask(Scheduler(EU868), frequency=869_300_000) == TransmitRejected("TX_FREQ")


@pytest.mark.parametrize("priority", list(Priority))
def test_each_priority_may_use_up_its_share_of_the_hour_and_no_more(priority: Priority) -> None:
    scheduler = Scheduler(EU868)
    share_us = RX2_HOUR_US * SHARES[priority] // 100
    fill(scheduler, share_us - SECOND)

    last = ask(scheduler, priority=priority)
    refused = ask(scheduler, priority=priority, airtime_us=1, latest_start_us=NOW + 60 * SECOND)

    assert isinstance(last, Granted)
    assert refused == TransmitRejected("DUTY_CYCLE_OVERFLOW", NOW - 1800 * SECOND + share_us - SECOND + HOUR_US)


# Of the 360 s that the 10 % sub-band has in an hour.
@pytest.mark.parametrize(
    ("priority", "seconds"), [(Priority.JOIN_OR_ACK, 360), (Priority.COMMAND, 324), (Priority.ROUTINE, 252)]
)
def test_a_priority_is_granted_air_time_up_to_its_own_part_of_the_hour(priority: Priority, seconds: int) -> None:
    below, above = Scheduler(EU868), Scheduler(EU868)
    fill(below, (seconds - 1) * SECOND)
    fill(above, (seconds - 1) * SECOND + 1)

    assert isinstance(ask(below, priority=priority, airtime_us=SECOND), Granted)
    assert isinstance(ask(above, priority=priority, airtime_us=SECOND), TransmitRejected)


def test_joins_still_go_out_when_routine_traffic_has_used_up_its_share() -> None:
    scheduler = Scheduler(EU868)
    fill(scheduler, RX2_HOUR_US * SHARES[Priority.ROUTINE] // 100)

    assert isinstance(ask(scheduler, priority=Priority.ROUTINE), TransmitRejected)
    assert isinstance(ask(scheduler, priority=Priority.JOIN_OR_ACK), Granted)


def test_each_sub_band_has_its_own_hour() -> None:
    scheduler = Scheduler(EU868)
    fill(scheduler, RX2_HOUR_US)

    assert isinstance(ask(scheduler, frequency=RX2), TransmitRejected)
    assert isinstance(ask(scheduler, frequency=RX1), Granted)


def test_a_frame_longer_than_the_whole_budget_never_fits() -> None:
    refused = ask(Scheduler(EU868), airtime_us=4 * SECOND, frequency=868_800_000)

    assert refused == TransmitRejected("DUTY_CYCLE_OVERFLOW", 0)


def test_the_budget_comes_back_after_an_hour() -> None:
    scheduler = Scheduler(EU868)
    fill(scheduler, RX2_HOUR_US, start_us=NOW - RX2_HOUR_US)
    refused = ask(scheduler)
    assert isinstance(refused, TransmitRejected)

    granted = ask(scheduler, refused.fits_at_us - LEAD_US)

    assert granted == Granted(refused.fits_at_us, SECOND, RX2)


def test_what_the_gateway_rejected_is_given_back() -> None:
    scheduler = Scheduler(EU868)
    granted = ask(scheduler)
    assert isinstance(granted, Granted)
    scheduler.release(granted)
    scheduler.release(granted)

    assert sum(usage.used_us for usage in scheduler.usage(NOW)) == 0
    assert ask(scheduler) == granted


def test_usage_is_counted_by_sub_band() -> None:
    scheduler = Scheduler(EU868)
    ask(scheduler, frequency=RX1)
    fill(scheduler, 3 * SECOND)

    used = {usage.sub_band: usage.used_us for usage in scheduler.usage(NOW) if usage.used_us}

    assert used == {EU868.sub_band_of(RX1): SECOND, EU868.sub_band_of(RX2): 3 * SECOND}


def test_a_restored_radio_is_busy_until_its_transmission_has_ended_and_forgets_what_is_old() -> None:
    scheduler = Scheduler(EU868)
    scheduler.restore(
        NOW,
        [
            Transmission(NOW + 2 * SECOND, SECOND, RX1),
            Transmission(NOW - SECOND, 4 * SECOND, RX2),
            Transmission(NOW - HOUR_US - SECOND, SECOND, RX2),
        ],
    )

    granted = ask(scheduler, latest_start_us=NOW + 10 * SECOND)

    assert granted == Granted(NOW + 3 * SECOND + GUARD_US + IMMEDIATE_SLACK_US, SECOND, RX2)
    assert sum(usage.used_us for usage in scheduler.usage(NOW)) == 6 * SECOND


REQUESTS = st.tuples(
    st.sampled_from([0, 1, 400, 1200, 1700, 2400, 3500]) | st.integers(0, 4000),  # Seconds since the last request.
    st.none() | st.integers(0, 900 * SECOND),  # A window, from now; or immediate.
    st.sampled_from([1, 10, 30, 50, 70, 100]),  # Percent of the hour's budget.
    st.sampled_from([863_500_000, RX1, RX2]),
    st.sampled_from(Priority),
    st.integers(0, 4000 * SECOND),
    st.sampled_from([False, False, False, True]),  # The gateway rejects what was granted.
)


@given(st.lists(REQUESTS, min_size=12, max_size=30))
def test_never_two_at_a_time_and_no_sliding_hour_above_its_limit_whatever_is_asked(requests: list[tuple]) -> None:
    scheduler = Scheduler(EU868)
    now_us, emitted = NOW, list[Granted]()
    for elapsed, delay, percent, frequency, priority, patience, refuses in requests:
        now_us += elapsed * SECOND
        answer = ask(
            scheduler,
            now_us,
            start_us=None if delay is None else now_us + delay,
            airtime_us=budget_us(frequency) * percent // 100,
            frequency=frequency,
            priority=priority,
            latest_start_us=now_us + patience,
        )
        match answer:
            case Granted(start_us):
                assert start_us >= now_us + LEAD_US
                assert start_us == now_us + delay if delay is not None else start_us <= now_us + patience
                if refuses:
                    scheduler.release(answer)
                else:
                    emitted.append(answer)
            case TransmitRejected(fits_at_us=fits_at_us):
                assert fits_at_us == 0 or fits_at_us > now_us

    emitted.sort(key=lambda granted: granted.start_us)
    for before, after in pairwise(emitted):
        assert before.start_us + before.airtime_us <= after.start_us
    for band in EU868.sub_bands:
        in_band = [granted for granted in emitted if EU868.sub_band_of(granted.frequency) is band]
        # The fullest hour begins with a transmission or ends with one.
        edges = [granted.start_us for granted in in_band]
        edges += [granted.start_us + granted.airtime_us - HOUR_US for granted in in_band]
        for edge in edges:
            assert time_on_air_us(in_band, edge, edge + HOUR_US) <= band.hourly_airtime_us


def budget_us(frequency: int) -> int:
    band = EU868.sub_band_of(frequency)
    return 0 if band is None else band.hourly_airtime_us


def time_on_air_us(emitted: list[Granted], start_us: int, end_us: int) -> int:
    return sum(
        max(0, min(end_us, granted.start_us + granted.airtime_us) - max(start_us, granted.start_us))
        for granted in emitted
    )
