"""Decides the next step of a lighting command from what is known of it. Pure.

A command is applied by what the cabinet says of its relay afterwards, never by a radio acknowledgement, and
confirmed by its meter (docs/architecture.md, "Lighting commands"). Every command is absolute: it may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# How long after each transmission the command is sent again: three times, then it has failed.
AGAIN_AFTER = (timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4))
MAX_ATTEMPTS = len(AGAIN_AFTER) + 1
# And how long the last of them may take to show.
LAST_WORD_WITHIN = timedelta(minutes=2)
# Members of a multicast group report within a quarter of an hour, at random (docs/profil-horloge.md).
GROUP_REPORTS_WITHIN = timedelta(minutes=17)
# A device that left so many questions unanswered is asked no more until it is heard of: without power it hears
# nothing, and each frame takes a gateway's time from others. But once after the last attempt, since one that has
# obeyed, and whose answers were lost, has not failed.
QUESTIONS_IN_VAIN = 2
# The longest "off" that may be asked for: the street is lit again, whatever happens to the operator.
LONGEST_OFF = timedelta(hours=12)
# What did not light is tried again at each uplink of its device, but not more often than this, and each hour.
RELIGHT_AT_UPLINK_AFTER = timedelta(minutes=10)
RELIGHT_EVERY = timedelta(hours=1)
# As `note_unknown_act` of the database has it: twelve hours, less what the frame needs.
RESTORED_WITHIN = timedelta(hours=11, minutes=30)
ACT_LOOKED_AT_EVERY = timedelta(minutes=15)
# Lamps take their time to reach their power.
WARM_UP = timedelta(minutes=1)
READING_WITHIN = timedelta(hours=2)
POWER_TOLERANCE = 0.2


class State(StrEnum):
    """Where a command stands. `applied` is by the relay's word, and final but for the meter's, which makes it
    `confirmed`; `unproven` was sent, and nothing that the device sends could prove more.
    """

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    APPLIED = "applied"
    CONFIRMED = "confirmed"
    UNPROVEN = "unproven"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


OPEN = (State.QUEUED, State.SENT, State.ACKNOWLEDGED)


class Failure(StrEnum):
    """Why a command failed, as the API shows it; `FAILURE_FR` says it to the technician."""

    NOT_TRANSMITTED = "not_transmitted"
    NO_READ_BACK = "no_read_back"
    STATE_DIFFERS = "state_differs"
    NOT_COMMANDABLE = "not_commandable"
    NOT_SERVED = "not_served"


FAILURE_FR: dict[str, str] = {
    Failure.NOT_TRANSMITTED: "aucune passerelle n'a pu émettre la commande",
    Failure.NO_READ_BACK: "l'armoire n'a pas relu son état après la commande : état inconnu",
    Failure.STATE_DIFFERS: "l'armoire annonce l'état contraire à celui demandé",
    Failure.NOT_COMMANDABLE: "le profil de l'équipement ne permet plus de le commander",
    Failure.NOT_SERVED: "l'équipement qui a reçu la commande ne commande plus cette armoire",
}


class Unconfirmed(StrEnum):
    """Why an applied command will not be confirmed."""

    NO_METER = "no_meter"
    NO_READING = "no_reading"
    POWER_DIFFERS = "power_differs"
    NOT_COMPARED = "not_compared"


UNCONFIRMED_FR: dict[str, str] = {
    Unconfirmed.NO_METER: "sans compteur ni puissance nominale connue, la parole du relais est la dernière preuve",
    Unconfirmed.NO_READING: "le compteur n'a rien mesuré depuis",
    Unconfirmed.POWER_DIFFERS: "la puissance mesurée s'écarte de plus de 20 % de celle attendue",
    Unconfirmed.NOT_COMPARED: "la puissance n'a pas été comparée",
}


def failure_text(failure: str | None) -> str | None:
    """`failure` of a command as a technician reads it; the radio's own word for it follows."""
    if failure is None:
        return None
    code, _, detail = failure.partition(": ")
    known = FAILURE_FR.get(code)
    if known is None:  # Of its downlink, which ran out of time or was cancelled.
        return f"la commande n'est plus utile ({failure})"
    return f"{known} ({detail})" if detail else known


