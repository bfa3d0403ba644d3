"""The lifecycle of an alert: from events to what is notified. Pure.

An alert that fires again within a day is the same alert. More than four changes in six hours are flapping:
notified once, then summed up hourly, until it rests again. A suppressed alert is notified when the suppression
ends, if it still fires; when no opening was notified, no end is either.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

REOPENS_WITHIN = timedelta(hours=24)
FLAPPING_WINDOW = timedelta(hours=6)
CALM_AT_MOST = 4
DIGEST_EVERY = timedelta(hours=1)


class Workflow(StrEnum):
    """What people do about an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


ENDED = (Workflow.RESOLVED, Workflow.CLOSED)


class Tell(StrEnum):
    """What a team is told (alert_notice.event)."""

    OPENED = "alert.opened"
    REOPENED = "alert.reopened"
    RAISED = "alert.raised"
    RESOLVED = "alert.resolved"
    FLAPPING = "alert.flapping"
    DIGEST = "alert.digest"


class Mute(Struct, frozen=True):
    """Why nobody is told now, in French, and when that is looked at again.

    `is_cause`: another thing explains it. Whoever was told of the beginning is told of the end all the same.
    """

    by: str
    until: datetime
    is_cause: bool = False


class Life(Struct, frozen=True):
    """Of an alert: what people do about it, what they were told, and how restless it is."""

    workflow: Workflow = Workflow.OPEN
    ended_at: datetime | None = None
    occurrences: int = 1
    told: bool = False
    muted_by: str | None = None
    muted_until: datetime | None = None
    transitions: tuple[datetime, ...] = ()
    is_flapping: bool = False
    untold: int = 0  # Changes while flapping, since the last digest.
    digest_at: datetime | None = None
    reopen_at: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it waits for somebody."""
        return self.workflow not in ENDED

    @property
    def due_at(self) -> datetime | None:
        """When it is to be looked at though nothing happens."""
        return min(
            (at for at in (self.reopen_at, self.muted_until, self.digest_at) if at is not None), default=None
        )


def begin(life: Life | None, at: datetime, mute: Mute | None) -> tuple[Life, Tell | None]:
    """It fires: for the first time (`life` None), or again."""
    if life is None:
        return _tell(Life(transitions=(at,)), mute, Tell.OPENED)
    again = replace(
        life,
        workflow=Workflow.OPEN,
        ended_at=None,
        reopen_at=None,
        occurrences=life.occurrences + 1,
        told=False,
    )
    restless, told = _changed(again, at, mute)
    if restless.is_flapping and mute is None:
        return replace(restless, told=True), told
    return _tell(restless, mute, Tell.REOPENED)


def raise_to(life: Life, mute: Mute | None) -> tuple[Life, Tell | None]:
    """It reaches a higher rung. Somebody who was told of nothing is told of the alert as it is now."""
    if not life.is_live:
        return life, None
    if not life.told:
        return _tell(life, mute, Tell.OPENED)
    return life, None if mute is not None else Tell.RAISED


def end(life: Life, at: datetime, mute: Mute | None) -> tuple[Life, Tell | None]:
    """What it is about is over. An end that a person has made before stays theirs."""
    if not life.is_live:
        return replace(life, reopen_at=None), None
    was_told = life.told
    over = replace(life, workflow=Workflow.RESOLVED, ended_at=at, muted_by=None, muted_until=None)
    after, told = _changed(over, at, mute)
    if after.is_flapping:
        return after, told
    return after, Tell.RESOLVED if was_told and (mute is None or mute.is_cause) else None


def look(life: Life, now: datetime, mute: Mute | None, *, is_firing: bool) -> tuple[Life, Tell | None]:
    """A deadline has passed: the first that is due is seen to; call it again until none is."""
    if life.reopen_at is not None and life.reopen_at <= now:
        if is_firing and not life.is_live:
            return begin(life, life.reopen_at, mute)
        return replace(life, reopen_at=None), None
    if life.muted_until is not None and life.muted_until <= now:
        if life.is_live and not life.told:
            return _tell(life, mute, Tell.OPENED if life.occurrences == 1 else Tell.REOPENED)
        return replace(life, muted_by=None, muted_until=None), None
    if life.digest_at is not None and life.digest_at <= now:
        transitions = _within(life.transitions, now)
        is_calm = len(transitions) <= CALM_AT_MOST
        after = replace(
            life,
            transitions=transitions,
            is_flapping=not is_calm,
            untold=0 if mute is None else life.untold,
            digest_at=None if is_calm else life.digest_at + DIGEST_EVERY,
        )
        return after, Tell.DIGEST if life.untold and mute is None else None
    return life, None


def finish(life: Life, workflow: Workflow, at: datetime, reopen_at: datetime | None) -> Life:
    """A person ends it; `reopen_at`: it still fires, and is looked at again then."""
    return replace(
        life, workflow=workflow, ended_at=life.ended_at or at, reopen_at=reopen_at, muted_by=None, muted_until=None
    )


def _within(transitions: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    return tuple(one for one in transitions if at - one < FLAPPING_WINDOW)


def _changed(life: Life, at: datetime, mute: Mute | None) -> tuple[Life, Tell | None]:
    """One change more; what to tell when it is one too many, unless nobody is told of anything now."""
    transitions = (*_within(life.transitions, at), at)
    if life.is_flapping:
        return replace(life, transitions=transitions, untold=life.untold + 1), None
    if len(transitions) <= CALM_AT_MOST or mute is not None:
        return replace(life, transitions=transitions), None
    flapping = replace(life, transitions=transitions, is_flapping=True, untold=0, digest_at=at + DIGEST_EVERY)
    return flapping, Tell.FLAPPING


def _tell(life: Life, mute: Mute | None, what: Tell) -> tuple[Life, Tell | None]:
    if mute is not None:
        return replace(life, told=False, muted_by=mute.by, muted_until=mute.until), None
    return replace(life, told=True, muted_by=None, muted_until=None), what
