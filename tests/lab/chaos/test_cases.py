import re

from lab.chaos.case import Layout
from lab.chaos.cases import CASES, SELECTION, find_case
from lab.chaos.kills.cases import ALL
from lab.commands.chaos import MOST_CASES_A_STACK, groups_of
from services.supervisor.stack_options import SERVICES

BESIDE_THE_SUITE_S, BUDGET_S = 60, 300


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

    assert [case.name for group in groups if group[0].layout is Layout.FORMER for case in group] == ["upgrade"]
    assert [case.name for group in groups if group[0].layout is Layout.FRESH for case in group] == ["feed"]
    assert max(map(len, groups)) == MOST_CASES_A_STACK
    assert sorted(case.name for group in groups for case in group) == sorted(case.name for case in CASES)
    assert all(len({(case.on_small_disks, case.layout) for case in group}) == 1 for group in groups)
    assert [len(group) for group in groups if group[0].is_alone] == [1, 1]


def test_what_continuous_integration_plays_stays_within_ten_minutes() -> None:
    """Of load; a case takes about as long again until all of it is counted."""
    beside_the_suite = [case.quick_s or 0 for case in SELECTION if not case.is_slow]
    slow = [case.quick_s or 0 for case in SELECTION if case.is_slow]

    assert {case.name for case in SELECTION} >= {
        "kill-each", "term-ingest", "freeze-ingest", "unacknowledged", "feed", "lighting-campaign", "upgrade",
        "freeze-migrate", "replicas-of-all-killed", "failover", "bus-servers-lost",
        "certificate-bus", "certificate-mqtt",
    }  # fmt: skip
    assert sum(beside_the_suite) <= BESIDE_THE_SUITE_S
    assert sum(beside_the_suite + slow) <= BUDGET_S


def test_each_service_and_server_is_killed_and_stopped_in_some_case() -> None:
    for service in (*SERVICES, "postgres", "nats", "mosquitto", "migrate"):
        name = service.replace("_", "-")

        assert find_case(f"kill-{name}") is not None or service in ALL
        assert find_case(f"term-{name}") is not None or service == "indicators"


def test_cases_on_small_disks_are_on_the_usual_stack() -> None:
    assert all(case.layout is Layout.USUAL for case in CASES if case.on_small_disks)
