from gateways.gateway_times import LAST_SAMPLES, SAMPLES, RoundTrip


def test_nothing_is_known_before_the_first() -> None:
    assert (RoundTrip().median_us, RoundTrip().worst_us) == (None, None)


def test_people_are_shown_what_is_usual() -> None:
    round_trip = RoundTrip()

    for sample in (80_000, 90_000, 9_000_000, 85_000, 8_000_000):
        round_trip.record_sample(sample)

    assert round_trip.median_us == 90_000


def test_a_link_that_turns_slow_is_believed_at_once_and_one_pause_of_it_for_three_round_trips() -> None:
    round_trip = RoundTrip()
    for _ in range(SAMPLES):
        round_trip.record_sample(4_000)

    believed: list[int | None] = []
    for sample in (1_100_000, *[5_000] * LAST_SAMPLES):
        round_trip.record_sample(sample)
        believed.append(round_trip.worst_us)

    assert believed == [1_100_000] * LAST_SAMPLES + [5_000]
