from gateways.token_bucket import Budget


def test_a_burst_is_free_and_the_rest_comes_at_its_rate() -> None:
    budget = Budget.full(10, 3, now=100.0)

    at_once = [budget.spend(100.0) for _ in range(4)]
    later = [budget.spend(100.25) for _ in range(3)]

    assert at_once == [True, True, True, False]
    assert later == [True, True, False]


def test_silence_saves_no_more_than_a_burst() -> None:
    budget = Budget.full(10, 3, now=0.0)

    assert [budget.spend(1_000_000.0) for _ in range(4)] == [True, True, True, False]
