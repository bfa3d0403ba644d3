from datetime import UTC, datetime, timedelta

import pytest

from lighting.commands import (
    LONGEST_OFF,
    READ_BACK_WITHIN,
    AskReadBack,
    Confirm,
    End,
    Failure,
    OpenCommand,
    ReadBack,
    RejectedLightingCommand,
    SendAgain,
    State,
    Wait,
    advance,
    check_request,
    failure_text,
)

NOW = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def command(**known) -> OpenCommand:
    defaults = {
        "id": 1,
        "state": State.SENT,
        "on": False,
        "attempts": 1,
        "not_after": NOW + timedelta(minutes=10),
        "downlink_state": "sent",
        "downlink_reason": None,
        "sent_at": NOW,
        "read_back_state": "sent",
    }
    return OpenCommand(**(defaults | known))


def test_an_off_without_an_end_is_rejected() -> None:
    with pytest.raises(RejectedLightingCommand, match="doit avoir une fin"):
        check_request("off", None, ["switch"], NOW)


@pytest.mark.parametrize("until", [NOW, NOW - SECOND, NOW + LONGEST_OFF + SECOND])
def test_an_off_must_end_within_twelve_hours(until: datetime) -> None:
    with pytest.raises(RejectedLightingCommand, match="12 heures"):
        check_request("off", until, ["switch"], NOW)


def test_dimming_is_rejected_with_its_reason_where_there_is_no_dimmer() -> None:
    with pytest.raises(RejectedLightingCommand, match="pas de variateur"):
        check_request("dim", None, ["switch"], NOW)


def test_a_device_without_a_relay_is_rejected() -> None:
    with pytest.raises(RejectedLightingCommand, match="pas de relais"):
        check_request("on", None, [], NOW)


def test_waits_while_the_downlink_is_queued_or_sending() -> None:
    for state in ("queued", "sending"):
        assert advance(command(state=State.QUEUED, downlink_state=state, sent_at=None), [], NOW) == Wait()


def test_asks_for_the_state_once_the_gateway_has_emitted() -> None:
    assert advance(command(state=State.QUEUED), [], NOW) == AskReadBack(NOW)


def test_a_downlink_that_no_gateway_could_emit_fails_with_the_reason() -> None:
    step = advance(command(state=State.QUEUED, downlink_state="failed", downlink_reason="TOO_LATE"), [], NOW)

    assert step == End(State.FAILED, "not_transmitted: TOO_LATE")


def test_a_command_is_confirmed_by_the_cabinets_read_back() -> None:
    read_back = ReadBack(on=False, received_at=NOW + SECOND)

    assert advance(command(), [read_back], NOW + 2 * SECOND) == Confirm(read_back.received_at)


def test_what_the_cabinet_said_before_the_command_confirms_nothing() -> None:
    assert advance(command(), [ReadBack(on=False, received_at=NOW - SECOND)], NOW + SECOND) == Wait()


def test_the_last_word_counts() -> None:
    heard = [ReadBack(on=True, received_at=NOW + SECOND), ReadBack(on=False, received_at=NOW + 2 * SECOND)]

    assert isinstance(advance(command(), heard, NOW + 3 * SECOND), Confirm)


def test_the_contrary_state_is_sent_again_then_fails() -> None:
    contrary = [ReadBack(on=True, received_at=NOW + SECOND)]

    assert advance(command(), contrary, NOW + 2 * SECOND) == SendAgain()
    assert advance(command(attempts=3), contrary, NOW + 2 * SECOND) == End(State.FAILED, Failure.STATE_DIFFERS)


def test_silence_is_sent_again_then_fails_as_unknown() -> None:
    later = NOW + READ_BACK_WITHIN + SECOND

    assert advance(command(), [], later) == SendAgain()
    assert advance(command(attempts=3), [], later) == End(State.FAILED, Failure.NO_READ_BACK)


def test_nothing_is_sent_after_it_stopped_being_useful() -> None:
    late = NOW + timedelta(minutes=11)

    assert advance(command(), [], late) == End(State.FAILED, Failure.NO_READ_BACK)


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
