from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from decoders.catalogue import CODECS
from lighting.commands import (
    AGAIN_AFTER,
    LONGEST_OFF,
    MAX_ATTEMPTS,
    RELIGHT_EVERY,
    ActStep,
    Apply,
    Ask,
    Compared,
    End,
    Failure,
    OpenCommand,
    Proving,
    ReadBack,
    Reconcile,
    RejectedLightingCommand,
    SendAgain,
    Settle,
    State,
    Transmitted,
    Unconfirmed,
    Wait,
    about_act,
    advance,
    check_request,
    compare_power,
    expected_power,
    failure_text,
)
from lighting.octets import Asked, Octets, octets_of_codec

NOW = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RELAY = Proving(("",), 0, asks=True)


def command(**known) -> OpenCommand:
    defaults = {
        "id": 1,
        "state": State.SENT,
        "action": "off",
        "proving": RELAY,
        "attempts": 1,
        "not_after": NOW + timedelta(minutes=10),
        "downlink_state": "sent",
        "downlink_reason": None,
        "tried_at": NOW,
        "sent_at": NOW,
        "read_back_state": "sent",
    }
    return OpenCommand(**(defaults | known))


def said(value: float, after: timedelta = SECOND, channel: str = "") -> ReadBack:
    return ReadBack(channel, value, NOW + after)


@pytest.mark.parametrize(
    ("action", "until", "level", "capabilities", "why"),
    [
        ("off", None, None, ["switch"], "doit avoir une fin"),
        ("off", NOW, None, ["switch"], "12 heures"),
        ("off", NOW - SECOND, None, ["switch"], "12 heures"),
        ("off", NOW + LONGEST_OFF + SECOND, None, ["switch"], "12 heures"),
        ("on", None, None, [], "pas de relais"),
        ("on", NOW + SECOND, None, ["switch"], "ne s'applique pas à un allumage"),
        ("on", None, 50, ["switch"], "qu'à une gradation"),
        ("dim", None, None, ["switch"], "a un niveau"),
        ("dim", None, 0, ["switch"], "pour éteindre, off"),
        ("dim", NOW + LONGEST_OFF + SECOND, 50, ["switch"], "12 heures"),
        ("dim", NOW, 50, ["switch"], "12 heures"),
        ("toggle", None, None, ["switch"], "action inconnue"),
    ],
)
def test_a_request_without_sense_is_rejected_in_french(action, until, level, capabilities, why) -> None:
    with pytest.raises(RejectedLightingCommand, match=why):
        check_request(action, until, level, capabilities, NOW)


def test_waits_while_the_downlink_is_queued_or_sending() -> None:
    for state in ("queued", "sending"):
        queued = command(state=State.QUEUED, downlink_state=state, sent_at=None)
        assert advance(queued, [], None, NOW) == Wait()


def test_asks_for_the_state_once_the_gateway_has_emitted() -> None:
    assert advance(command(state=State.QUEUED), [], None, NOW) == Transmitted(NOW, acknowledged=False, ask=True)


def test_a_device_without_power_is_asked_twice_and_again_once_it_is_heard() -> None:
    third = command(state=State.QUEUED, attempts=3, read_back_state=None)

    assert advance(third, [], None, NOW) == Transmitted(NOW, acknowledged=False, ask=False)
    assert advance(third, [], NOW + SECOND, NOW) == Transmitted(NOW, acknowledged=False, ask=True)
    assert advance(command(attempts=3, read_back_state=None), [], NOW + SECOND, NOW + 2 * SECOND) == Ask()


def test_a_device_that_obeyed_and_whose_answers_were_lost_is_asked_after_the_last_attempt() -> None:
    last = command(state=State.QUEUED, attempts=MAX_ATTEMPTS, read_back_state=None)
    by_itself = replace(RELAY, answers_within=30 * SECOND)
    silent = command(attempts=MAX_ATTEMPTS, proving=by_itself, read_back_state=None)
    asked = replace(last, state=State.SENT, read_back_state="sent")

    assert advance(last, [], None, NOW) == Transmitted(NOW, acknowledged=False, ask=True)
    assert advance(silent, [], None, NOW + 29 * SECOND) == Wait()
    assert advance(silent, [], None, NOW + 30 * SECOND) == Ask()
    assert advance(asked, [said(0)], NOW + SECOND, NOW + MINUTE) == Apply(NOW + SECOND)
    assert advance(asked, [], None, NOW + 2 * MINUTE) == End(State.FAILED, Failure.NO_READ_BACK)


