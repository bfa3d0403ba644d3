"""One transaction of the engine: states, alerts and notifications are written together or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerting import alert_rows, engine_store, rule_store
from alerting.alert_rows import Orphan
from alerting.alert_writer import AlertWriter
from alerting.engine_store import About, StateKey, StateRow, Watched
from alerting.rulebook import Bound, Rulebook
from alerting.rules.doubts import observation_of
from alerting.rules.evaluation import evaluate
from alerting.rules.faults import judged_first
from alerting.rules.model import (
    NOWHERE,
    Due,
    Event,
    Observation,
    Opened,
    Raised,
    Resolved,
    Rule,
    RuleState,
    Transition,
)
from core.model.identities import NO_TRACE
from core.runtime.postgres import Connection

# Causes of alert_rows.FIND_ORPHANS.
DEVICE_REPLACED, ASSET_ARCHIVED = "device_replaced", "asset_archived"
CLEARED = ("partner_cleared", "program_reported", "export_dropped")
# A rule with the values that it watches of one datastream, in the order of time.
Work = tuple[Bound, Watched, list[Observation]]
# The trace of the frame that brought a datastream's value of an instant.
Traces = Mapping[tuple[int, datetime], bytes]
Known = Mapping[StateKey, StateRow | None]


def work_of(rulebook: Rulebook, observations: Sequence[tuple[Watched, Observation]]) -> list[Work]:
    """The values that each rule watches, by fingerprint.

    What is not to be relied upon is for the rules that judge improbable values.
    """
    work: dict[StateKey, Work] = {}
    for watched, observation in sorted(observations, key=lambda pair: pair[1].at):
        is_doubtful = observation.doubt is not None
        for bound in rulebook.rules_of(watched):
            if is_doubtful and not bound.rule.judges_improbable:
                continue
            known = work.get(bound.key)
            if known is None:
                work[bound.key] = (bound, watched, [observation])
            else:
                known[2].append(observation)
    return list(work.values())


def foresee(work: Sequence[Work], known: Known, now: datetime) -> tuple[dict[StateKey, StateRow], set[StateKey]]:
    """The states after these values, and the keys whose alerts open, rise or resolve: those take a transaction.

    The states of those keys are left out: they are evaluated again in that transaction.
    """
    changed: dict[StateKey, StateRow] = {}
    told: set[StateKey] = set()
    for bound, _, observations in work:
        rule, key, place, slot = bound
        row = known[key]
        before, alert_id = (None, None) if row is None else (row.state, row.alert_id)
        after, transition = evaluate(rule, before, observations, now, place)
        if transition is not None:
            told.add(key)
        elif after is not None and after is not before:
            changed[key] = StateRow(rule.tenant_id, key, after, alert_id, slot)
    return changed, told


@dataclass(frozen=True, slots=True)
class Judged:
    """A fingerprint to be evaluated with an event, what it is about, and the slot of its deadlines."""

    rule: Rule
    key: StateKey
    about: About
    slot: int
    event: Event
    bound: Bound | None = None
    trace_id: bytes = NO_TRACE


def about_of(rule: Rule, watched: Watched) -> About:
    """What an alert of a rule about this datastream's values is about."""
    if rule.scope == "asset" and watched.asset_id is not None:
        return About(asset_id=watched.asset_id)
    return About(asset_id=watched.asset_id, datastream_id=watched.id)


