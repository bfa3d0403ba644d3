"""What becomes of a program that a campaign sent to a clock; hand-made figures."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from decoders.codec import EncodedCommand
from lighting.campaigns import canary_of
from lighting.commands import Apply, End, RejectedLightingCommand, SendAgain, State, Transmitted, Wait
from lighting.octets import Asked, wanted_for
from lighting.program_targets import ProgramTarget, step_of
from lighting.vendor_programs import VendorProgram

NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
SENT = ProgramTarget(
    *(1, 2, 3, "sent", 1, False, "canary", NOW + timedelta(hours=2), {}, "e352aa1e", "sent", None, NOW, NOW),
    *(None, None, None, None, None),
)
HELD, ANOTHER = {"program_hash": "e352aa1e"}, {"program_hash": "00000000"}


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_its_hash_proves_a_program_and_only_another_one_after_its_answer_disproves_it() -> None:
    proved = replace(SENT, reported=HELD, received_at=after(10))
    on_its_way = replace(SENT, attempts=4, reported=ANOTHER, received_at=after(5))
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
    assert step_of(replace(again, reported=HELD, received_at=after(90)), after(100)) == Apply(after(90))
    for halted in (replace(again, campaign_state="halted"), replace(again, not_after=after(60))):
        assert step_of(halted, after(61)) == End(State.FAILED, "no_read_back")
    assert step_of(replace(SENT, attempts=4), after(121)) == End(State.FAILED, "no_read_back")


def test_what_dusk_kept_back_has_its_turn_again_and_what_waited_for_its_gateway_for_an_hour_has_not() -> None:
    waiting = replace(SENT, state="queued", downlink_state="expired", downlink_reason="not_after", sent_at=None)

    assert step_of(waiting, after(600)) == SendAgain()
    assert step_of(waiting, after(3_600)) == End(State.EXPIRED, "not_after")


def test_a_clock_of_another_make_holds_what_it_was_sent_if_its_answer_says_all_of_it() -> None:
    steps = [{"at": 1320, "level": 50}]
    sent = {"latitude": 48.39, "cut_start": 1410, "dimming": steps, "cut_end": None, "mode": "astro"}
    given = frozenset({"latitude", "cut_start", "dimming"})
    program = VendorProgram(EncodedCommand(9, b"1"), EncodedCommand(10, b"2"), given, sent, {"device_id": 1})
    held = {"cut_start": 1410, "dimming": [{"at": 1320, "level": 50}]}

    assert VendorProgram.from_json(json.loads(json.dumps(program.as_json()))) == program
    assert (program.names, program.is_provable) == (["cut_start", "dimming"], True)
    assert all(
        program.is_held(one)
        for one in (
            held,
            {"program": held},
            held | {"latitude": 48.4, "mode": "astro"},
            held | {"cut_start": 1411},
        )
    )
    assert not any(
        program.is_held(one)
        for one in (
            {},
            {"cut_start": 1410},
            held | {"cut_start": 1400},
            held | {"cut_end": 300},  # Of the program that it held before.
            held | {"mode": "manual"},
            held | {"latitude": 43.0},
            held | {"dimming": [*steps, *steps]},
            held | {"dimming": [{"at": 1320, "level": 70}]},
        )
    )


def test_what_nothing_can_prove_goes_first_only_where_there_is_nothing_else() -> None:
    targets = [(number, "a") for number in range(8)]

    assert canary_of(targets, {0, 1, 2}) == {3, 4, 5, 6, 7}
    assert canary_of(targets, set(range(8))) == {0, 1, 2, 3, 4}


def test_an_override_of_another_make_is_given_the_parameters_that_it_has() -> None:
    asked = Asked(NOW, off_until=NOW + timedelta(minutes=90))
    wanted = wanted_for({"override": {"level": None, "minutes": None}}, None, None, asked)

    assert wanted.ends_itself
    assert wanted.commands["off"] == ("override", {"level": 0, "minutes": 90})
    # A dimming with an end, too.
    dimmed = wanted_for({"override": {"level": None, "minutes": None}}, None, None, replace(asked, level=30))
    assert (dimmed.commands["dim"], "off" in dimmed.commands) == (
        ("override", {"level": 30, "minutes": 90}),
        False,
    )
    with pytest.raises(RejectedLightingCommand, match="sortie 2"):
        wanted_for({"override": {"level": None, "minutes": None}}, None, "2", asked)
    with pytest.raises(RejectedLightingCommand, match="switch_on"):  # It has no end of its own.
        wanted_for({"override": {"level": None}}, None, None, asked)
