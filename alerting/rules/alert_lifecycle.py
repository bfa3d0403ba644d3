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


class NotificationEvent(StrEnum):
    """What a team is notified of (alert_notice.event)."""

    OPENED = "alert.opened"
    REOPENED = "alert.reopened"
    RAISED = "alert.raised"
    RESOLVED = "alert.resolved"
    FLAPPING = "alert.flapping"
    DIGEST = "alert.digest"


class Suppression(Struct, frozen=True):
    """Why an alert is not notified now, in French, and when that is evaluated again.

    `is_cause`: another alert explains this one. Where the opening was notified, the end is notified all the same.
    """

    by: str
    until: datetime
    is_cause: bool = False


class AlertLifecycle(Struct, frozen=True):
    """The workflow of an alert, what was notified of it, and whether it flaps."""

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


def begin(
    lifecycle: AlertLifecycle | None, at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """The alert fires: for the first time (`life` None), or again."""
    if lifecycle is None:
        return _notify(AlertLifecycle(transitions=(at,)), suppression, NotificationEvent.OPENED)
    again = replace(
        lifecycle,
        workflow=Workflow.OPEN,
        ended_at=None,
        reopen_at=None,
        occurrences=lifecycle.occurrences + 1,
        told=False,
    )
    restless, told = _changed(again, at, suppression)
    if restless.is_flapping and suppression is None:
        return replace(restless, told=True), told
    return _notify(restless, suppression, NotificationEvent.REOPENED)


def raise_to(
    lifecycle: AlertLifecycle, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """A higher severity is reached. Where no notification was sent yet, the alert is notified as it is now."""
    if not lifecycle.is_live:
        return lifecycle, None
    if not lifecycle.told:
        return _notify(lifecycle, suppression, NotificationEvent.OPENED)
    return lifecycle, None if suppression is not None else NotificationEvent.RAISED


def end(
    lifecycle: AlertLifecycle, at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """The condition has ended. Where a person has ended the alert before, that end is kept."""
    if not lifecycle.is_live:
        return replace(lifecycle, reopen_at=None), None
    was_told = lifecycle.told
    over = replace(lifecycle, workflow=Workflow.RESOLVED, ended_at=at, muted_by=None, muted_until=None)
    after, told = _changed(over, at, suppression)
    if after.is_flapping:
        return after, told
    return after, NotificationEvent.RESOLVED if was_told and (
        suppression is None or suppression.is_cause
    ) else None


def look(
    lifecycle: AlertLifecycle, now: datetime, suppression: Suppression | None, *, is_firing: bool
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """A deadline has passed: settles the first that is due; call it again until none is."""
    if lifecycle.reopen_at is not None and lifecycle.reopen_at <= now:
        if is_firing and not lifecycle.is_live:
            return begin(lifecycle, lifecycle.reopen_at, suppression)
        return replace(lifecycle, reopen_at=None), None
    if lifecycle.muted_until is not None and lifecycle.muted_until <= now:
        if lifecycle.is_live and not lifecycle.told:
            return _notify(
                lifecycle,
                suppression,
                NotificationEvent.OPENED if lifecycle.occurrences == 1 else NotificationEvent.REOPENED,
            )
        return replace(lifecycle, muted_by=None, muted_until=None), None
    if lifecycle.digest_at is not None and lifecycle.digest_at <= now:
        transitions = _within(lifecycle.transitions, now)
        is_calm = len(transitions) <= CALM_AT_MOST
        after = replace(
            lifecycle,
            transitions=transitions,
            is_flapping=not is_calm,
            untold=0 if suppression is None else lifecycle.untold,
            digest_at=None if is_calm else lifecycle.digest_at + DIGEST_EVERY,
        )
        return after, NotificationEvent.DIGEST if lifecycle.untold and suppression is None else None
    return lifecycle, None


def finish(
    lifecycle: AlertLifecycle, workflow: Workflow, at: datetime, reopen_at: datetime | None
) -> AlertLifecycle:
    """A person ends the alert; `reopen_at`: it still fires, and is evaluated again then."""
    return replace(
        lifecycle,
        workflow=workflow,
        ended_at=lifecycle.ended_at or at,
        reopen_at=reopen_at,
        muted_by=None,
        muted_until=None,
    )


def _within(transitions: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    return tuple(one for one in transitions if at - one < FLAPPING_WINDOW)


def _changed(
    lifecycle: AlertLifecycle, at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """Counts one more transition; an alert that begins to flap is notified once, unless it is suppressed."""
    transitions = (*_within(lifecycle.transitions, at), at)
    if lifecycle.is_flapping:
        return replace(lifecycle, transitions=transitions, untold=lifecycle.untold + 1), None
    if len(transitions) <= CALM_AT_MOST or suppression is not None:
        return replace(lifecycle, transitions=transitions), None
    flapping = replace(lifecycle, transitions=transitions, is_flapping=True, untold=0, digest_at=at + DIGEST_EVERY)
    return flapping, NotificationEvent.FLAPPING


def _notify(
    lifecycle: AlertLifecycle, suppression: Suppression | None, what: NotificationEvent
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    if suppression is not None:
        return replace(lifecycle, told=False, muted_by=suppression.by, muted_until=suppression.until), None
    return replace(lifecycle, told=True, muted_by=None, muted_until=None), what