class Evaluation:
    """The work of one transaction; the caller opened it and holds the shard's lease in it."""

    def __init__(self, connection: Connection, rulebook: Rulebook, alert_link: str, now: datetime) -> None:
        self.connection = connection
        self.rulebook = rulebook
        self.now = now
        self.writer = AlertWriter(connection, alert_link, now)
        self.evaluated = 0

    async def observe(
        self, work: Sequence[Work], known: Known, traces: Traces | None = None
    ) -> dict[StateKey, StateRow]:
        """Carry out what `foresee` found to concern somebody; returns the states that were written.

        `known` holds every fingerprint of `work`, and is left as it is.
        """
        of = (traces or {}).get
        judged = [
            Judged(
                bound.rule,
                bound.key,
                about_of(bound.rule, watched),
                bound.slot,
                observations,
                bound,
                of((watched.id, observations[-1].at), NO_TRACE),
            )
            for bound, watched, observations in work
        ]
        judged.sort(key=lambda one: judged_first(one.rule))
        return await self.judge(judged, known)

    async def judge(self, judged: Iterable[Judged], known: Known) -> dict[StateKey, StateRow]:
        """Evaluate each in turn, carry out what comes of it, write the states; returns them."""
        changed: dict[StateKey, StateRow] = {}
        for one in judged:
            row = changed.get(one.key) or known.get(one.key)
            before, alert_id = (None, None) if row is None else (row.state, row.alert_id)
            after, transition = (
                evaluate(one.rule, before, one.event, self.now)
                if one.bound is None
                else evaluate(one.rule, before, one.event, self.now, one.bound.place)
            )
            if after is None or after == before:
                continue
            self.evaluated += 1
            if transition is not None:
                if isinstance(transition, Opened) and isinstance(one.event, Due):
                    transition = await self._with_doubt(one, after, transition)
                self.writer.trace_id = one.trace_id
                alert_id = await self._carry_out(one, transition, alert_id, changed)
            changed[one.key] = StateRow(one.rule.tenant_id, one.key, after, alert_id, one.slot)
        await self.save(changed)
        return changed

    async def _with_doubt(self, one: Judged, state: RuleState, opened: Opened) -> Opened:
        """What opens later than it was judged, with the doubt about the value that led to it."""
        at, stream, quantity = state.evaluated_until, one.key.datastream_id, one.rule.quantity
        if not one.rule.judges_improbable or stream is None or quantity is None or state.value is None:
            return opened
        flags = await engine_store.read_flags(self.connection, stream, at)
        observation = observation_of(quantity, at, state.value, flags)
        return opened if observation is None else replace(opened, doubt=observation.doubt)

    async def _carry_out(
        self, one: Judged, transition: Transition, alert_id: int | None, changed: Mapping[StateKey, StateRow]
    ) -> int | None:
        """Open, raise or resolve the alert; returns the open alert's id."""
        match transition:
            case Opened():
                place = NOWHERE if one.bound is None else one.bound.place
                return await self.writer.begin(one.rule, one.about, transition, one.slot, place)
            case Raised():
                if alert_id is not None:
                    await self.writer.raise_to(one.rule, alert_id, transition)
                return alert_id
            case Resolved(at=at, value=value, cause=cause):
                if alert_id is not None and not await self._is_shared(one.key, alert_id, changed):
                    await self.writer.end(one.rule, alert_id, at, cause, value)
                return None

    async def _is_shared(self, key: StateKey, alert_id: int, changed: Mapping[StateKey, StateRow]) -> bool:
        """Whether another datastream of the same asset keeps the alert open."""
        others = await engine_store.states_of_alert(self.connection, alert_id) - {key}
        stored = any(other not in changed or changed[other].alert_id == alert_id for other in others)
        return stored or any(row.alert_id == alert_id for other, row in changed.items() if other != key)

    async def save(self, rows: Mapping[StateKey, StateRow]) -> None:
        """Write states down; open alerts follow what they are about."""
        await engine_store.save_states(self.connection, rows)
        touched = [
            (row.alert_id, row.state.condition, row.state.value)
            for row in rows.values()
            if row.alert_id is not None
        ]
        await alert_rows.touch_alerts(self.connection, touched)

    async def meet_deadlines(self, slots: Sequence[int], most: int) -> int:
        """Judge states whose own deadline has passed; returns how many there were."""
        due = await engine_store.lock_due_states(self.connection, self.now, slots, most)
        watched = await self.rulebook.watched(
            (key.datastream_id for key in due if key.datastream_id is not None), self.now
        )
        judged: list[Judged] = []
        lost: dict[StateKey, StateRow] = {}
        for key, row in due.items():
            stream = None if key.datastream_id is None else watched.get(key.datastream_id)
            bound = None
            if stream is not None:
                bound = next((one for one in self.rulebook.rules_of(stream) if one.key == key), None)
            if stream is None or bound is None:
                lost[key] = row._replace(state=without_deadline(row.state))
                continue
            about = about_of(bound.rule, stream)
            judged.append(Judged(bound.rule, key, about, bound.slot, Due(), bound))
        await engine_store.save_states(self.connection, lost)
        await self.judge(judged, due)
        return len(due)

    async def look_at_alerts(self, slots: Sequence[int], most: int) -> int:
        """Settle due alerts: ended suppressions, digests, alerts that a person ended and that still fire."""
        due = await alert_rows.lock_due(self.connection, self.now, slots, most)
        for alert in due:
            rule = self.rulebook.rule(alert.rule_id)
            is_watching = rule is not None
            rule = rule or await rule_store.read_rule(self.connection, alert.rule_id)
            await self.writer.look(rule, alert, is_watching=is_watching)
        return len(due)

    async def resolve_orphan(self, orphan: Orphan) -> None:
        """Resolve an alert that nothing else would; the condition stays as it was last known."""
        alert = await alert_rows.lock_alert(self.connection, orphan.id)
        if alert is None or (orphan.cause in CLEARED and alert.is_firing):
            return  # It has been raised again meanwhile.
        rule = await rule_store.read_rule(self.connection, alert.rule_id)  # Switched off, it is in no rulebook.
        await self.writer.end(rule, orphan.id, self.now, orphan.cause, None, is_ok=False)
        if orphan.cause == DEVICE_REPLACED:
            await alert_rows.start_over(self.connection, orphan.id, self.now)
        elif orphan.cause == ASSET_ARCHIVED:
            await alert_rows.drop_states(self.connection, orphan.id)
        await alert_rows.forget_alert(self.connection, orphan.id)


def without_deadline(state: RuleState) -> RuleState:
    """The state of a rule that no longer watches: it waits for nothing."""
    return RuleState(
        state.condition, state.since, state.recent, state.evaluated_until, state.value, state.alerting, state.rung
    )