def test_what_no_gateway_could_emit_is_tried_again_then_fails_with_the_reason() -> None:
    failed = {"state": State.QUEUED, "downlink_state": "failed", "downlink_reason": "TOO_LATE"}

    assert advance(command(**failed), [], None, NOW) == Wait()
    assert advance(command(**failed), [], None, NOW + AGAIN_AFTER[0]) == SendAgain()
    last = advance(command(**failed, attempts=MAX_ATTEMPTS), [], None, NOW)
    assert last == End(State.FAILED, "not_transmitted: TOO_LATE")


def test_a_command_is_applied_by_the_cabinets_word_since_it_was_sent() -> None:
    assert advance(command(), [said(0)], None, NOW + 2 * SECOND) == Apply(NOW + SECOND)
    assert advance(command(), [said(0, -SECOND)], None, NOW + SECOND) == Wait()
    assert advance(command(), [said(1), said(0, 2 * SECOND)], None, NOW + 3 * SECOND) == Apply(NOW + 2 * SECOND)


def test_another_channels_word_proves_nothing_and_all_of_ones_own_must_say_it() -> None:
    both = command(proving=Proving(("1", "2"), 0, asks=True))

    assert advance(both, [said(0, channel="3"), said(0, channel="")], None, NOW + 2 * SECOND) == Wait()
    assert advance(both, [said(0, channel="1")], None, NOW + 2 * SECOND) == Wait()
    assert advance(both, [said(0, channel="1"), said(0, channel="2")], None, NOW + 2 * SECOND) == Apply(
        NOW + SECOND
    )
    contrary = [said(0, channel="1"), said(1, channel="2")]
    assert advance(both, contrary, None, NOW + AGAIN_AFTER[0]) == SendAgain()


def test_retries_back_off_and_end() -> None:
    """With the contrary state, and with silence."""
    for words, failure in (([said(1)], Failure.STATE_DIFFERS), ([], Failure.NO_READ_BACK)):
        for attempts, wait in enumerate(AGAIN_AFTER, 1):
            tried = command(attempts=attempts)
            assert advance(tried, words, None, NOW + wait - SECOND) == Wait()
            assert advance(tried, words, None, NOW + wait) == SendAgain()
        last = command(attempts=MAX_ATTEMPTS)
        assert advance(last, words, None, NOW + timedelta(minutes=2)) == End(State.FAILED, failure)
    assert advance(command(), [], None, NOW + timedelta(minutes=11)) == End(State.FAILED, Failure.NO_READ_BACK)


def test_a_device_that_is_not_asked_has_until_its_next_report() -> None:
    reports = command(
        proving=Proving(("1",), 0, asks=False, report_within=timedelta(minutes=25)), read_back_state=None
    )

    assert advance(reports, [], NOW + SECOND, NOW + timedelta(minutes=24)) == Wait()
    assert advance(reports, [said(0, 24 * MINUTE, "1")], None, NOW + timedelta(minutes=24)) == Apply(
        NOW + 24 * MINUTE
    )
    assert advance(reports, [], None, NOW + timedelta(minutes=25)) == End(State.FAILED, Failure.NO_READ_BACK)


def test_a_device_of_class_a_is_given_the_time_to_hear_the_question() -> None:
    sleeper = command(proving=Proving(("",), 0, asks=True, receives_every=timedelta(minutes=5)))

    assert advance(sleeper, [], None, NOW + timedelta(minutes=4)) == Wait()
    assert advance(sleeper, [], None, NOW + timedelta(minutes=5)) == SendAgain()


