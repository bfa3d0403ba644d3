"""A plain evaluator of rules, written from docs/alertes.md alone: minutes as integers, judged by itself.

It knows thresholds and states (`boolean`), each with every way to be patient. It is slow and short on purpose.
"""

from bisect import insort
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from zoneinfo import ZoneInfo

from lab.bench.traces import PlainRule, Trace

PARIS = ZoneInfo("Europe/Paris")
LATE, OUT_OF_ORDER, SETTLE = 15, 15, 0.25
TWO_DAYS, FIVE_MINUTES = 48 * 60, 5


@dataclass
class Walk:
    """Where the rule stands after some readings, by the sensor's own time."""

    last: int | None = None
    value: float | None = None
    window: tuple[bool, ...] = ()
    since: float | None = None
    fired: bool = False
    clear_since: float | None = None
    is_known: bool = True
    ended: bool = False
    looked: int | None = None  # Until when a state off duty was looked at.


class Naive:
    """One rule and one datastream."""

    def __init__(self, rule: PlainRule, trace: Trace) -> None:
        self.rule, self.trace = rule, trace
        self.readings: list[tuple[int, float]] = []
        self.before: dict[int, tuple[Walk, bool]] = {}  # How it stood before each reading, and whether open.
        self.walk = Walk()
        self.is_open = False
        self.told: list[tuple[str, int]] = []
        self.is_waiting = False  # Learnt late: told once nothing more follows.
        self.is_shown_only = False
        self.not_before = float("-inf")

    def on_duty(self, minute: float) -> bool:
        local = (self.trace.start + timedelta(minutes=minute)).astimezone(PARIS)
        clock = local.hour * 60 + local.minute
        match self.rule.schedule:
            case "night":
                return clock >= 22 * 60 or clock < 6 * 60
            case "open":
                return local.weekday() < 5 and 7 * 60 + 30 <= clock < 18 * 60 + 30
            case "closed":
                return not (local.weekday() < 5 and 7 * 60 + 30 <= clock < 18 * 60 + 30)
            case _:
                return True

    def holds(self, value: float) -> bool:
        return value == 1 if self.rule.boolean else value >= self.rule.fire

    def is_clear(self, value: float) -> bool:
        return value != 1 if self.rule.boolean else value <= self.rule.clear

    def knows(self, minute: float) -> bool:
        """A reading stands for twice the interval; what speaks on change, until it is called silent."""
        last = self.walk.last
        return self.rule.boolean or last is None or minute - last <= 2 * self.trace.interval

    def step(self, minute: int, value: float) -> None:
        """One more reading, in the order of measurement."""
        walk = self.walk
        if not self.knows(minute):
            self.forget(minute)
        walk.last, walk.value, walk.is_known, walk.ended, walk.looked = minute, value, True, False, None
        if self.holds(value) and self.on_duty(minute):
            self.count(minute)
        else:
            self.skip_reading(minute, value)

    def forget(self, minute: int) -> None:
        """Nothing was known just before: durations begin again, and what is not told yet has never been."""
        walk = self.walk
        walk.clear_since = None
        walk.since = None if walk.since is None else minute
        if not self.is_open:
            walk.since = None if walk.fired else walk.since
            walk.fired = False

    def count(self, minute: int) -> None:
        """A reading for which the rule's condition holds."""
        rule, walk = self.rule, self.walk
        size = rule.of or rule.hits
        kept = walk.window[1 - size :] if size > 1 else ()
        if not any(kept) and rule.of is not None:
            walk.since = None
        walk.window, walk.clear_since = (*kept, True), None
        walk.since = minute if walk.since is None else walk.since
        if self.is_open or (sum(walk.window) >= rule.hits and minute - walk.since >= rule.lasting):
            walk.fired = True

    def skip_reading(self, minute: int, value: float) -> None:
        """A reading for which it does not."""
        rule, walk = self.rule, self.walk
        size = rule.of or 1
        walk.window = (*walk.window[1 - size :], False) if size > 1 else ()
        walk.fired = walk.fired or self.is_open
        if not walk.fired:
            if not any(walk.window):
                walk.since, walk.window = None, ()
        elif self.holds(value) or not self.is_clear(value):
            walk.clear_since = None
        else:
            walk.clear_since = minute if walk.clear_since is None else walk.clear_since
            if minute >= walk.clear_since + rule.keep:
                self.over()

    def over(self) -> None:
        walk = self.walk
        walk.fired, walk.clear_since, walk.since, walk.window, walk.ended = False, None, None, (), True

    def read(self, minute: int, value: float) -> bool:
        """A reading arrives: newest, or a little late and put in its place, or too late to count."""
        known = [one for one, _ in self.readings]
        if minute in known:
            return False
        if not known or minute > known[-1]:
            self.readings.append((minute, value))
            if known:
                self.before[minute] = (Walk(**vars(self.walk)), self.is_open)
            self.step(minute, value)
            return True
        later = [one for one in self.readings if one[0] > minute]
        first, newest = later[0][0], known[-1]
        is_patient = self.rule.hits > 1 or self.rule.lasting or self.rule.keep
        if not is_patient or minute <= newest - OUT_OF_ORDER or first not in self.before:
            return False
        was_open = self.is_open
        self.walk, self.is_open = self.before[first]
        insort(self.readings, (minute, value))
        for at, one in [(minute, value), *later]:
            self.before[at] = (Walk(**vars(self.walk)), self.is_open)
            self.step(at, one)
        self.is_open = was_open
        # An alert that would not be is over when nothing points to it any more.
        self.walk.ended = self.walk.ended or (was_open and not self.walk.fired and self.walk.since is None)
        return True

    def arrive(self, now: int, batch: list[tuple[int, float]]) -> None:
        """What was received at once is judged at once."""
        changed = [self.read(minute, value) for minute, value in sorted(batch)]
        if not any(changed):
            return
        age = now - self.readings[-1][0]
        self.is_waiting = False
        self.is_shown_only = False
        self.not_before = float("-inf")
        if age <= LATE:
            self.notify(self.readings[-1][0])
            return
        self.not_before = now + SETTLE
        self.is_shown_only = age > max(TWO_DAYS, 2 * self.trace.interval)
        ends = self.is_open and self.walk.ended
        stands = self.walk.fired and self.walk.clear_since is None
        self.is_waiting = ends or (stands and not self.is_open and not self.is_shown_only)

    def notify(self, at: float) -> None:
        if self.walk.fired and self.walk.clear_since is None and not self.is_open:
            self.is_open = True
            self.told.append(("opened", int(at)))
        elif self.walk.ended and self.is_open:
            self.is_open = False
            self.told.append(("resolved", int(at)))

    def miss(self) -> None:
        """The device is called silent: what it measures is unknown, and an open alert stays open."""
        walk = self.walk
        self.before.clear()
        walk.window, walk.since, walk.clear_since, walk.is_known = (), None, None, False
        if not self.is_waiting:
            walk.fired = False

    def next_due(self) -> float | None:
        """When something is to be judged though nothing arrives."""
        rule, walk = self.rule, self.walk
        if self.is_waiting:
            return self.not_before
        if self.is_shown_only or not walk.is_known or walk.last is None or walk.value is None:
            return None
        if walk.clear_since is not None and (walk.fired or self.is_open):
            return max(walk.clear_since + rule.keep, self.not_before)
        if rule.boolean and self.holds(walk.value) and not walk.fired and not self.is_open:
            if walk.since is not None:
                return max(walk.since + rule.lasting, self.not_before)
            minute = walk.looked or walk.last
            while not self.on_duty(minute):
                minute += 1
            return max(minute, self.not_before)
        return None

    def due(self, now: float) -> None:
        rule, walk = self.rule, self.walk
        if self.is_waiting:
            self.is_waiting = False
            self.notify(self.readings[-1][0])
        elif walk.clear_since is not None:
            if self.knows(now):
                self.over()
                self.notify(now)
            else:
                walk.clear_since = None
        elif walk.since is not None:
            at = min(now, walk.since + rule.lasting)
            if self.on_duty(at):
                walk.fired = True
                self.notify(at)
            else:
                walk.since, walk.window, walk.looked = None, (), int(at)
        else:
            minute = walk.looked or walk.last or 0
            while not self.on_duty(minute):
                minute += 1
            walk.since, walk.window = minute, (True,)
            if not rule.lasting:
                walk.fired = True
                self.notify(minute)

    def pass_time(self, until: float) -> None:
        while (at := self.next_due()) is not None and self.judged(at) < until:
            self.due(self.judged(at))

    def judged(self, at: float) -> float:
        """While we are away nothing is judged."""
        return next((ended for began, ended in self.trace.outages if began <= at < ended), at)

    def run(self) -> list[tuple[str, int]]:
        """Every opening and every end, with the minute in question."""
        batches: dict[float, list[tuple[int, float]]] = {}
        for received, measured, value in self.trace.arrivals:
            batches.setdefault(self.judged(received), []).append((measured, value))
        events: list[tuple[float, int]] = [(at, 0) for at in batches]
        for period, heard, until in self.trace.signs:
            signs = sorted(map(self.judged, heard))
            for sign, following in zip_longest(signs, signs[1:], fillvalue=float("inf")):
                due = sign + period
                for began, ended in self.trace.outages:
                    if began < due:
                        due = max(due, ended + min(period, FIVE_MINUTES))
                if due < following and (until is None or due < until):
                    events.append((due, 1))
        for now, is_missed in sorted(events):
            if now >= self.trace.length:
                break
            self.pass_time(now)
            if is_missed:
                self.miss()
            else:
                self.arrive(int(now), batches[now])
        self.pass_time(self.trace.length)
        return self.told
