"""What is bad, and what of it somebody who is on call has not been notified of. Pure.

A finding is believed once two examinations in a row have seen it, so that a restart wakes nobody; what nobody can
be wrong about (a unit that failed) at once. What stays bad is notified again every day. What comes and goes is
notified when it comes, and as over only once it has stayed away for an hour.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from cli.finding_kinds import Kind, Subject, hidden_by, subject_of
from cli.findings import Finding, Severity
from core.model.pauses import growing_pause

# Less than a day: what fails every night, at an hour that varies, is notified every night.
REPEATED_AFTER = timedelta(hours=23)
STEADY_AFTER = timedelta(hours=1)
# What ended suddenly, for somebody who is only now on call, or was not reached before.
EVENT_IS_OLD_AFTER = timedelta(days=2)


class Trouble(msgspec.Struct, frozen=True):
    """What is bad of one. `severity`: the worst of the last hour. `calm_since`: since when it is less, or away."""

    finding: Finding
    severity: Severity
    is_sure: bool = False
    is_seen: bool = True
    is_unsteady: bool = False
    calm_since: datetime | None = None


class Watched(msgspec.Struct, frozen=True):
    """What examinations have found, by key; `ended`: when what is good again became so, for an hour."""

    troubles: dict[str, Trouble] = {}
    ended: dict[str, datetime] = {}


class Event(msgspec.Struct, frozen=True):
    """What ended suddenly: how many times, and when for the last time."""

    finding: Finding
    times: int
    last_at: datetime


class Notified(msgspec.Struct, frozen=True):
    """What somebody knows of one. `events`: how many times it had happened; `repeats`: messages of that."""

    finding: Finding
    severity: Severity
    at: datetime
    events: int = 0
    repeats: int = 0


class News(msgspec.Struct, frozen=True):
    """What somebody is to be notified of now, by key."""

    bad: dict[str, Finding]
    good: dict[str, Finding]

    def __bool__(self) -> bool:
        """Whether there is anything to notify."""
        return bool(self.bad or self.good)


def watch(before: Watched, findings: Iterable[Finding], now: datetime, *, at_once: bool = False) -> Watched:
    """With one more examination. `at_once`: a single sight is enough."""
    present = _worst_by_key(findings)
    hidden = hidden_by(finding.kind for finding in present.values())
    ended = {key: min(at, now) for key, at in before.ended.items() if now - at < STEADY_AFTER}
    after = {
        key: _seen(before.troubles.get(key), finding, now, is_unsteady=key in ended, at_once=at_once)
        for key, finding in present.items()
    }
    for key, trouble in before.troubles.items():
        if key in after or not trouble.is_sure:
            continue
        if subject_of(trouble.finding.kind) in hidden:
            after[key] = replace(trouble, is_seen=False)
        elif trouble.is_unsteady and not _is_over(trouble.calm_since, now):
            after[key] = replace(trouble, is_seen=False, calm_since=_since(trouble.calm_since, now))
        else:
            ended[key] = now
    return Watched(after, ended)


def _seen(before: Trouble | None, finding: Finding, now: datetime, *, is_unsteady: bool, at_once: bool) -> Trouble:
    if before is None:
        return Trouble(finding, finding.severity, is_sure=at_once, is_unsteady=is_unsteady)
    trouble = replace(before, finding=finding, is_sure=True, is_seen=True)
    if finding.severity >= before.severity or _is_over(before.calm_since, now):
        return replace(trouble, severity=finding.severity, calm_since=None)
    return replace(trouble, calm_since=_since(before.calm_since, now))


def _since(instant: datetime | None, now: datetime) -> datetime:
    """A clock that was put back leaves instants that are still to come."""
    return now if instant is None else min(instant, now)


def _is_over(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since >= STEADY_AFTER


def _worst_by_key(findings: Iterable[Finding]) -> dict[str, Finding]:
    worst: dict[str, Finding] = {}
    for finding in findings:
        if finding.severity is Severity.GOOD:
            continue
        for key, one in zip(finding.keys, finding.each(), strict=True):
            if key not in worst or worst[key].severity < one.severity:
                worst[key] = one
    return worst


def happened(before: Mapping[str, Event], findings: Iterable[Finding], now: datetime) -> dict[str, Event]:
    """With what has ended suddenly just now."""
    after = dict(before)
    for finding in findings:
        for key, one in zip(finding.keys, finding.each(), strict=True):
            after[key] = Event(one, 1 + (after[key].times if key in after else 0), now)
    return after


def going_on(events: Mapping[str, Event], watched: Watched, now: datetime) -> dict[str, Event]:
    """Without the ends of what has been running again for an hour: of a oneshot only its success says that."""
    is_down = any(subject_of(one.finding.kind) == Subject.STACK for one in watched.troubles.values())
    return {
        key: replace(event, last_at=min(event.last_at, now))
        for key, event in events.items()
        if event.finding.kind != Kind.UNIT_STOPPED or is_down or now - event.last_at < STEADY_AFTER
    }


def news(notified: Mapping[str, Notified], watched: Watched, events: Mapping[str, Event], now: datetime) -> News:
    """What somebody does not know yet who was notified of this."""
    bad = {
        key: trouble.finding
        for key, trouble in watched.troubles.items()
        if trouble.is_sure and trouble.is_seen and _is_due(notified.get(key), trouble, now)
    }
    bad |= {
        key: _counted(event, notified.get(key))
        for key, event in events.items()
        if _is_due_again(notified.get(key), event, now)
    }
    good = {key: one.finding for key, one in notified.items() if key not in watched.troubles and key not in events}
    return News(bad, good)


def _is_due(notified: Notified | None, trouble: Trouble, now: datetime) -> bool:
    return notified is None or notified.severity < trouble.severity or notified.at <= now - REPEATED_AFTER


def _is_due_again(notified: Notified | None, event: Event, now: datetime) -> bool:
    """What fails again and again is notified ever more seldom, but every day."""
    if notified is None:
        return event.last_at > now - EVENT_IS_OLD_AFTER
    pause_s = growing_pause(STEADY_AFTER.total_seconds(), REPEATED_AFTER.total_seconds(), notified.repeats - 1)
    return notified.events < event.times and now - notified.at >= timedelta(seconds=pause_s)


def _counted(event: Event, notified: Notified | None) -> Finding:
    times = event.times - (0 if notified is None else notified.events)
    since = "" if notified is None else " depuis le dernier message"
    return (
        event.finding if times == 1 else replace(event.finding, what=f"{event.finding.what} ({times} fois{since})")
    )


def notified_after(
    notified: Mapping[str, Notified], sent: News, watched: Watched, events: Mapping[str, Event], now: datetime
) -> dict[str, Notified]:
    """What somebody knows who has got this."""
    after = {key: one for key, one in notified.items() if key not in sent.good}
    for key in sent.bad:
        if key in events:
            repeats = 1 + (notified[key].repeats if key in notified else 0)
            event = events[key]
            after[key] = Notified(event.finding, event.finding.severity, now, event.times, repeats)
        else:
            after[key] = Notified(watched.troubles[key].finding, watched.troubles[key].severity, now)
    return after


def settled(notified: Mapping[str, Notified], watched: Watched, now: datetime) -> dict[str, Notified]:
    """Without what has been less bad for an hour than was said, and without instants that are still to come."""
    return {
        key: replace(
            one,
            at=min(one.at, now),
            severity=min(one.severity, watched.troubles[key].severity)
            if key in watched.troubles
            else one.severity,
        )
        for key, one in notified.items()
    }


def gathered(findings: Iterable[Finding]) -> list[Finding]:
    """As one again, those that are in one state: nine processes wait for one database."""
    alike: dict[Finding, list[Finding]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, names=(), ids=()), []).append(finding)
    return [
        replace(
            state,
            names=tuple(name for one in of_these for name in one.names),
            ids=tuple(identity for one in of_these for identity in one.ids),
        )
        for state, of_these in alike.items()
    ]
