import pytest

from lab.chaos.witnesses.latency import Bystanders, Waits, percentile


def watched(usual: float, now: float, **failed: list[str]) -> Bystanders:
    return Bystanders(Waits([now] * 10, [0.1], failed.get("failed", [])), Waits([usual] * 10, [0.1]))


def test_the_hundredth_wait_of_a_hundred_is_beyond_the_percentile() -> None:
    assert percentile([float(number) for number in range(1, 101)]) == 99.0
    assert percentile([3.0, 1.0, 2.0]) == 3.0
    assert percentile([]) == 0.0


@pytest.mark.parametrize(
    ("usual", "now", "is_found"), [(0.4, 0.79, False), (0.4, 0.81, True), (0.01, 0.49, False), (0.01, 0.51, True)]
)
def test_twice_what_is_usual_is_too_long_once_it_is_more_than_was_promised(
    usual: float,
    now: float,
    is_found: bool,
) -> None:
    assert bool(watched(usual, now).findings()) is is_found


def test_who_got_no_answer_and_what_never_came_is_found() -> None:
    assert watched(0.1, 0.1, failed=["503"]).findings() == ["1 réponses d'autrui manquées (503)"]
    assert Bystanders(Waits([], [0.1]), Waits([0.1], [0.1])).findings()
