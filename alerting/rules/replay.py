"""Replays stored values through a rule: the same evaluation and lifecycle, played quickly. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from typing import NamedTuple

from alerting.rules.alert_lifecycle import (
    REOPENS_WITHIN,
    AlertLifecycle,
    NotificationEvent,
    begin,
    end,
    look,
    raise_to,
)
from alerting.rules.evaluation import evaluate
from alerting.rules.model import (
    Condition,
    Due,
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


@dataclass(slots=True)
class Replay:
    """The replay of one alert: the datastreams of an asset, or a single one, or the receptions of a device."""

    rule: Rule
    place: Place
    interval: timedelta
    states: dict[int, RuleState]
    firing: set[int]
    lifecycle: AlertLifecycle | None = None
    severity: str = ""
    since: datetime | None = None
    value: float | None = None

    def notifications(
        self, streams: Mapping[int, Sequence[Observation]], until: datetime
    ) -> Iterator[ReplayedNotification]:
        """The notifications that these values cause until `until`; each stream's are in the order of time."""
        last: dict[int, datetime] = {}
        for at, stream, observation in merge(
            *([(one.at, stream, one) for one in values] for stream, values in streams.items())
        ):
            yield from self._pass_time(at, last)
            last[stream] = at
            yield from self._step(stream, observation, at)
        yield from self._pass_time(until, last)

    def _pass_time(self, now: datetime, last: Mapping[int, datetime]) -> Iterator[ReplayedNotification]:
        """Evaluate the deadlines that fall due before `now`, the earliest first."""
        silent_after = self.interval * self.rule.silence_intervals
        while True:
            due: list[tuple[datetime, int, Missed | Due]] = [
                (state.due_at, stream, Due()) for stream, state in self.states.items() if state.due_at is not None
            ]
            due += [
                (at + silent_after, stream, Missed(at + silent_after))
                for stream, at in last.items()
                if self._may_be_missed(stream)
            ]
            if self.rule.kind == "loss":
                due = []  # Frame loss is evaluated at the full hour, and no deadline of it passes.
            if self.lifecycle is not None and self.lifecycle.due_at is not None:
                due.append((self.lifecycle.due_at, -1, Due()))
            due = [one for one in due if one[0] < now]
            if not due:
                return
            at, stream, event = min(due, key=lambda one: (one[0], one[1]))
            if stream < 0:
                yield from self._look(at)
            else:
                yield from self._step(stream, event, at)

    def _may_be_missed(self, stream: int) -> bool:
        state = self.states.get(stream)
        if self.rule.kind == "silence":
            return state is None or not state.alerting
        return state is not None and state.condition is not Condition.UNKNOWN

    def _step(
        self, stream: int, event: Observation | Missed | Due, now: datetime
    ) -> Iterator[ReplayedNotification]:
        after, transition = evaluate(self.rule, self.states.get(stream), event, now, self.place)
        if after is not None:
            self.states[stream] = after
        if transition is not None:
            yield from self._carry_out(stream, transition)

    def _carry_out(self, stream: int, transition: Transition) -> Iterator[ReplayedNotification]:
        life, event, cause = self.lifecycle, None, ""
        match transition:
            case Opened(at=at, since=since, value=value, rung=rung):
                is_first = not self.firing
                self.firing.add(stream)
                if not is_first:
                    yield from self._carry_out(stream, Raised(at, value, rung))
                    return
                self.severity, self.since, self.value = self.rule.severity_at(rung), since, value
                ended_at = None if life is None else life.ended_at
                is_same = ended_at is not None and at - ended_at <= REOPENS_WITHIN
                self.lifecycle, event = begin(life if is_same else None, at, self.severity, None)
            case Raised(at=at, value=value, rung=rung):
                severity = self.rule.severity_at(rung)
                if life is None or not is_graver(severity, self.severity):
                    return
                self.severity, self.value = severity, value
                self.lifecycle, event = raise_to(life, severity, None)
            case Resolved(at=at, value=value, cause=cause):
                self.firing.discard(stream)
                if life is None or self.firing:
                    return
                self.value = value
                self.lifecycle, event = end(life, at, None)
        yield from self._notified(at, event, cause, 0)

    def _look(self, now: datetime) -> Iterator[ReplayedNotification]:
        life = self.lifecycle
        if life is None:
            return
        self.lifecycle, event = look(life, now, self.severity, None, is_firing=bool(self.firing))
        yield from self._notified(now, event, "", life.pending_changes)

    def _notified(
        self, at: datetime, event: NotificationEvent | None, cause: str, changes: int
    ) -> Iterator[ReplayedNotification]:
        if event is not None and self.lifecycle is not None:
            is_open = self.lifecycle.is_live
            yield ReplayedNotification(
                at, event, self.severity, self.since or at, self.value, cause, changes, is_open
            )


def replay(
    rule: Rule, place: Place, interval: timedelta, streams: Mapping[int, Sequence[Observation]], until: datetime
) -> list[ReplayedNotification]:
    """The notifications that `rule` would have sent; `interval`: how often the devices are expected to send."""
    return list(Replay(rule, place, interval, {}, set()).notifications(streams, until))