def test_what_nothing_can_prove_ends_as_sent_and_is_repeated_first_where_light_is_owed() -> None:
    blind = {"proving": Proving((), 1, asks=False), "action": "on", "read_back_state": None}

    assert advance(command(**blind), [], None, NOW) == End(State.UNPROVEN, None)
    owed = command(**blind, owes_light=True, relight_at=NOW)
    assert advance(owed, [], None, NOW + AGAIN_AFTER[0]) == SendAgain()
    last = command(**blind, owes_light=True, relight_at=NOW, attempts=MAX_ATTEMPTS)
    assert advance(last, [], None, NOW) == End(State.UNPROVEN, None)


def test_a_late_echo_is_noted_and_upgrades_nothing() -> None:
    assert advance(command(state=State.FAILED), [said(0, 30 * MINUTE)], None, NOW) == Reconcile(NOW + 30 * MINUTE)
    assert advance(command(state=State.EXPIRED), [said(1)], None, NOW + MINUTE) == Wait()


def test_what_owes_light_goes_on_at_each_uplink_and_once_an_hour() -> None:
    failed = command(
        attempts=MAX_ATTEMPTS,
        transmitted=MAX_ATTEMPTS,
        state=State.FAILED,
        action="on",
        proving=Proving(("",), 1, asks=True),
        owes_light=True,
        relight_at=NOW + RELIGHT_EVERY,
    )

    assert advance(failed, [], None, NOW + timedelta(minutes=59)) == Wait()
    assert advance(failed, [], NOW + MINUTE, NOW + timedelta(minutes=9)) == Wait()
    assert advance(failed, [], NOW + MINUTE, NOW + timedelta(minutes=10)) == SendAgain()
    assert advance(failed, [], None, NOW + RELIGHT_EVERY) == SendAgain()


def test_the_meter_confirms_within_a_fifth_and_without_one_the_relays_word_is_the_end() -> None:
    later = (NOW + MINUTE, NOW + 3 * 60 * MINUTE)

    def compared(action: str, watts: float | None, rated: float | None = 4000, at: datetime = later[0]):
        expected_w, margin_w = expected_power(action, 50 if action == "dim" else None, rated) or (None, 0)
        return compare_power(NOW, expected_w, margin_w, None if watts is None else (watts, NOW), at)

    assert compared("on", 3300) == Compared(NOW, None)
    assert compared("on", 3100) == Compared(None, Unconfirmed.POWER_DIFFERS)
    assert compared("dim", 2300) == Compared(NOW, None)
    assert compared("off", 30) == Compared(NOW, None)
    assert compared("off", 4000) == Compared(None, Unconfirmed.POWER_DIFFERS)
    assert compared("on", None, None) == Compared(None, Unconfirmed.NO_METER)
    assert compared("on", None) is None
    assert compared("on", None, at=later[1]) == Compared(None, Unconfirmed.NO_READING)


@pytest.mark.parametrize(
    ("state", "reached", "other", "step"),
    [
        ("queued", None, False, ActStep.LATER),
        ("sending", None, False, ActStep.LATER),
        ("sending", None, True, ActStep.RESTORE_AGAIN),
        ("cancelled", None, False, ActStep.SETTLE),
        ("expired", None, False, ActStep.SETTLE),
        ("expired", None, True, ActStep.RESTORE),
        ("failed", NOW - timedelta(hours=12), False, ActStep.RESTORE),
        ("sent", NOW - timedelta(hours=12), False, ActStep.RESTORE),
        ("sent", NOW - timedelta(hours=1), False, ActStep.LATER),
        (None, None, False, ActStep.RESTORE),
    ],
)
def test_an_unknown_act_counts_from_when_it_may_have_reached_the_device(state, reached, other, step) -> None:
    found, at = about_act(state, reached, other, NOW)

    assert found is step
    assert at <= (reached or NOW) + timedelta(hours=12) or step is ActStep.RESTORE


