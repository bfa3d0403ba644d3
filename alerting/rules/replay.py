"""Replays what was stored through a rule as the engine met it: by the instants of reception, with the tenant's own
no-data deadlines and the outages of then. The same evaluation and lifecycle, played quickly. Pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby, zip_longest
from operator import attrgetter, itemgetter
from typing import NamedTuple

from alerting.rules.alert_lifecycle import (
    REOPENS_WITHIN,
    AlertLifecycle,
    NotificationEvent,
    Suppression,
    begin,
    end,
    look,
    raise_to,
)
from alerting.rules.evaluation import evaluate
from alerting.rules.model import (
    LEAST_WATCH,
    Doubt,
    Due,
    Event,
    Missed,
    Observation,
    Opened,
    Place,
    Raised,
    Resolved,
    Rule,
    RuleState,
    Transition,
    is_graver,
)

# Began, ended.
Span = tuple[datetime, datetime]
# Why nobody is notified, at an instant, of what has lasted since an earlier one.
Suppress = Callable[[datetime, datetime], Suppression | None]


class Arrival(NamedTuple):
    """A value, and when the uplink that brought it was received."""

    received_at: datetime
    observation: Observation


@dataclass(frozen=True, slots=True)
class Deadline:
    """A no-data rule of the tenant with a device: it is missed so long after each sign of life.

    `signs`: when they were received, and when it was assigned, in order. `until`: when it was taken away; None: it
    serves still.
    """

    period: timedelta
    signs: Sequence[datetime]
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The device serves the place no more: its alerts end, and what comes next is judged anew.

    `interval`: how often the next one is expected to speak.
    """

    at: datetime
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A datastream's values in the order of reception, and the deadlines after which nothing is known of it.

    `replaced`: when what was known of it ended with the device that served it. `interval`: how often the first of
    them is expected to speak.
    """

    arrivals: Sequence[Arrival] = ()
    deadlines: Sequence[Deadline] = ()
    replaced: Sequence[Replaced] = ()
    interval: timedelta | None = None


# When something was judged, of which stream, what it was, and since when nothing was heard when that is it.
_Played = tuple[datetime, int, Event | Replaced, datetime | None]


class ReplayedNotification(NamedTuple):
    """One message that would have been sent."""

    at: datetime
    event: NotificationEvent
    severity: str
    since: datetime
    value: float | None
    cause: str
    changes: int
    is_open: bool
    learnt_at: datetime | None = None
    doubt: Doubt | None = None


@dataclass(slots=True)
class Replay:
    """One alert's worth of datastreams: those of an asset, or a single one, or the signs of life of a device.

    `outages`: of the platform, in order; what was received in one was judged at its end.
    """

    rule: Rule
    place: Place
    outages: Sequence[Span] = ()
    suppress: Suppress | None = None
    places: dict[int, Place] = field(default_factory=dict[int, Place])
    """Of streams whose devices are known."""
    states: dict[int, RuleState] = field(default_factory=dict[int, RuleState])
    firing: set[int] = field(default_factory=set[int])
    lifecycle: AlertLifecycle | None = None
    severity: str = ""
    since: datetime | None = None
    value: float | None = None
    learnt_at: datetime | None = None
    doubt: Doubt | None = None
    doubts: dict[tuple[int, datetime], Doubt] = field(default_factory=dict[tuple[int, datetime], Doubt])
    """About values, by stream and instant."""
    transitions: list[Transition] = field(default_factory=list[Transition])
    """What the rule decided, whether or not somebody was notified."""

    def notifications(self, streams: Mapping[int, Stream], until: datetime) -> Iterator[ReplayedNotification]:
        """The notifications about these streams until an instant."""
        for stream, given in streams.items():
            judged = (arrival.observation for arrival in given.arrivals)
            self.doubts |= {(stream, one.at): one.doubt for one in judged if one.doubt is not None}
            if given.interval is not None:
                self.places[stream] = replace(self.place, interval=given.interval)
        events = [event for stream, given in streams.items() for event in self._events(stream, given, until)]
        # What comes at the very instant of a deadline has come in time.
        events.sort(key=lambda one: (one[0], isinstance(one[2], Missed), one[1]))
        for now, stream, event, since in events:
            yield from self._pass_time(now)
            if isinstance(event, Replaced):
                yield from self._replaced(stream, event, now)
            else:
                yield from self._step(stream, event, now, since)
        yield from self._pass_time(until)

    def _events(self, stream: int, given: Stream, until: datetime) -> Iterator[_Played]:
        """When each thing was judged, of which stream, what it was; of a missed deadline, the last sign too."""
        judged = ((self.judged_at(one.received_at), one.observation) for one in given.arrivals)
        for now, batch in groupby(sorted(judged), key=itemgetter(0)):
            yield now, stream, [observation for _, observation in batch], None
        for deadline in given.deadlines:
            signs = sorted(map(self.judged_at, deadline.signs))
            for sign, following in zip_longest(signs, signs[1:]):
                due_at = self._due_at(sign + deadline.period, deadline.period)
                is_served = deadline.until is None or due_at < deadline.until
                if is_served and due_at < until and (following is None or following > due_at):
                    yield due_at, stream, Missed(due_at), sign
                    if following is not None and self.rule.kind == "silence":
                        yield following, stream, Observation(following, 0.0), None
        for replaced in given.replaced:
            if replaced.at < until:
                yield self.judged_at(replaced.at), stream, replaced, None

    def _replaced(self, stream: int, replaced: Replaced, now: datetime) -> Iterator[ReplayedNotification]:
        place = self.places.get(stream, self.place)
        interval = replaced.interval or place.interval
        self.places[stream] = replace(place, replaced_at=replaced.at, interval=interval)
        if stream in self.firing:
            yield from self._carry_out(stream, Resolved(now, None, "device_replaced"), now)
            self.states.pop(stream, None)

    def judged_at(self, received_at: datetime) -> datetime:
        """When the platform was there to judge what was received at this instant."""
        return next((ended for began, ended in self.outages if began <= received_at < ended), received_at)

    def _due_at(self, due_at: datetime, period: timedelta) -> datetime:
        """When a deadline is missed: a platform that has just begun to receive again calls no device silent."""
        for began, ended in self.outages:
            if began < due_at:
                due_at = max(due_at, ended + min(period, LEAST_WATCH))
        return due_at

    def _pass_time(self, now: datetime) -> Iterator[ReplayedNotification]:
        """Deadlines of states and of the alert that fall due before `now`, the earliest first."""
        while True:
            due = [
                (state.due_at, stream)
                for stream, state in self.states.items()
                if state.due_at is not None and self.rule.kind != "loss"  # Which is weighed at the full hour.
            ]
            if self.lifecycle is not None and self.lifecycle.due_at is not None:
                due.append((self.lifecycle.due_at, -1))
            due = [(self.judged_at(at), stream) for at, stream in due if at < now]
            due = [one for one in due if one[0] < now]
            if not due:
                return
            at, stream = min(due)
            yield from self._look(at) if stream < 0 else self._step(stream, Due(), at, None)

    def _step(
        self, stream: int, event: Event, now: datetime, since: datetime | None
    ) -> Iterator[ReplayedNotification]:
        place = self.places.get(stream, self.place)
        after, transition = evaluate(self.rule, self.states.get(stream), event, now, place)
        if after is not None:
            self.states[stream] = after
        if isinstance(transition, Opened) and isinstance(event, Due) and after is not None:
            transition = replace(transition, doubt=self.doubts.get((stream, after.evaluated_until)))
        if isinstance(transition, Opened) and since is not None:
            # What people want to know is since when nothing was heard.
            transition = Opened(transition.at, since, None)
        if transition is not None:
            yield from self._carry_out(stream, transition, now)

    def _carry_out(self, stream: int, transition: Transition, now: datetime) -> Iterator[ReplayedNotification]:
        self.transitions.append(transition)
        life, event, cause = self.lifecycle, None, ""
        match transition:
            case Opened(at=at, since=since, value=value, rung=rung, learnt_at=learnt_at, doubt=doubt):
                is_first = not self.firing
                self.firing.add(stream)
                if not is_first:
                    yield from self._carry_out(stream, Raised(at, value, rung, doubt), now)
                    return
                self.severity, self.since, self.value = self.rule.severity_at(rung), since, value
                self.learnt_at, self.doubt = learnt_at, doubt
                ended_at = None if life is None else life.ended_at
                is_same = ended_at is not None and at - ended_at <= REOPENS_WITHIN
                self.lifecycle, event = begin(life if is_same else None, at, self.severity, self._suppression(now))
            case Raised(at=at, value=value, rung=rung, doubt=doubt):
                severity = self.rule.severity_at(rung)
                if life is None or not is_graver(severity, self.severity):
                    return
                self.severity, self.value, self.doubt = severity, value, doubt
                self.lifecycle, event = raise_to(life, severity, self._suppression(now))
            case Resolved(at=at, value=value, cause=cause):
                self.firing.discard(stream)
                if life is None or self.firing:
                    return
                self.value = self.value if value is None else value
                self.lifecycle, event = end(life, at, self._suppression(now))
        yield from self._notified(now, event, cause, 0)

    def _suppression(self, now: datetime) -> Suppression | None:
        return None if self.suppress is None or self.since is None else self.suppress(self.since, now)

    def _look(self, now: datetime) -> Iterator[ReplayedNotification]:
        life = self.lifecycle
        if life is None:
            return
        self.lifecycle, event = look(life, now, self.severity, self._suppression(now), is_firing=bool(self.firing))
        yield from self._notified(now, event, "", life.pending_changes)

    def _notified(
        self, at: datetime, event: NotificationEvent | None, cause: str, changes: int
    ) -> Iterator[ReplayedNotification]:
        if event is not None and self.lifecycle is not None:
            yield ReplayedNotification(
                at,
                event,
                self.severity,
                self.since or at,
                self.value,
                cause,
                changes,
                self.lifecycle.is_live,
                self.learnt_at,
                self.doubt,
            )


def replay(
    rule: Rule,
    place: Place,
    streams: Mapping[int, Stream],
    until: datetime,
    outages: Sequence[Span] = (),
    suppress: Suppress | None = None,
) -> list[ReplayedNotification]:
    """The notifications that `rule` would have sent."""
    ordered = sorted(outages)
    return sorted(Replay(rule, place, ordered, suppress).notifications(streams, until), key=attrgetter("at"))


def in_time(values: Sequence[Observation]) -> list[Arrival]:
    """Values that were received when they were measured."""
    return [Arrival(value.at, value) for value in values]
