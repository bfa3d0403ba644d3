"""One transaction of the engine: states, alerts and the messages about them are written together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from alerting import deadline_store, engine_store
from alerting.deadline_store import Deadline, DueDeadline
from alerting.engine_store import StateKey, StateRow, States, Watched
from alerting.queue import WebhookMessage, enqueue
from alerting.rulebook import Rulebook, slot_of
from alerting.rules import Condition, Missed, Observation, Opened, Resolved, Rule, RuleState, Transition, evaluate
from alerting.wording import Facts, body, opened_text, resolved_text
from core.runtime.postgres import Connection

# A deadline is written again when it moves by this part of its period; before an alert, the table is asked anyway.
DEADLINE_STEP = 0.25

# (asset, device, datastream) that an alert is about.
About = tuple[int | None, int | None, int | None]


# A rule with a value that it watches, in the order of time.
Work = tuple[Rule, Watched, Observation]
Known = Mapping[StateKey, tuple[RuleState | None, int | None]]


def work_of(rulebook: Rulebook, observations: Sequence[tuple[Watched, Observation]]) -> list[Work]:
    """Each value against every rule that watches it, each fingerprint in the order of time."""
    return [
        (rule, watched, observation)
        for watched, observation in sorted(observations, key=lambda pair: pair[1].at)
        for rule in rulebook.threshold_rules(watched)
    ]


def foresee(work: Sequence[Work], known: Known, now: datetime) -> dict[StateKey, StateRow] | None:
    """The states after these values when no alert is concerned, None when one is: that takes a transaction."""
    changed: dict[StateKey, StateRow] = {}
    for rule, watched, observation in work:
        key = StateKey(rule.id, watched.id, None)
        before, alert_id = _standing(key, changed, known)
        after, transition = evaluate(rule, before, observation, now)
        if after is None or after == before:
            continue
        if transition is not None or alert_id is not None:
            return None
        changed[key] = StateRow(rule.tenant_id, key, after, None)
    return changed


def _standing(
    key: StateKey, changed: Mapping[StateKey, StateRow], known: Known
) -> tuple[RuleState | None, int | None]:
    row = changed.get(key)
    return known[key] if row is None else (row.state, row.alert_id)


@dataclass(slots=True)
class Outcome:
    """What a transaction did, to be counted once it is committed."""

    evaluated: int = 0
    opened: list[str] = field(default_factory=list[str])


class Evaluation:
    """The work of one transaction; the caller opened it and holds the shard's lease in it."""

    def __init__(self, connection: Connection, rulebook: Rulebook, public_url: str, now: datetime) -> None:
        self.connection = connection
        self._rulebook = rulebook
        self._public_url = public_url
        self.now = now
        self.outcome = Outcome()

    async def observe(self, work: Sequence[Work], known: Known) -> dict[StateKey, StateRow]:
        """Carry out what `foresee` found to concern somebody; returns the states that were written.

        `known` holds every fingerprint of `work`, and is left as it is.
        """
        changed: dict[StateKey, StateRow] = {}
        touched: dict[int, tuple[Condition, float | None, int]] = {}
        for rule, watched, observation in work:
            key = StateKey(rule.id, watched.id, None)
            before, alert_id = _standing(key, changed, known)
            after, transition = evaluate(rule, before, observation, self.now)
            if after is None or after == before:
                continue
            self.outcome.evaluated += 1
            again = before is not None and before.condition is Condition.RECOVERING
            if transition is not None:
                about = (watched.asset_id, None, watched.id)
                alert_id = await self._carry_out(rule, about, transition, alert_id)
            elif alert_id is not None:
                times = touched.get(alert_id, (after.condition, None, 0))[2]
                times += again and after.condition is Condition.FIRING
                touched[alert_id] = (after.condition, after.value, times)
            changed[key] = StateRow(rule.tenant_id, key, after, alert_id)
        await self._save(changed, touched)
        return changed

    async def save(self, rows: Mapping[StateKey, StateRow]) -> None:
        """Write down states that were evaluated before and concern nobody."""
        await self._save(rows, {})

    async def hear(self, heard: Mapping[int, tuple[Watched, datetime]]) -> dict[int, datetime]:
        """Signs of life by device: deadlines move, and who was silent is silent no more.

        Returns until when further signs of each device move nothing.
        """
        wanted = {
            (rule.id, device_id): (rule, watched, at)
            for device_id, (watched, at) in heard.items()
            for rule in self._rulebook.silence_rules(watched)
        }
        known = await deadline_store.lock_deadlines(self.connection, sorted(wanted))
        moved: list[tuple[Deadline, int, int]] = []
        back: list[tuple[Rule, Watched, datetime]] = []
        rest: dict[int, datetime] = {}
        for key, (rule, watched, at) in sorted(wanted.items()):
            before = known.get(key)
            after = _moved(before, rule, watched, at)
            written = after or before
            assert written is not None  # noqa: S101 - What was never written is written now.
            until = written.heard_at + DEADLINE_STEP * rule.silence_intervals * watched.expected_interval
            rest[watched.device_id] = min(until, rest.get(watched.device_id, until))
            if after is not None:
                moved.append((after, rule.tenant_id, slot_of(watched.asset_id, watched.device_id)))
                if before is not None and before.due_at is None:
                    back.append((rule, watched, at))
        await deadline_store.save_deadlines(self.connection, moved)
        await self._hear_silent(back)
        return rest

    async def _hear_silent(self, back: Sequence[tuple[Rule, Watched, datetime]]) -> None:
        keys = [StateKey(rule.id, None, watched.device_id) for rule, watched, _ in back]
        states = await engine_store.lock_silence_states(self.connection, keys)
        changed: dict[StateKey, StateRow] = {}
        for key, (rule, watched, at) in zip(keys, back, strict=True):
            before, alert_id = states.get(key, (None, None))
            after, transition = evaluate(rule, before, Observation(at, 0.0), self.now)
            if after is None or after == before:
                continue
            if transition is not None:
                about = (watched.asset_id, watched.device_id, None)
                alert_id = await self._carry_out(rule, about, transition, alert_id)
            changed[key] = StateRow(rule.tenant_id, key, after, alert_id)
        await self._save(changed, {})

    async def miss(self, due: Sequence[DueDeadline], watching_since: datetime, least_watch: timedelta) -> None:
        """Judge deadlines that have passed; what these devices measure is unknown from now on."""
        again: list[tuple[Deadline, int, int]] = []
        missed: dict[StateKey, tuple[Rule, DueDeadline]] = {}
        for deadline in due:
            rule = self._rulebook.rule(deadline.rule_id)
            if rule is None or not deadline.enabled or not deadline.serves:
                await deadline_store.drop_deadline(self.connection, deadline.rule_id, deadline.device_id)
                continue
            period = deadline.expected_interval * rule.silence_intervals
            heard_at = max(deadline.heard_at, deadline.stored_at or deadline.heard_at)
            # Whoever has just begun to listen cannot call anybody silent.
            due_at: datetime | None = max(heard_at + period, watching_since + min(period, least_watch))
            if due_at <= self.now:
                missed[StateKey(rule.id, None, deadline.device_id)] = (rule, deadline)
                due_at = None
            kept = Deadline(rule.id, deadline.device_id, deadline.asset_id, heard_at, due_at)
            again.append((kept, rule.tenant_id, slot_of(deadline.asset_id, deadline.device_id)))
        await deadline_store.save_deadlines(self.connection, again)
        states = await engine_store.lock_silence_states(self.connection, list(missed))
        changed: dict[StateKey, StateRow] = {}
        for key, (rule, deadline) in missed.items():
            before, alert_id = states.get(key, (None, None))
            after, transition = evaluate(rule, before, Missed(deadline.due_at), self.now)
            if transition is not None:
                # What people want to know is since when nothing was heard.
                spoken = Opened(deadline.due_at, deadline.heard_at, None)
                about = (deadline.asset_id, deadline.device_id, None)
                alert_id = await self._carry_out(rule, about, spoken, alert_id)
            if after is not None:
                changed[key] = StateRow(rule.tenant_id, key, after, alert_id)
        await self._save(changed, {})
        await self._lose_sight({deadline.device_id: deadline for _, deadline in missed.values()})

    async def _lose_sight(self, silent: Mapping[int, DueDeadline]) -> None:
        """Silence resolves nothing: alerts about these devices stay open, in an unknown condition."""
        if not silent:
            return
        states: States = await engine_store.lock_states_of_devices(self.connection, sorted(silent))
        due_at = min(deadline.due_at for deadline in silent.values())
        changed: dict[StateKey, StateRow] = {}
        touched: dict[int, tuple[Condition, float | None, int]] = {}
        for key, (before, alert_id) in states.items():
            rule = self._rulebook.rule(key.rule_id)
            if rule is None:
                continue
            after, _ = evaluate(rule, before, Missed(due_at), self.now)
            if after is not None and after != before:
                changed[key] = StateRow(rule.tenant_id, key, after, alert_id)
                if alert_id is not None:
                    touched[alert_id] = (after.condition, None, 0)
        await self._save(changed, touched)

    async def resolve_orphan(self, alert_id: int, cause: str) -> None:
        """Resolve an alert that nothing else would; the condition stays as it was last known."""
        resolved = await engine_store.resolve_alert(self.connection, alert_id, self.now, cause, None, is_ok=False)
        await engine_store.forget_alert(self.connection, alert_id)
        if resolved is not None:
            await self._tell_resolved(resolved, None, cause)

    async def _save(
        self, changed: Mapping[StateKey, StateRow], touched: Mapping[int, tuple[Condition, float | None, int]]
    ) -> None:
        if changed:
            await engine_store.save_states(self.connection, list(changed.values()))
        await engine_store.touch_alerts(self.connection, [(id_, *seen) for id_, seen in touched.items()])

    async def _carry_out(
        self, rule: Rule, about: About, transition: Transition, alert_id: int | None
    ) -> int | None:
        """Open or resolve the alert and hand its messages to the queue; returns the open alert's id."""
        match transition:
            case Opened():
                return await self._open(rule, about, transition)
            case Resolved(at=at, value=value, cause=cause):
                if alert_id is not None:
                    resolved = await engine_store.resolve_alert(self.connection, alert_id, at, cause, value)
                    if resolved is not None:
                        await self._tell_resolved(resolved, rule, cause)
                return None

    async def _open(self, rule: Rule, about: About, opened: Opened) -> int:
        alert_id, is_new = await engine_store.open_alert(self.connection, rule, about, opened.since, opened.value)
        if not is_new:
            return alert_id  # It was open already: nobody is told twice.
        self.outcome.opened.append(rule.name)
        subject = await engine_store.read_subject(self.connection, rule.tenant_id, about)
        template = Facts(
            alert_id, rule.name, rule.severity, rule.message, opened.since, opened.value, rule.fire_value
        )
        message = opened_text(subject, template)
        await engine_store.set_message(self.connection, alert_id, message)
        facts = Facts(alert_id, rule.name, rule.severity, message, opened.since, opened.value, rule.fire_value)
        content = body("alert.opened", self.now, subject, facts, self._link(alert_id))
        await self._tell(rule.tenant_id, alert_id, content)
        return alert_id

    async def _tell_resolved(self, resolved: engine_store.ResolvedAlert, rule: Rule | None, cause: str) -> None:
        about = (resolved.asset_id, resolved.device_id, resolved.datastream_id)
        subject = await engine_store.read_subject(self.connection, resolved.tenant_id, about)
        name = await engine_store.read_rule_name(self.connection, resolved.rule_id) if rule is None else rule.name
        facts = Facts(
            resolved.id,
            name,
            resolved.severity,
            resolved_text(subject, cause, resolved.value),
            resolved.opened_at,
            resolved.value,
            resolved.threshold,
        )
        content = body("alert.resolved", self.now, subject, facts, self._link(resolved.id), cause)
        await self._tell(resolved.tenant_id, resolved.id, content)

    async def _tell(self, tenant_id: int, alert_id: int, content: bytes) -> None:
        endpoints = await engine_store.enabled_endpoints(self.connection, tenant_id)
        message_id = f"msg_{uuid4().hex}"
        await enqueue(
            self.connection, [WebhookMessage(message_id, endpoint, alert_id, content) for endpoint in endpoints]
        )

    def _link(self, alert_id: int) -> str:
        return f"{self._public_url}/v1/alerts/{alert_id}"


def _moved(before: Deadline | None, rule: Rule, watched: Watched, at: datetime) -> Deadline | None:
    """The deadline to write after a sign of life at `at`, or None when the written one will do."""
    period = watched.expected_interval * rule.silence_intervals
    after = Deadline(rule.id, watched.device_id, watched.asset_id, at, at + period)
    if before is None:
        return after
    if at <= before.heard_at:
        return None
    near = before.due_at is not None and abs(at + period - before.due_at) < period * DEADLINE_STEP
    return None if near and before.asset_id == watched.asset_id else after
