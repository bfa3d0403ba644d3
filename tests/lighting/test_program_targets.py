"""What becomes of a program that a campaign sent to a clock; hand-made figures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lighting.commands import Apply, End, SendAgain, State, Transmitted, Wait
from lighting.program_targets import ProgramTarget, step_of

NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
SENT = ProgramTarget(
    1, 2, 3, "sent", 1, False, "canary", NOW + timedelta(hours=2), "e352aa1e", "sent", None, NOW, NOW, None, None
)


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_its_hash_proves_a_program_and_only_another_one_after_its_answer_disproves_it() -> None:
    proved = replace(SENT, reported_hash="e352aa1e", received_at=after(10))
    on_its_way = replace(SENT, attempts=4, reported_hash="00000000", received_at=after(5))
    differs = replace(on_its_way, received_at=after(20))

    assert step_of(replace(SENT, state="queued"), NOW) == Transmitted(NOW, acknowledged=False, ask=False)
    assert step_of(proved, after(11)) == Apply(after(10))
    assert step_of(on_its_way, after(30)) == Wait()
    assert step_of(differs, after(30)) == End(State.FAILED, "state_differs")


def test_a_silent_clock_waits_for_its_turn_again_and_fails_after_the_fourth_time() -> None:
    again = replace(SENT, repeat_due=True)

    assert step_of(SENT, after(59)) == Wait()
    assert step_of(SENT, after(61)) == SendAgain()
    assert step_of(again, after(600)) == Wait()
    assert step_of(replace(again, reported_hash="e352aa1e", received_at=after(90)), after(100)) == Apply(after(90))
    for halted in (replace(again, campaign_state="halted"), replace(again, not_after=after(60))):
        assert step_of(halted, after(61)) == End(State.FAILED, "no_read_back")
    assert step_of(replace(SENT, attempts=4), after(121)) == End(State.FAILED, "no_read_back")


def test_what_dusk_kept_back_has_its_turn_again_and_what_waited_for_its_gateway_for_an_hour_has_not() -> None:
    waiting = replace(SENT, state="queued", downlink_state="expired", downlink_reason="not_after", sent_at=None)

    assert step_of(waiting, after(600)) == SendAgain()
    assert step_of(waiting, after(3_600)) == End(State.EXPIRED, "not_after")
