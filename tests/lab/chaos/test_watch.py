from typing import Any

from lab.chaos.checks import CounterWatch
from lab.chaos.watch import Watch

NOBODY: Any = None


def watch(*looks: tuple[float, bool]) -> Watch:
    return Watch(NOBODY, NOBODY, CounterWatch(1), _looks=list(looks))


def test_recovery_ends_with_the_first_look_after_which_all_goes_well() -> None:
    seen = watch((0.5, True), (1.0, False), (1.5, False), (2.0, True), (2.5, True), (5.0, True))

    assert seen.recovery_s(0.0) == 2.0


def test_a_moment_between_two_bad_ones_is_no_recovery() -> None:
    seen = watch((0.5, False), (1.0, True), (1.5, False), (4.0, True), (6.6, True))

    assert seen.recovery_s(0.0) == 4.0


def test_without_a_good_look_there_was_no_recovery() -> None:
    assert watch((0.5, False), (1.0, False)).recovery_s(0.0) is None
