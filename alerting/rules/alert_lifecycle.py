"""The lifecycle of an alert: from events to what is notified. Pure.

An alert that fires again within a day is the same alert. More than four changes in six hours are flapping:
notified once, then summed up hourly, until it rests again. What a suppression held back is notified when it ends,
as things are then: an opening or a rise that still holds, at the severity of that moment, and the end of an alert
whose opening was notified. When no opening was notified, no end is either.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from alerting.rules.model import is_graver

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
    """Why nobody is notified now, in French, and when that is looked at again.

    `is_cause`: another thing explains it. Those who were notified of the beginning are notified of the end at once
    all the same.
    """

    by: str
    until: datetime
    is_cause: bool = False


class AlertLifecycle(Struct, frozen=True):
    """The workflow of an alert, what was notified of it, and whether it flaps."""

    workflow: Workflow = Workflow.OPEN
    ended_at: datetime | None = None
    occurrences: int = 1
    notified: str | None = None  # The highest severity that was notified of this occurrence; None: none was.
    is_end_pending: bool = False  # It has ended, and those who were notified of it do not know yet.
    muted_by: str | None = None
    muted_until: datetime | None = None
    transitions: tuple[datetime, ...] = ()
    is_flapping: bool = False
    pending_changes: int = 0  # While flapping, since the last digest.
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
    lifecycle: AlertLifecycle | None, at: datetime, severity: str, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """It fires at this severity: for the first time (`lifecycle` None), or again."""
    if lifecycle is None:
        return _notify(AlertLifecycle(transitions=(at,)), severity, suppression)
    again = replace(
        lifecycle,
        workflow=Workflow.OPEN,
        ended_at=None,
        reopen_at=None,
        occurrences=lifecycle.occurrences + 1,
        # Those who do not know of its end take it for open.
        notified=lifecycle.notified if lifecycle.is_end_pending else None,
        is_end_pending=False,
    )
    restless, event = _changed(again, at, suppression)
    if restless.is_flapping and suppression is None:
        return replace(restless, notified=severity, muted_by=None, muted_until=None), event
    return _notify(restless, severity, suppression)


def raise_to(
    lifecycle: AlertLifecycle, severity: str, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """A higher severity is reached. Where no notification was sent yet, the alert is notified as it is now."""
    return _notify(lifecycle, severity, suppression) if lifecycle.is_live else (lifecycle, None)


def end(
    lifecycle: AlertLifecycle, at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """The condition has ended. Where a person has ended the alert before, that end is kept."""
    if not lifecycle.is_live:
        return replace(lifecycle, reopen_at=None), None
    over = replace(lifecycle, workflow=Workflow.RESOLVED, ended_at=at, muted_by=None, muted_until=None)
    after, event = _changed(over, at, suppression)
    return (after, event) if after.is_flapping else _notify_end(after, suppression)


def look(
    lifecycle: AlertLifecycle,
    now: datetime,
    severity: str,
    suppression: Suppression | None,
    *,
    is_firing: bool,
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """A deadline has passed: settles the first that is due; call it again until none is."""
    if lifecycle.reopen_at is not None and lifecycle.reopen_at <= now:
        if is_firing and not lifecycle.is_live:
            return begin(lifecycle, lifecycle.reopen_at, severity, suppression)
        return replace(lifecycle, reopen_at=None), None
    if lifecycle.muted_until is not None and lifecycle.muted_until <= now:
        return (
            _notify(lifecycle, severity, suppression) if lifecycle.is_live else _notify_end(lifecycle, suppression)
        )
    if lifecycle.digest_at is not None and lifecycle.digest_at <= now:
        return _sum_up(lifecycle, now, lifecycle.digest_at, suppression)
    return lifecycle, None


def _sum_up(
    lifecycle: AlertLifecycle, now: datetime, digest_at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """The hourly digest of an alert that flaps; when it is calm again and muted, its state is notified later."""
    transitions = _within(lifecycle.transitions, now)
    is_calm = len(transitions) <= CALM_AT_MOST
    after = replace(
        lifecycle,
        transitions=transitions,
        is_flapping=not is_calm,
        digest_at=None if is_calm else digest_at + DIGEST_EVERY,
    )
    if suppression is None:
        event = NotificationEvent.DIGEST if lifecycle.pending_changes else None
        return replace(after, pending_changes=0), event
    if not is_calm or not lifecycle.pending_changes:
        return after, None
    is_known = lifecycle.notified is not None
    return replace(
        after,
        pending_changes=0,
        notified=None if after.is_live else lifecycle.notified,
        is_end_pending=is_known and not after.is_live,
        muted_by=suppression.by,
        muted_until=suppression.until,
    ), None


def finish(
    lifecycle: AlertLifecycle, workflow: Workflow, at: datetime, reopen_at: datetime | None
) -> AlertLifecycle:
    """A person ends the alert; `reopen_at`: it still fires, and is evaluated again then."""
    return replace(
        lifecycle,
        workflow=workflow,
        ended_at=lifecycle.ended_at or at,
        reopen_at=reopen_at,
        muted_by=lifecycle.muted_by if lifecycle.is_end_pending else None,
        muted_until=lifecycle.muted_until if lifecycle.is_end_pending else None,
    )


def _within(transitions: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    return tuple(one for one in transitions if at - one < FLAPPING_WINDOW)


def _changed(
    lifecycle: AlertLifecycle, at: datetime, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """Counts one more transition; an alert that begins to flap is notified once, unless it is suppressed."""
    transitions = (*_within(lifecycle.transitions, at), at)
    if lifecycle.is_flapping:
        return replace(lifecycle, transitions=transitions, pending_changes=lifecycle.pending_changes + 1), None
    if len(transitions) <= CALM_AT_MOST or suppression is not None:
        return replace(lifecycle, transitions=transitions), None
    flapping = replace(
        lifecycle,
        transitions=transitions,
        is_flapping=True,
        # Where it flaps by an end, the next digest says that it is over.
        pending_changes=int(not lifecycle.is_live),
        digest_at=at + DIGEST_EVERY,
    )
    return flapping, NotificationEvent.FLAPPING


def _notify(
    lifecycle: AlertLifecycle, severity: str, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """Of a live alert: its opening, or that it is graver than was notified, unless it is suppressed."""
    if suppression is not None:
        return replace(lifecycle, muted_by=suppression.by, muted_until=suppression.until), None
    notified = lifecycle.notified
    known = replace(lifecycle, notified=severity, muted_by=None, muted_until=None)
    if notified == severity:
        return known, None
    if notified is not None and is_graver(severity, notified):
        return known, NotificationEvent.RAISED
    # Milder than was notified it is only after an end that nobody knows of: again, and at the severity of now.
    return known, NotificationEvent.OPENED if lifecycle.occurrences == 1 else NotificationEvent.REOPENED


def _notify_end(
    lifecycle: AlertLifecycle, suppression: Suppression | None
) -> tuple[AlertLifecycle, NotificationEvent | None]:
    """Of an alert that is over: its end, to be notified later while it is silenced."""
    if lifecycle.notified is None:
        return replace(lifecycle, is_end_pending=False, muted_by=None, muted_until=None), None
    if suppression is not None and not suppression.is_cause:
        muted_by, muted_until = suppression.by, suppression.until
        return replace(lifecycle, is_end_pending=True, muted_by=muted_by, muted_until=muted_until), None
    return replace(lifecycle, is_end_pending=False, muted_by=None, muted_until=None), NotificationEvent.RESOLVED