class RejectedLightingCommand(ValueError):
    """The command may not be given; the message, in French, is shown to the user who gave it."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the cabinet says of one channel, and when we received it (on our clock)."""

    channel: str
    value: float
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Proving:
    """What proves a command: this value on all of these channels; no channels: nothing does.

    `asks`: there is a question; otherwise the next report of the device comes within `report_within` of its own. A
    device of class A, which hears nothing but after its uplinks, hears something `receives_every` so long. One
    that says by itself what became of a command, `answers_within`, is asked only when nothing came.
    `in_group`: it was sent to a multicast group whose members report by themselves, each at a time of its own.
    """

    channels: tuple[str, ...]
    value: float
    asks: bool
    report_within: timedelta = timedelta(0)
    receives_every: timedelta = timedelta(0)
    answers_within: timedelta = timedelta(0)
    in_group: bool = False


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """What is known of a command that has not ended, or that still owes light (`owes_light`)."""

    id: int
    state: State
    action: str
    proving: Proving
    attempts: int
    not_after: datetime
    downlink_state: str
    downlink_reason: str | None
    tried_at: datetime  # When the downlink was enqueued.
    sent_at: datetime | None  # When the gateway transmitted it.
    read_back_state: str | None  # Of the question after this transmission; None: it was not asked.
    owes_light: bool = False
    relight_at: datetime | None = None
    transmitted: int = 0  # How often, since it was given; counted once it has ended.
    is_kept_back: bool = False  # Its frame expires before the command does: dusk is near.


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet."""


@dataclass(frozen=True, slots=True)
class Transmitted:
    """The gateway transmitted the command at `sent_at`; `ask`: now ask the cabinet for its state."""

    sent_at: datetime
    acknowledged: bool
    ask: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the cabinet for its state: it is there again."""


@dataclass(frozen=True, slots=True)
class Apply:
    """The cabinet said the state that was asked for."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Reconcile:
    """It said so after the command had ended: that is noted, and nothing is owed any more."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Settle:
    """Nothing can prove it, and it has gone out often enough: nothing is owed any more."""


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The cabinet did not follow, or did not answer: the same command once more."""


@dataclass(frozen=True, slots=True)
class End:
    """The command has ended without proof."""

    state: State
    failure: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What the meter says of an applied command."""

    at: datetime | None
    unconfirmed: Unconfirmed | None


Step = Wait | Transmitted | Ask | Apply | Reconcile | Settle | SendAgain | End


def check_request(
    action: str, off_until: datetime | None, level: int | None, capabilities: Sequence[str], now: datetime
) -> None:
    """Whether `action` may be asked of a cabinet of these capabilities.

    Raises:
        RejectedLightingCommand: no such action, not for this device, or an "off" without a sensible end.
    """
    if action not in {"on", "off", "dim"}:
        raise RejectedLightingCommand(f"action inconnue : {action}")
    if "switch" not in capabilities:
        raise RejectedLightingCommand("cet équipement n'a pas de relais commandable")
    if action != "dim" and level is not None:
        raise RejectedLightingCommand("un niveau ne s'applique qu'à une gradation")
    if action == "dim" and (level is None or not 1 <= level <= 100):  # noqa: PLR2004 - Percent.
        raise RejectedLightingCommand("une gradation a un niveau (level), de 1 à 100 % ; pour éteindre, off")
    if action == "on" and off_until is not None:
        raise RejectedLightingCommand("une fin d'extinction ne s'applique pas à un allumage")
    if action == "off" and off_until is None:
        raise RejectedLightingCommand(
            "une extinction doit avoir une fin (off_until) : la rue ne reste pas éteinte"
        )
    if off_until is not None and not now < off_until <= now + LONGEST_OFF:
        raise RejectedLightingCommand("la fin d'extinction doit être à venir, et dans 12 heures au plus")


def judge(proving: Proving, read_backs: Sequence[ReadBack], since: datetime) -> tuple[bool | None, datetime]:
    """Whether the cabinet says what was asked for, by its last word on each channel, and when it said so.

    None: it has said nothing of some channel, and nothing contrary.
    """
    last = {one.channel: one for one in read_backs if one.received_at > since and one.channel in proving.channels}
    if any(one.value != proving.value for one in last.values()):
        return False, since
    if not proving.channels or last.keys() != set(proving.channels):
        return None, since
    return True, max(one.received_at for one in last.values())


