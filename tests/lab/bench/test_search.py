import pytest

from lab.bench.search import FIRST, Search, step_down


def play(search: Search, capacity: float) -> tuple[list[float], float | None]:
    """What the search does on a stack that sustains `capacity`."""
    tried: list[float] = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.record_attempt(rate, sustained=rate <= capacity, throughput=min(rate, capacity))
    return tried, search.best


@pytest.mark.parametrize("capacity", [1_000, 1_700, 5_100, 7_999, 8_000, 12_300, 15_000, 15_900, 41_000])
def test_finds_a_rate_near_the_highest_that_is_sustained(capacity: float) -> None:
    tried, best = play(Search(), capacity)

    assert best is not None
    assert 0.85 * capacity <= best <= capacity
    assert tried[0] == FIRST
    assert len(tried) <= 14


def test_nothing_is_sustained_by_a_stack_that_stores_nothing() -> None:
    tried, best = play(Search(), 0)

    assert best is None
    assert tried == [FIRST]


def test_goes_no_higher_than_the_devices_can_send() -> None:
    tried, best = play(Search(most=10_000), 1e9)

    assert best == 10_000
    assert max(tried) == 10_000


def test_after_a_failure_tries_what_was_reached_meanwhile() -> None:
    search = Search()

    search.record_attempt(8_000, sustained=False, throughput=3_100)

    assert search.next_rate() == 3_000


def test_steps_down_by_a_few_percent_and_never_to_nothing() -> None:
    assert step_down(15_000) == 13_750
    assert step_down(300) == 250