@pytest.mark.parametrize(
    ("codec", "output", "off", "question", "channels"),
    [
        ("watteco.triphaso", None, "1150000600", "110000060000", ("",)),
        ("watteco.ino", "1", "1150000600", "110000060000", ("",)),
        ("watteco.ino", "2", "3150000600", "310000060000", ("1",)),
        ("milesight.ws502", None, "ff2930", "ff28ff", ("1", "2")),
        ("milesight.ws502", "2", "ff2920", "ff28ff", ("2",)),
        ("milesight.ws52x", "1", "0800ffff", "ff28ff", ("",)),
        ("milesight.ws558", "3", "080400", None, ("3",)),
        ("milesight.uc300", None, "0700ff", None, ("1",)),
        ("milesight.uc300", "2", "0800ff", None, ("2",)),
    ],
)
def test_each_codec_says_how_a_command_is_proved_on_the_circuits_own_channel(
    codec, output, off, question, channels
) -> None:
    octets = octets_of_codec(CODECS[codec], CODECS[codec].proof, output, Asked(NOW))

    asked = octets.frames.get("question")
    assert octets.frames["off"].payload.hex() == off
    assert (None if asked is None else asked.payload.hex(), octets.channels) == (question, channels)
    assert Octets.from_json(octets.as_json()) == octets


@pytest.mark.parametrize(
    ("output", "level", "why"),
    [("2", None, "qu'une sortie"), ("deux", None, "est un numéro"), (None, 50, "pas de variateur")],
)
def test_what_a_codec_cannot_do_is_rejected_in_french(output, level, why) -> None:
    codec = CODECS["watteco.triphaso"]

    with pytest.raises(RejectedLightingCommand, match=why):
        octets_of_codec(codec, codec.proof, output, Asked(NOW, level))


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (None, None),
        ("no_read_back", "l'armoire n'a pas relu son état après la commande : état inconnu"),
        ("not_transmitted: TX_FREQ", "aucune passerelle n'a pu émettre la commande (TX_FREQ)"),
        ("NOT_AFTER", "la commande n'est plus utile (NOT_AFTER)"),
    ],
)
def test_a_failure_is_said_in_french_with_the_radios_word_for_it(failure: str | None, text: str | None) -> None:
    assert failure_text(failure) == text


def test_owed_light_that_nothing_can_prove_is_repeated_until_it_has_gone_out_four_times() -> None:
    expired = command(
        action="on", state=State.EXPIRED, proving=Proving((), 1, asks=False), owes_light=True, relight_at=NOW
    )

    assert advance(replace(expired, transmitted=3), [], None, NOW) == SendAgain()
    assert advance(replace(expired, transmitted=4), [], None, NOW) == Settle()


def test_owed_light_that_never_went_out_is_queued_again_at_once_and_one_frame_at_a_time() -> None:
    owed = {"action": "on", "owes_light": True, "proving": replace(RELAY, value=1), "sent_at": None}
    expired = command(state=State.EXPIRED, downlink_state="expired", relight_at=NOW + RELIGHT_EVERY, **owed)
    waits = replace(expired, downlink_state="queued", relight_at=NOW)
    heard = NOW + MINUTE

    assert advance(expired, [], None, NOW + MINUTE) == SendAgain()
    for state in ("queued", "sending"):
        assert advance(replace(waits, downlink_state=state), [], heard, NOW + 30 * MINUTE) == Wait()
    # Unless the network server, which lets it expire, is away.
    assert advance(waits, [], heard, NOW + RELIGHT_EVERY + 2 * MINUTE) == SendAgain()


def test_a_command_that_nobody_sends_ends_though_the_network_server_is_away() -> None:
    for state in ("queued", "sending"):
        queued = command(state=State.QUEUED, downlink_state=state, sent_at=None, read_back_state=None)
        assert advance(queued, [], None, queued.not_after + MINUTE) == Wait()
        assert advance(queued, [], None, queued.not_after + 2 * MINUTE) == End(State.EXPIRED, None)


def test_what_a_device_of_class_a_is_sent_at_an_uplink_is_not_sent_again_for_that_uplink() -> None:
    hour = timedelta(hours=1)
    proving = replace(RELAY, value=1, receives_every=hour)
    owed = command(
        attempts=MAX_ATTEMPTS, state=State.FAILED, action="on", owes_light=True, proving=proving,
        relight_at=NOW + 2 * hour, sent_at=NOW + 30 * MINUTE,
    )  # fmt: skip

    assert advance(owed, [], NOW + 30 * MINUTE, NOW + 40 * MINUTE) == Wait()
    assert advance(owed, [], NOW + 90 * MINUTE, NOW + 90 * MINUTE) == SendAgain()