def advance(
    command: OpenCommand, read_backs: Sequence[ReadBack], received_at: datetime | None, now: datetime
) -> Step:
    """The next step of a command; `read_backs` are those received since it was sent, oldest first.

    `received_at` is when anything of its device was last received.
    """
    if command.state is State.QUEUED:
        return _advance_queued(command, received_at, now)
    if command.state in OPEN:
        return _advance_sent(command, read_backs, received_at, now)
    return _advance_ended(command, read_backs, received_at, now)


def _advance_queued(command: OpenCommand, received_at: datetime | None, now: datetime) -> Step:
    match command.downlink_state:
        case "sent" | "acknowledged":
            sent_at = command.sent_at or now
            is_received = received_at is not None and received_at > sent_at
            proving = command.proving
            ask = proving.asks and (_is_worth_asking(command) or is_received) and not proving.answers_within
            return Transmitted(sent_at, command.downlink_state == "acknowledged", ask)
        case "failed":
            reason = f"{Failure.NOT_TRANSMITTED}: {command.downlink_reason or ''}".rstrip(": ")
            return _again_or(End(State.FAILED, reason), command, command.tried_at, now)
        case "expired":
            end = End(State.EXPIRED, command.downlink_reason)
            return _again_or(end, command, command.tried_at, now) if command.is_kept_back else end
        case "cancelled":
            return End(State.SUPERSEDED, command.downlink_reason)
        case _:  # The network server, which lets it expire, may be away.
            is_over = now >= command.not_after + LAST_WORD_WITHIN
            return End(State.EXPIRED, None) if is_over else Wait()


def _is_worth_asking(command: OpenCommand) -> bool:
    """Of one from which nothing was received meanwhile."""
    return command.attempts <= QUESTIONS_IN_VAIN or command.attempts >= MAX_ATTEMPTS


def _again_or(end: End, command: OpenCommand, since: datetime, now: datetime) -> Step:
    """The same once more when its time has come, the end when there is no more time or all attempts are used."""
    if command.attempts >= MAX_ATTEMPTS or now >= command.not_after:
        return end
    return SendAgain() if _is_next_attempt_due(command, command.attempts, since, now) else Wait()


def _advance_sent(
    command: OpenCommand, read_backs: Sequence[ReadBack], received_at: datetime | None, now: datetime
) -> Step:
    sent_at = command.sent_at or now
    if command.state is State.SENT and command.downlink_state == "acknowledged":
        return Transmitted(sent_at, acknowledged=True, ask=False)
    says, at = judge(command.proving, read_backs, sent_at)
    if says:
        return Apply(at)
    if _may_ask(command, received_at, sent_at) or _is_silent(command, sent_at, now):
        return Ask()
    if says is False:
        return _again_or(End(State.FAILED, Failure.STATE_DIFFERS), command, sent_at, now)
    return _advance_unproved(command, sent_at, now)


def _advance_unproved(command: OpenCommand, sent_at: datetime, now: datetime) -> Step:
    """Nothing was said; what owes light is repeated before the device can have said it, against lost frames."""
    proving = command.proving
    is_repeated = command.owes_light and command.attempts < MAX_ATTEMPTS and not proving.in_group
    if not proving.channels:
        unproven = End(State.UNPROVEN, None)
        return _again_or(unproven, command, sent_at, now) if is_repeated else unproven
    if not proving.asks and not is_repeated and now < sent_at + proving.report_within:
        return Wait()
    silent = End(State.FAILED, Failure.NO_READ_BACK)
    step = _again_or(silent, command, sent_at, now)
    last_word = max(LAST_WORD_WITHIN, proving.receives_every)
    return Wait() if step == silent and now < sent_at + last_word else step


def _may_ask(command: OpenCommand, received_at: datetime | None, sent_at: datetime) -> bool:
    return (
        command.proving.asks
        and command.read_back_state is None
        and received_at is not None
        and received_at > sent_at
    )


def _is_silent(command: OpenCommand, sent_at: datetime, now: datetime) -> bool:
    """Whether a device that answers by itself has not, and is to be asked; what owes light is repeated first."""
    proving = command.proving
    return (
        proving.asks
        and bool(proving.answers_within)
        and command.read_back_state is None
        and 1 + command.owes_light <= command.attempts
        and _is_worth_asking(command)
        and now >= sent_at + proving.answers_within
    )


