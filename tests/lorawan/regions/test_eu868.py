"""EU868 (docs/protocols.md, "Matrix", rows 22, 25, 26, 33; docs/radio.md, "Sub-bands and their limits")."""

import pytest

from lorawan.regions import EU868, REQUIRED_SNR, Fsk, Lora


@pytest.mark.parametrize(("index", "spreading_factor"), [(0, 12), (1, 11), (2, 10), (3, 9), (4, 8), (5, 7)])
def test_data_rates_0_to_5_are_sf12_to_sf7_at_125_khz(index: int, spreading_factor: int) -> None:
    assert EU868.data_rates[index] == Lora(spreading_factor, 125_000)
    assert EU868.data_rate_of(spreading_factor, 125_000) == index


def test_data_rates_6_and_7_are_sf7_at_250_khz_and_fsk() -> None:
    assert EU868.data_rate_of(7, 250_000) == 6
    assert EU868.data_rates[7] == Fsk(50_000)


def test_has_no_data_rate_for_a_modulation_outside_the_plan() -> None:
    assert EU868.data_rate_of(12, 500_000) is None


def test_uplinks_use_the_three_join_channels_then_those_of_the_cf_list() -> None:
    frequencies = [channel.frequency // 100_000 for channel in EU868.uplink_channels]

    assert frequencies == [8681, 8683, 8685, 8671, 8673, 8675, 8677, 8679]


@pytest.mark.parametrize(
    ("uplink", "expected"),
    [(0, [0, 0, 0, 0, 0, 0]), (3, [3, 2, 1, 0, 0, 0]), (6, [6, 5, 4, 3, 2, 1]), (7, [7, 6, 5, 4, 3, 2])],
)
def test_rx1_is_the_uplinks_data_rate_minus_the_offset_but_never_below_0(uplink: int, expected: list[int]) -> None:
    assert [EU868.rx1_data_rate(uplink, offset) for offset in range(6)] == expected


@pytest.mark.parametrize(("uplink", "offset"), [(8, 0), (-1, 0), (0, 6), (0, -1)])
def test_rejects_a_data_rate_or_an_offset_that_the_plan_does_not_have(uplink: int, offset: int) -> None:
    with pytest.raises(ValueError, match="EU868"):
        EU868.rx1_data_rate(uplink, offset)


def test_joins_are_answered_after_5_and_6_seconds_and_rx2_is_869_525_at_dr0() -> None:
    assert (EU868.join_accept_delay1, EU868.join_accept_delay2) == (5, 6)
    assert (EU868.rx2_frequency, EU868.rx2_data_rate) == (869_525_000, 0)


def test_payloads_are_limited_by_data_rate() -> None:
    assert EU868.max_payload == (51, 51, 51, 115, 242, 242, 242, 242)


@pytest.mark.parametrize(
    ("frequency", "seconds_per_hour", "eirp"),
    [
        (863_500_000, 3.6, 16.15),
        (867_100_000, 36, 16.15),
        (868_100_000, 36, 16.15),
        (868_800_000, 3.6, 16.15),
        (869_525_000, 360, 29.15),
        (869_800_000, 36, 16.15),
    ],
)
def test_a_sub_band_limits_power_and_time_on_air(frequency: int, seconds_per_hour: float, eirp: float) -> None:
    band = EU868.sub_band_of(frequency)

    assert band is not None
    assert band.hourly_airtime_us == seconds_per_hour * 1_000_000
    assert EU868.downlink_eirp(frequency) == pytest.approx(eirp)


def test_the_channels_of_868_1_and_867_1_have_separate_budgets() -> None:
    assert EU868.sub_band_of(868_100_000) is not EU868.sub_band_of(867_100_000)


@pytest.mark.parametrize("frequency", [862_900_000, 868_650_000, 869_300_000, 869_650_000, 870_000_000])
def test_nothing_may_be_sent_between_the_sub_bands(frequency: int) -> None:
    assert EU868.sub_band_of(frequency) is None
    with pytest.raises(ValueError, match="no sub-band"):
        EU868.downlink_eirp(frequency)


def test_each_spreading_factor_costs_two_and_a_half_decibels() -> None:
    assert [REQUIRED_SNR[sf] for sf in range(7, 13)] == [-7.5, -10, -12.5, -15, -17.5, -20]
