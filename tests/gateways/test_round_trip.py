from gateways.gateway_times import SAMPLES, RoundTrip


def test_nothing_is_known_before_the_first() -> None:
    assert RoundTrip().median_us is None


def test_what_stood_still_for_a_while_is_not_how_far_away_it_is() -> None:
    round_trip = RoundTrip()

    for sample in (80_000, 90_000, 9_000_000, 85_000, 8_000_000):
        round_trip.record_sample(sample)

    assert round_trip.median_us == 90_000


def test_a_link_that_has_become_slow_is_believed_after_a_few() -> None:
    round_trip = RoundTrip()
    for _ in range(SAMPLES):
        round_trip.record_sample(50_000)

    medians: list[int | None] = []
    for _ in range(SAMPLES):
        round_trip.record_sample(700_000)
        medians.append(round_trip.median_us)

    assert medians == [50_000] * (SAMPLES // 2) + [700_000] * (SAMPLES - SAMPLES // 2)
