import pytest

from lab.chaos.outcome import Outcome
from lab.simulator.account import Account


def outcome(**account: int) -> Outcome:
    return Outcome("case", "Cas", account=Account(**account), drained=True)


def test_a_case_holds_when_all_that_is_ours_is_stored_once() -> None:
    sound = outcome(sent=12, heard=10, left_out=2, stored=8)

    assert sound.ours == 8
    assert sound.status == "ok"


def test_a_case_fails_on_a_difference_of_one() -> None:
    assert outcome(sent=10, heard=10, stored=9, missing=1).status == "failed"
    assert outcome(sent=10, heard=10, stored=11, duplicates=1).status == "failed"


def test_a_case_in_which_nothing_was_received_has_shown_nothing() -> None:
    assert outcome(sent=10).status == "failed"


def test_what_was_not_run_is_never_a_success() -> None:
    skipped = outcome(sent=10, heard=10, stored=10)
    skipped.not_run = "le paquet faketime manque"

    assert not skipped.holds
    assert skipped.status == "not_run"


def test_a_service_that_nobody_struck_and_that_fails_in_its_log_fails_the_case() -> None:
    failing = outcome(sent=10, heard=10, stored=10)
    failing.tracebacks = {"ingest-1": ["KeyError: 1", "(1)"]}

    assert failing.status == "failed"


def test_what_a_socket_had_no_room_for_was_never_ours_and_no_more_than_that() -> None:
    lossy = outcome(sent=10, heard=10, stored=7, missing=3)
    lossy.edge_dropped = 2

    lossy.subtract_counted_drops()

    assert lossy.ours == 8
    assert lossy.account.missing == 1
    assert lossy.status == "failed"


def test_a_case_that_recovers_late_or_never_fails() -> None:
    late, never, soon = (outcome(sent=10, heard=10, stored=10) for _ in range(3))
    late.recovery_s, soon.recovery_s = 60.5, 59.0
    never.recoveries = {"nats": 12.0, "postgres": None}

    assert (late.status, never.status, soon.status) == ("failed", "failed", "ok")


def test_a_difference_in_rollups_fails_the_case() -> None:
    wrong = outcome(sent=10, heard=10, stored=10)
    wrong.differences.append("rollup_hour 1")

    assert wrong.status == "failed"


@pytest.mark.parametrize(
    ("p99_ms", "binds", "status"), [(999.4, True, "ok"), (1_000.0, True, "failed"), (1_000.0, False, "ok")]
)
def test_a_latency_beyond_its_goal_fails_the_case_at_the_rate_of_the_goal(
    p99_ms: float, binds: bool, status: str
) -> None:
    measured = outcome(sent=10, heard=10, stored=10)

    measured.judge_latency(p99_ms, 1_000, binds=binds)

    assert measured.status == status
    assert measured.as_dict()["p99_ms"] == p99_ms
    said = [*measured.notes, *measured.differences]
    assert said == [f"p99 du datagramme au commit {p99_ms:.0f} ms (but : 1000)"]
