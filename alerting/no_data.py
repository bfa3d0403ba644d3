"""Rules that time judges and not a value: devices without data, lost frames, gateways that are offline."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from alerting import deadline_store, engine_store
from alerting.deadline_store import Deadline, DueDeadline, Loss
from alerting.engine_store import About, GatewaySeen, StateKey, StateRow, Watched
from alerting.evaluation import Evaluation, Judged
from alerting.rulebook import Sign, slot_of
from alerting.rules.evaluation import evaluate
from alerting.rules.model import Missed, Observation, Opened, Rule, Seen
from core.messages.topics import slot_of_asset

# A deadline is written again when it moves by this part of its period; before an alert, the table is asked anyway.
DEADLINE_STEP = 0.25


async def clear_no_data(
    evaluation: Evaluation, received: Mapping[Sign, tuple[Watched, datetime]]
) -> dict[Sign, datetime]:
    """Move the deadlines of devices of which something was received, and end their missing data.

    Returns, for each device and quantity, until which instant further receptions move no deadline.
    """
    wanted = {
        (rule.id, sign[0]): (rule, watched, at)
        for sign, (watched, at) in received.items()
        for rule in evaluation.rulebook.silence_rules(watched, sign[1])
    }
    known = await deadline_store.lock_deadlines(evaluation.connection, sorted(wanted))
    moved: list[tuple[Deadline, int, int]] = []
    back: list[Judged] = []
    rest: dict[Sign, datetime] = {}
    for key, (rule, watched, at) in sorted(wanted.items()):
        before = known.get(key)
        after = _moved(before, rule, watched, at)
        written = after or before
        assert written is not None  # noqa: S101 - What was never written is written now.
        until = written.heard_at + DEADLINE_STEP * rule.silence_intervals * watched.expected_interval
        sign = (watched.device_id, rule.quantity)
        rest[sign] = min(until, rest.get(sign, until))
        if after is not None:
            slot = slot_of(watched.asset_id, watched.device_id)
            moved.append((after, rule.tenant_id, slot))
            if before is not None and before.due_at is None:
                about = About(asset_id=watched.asset_id, device_id=watched.device_id)
                state_key = StateKey(rule.id, None, watched.device_id)
                back.append(Judged(rule, state_key, about, slot, Observation(at, 0.0)))
    await deadline_store.save_deadlines(evaluation.connection, moved)
    states = await engine_store.read_states(evaluation.connection, [one.key for one in back])
    await evaluation.judge(back, states)
    return rest


async def miss(
    evaluation: Evaluation, due: Sequence[DueDeadline], watching_since: datetime, least_watch: timedelta
) -> None:
    """Judge deadlines that have passed; what these devices measure is unknown from now on."""
    again: list[tuple[Deadline, int, int]] = []
    missed: dict[StateKey, tuple[Rule, DueDeadline]] = {}
    for deadline in due:
        rule = evaluation.rulebook.rule(deadline.rule_id)
        if rule is None or not deadline.enabled or not deadline.serves:
            await deadline_store.drop_deadline(evaluation.connection, deadline.rule_id, deadline.device_id)
            continue
        period = deadline.expected_interval * rule.silence_intervals
        heard_at = max(deadline.heard_at, deadline.stored_at or deadline.heard_at)
        # A device is without data only after this replica has watched the shard for that long.
        due_at: datetime | None = max(heard_at + period, watching_since + min(period, least_watch))
        if due_at <= evaluation.now:
            missed[StateKey(rule.id, None, deadline.device_id)] = (rule, deadline)
            due_at = None
        kept = Deadline(rule.id, deadline.device_id, deadline.asset_id, heard_at, due_at)
        again.append((kept, rule.tenant_id, slot_of(deadline.asset_id, deadline.device_id)))
    await deadline_store.save_deadlines(evaluation.connection, again)
    states = await engine_store.read_states(evaluation.connection, list(missed))
    changed: dict[StateKey, StateRow] = {}
    for key, (rule, deadline) in missed.items():
        row = states.get(key)
        before, alert_id = (None, None) if row is None else (row.state, row.alert_id)
        after, transition = evaluate(rule, before, Missed(deadline.due_at), evaluation.now)
        slot = slot_of(deadline.asset_id, deadline.device_id)
        if isinstance(transition, Opened):
            # The alert counts from the last reception, and not from the deadline.
            spoken = Opened(deadline.due_at, deadline.heard_at, None)
            about = About(asset_id=deadline.asset_id, device_id=deadline.device_id)
            alert_id = await evaluation.writer.begin(rule, about, spoken, slot)
        if after is not None:
            changed[key] = StateRow(rule.tenant_id, key, after, alert_id, slot)
    await evaluation.save(changed)
    lost: dict[str | None, list[DueDeadline]] = {}
    for rule, deadline in missed.values():
        lost.setdefault(rule.quantity, []).append(deadline)
    for quantity, silent in lost.items():
        await _lose_sight(evaluation, quantity, silent)


async def _lose_sight(evaluation: Evaluation, quantity: str | None, silent: Sequence[DueDeadline]) -> None:
    """Missing data resolves nothing: alerts about these devices stay open, in an unknown condition.

    `quantity`: only values of this quantity are missing; None: nothing of the devices was received.
    """
    device_ids = sorted({deadline.device_id for deadline in silent})
    states = await engine_store.lock_states_of_devices(evaluation.connection, device_ids)
    due_at = min(deadline.due_at for deadline in silent)
    changed: dict[StateKey, StateRow] = {}
    for key, row in states.items():
        rule = evaluation.rulebook.rule(key.rule_id)
        if rule is None or quantity not in (None, rule.quantity):
            continue
        after, _ = evaluate(rule, row.state, Missed(due_at), evaluation.now)
        if after is not None and after != row.state:
            changed[key] = row._replace(state=after)
    await evaluation.save(changed)


async def watch_gateways(
    evaluation: Evaluation, gateways: Sequence[GatewaySeen], watching_since: datetime, least_watch: timedelta
) -> None:
    """Judge when each gateway was last seen.

    After an outage of ours all were last seen before it: none is called gone before it had the time to be seen.
    """
    rules = evaluation.rulebook.gateway_rules()
    judged = [
        Judged(
            rule,
            StateKey(rule.id, None, None, gateway.id),
            About(gateway_id=gateway.id),
            slot_of_asset(gateway.id),
            Seen(gateway.last_seen_at),
        )
        for gateway in gateways
        for rule in rules.get(gateway.tenant_id, ())
    ]
    states = await engine_store.read_states(evaluation.connection, [one.key for one in judged])
    if evaluation.now < watching_since + least_watch:
        seen = {gateway.id: gateway.last_seen_at for gateway in gateways}
        judged = [
            one
            for one in judged
            if seen[one.about.gateway_id or 0] >= watching_since
            or (one.key in states and states[one.key].state.alerting)
        ]
    await evaluation.judge(judged, states)


async def evaluate_frame_loss(evaluation: Evaluation, frame_loss: Sequence[tuple[Rule, Loss]]) -> None:
    """Judge what share of each device's messages was lost in the last day."""
    judged = [
        Judged(
            rule,
            StateKey(rule.id, None, loss.device_id),
            About(asset_id=loss.asset_id, device_id=loss.device_id),
            slot_of(loss.asset_id, loss.device_id),
            Observation(loss.at, loss.percent),
        )
        for rule, loss in frame_loss
    ]
    states = await engine_store.read_states(evaluation.connection, [one.key for one in judged])
    await evaluation.judge(judged, states)


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
