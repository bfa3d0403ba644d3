"""When a campaign goes on, ends or halts by itself; hand-made figures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighting.campaign_plan import PlannedGroup, shares_of
from lighting.campaigns import (
    HALT_FR,
    Halt,
    Progress,
    RejectedCampaign,
    State,
    TargetCounts,
    advance,
    canary_of,
    check_approval,
    out_before,
)

NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
CANARY_DONE = TargetCounts(proved=5)


@pytest.mark.parametrize(("targets", "size"), [(3, 3), (21, 5), (250, 5), (251, 6), (3900, 78)])
def test_the_canary_is_two_percent_and_at_least_five(targets: int, size: int) -> None:
    assert len(canary_of([(number, f"g{number % 3}") for number in range(targets)])) == size


def test_the_canary_is_spread_over_the_gateways() -> None:
    targets = [(number, "busy") for number in range(90)] + [(100 + number, f"g{number}") for number in range(4)]

    assert canary_of(targets) == {0, 100, 101, 102, 103}


@pytest.mark.parametrize(
    ("canary", "others", "expected"),
    [
        (TargetCounts(waiting=5), TargetCounts(waiting=100), State.CANARY),
        (TargetCounts(under_way=1, proved=4), TargetCounts(waiting=100), State.CANARY),
        (CANARY_DONE, TargetCounts(waiting=100), State.RUNNING),
        (CANARY_DONE, TargetCounts(waiting=81, proved=18, failed=1), State.RUNNING),
        (CANARY_DONE, TargetCounts(proved=97, failed=3), State.ENDED),
    ],
)
def test_the_others_follow_when_the_canary_has_proved_it(
    canary: TargetCounts, others: TargetCounts, expected: State
) -> None:
    assert advance(State.APPROVED, Progress(canary, others), LATER, NOW) == (expected, None)


@pytest.mark.parametrize(
    ("progress", "why"),
    [
        (Progress(TargetCounts(proved=4, failed=1), TargetCounts(waiting=100)), Halt.CANARY_FAILED),
        (Progress(TargetCounts(superseded=5), TargetCounts(waiting=100)), Halt.CANARY_FAILED),
        (Progress(CANARY_DONE, TargetCounts(waiting=80, proved=18, failed=2)), Halt.TOO_MANY_FAILURES),
        (Progress(CANARY_DONE, TargetCounts(under_way=5, proved=90), darkened=1), Halt.DARKENED),
    ],
)
def test_it_halts_by_itself(progress: Progress, why: Halt) -> None:
    assert advance(State.RUNNING, progress, LATER, NOW) == (State.HALTED, why)
    assert HALT_FR[why]


def test_one_failure_of_the_first_few_does_not_halt_it() -> None:
    progress = Progress(CANARY_DONE, TargetCounts(waiting=95, proved=4, failed=1))

    assert advance(State.RUNNING, progress, LATER, NOW) == (State.RUNNING, None)


def test_what_was_not_sent_in_time_is_never_sent() -> None:
    late = Progress(CANARY_DONE, TargetCounts(waiting=10, proved=90))
    open_yet = Progress(CANARY_DONE, TargetCounts(waiting=10, under_way=1, proved=90))

    assert advance(State.RUNNING, late, NOW, NOW) == (State.EXPIRED, None)
    assert advance(State.RUNNING, open_yet, NOW, NOW) == (State.RUNNING, None)


@given(*[st.builds(TargetCounts, *[st.integers(0, 200)] * 4)] * 2)
def test_a_campaign_never_goes_on_above_a_twentieth_of_failures(
    canary: TargetCounts, others: TargetCounts
) -> None:
    state, _ = advance(State.RUNNING, Progress(canary, others), LATER, NOW)
    failed, ended = canary.failed + others.failed, canary.ended + others.ended

    if state is not State.HALTED and ended >= 20:
        assert failed * 20 <= ended


def test_what_is_released_goes_out_before_dusk_or_when_it_is_over() -> None:
    dusk = NOW + timedelta(minutes=60)

    assert out_before(NOW, [dusk, dusk - timedelta(days=1)]) == NOW + timedelta(minutes=28)
    assert out_before(NOW, []) == NOW + timedelta(days=1) - timedelta(minutes=2)
    for minutes, may in ((25, True), (27, False), (30, False), (60, False), (90, False), (91, True)):
        assert (out_before(NOW + timedelta(minutes=minutes), [dusk]) is not None) is may


@pytest.mark.parametrize(
    ("state", "approver", "now", "why"),
    [
        (State.DRAFT, "a", NOW, "autre personne"),
        (State.RUNNING, "b", NOW, "projet"),
        (State.DRAFT, "b", LATER, "passée"),
    ],
)
def test_an_approval_needs_another_person_and_time_left(
    state: State, approver: str, now: datetime, why: str
) -> None:
    with pytest.raises(RejectedCampaign, match=why):
        check_approval(state, "a", approver, LATER, now)
    check_approval(State.DRAFT, "a", "b", LATER, NOW)


def test_nothing_halts_an_emergency() -> None:
    progress = Progress(TargetCounts(), TargetCounts(waiting=10, proved=50, failed=40), darkened=3)

    assert advance(State.RUNNING, progress, LATER, NOW, is_emergency=True) == (State.RUNNING, None)


def test_a_preview_counts_one_frame_of_a_group_and_those_that_will_not_have_heard_it() -> None:
    second = 1_000_000
    targets = [(number, "a", second, number < 5) for number in range(105)]
    group = PlannedGroup(frozenset(range(105)), 3 * second)

    [alone] = shares_of(targets, {}, [], {"a": 0.1}, 0, is_emergency=False)
    [by_group] = shares_of(targets, {}, [], {"a": 0.1}, 0, is_emergency=False, groups=[group])
    # With the canary's it is more than a gateway's share of the hour.
    long = [replace(group, airtime_us=176 * second)]
    [full] = shares_of(targets, {}, [], {"a": 0.1}, 0, is_emergency=False, groups=long)

    assert (alone.airtime_us, by_group.airtime_us) == (105 * second, 8 * second)
    assert (by_group.targets, by_group.left_us) == (105, alone.left_us)
    # The canary's seconds, the quarter of an hour in which its members report, and ten of them by themselves.
    assert 17 * 60 * second < by_group.ends_us < 20 * 60 * second
    assert full.airtime_us == 105 * second
