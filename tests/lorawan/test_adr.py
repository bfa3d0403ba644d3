"""ADR by example (docs/protocols.md, "Matrix", row 35), and what holds for any device and any receptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.adr import (
    FASTEST_DATA_RATE,
    FEWEST_SAMPLES,
    HISTORY,
    LOWEST_POWER,
    NO_LIMITS,
    Bounds,
    Limits,
    LinkSettings,
    Sample,
    decide,
    remember,
)
from lorawan.regions import EU868, REQUIRED_SNR

NOBODY_HEARD_BEFORE = LinkSettings(data_rate=0, tx_power=0, nb_trans=1)


def received(*snrs: float, missed: int = 0) -> tuple[Sample, ...]:
    return tuple(Sample(snr, missed) for snr in snrs)


def decided(current: LinkSettings, history: tuple[Sample, ...], limits: Limits = NO_LIMITS) -> LinkSettings:
    return decide(EU868, current, limits, history)


@pytest.mark.parametrize(
    ("snr", "data_rate", "tx_power"),
    [
        # SF12 needs -20 dB: the margin beyond 10 dB in steps of 3 dB, cut.
        (-10.0, 0, 0),
        (-7.1, 0, 0),
        (-7.0, 1, 0),
        (-1.0, 3, 0),
        (5.0, 5, 0),
        (8.0, 5, 1),
        (12.0, 5, 2),
    ],
)
def test_the_margin_of_the_best_uplink_raises_the_data_rate_then_lowers_the_power(
    snr: float, data_rate: int, tx_power: int
) -> None:
    history = received(*[-20.0] * 19, snr)

    assert decided(NOBODY_HEARD_BEFORE, history) == LinkSettings(data_rate, tx_power, 1)


@pytest.mark.parametrize(
    ("current", "snr", "bounds", "expected"),
    [
        # ReceivedUplink by far well enough for DR5 and less power.
        (LinkSettings(0, 0, 1), 12.0, Bounds(max_data_rate=3), LinkSettings(3, 4, 1)),
        (LinkSettings(0, 0, 1), 12.0, Bounds(max_data_rate=3, max_tx_power=2), LinkSettings(3, 2, 1)),
        (LinkSettings(0, 0, 1), 12.0, Bounds(max_tx_power=1), LinkSettings(5, 1, 1)),
        # Hardly heard at all.
        (LinkSettings(0, 0, 1), -20.0, Bounds(min_data_rate=2), LinkSettings(2, 0, 1)),
        (LinkSettings(0, 0, 1), -20.0, Bounds(min_tx_power=3), LinkSettings(0, 3, 1)),
        # Out of bounds since they were drawn.
        (LinkSettings(5, 5, 1), 0.0, Bounds(max_data_rate=3, max_tx_power=2), LinkSettings(3, 2, 1)),
    ],
)
def test_adr_stays_within_the_bounds_of_the_profile(
    current: LinkSettings, snr: float, bounds: Bounds, expected: LinkSettings
) -> None:
    assert decide(EU868, current, NO_LIMITS, received(*[snr] * HISTORY), bounds) == expected


def test_what_a_device_has_refused_it_is_not_asked_for_whatever_the_bounds_say() -> None:
    history = received(*[-20.0] * HISTORY)

    asked = decide(EU868, NOBODY_HEARD_BEFORE, Limits(max_data_rate=1), history, Bounds(min_data_rate=3))

    assert asked.data_rate == 1


def test_a_device_that_may_not_go_faster_keeps_its_power() -> None:
    history = received(*[12.0] * HISTORY)

    assert decided(NOBODY_HEARD_BEFORE, history, Limits(max_data_rate=4)) == LinkSettings(4, 0, 1)


def test_power_comes_back_when_the_margin_is_gone_and_the_data_rate_stays() -> None:
    current = LinkSettings(data_rate=5, tx_power=4, nb_trans=1)

    # SF7 needs -7.5 dB: 8 dB are missing to the margin, two steps.
    assert decided(current, received(*[-5.5] * HISTORY)) == LinkSettings(5, 2, 1)
    assert decided(current, received(*[-20.0] * HISTORY)) == LinkSettings(5, 0, 1)


def test_ground_is_lost_only_on_a_full_history() -> None:
    current = LinkSettings(data_rate=5, tx_power=4, nb_trans=3)

    assert decided(current, received(*[-5.5] * (HISTORY - 1), missed=3)) == current


def test_a_few_uplinks_need_a_larger_margin_and_fewer_than_four_say_nothing() -> None:
    full, few = received(*[-7.0] * HISTORY), received(*[-7.0] * FEWEST_SAMPLES)

    assert decided(NOBODY_HEARD_BEFORE, full).data_rate == 1
    assert decided(NOBODY_HEARD_BEFORE, few).data_rate == 0
    assert decided(NOBODY_HEARD_BEFORE, received(*[-4.5] * FEWEST_SAMPLES)).data_rate == 1
    assert decided(NOBODY_HEARD_BEFORE, received(20.0, 20.0, 20.0)) == NOBODY_HEARD_BEFORE


@pytest.mark.parametrize(
    ("missed", "current", "nb_trans"),
    [
        # By hand from the table of row 35; of 20 that were received and `missed` that were not.
        (0, (1, 2, 3), (1, 1, 2)),
        (1, (1, 2, 3), (1, 1, 2)),  # 4.8 %
        (2, (1, 2, 3), (1, 2, 3)),  # 9.1 %
        (3, (1, 2, 3), (2, 3, 3)),  # 13 %
        (8, (1, 2, 3), (2, 3, 3)),  # 28.6 %
        (9, (1, 2, 3), (3, 3, 3)),  # 31 %
        (60, (1, 2, 3), (3, 3, 3)),
    ],
)
def test_losses_decide_how_often_an_uplink_is_repeated(
    missed: int, current: tuple[int, ...], nb_trans: tuple[int, ...]
) -> None:
    history = (*received(*[-10.0] * 19), Sample(-10.0, missed))

    found = tuple(decided(LinkSettings(0, 0, now), history).nb_trans for now in current)

    assert found == nb_trans


def test_what_was_lost_before_the_first_sample_is_not_held_against_the_settings_of_now() -> None:
    history = (Sample(-10.0, 20), *received(*[-10.0] * 19))

    assert decided(NOBODY_HEARD_BEFORE, history).nb_trans == 1


def test_an_outage_counts_as_one_history_at_most() -> None:
    history = remember(received(*[5.0] * 25), Sample(1.0, 40_000))

    assert len(history) == HISTORY
    assert history[-1] == Sample(1.0, HISTORY)


@pytest.mark.parametrize("data_rate", [6, 7])
def test_a_device_on_a_data_rate_that_not_all_channels_take_is_left_there(data_rate: int) -> None:
    current = LinkSettings(data_rate, 0, 1)

    assert decided(current, received(*[20.0] * HISTORY)) == current


samples = st.builds(Sample, st.floats(-30, 30), st.integers(0, 70_000))
histories = st.lists(samples, max_size=HISTORY).map(tuple)
settings = st.builds(LinkSettings, st.integers(0, 7), st.integers(0, LOWEST_POWER), st.integers(1, 3))
limits = st.builds(Limits, st.integers(0, FASTEST_DATA_RATE), st.integers(0, 1), st.integers(1, LOWEST_POWER))


@given(settings, limits, histories)
def test_the_data_rate_never_falls_and_nothing_leaves_its_limits(
    current: LinkSettings, taken: Limits, history: tuple[Sample, ...]
) -> None:
    found = decided(current, history, taken)

    assert current.data_rate <= found.data_rate <= max(current.data_rate, taken.max_data_rate)
    assert found.tx_power <= max(current.tx_power, taken.max_tx_power)
    assert found.tx_power >= min(current.tx_power, taken.min_tx_power)
    assert 1 <= found.nb_trans <= 3


@given(settings, histories, st.floats(0, 20))
def test_a_device_that_is_received_better_never_gets_less_speed_nor_more_power(
    current: LinkSettings, history: tuple[Sample, ...], better: float
) -> None:
    louder = tuple(Sample(sample.snr + better, sample.missed) for sample in history)
    before, after = decided(current, history), decided(current, louder)

    assert after.data_rate >= before.data_rate
    assert after.tx_power >= before.tx_power


@given(settings, st.lists(samples, min_size=HISTORY, max_size=HISTORY).map(tuple), st.integers(0, HISTORY))
def test_half_a_history_never_asks_for_more_than_the_whole(
    current: LinkSettings, history: tuple[Sample, ...], kept: int
) -> None:
    half, whole = decided(current, history[:kept]), decided(current, history)

    assert half.data_rate <= whole.data_rate or half.data_rate == current.data_rate
    assert half.tx_power <= max(whole.tx_power, current.tx_power)


@given(st.floats(-22, 20), settings.filter(lambda current: current.data_rate <= FASTEST_DATA_RATE))
def test_on_a_steady_link_the_settings_come_to_rest(snr_at_full_power: float, current: LinkSettings) -> None:
    """Each index of power takes 2 dB away; the decisions must not chase each other."""
    rests: list[LinkSettings] = []
    for _ in range(12):
        history = received(*[snr_at_full_power - 2 * current.tx_power] * HISTORY)
        current = decided(current, history)
        rests.append(current)

    assert rests[-1] == rests[-2]


@given(st.floats(-22, 20))
def test_at_rest_the_margin_is_kept_unless_the_link_never_had_it(snr: float) -> None:
    current = NOBODY_HEARD_BEFORE
    for _ in range(12):
        current = decided(current, received(*[snr - 2 * current.tx_power] * HISTORY))

    margin = snr - 2 * current.tx_power - REQUIRED_SNR[12 - current.data_rate]

    assert margin >= 10 or current == NOBODY_HEARD_BEFORE
