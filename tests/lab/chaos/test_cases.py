import re

from lab.chaos.cases import CASES, find_case
from lab.commands.chaos import groups_of

QUICK_BUDGET_S = 110


def test_names_are_kebab_case_and_unique() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


def test_a_case_is_found_by_its_name() -> None:
    found = find_case("kill-network")

    assert found is not None
    assert found.title == "kill -9 : serveur de réseau"
    assert find_case("kill-nobody") is None


def test_an_upgrade_has_a_stack_of_its_own_and_others_share_theirs() -> None:
    groups = groups_of(CASES)

    assert [[case.name for case in group] for group in groups if group[0].upgrades] == [["upgrade"]]
    assert sorted(case.name for group in groups for case in group) == sorted(case.name for case in CASES)
    assert all(len({case.on_small_disks for case in group}) == 1 for group in groups)


def test_the_quick_half_stays_quick() -> None:
    quick = [case.quick_s for case in CASES if case.quick_s is not None]

    assert len(quick) >= 10
    assert sum(quick) <= QUICK_BUDGET_S