def _advance_ended(
    command: OpenCommand, read_backs: Sequence[ReadBack], received_at: datetime | None, now: datetime
) -> Step:
    says, at = judge(command.proving, read_backs, command.sent_at or command.tried_at)
    if says:
        return Reconcile(at)
    if not command.owes_light:
        return Wait()
    if not command.proving.channels and command.transmitted >= MAX_ATTEMPTS:
        return Settle()
    return _light_further(command, received_at, now, differs=says is False)


def _light_further(command: OpenCommand, received_at: datetime | None, now: datetime, *, differs: bool) -> Step:
    """What is owed is tried on; a frame at a time."""
    is_waiting = command.downlink_state in {"queued", "sending"}
    if is_waiting and now < command.tried_at + RELIGHT_EVERY + LAST_WORD_WITHIN:
        return Wait()
    if command.downlink_state == "expired":
        return SendAgain()  # Nothing went out, and to wait for a gateway takes no time on the air.
    out_at = command.sent_at if command.downlink_state in {"sent", "acknowledged"} else None
    since = out_at or command.tried_at
    if out_at is not None and not differs and _may_ask(command, received_at, since):
        return Ask()
    # A frame that waited for a gateway until it expired was no attempt.
    if _is_next_attempt_due(command, command.attempts if out_at is None else command.transmitted, since, now):
        return SendAgain()  # Its time went by while this service was away.
    is_received = received_at is not None and received_at > since
    if is_received and now >= command.tried_at + RELIGHT_AT_UPLINK_AFTER:
        return SendAgain()
    return SendAgain() if command.relight_at is None or now >= command.relight_at else Wait()


def _is_next_attempt_due(command: OpenCommand, attempts: int, since: datetime, now: datetime) -> bool:
    if attempts >= MAX_ATTEMPTS:
        return False
    return now >= since + max(AGAIN_AFTER[max(0, attempts - 1)], command.proving.receives_every)


def compare_power(
    applied_at: datetime,
    expected_w: float | None,
    margin_w: float,
    reading: tuple[float, datetime] | None,
    now: datetime,
) -> Compared | None:
    """What the first reading after the lamps have warmed up says; None: it may still come."""
    if expected_w is None:
        return Compared(None, Unconfirmed.NO_METER)
    if reading is None:
        return Compared(None, Unconfirmed.NO_READING) if now >= applied_at + READING_WITHIN else None
    measured, at = reading
    if abs(measured - expected_w) <= margin_w:
        return Compared(at, None)
    return Compared(None, Unconfirmed.POWER_DIFFERS)


def expected_power(action: str, level: int | None, rated_w: float | None) -> tuple[float, float] | None:
    """What the meter is to show, and how far it may be from that; None: nobody knows what the lamps take.

    Lamps that are off may draw what is within the tolerance of what they take when lit.
    """
    if rated_w is None:
        return None
    expected_w = {"on": rated_w, "off": 0.0, "dim": rated_w * (level or 0) / 100}[action]
    return expected_w, POWER_TOLERANCE * (expected_w or rated_w)


class ActStep(StrEnum):
    """What to do about an unknown act whose time has come."""

    SETTLE = "settle"  # It never reached the device.
    RESTORE = "restore"
    RESTORE_AGAIN = "restore_again"  # Now, and again later: it may still reach the device.
    LATER = "later"


def about_act(
    state: str | None, reached_at: datetime | None, by_other_lns: bool, now: datetime
) -> tuple[ActStep, datetime]:
    """What to do about an unknown act, and when next; `state` is its message's, None: there is none any more.

    `reached_at` is when the message was transmitted, so far as it was.
    """
    match state:
        case "queued":
            return ActStep.LATER, now + ACT_LOOKED_AT_EVERY
        case "sending":
            step = ActStep.RESTORE_AGAIN if by_other_lns else ActStep.LATER
            return step, now + (RESTORED_WITHIN if by_other_lns else ACT_LOOKED_AT_EVERY)
        case "cancelled":
            return ActStep.SETTLE, now
        case "expired" if reached_at is None and not by_other_lns:
            return ActStep.SETTLE, now
        case _:
            if reached_at is not None and now < reached_at + RESTORED_WITHIN:
                return ActStep.LATER, reached_at + RESTORED_WITHIN
            return ActStep.RESTORE, now
