"""A share of `territoire chaos fuzz`: a few hundred cases of each kind, from a seed that never changes."""

import random

import pytest

from lab.chaos.fuzz.live import LiveFindings
from lab.chaos.witnesses.latency import percentile
from lab.fuzz.target import Target, play, source_of
from lab.fuzz.targets import TARGETS

CASES = {"tables": 100, "phy": 150}


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_refused_as_documented_and_a_good_one_behind_it_read_at_once(name: str) -> None:
    found = play(TARGETS[name], CASES.get(name, 250), "tests")

    assert found.holds, found.as_dict()
    assert len(found.became) > 1  # Some were read, some were not.


def spoilt(read_number) -> Target:
    return Target("x", "", lambda source: source.randrange(1_000), read_number, lambda: None)


def test_a_case_is_the_same_again_from_its_seed() -> None:
    made = [TARGETS["lns"].make(source_of("a", "lns", case)) for case in (7, 7, 8)]

    assert made[0] == made[1] != made[2]


def test_an_exception_that_nobody_documents_is_a_defect_and_names_its_case() -> None:
    def read_number(number: int) -> str:
        if number == random.Random("s x 3").randrange(1_000):
            raise KeyError("seldom")
        return "read"

    found = play(spoilt(read_number), 10, "s")

    assert not found.holds
    assert [(one.case, "seldom" in one.what) for one in found.defects] == [(3, True)]
    assert found.became == {"read": 9, "defect": 1}


def test_what_keeps_something_of_every_case_is_found() -> None:
    kept: list[list[int]] = []

    def read_number(number: int) -> str:
        kept.append([number, number + 1_000_000, number + 2_000_000])
        return "read"

    assert [one.what.partition(":")[0] for one in play(spoilt(read_number), 5_000, "s").defects] == ["memory"]


def test_a_port_holds_when_all_is_counted_and_99_of_100_are_answered_in_time() -> None:
    found = LiveFindings("x", "", cases=100, counted=100, to_count=100, answers_s=[0.01] * 99 + [4.0])

    assert percentile(found.answers_s) == 0.01
    assert found.holds
    found.answers_s[0] = 0.2
    assert not found.holds
    found.alone_s = [0.2] * 100  # A machine that takes as long for any.
    assert found.holds
    found.counted = 99
    assert not found.holds
