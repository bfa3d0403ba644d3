from hypothesis import given
from hypothesis import strategies as st

from decoders.javascript.overruns import Overruns


def test_the_fifth_within_ten_minutes_stops_a_version() -> None:
    overruns = Overruns()

    assert [overruns.record_overrun("a", at) for at in (0, 100, 200, 300, 599)] == [
        False,
        False,
        False,
        False,
        True,
    ]
    assert overruns.is_stopped("a", 599.9)
    assert not overruns.is_stopped("a", 600)
    assert not overruns.is_stopped("b", 599)


def test_overruns_that_are_far_apart_do_not_add_up() -> None:
    overruns = Overruns()

    assert not any(overruns.record_overrun("a", at) for at in range(0, 10_000, 150))


def test_somebody_who_looked_at_it_may_let_it_go_on() -> None:
    overruns = Overruns()
    for at in range(5):
        overruns.record_overrun("a", at)

    overruns.release("a")

    assert not overruns.is_stopped("a", 5)


@given(st.lists(st.floats(0, 5_000), max_size=40))
def test_a_version_is_stopped_when_five_of_the_last_ten_minutes_say_so(times: list[float]) -> None:
    overruns, noted = Overruns(), []
    for at in sorted(times):
        overruns.record_overrun("a", at)
        noted.append(at)

        assert overruns.is_stopped("a", at) == (len([one for one in noted if at - one < 600]) >= 5)
