"""Decides the next step of a lighting command from what is known of it. Pure.

A command is confirmed by what the cabinet says of its relay afterwards, never by a radio acknowledgement
(docs/architecture.md, "Lighting commands"). Every command is absolute, so that repeating it is harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MAX_ATTEMPTS = 3
# How long a transmitted command may wait for the cabinet to say the new state, before it is sent again.
READ_BACK_WITHIN = timedelta(minutes=2)
# The longest "off" that may be asked for: the street is lit again, whatever happens to the operator.
LONGEST_OFF = timedelta(hours=12)


class State(StrEnum):
    """Where a command stands; `confirmed`, `failed`, `expired` and `superseded` are final."""

    QUEUED = "queued"
    SENT = "sent"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Failure(StrEnum):
    """Why a command failed, as the API shows it; `FAILURE_FR` says it to the technician."""

    NOT_TRANSMITTED = "not_transmitted"
    NO_READ_BACK = "no_read_back"
    STATE_DIFFERS = "state_differs"
    NOT_COMMANDABLE = "not_commandable"


FAILURE_FR: dict[str, str] = {
    Failure.NOT_TRANSMITTED: "aucune passerelle n'a pu émettre la commande",
    Failure.NO_READ_BACK: "l'armoire n'a pas relu son état après la commande : état inconnu",
    Failure.STATE_DIFFERS: "l'armoire annonce l'état contraire à celui demandé",
    Failure.NOT_COMMANDABLE: "le profil de l'équipement ne permet plus de le commander",
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
    """The relay's state as the cabinet sent it, and when we received it (on our clock)."""

    on: bool
    received_at: datetime


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """What is known of a command that has not ended."""

    id: int
    state: State
    on: bool  # The state that was asked for.
    attempts: int
    not_after: datetime
    downlink_state: str
    downlink_reason: str | None
    sent_at: datetime | None  # When the gateway transmitted it.
    read_back_state: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet."""


@dataclass(frozen=True, slots=True)
class AskReadBack:
    """The gateway transmitted the command at `sent_at`: ask the cabinet for its state."""

    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Confirm:
    """The cabinet said the state that was asked for."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The cabinet did not follow, or did not answer: the same command once more."""


@dataclass(frozen=True, slots=True)
class End:
    """The command has failed or run out of time."""

    state: State
    failure: str | None


Step = Wait | AskReadBack | Confirm | SendAgain | End


def check_request(action: str, off_until: datetime | None, capabilities: Sequence[str], now: datetime) -> None:
    """Whether `action` may be asked of a cabinet of these capabilities.

    Raises:
        RejectedLightingCommand: no such action, not for this device, or an "off" without a sensible end.
    """
    if action == "dim" and "dim" not in capabilities:
        raise RejectedLightingCommand("cette armoire n'a pas de variateur : la gradation n'est pas possible")
    if action not in {"on", "off"}:
        raise RejectedLightingCommand(f"action inconnue : {action}")
    if "switch" not in capabilities:
        raise RejectedLightingCommand("cet équipement n'a pas de relais commandable")
    if action == "on" and off_until is not None:
        raise RejectedLightingCommand("une fin d'extinction ne s'applique pas à un allumage")
    if action == "off":
        if off_until is None:
            raise RejectedLightingCommand(
                "une extinction doit avoir une fin (off_until) : la rue ne reste pas éteinte"
            )
        if not now < off_until <= now + LONGEST_OFF:
            raise RejectedLightingCommand("la fin d'extinction doit être à venir, et dans 12 heures au plus")


def advance(command: OpenCommand, read_backs: Sequence[ReadBack], now: datetime) -> Step:
    """The next step of an open command; `read_backs` are those received since it was sent, oldest first."""
    if command.state is State.QUEUED:
        return _advance_queued(command, now)
    return _advance_sent(command, read_backs, now)


def _advance_queued(command: OpenCommand, now: datetime) -> Step:
    match command.downlink_state:
        case "sent" | "acknowledged":
            return AskReadBack(command.sent_at or now)
        case "failed":
            return End(State.FAILED, f"{Failure.NOT_TRANSMITTED}: {command.downlink_reason or ''}".rstrip(": "))
        case "expired":
            return End(State.EXPIRED, command.downlink_reason)
        case "cancelled":
            return End(State.SUPERSEDED, command.downlink_reason)
        case _:
            return Wait()


def _advance_sent(command: OpenCommand, read_backs: Sequence[ReadBack], now: datetime) -> Step:
    sent_at = command.sent_at or now
    since = [read_back for read_back in read_backs if read_back.received_at > sent_at]
    if since and since[-1].on == command.on:
        return Confirm(since[-1].received_at)
    asked_in_vain = command.read_back_state in {"failed", "expired", "cancelled"}
    if not since and not asked_in_vain and now < sent_at + READ_BACK_WITHIN:
        return Wait()
    if command.attempts < MAX_ATTEMPTS and now < command.not_after:
        return SendAgain()
    return End(State.FAILED, Failure.STATE_DIFFERS if since else Failure.NO_READ_BACK)
