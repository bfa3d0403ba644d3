import re

from lab.chaos.cases import CASES, find_case

QUICK_BUDGET_S = 118


def test_names_are_kebab_case_and_unique() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_a_case_is_found_by_its_name() -> None:
    found = find_case("kill-network")

    assert found is not None
    assert found.title == "kill -9 : serveur de réseau"
    assert find_case("kill-nobody") is None


def test_the_quick_half_stays_quick() -> None:
    quick = [case.quick_s for case in CASES if case.quick_s is not None]

    assert len(quick) >= 10
    assert sum(quick) <= QUICK_BUDGET_S
