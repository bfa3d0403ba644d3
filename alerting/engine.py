"""Reads MEASUREMENTS by shard and evaluates rules; after a start or a gap it reads the tables first.

Why the stream may have gaps: docs/architecture.md, "Streams are few, their messages large".
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from alerting import alert_rows, deadline_store, engine_store, no_data
from alerting.deadline_store import Behind, Loss
from alerting.engine_store import Watched
from alerting.evaluation import Evaluation, foresee, work_of
from alerting.frame_loss_store import without_outages
from alerting.notification_trace import trace_notification, traces_of
from alerting.requested_alerts import AT_ONCE, open_requested_alerts
from alerting.rulebook import Rulebook, Sign, slot_of
from alerting.rules.doubts import observation_of
from alerting.rules.frame_loss import OF_AT_LEAST
from alerting.rules.model import LEAST_WATCH, NOTIFY_UP_TO, Observation, Rule
from alerting.shard_memory import Memory
from core.messages.batch import UnreadableBatch
from core.messages.measurements import MEASUREMENT_BATCHES, Flag, Measurement
from core.messages.topics import shard_of_slot, slot_of_asset, slots_of_shard
from core.model.instants import AHEAD_AT_MOST
from core.runtime.bus import Message, ShardReader
from core.runtime.errors import describe
from core.runtime.lease import Lease, LeaseLost
from core.runtime.ownership import batches, fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from lorawan.instants import EPOCH, from_us, to_us
from registry.alert_requests import is_any_alert_requested

FETCH_MESSAGES = 100
CATCH_UP_DATASTREAMS = 100
CATCH_UP_STEP = timedelta(days=7)
DUE_AT_ONCE = 200
# A reader this far behind reads the table instead, long before the stream would forget what it has not read.
MOST_BEHIND = timedelta(seconds=60)
ORPHANS_EVERY_S = 10.0
GATEWAYS_EVERY = timedelta(seconds=10)
# What was evaluated and concerns no alert reaches the table so often; sooner where a state has come due since.
WRITE_DOWN_EVERY = timedelta(seconds=5)
LOSSES_AT_ONCE = 500
ORPHANS_AT_ONCE = 200
# Alerts that concern no device and no asset are in this slot: the column's default.
REQUESTED_SLOT = 0

EVALUATED = Counter("territoire_alerting_rules_evaluated_total", "Evaluations of a rule with a new observation")
OPENED = Counter("territoire_alerting_alerts_opened_total", "Alerts opened", ["rule"])
UNREADABLE = Counter("territoire_alerting_unreadable_messages_total", "Messages that are no batch of measurements")
SHARDS_OWNED = Gauge(
    "territoire_alerting_shards_owned", "Shards whose lease this replica holds, and that are up to date"
)

log = structlog.get_logger()


# An operation on the enumeration costs more than the evaluation.
_MANUAL = int(Flag.MANUAL)


def real_now() -> datetime:
    """The clock, unless another is given."""
    return datetime.now(UTC)


class Engine:
    """Evaluates every rule of every tenant for the shards that this replica owns."""

    def __init__(
        self,
        pool: Pool,
        rulebook: Rulebook,
        shards: int,
        *,
        alert_link: str = "/v1/alerts/{alert}",
        least_watch: timedelta = LEAST_WATCH,
        orphans_every_s: float = ORPHANS_EVERY_S,
        now: Callable[[], datetime] = real_now,
    ) -> None:
        self._pool = pool
        self._rulebook = rulebook
        self._shards = shards
        self._alert_link = alert_link
        self._least_watch = least_watch
        self._now = now
        self._watching: dict[int, datetime] = {}  # Shards that are up to date, and since when.
        self._orphans_every_s = orphans_every_s
        self._orphans_at = -math.inf  # When they were last looked for, on the loop's clock.
        self._gateways_at = [EPOCH] * shards
        self._losses_at = [EPOCH] * shards
        self._written_down_at = [EPOCH] * shards
        self._memories = [Memory() for _ in range(shards)]
        # One lock a shard: the stream's messages and the deadlines both read and change the shard's memory.
        self._turns = [asyncio.Lock() for _ in range(shards)]

    async def serve(self, lease: Lease, reader: ShardReader) -> None:
        """Evaluate one shard until cancelled; returning means that it must be caught up with anew.

        `reader` was opened before: what is stored from then on comes from it, what was before from the table.
        """
        self._memories[lease.shard] = Memory()  # Another owner may have written since.
        await self.catch_up(lease)
        self._watching[lease.shard] = self._now()
        SHARDS_OWNED.set(len(self._watching))
        try:
            async for messages in batches(reader, FETCH_MESSAGES):
                # A clock that is set wrong leaves no more messages than usual waiting.
                is_behind = self._now() - from_us(messages[-1].published_at_us) > MOST_BEHIND
                if is_behind and len(messages) == FETCH_MESSAGES:
                    log.warning("measurements_far_behind", shard=lease.shard, sequence=messages[-1].sequence)
                    return
                await self.evaluate_messages(lease, messages)
        finally:
            self._watching.pop(lease.shard, None)
            SHARDS_OWNED.set(len(self._watching))
            with suppress(LeaseLost, *DATABASE_AWAY):  # Else the next owner evaluates it again.
                async with self._turns[lease.shard]:
                    await self._write_down(lease)

    async def evaluate_messages(self, lease: Lease, messages: Sequence[Message]) -> None:
        """Evaluate what these messages carry, in one transaction."""
        carried: list[tuple[list[Measurement], datetime]] = []
        for message in messages:
            try:
                items = MEASUREMENT_BATCHES.decode(message.data)
            except UnreadableBatch as unreadable:
                UNREADABLE.inc()
                log.error("measurements_unreadable", sequence=message.sequence, reason=str(unreadable))
                continue
            carried.append((items, from_us(message.published_at_us)))
        watched = await self._rulebook.watched(
            (item.datastream_id for items, _ in carried for item in items), self._now()
        )
        rules = self._rulebook.rules_of
        observations: list[tuple[Watched, Observation]] = []
        heard: dict[Sign, tuple[Watched, datetime]] = {}
        awaited = self._rulebook.awaited
        for items, heard_at in carried:
            signs: dict[Sign, Watched] = {}
            for item in items:
                stream = watched.get(item.datastream_id)
                if stream is None:
                    continue
                # What somebody has typed is no sign of the device's life, nor what the device before it has sent.
                replaced_at = stream.replaced_at
                if not item.flags & _MANUAL and (replaced_at is None or item.time_us >= to_us(replaced_at)):
                    signs[stream.device_id, None] = stream
                    if stream.quantity in awaited:
                        signs[stream.device_id, stream.quantity] = stream
                if rules(stream):
                    at = from_us(item.time_us)
                    observation = observation_of(stream.quantity, at, item.value, item.flags)
                    if observation is not None:
                        observations.append((stream, observation))
            heard.update((sign, (stream, heard_at)) for sign, stream in signs.items())
        await self._evaluate(lease, observations, heard, [items for items, _ in carried])

    async def catch_up(self, lease: Lease) -> None:
        """Evaluate what was stored while nobody did: each datastream since its own last evaluated instant."""
        slots = frozenset(slots_of_shard(lease.shard, self._shards))
        behind = [
            one
            for one in await deadline_store.read_behind(self._pool, self._now(), NOTIFY_UP_TO)
            if slot_of(one.asset_id, one.device_id) in slots
        ]
        for start in range(0, len(behind), CATCH_UP_DATASTREAMS):
            await self._catch_up_some(lease, behind[start : start + CATCH_UP_DATASTREAMS])
        await self._clear_no_data_of_stored(lease, slots)

    async def _catch_up_some(self, lease: Lease, behind: Sequence[Behind]) -> None:
        """In steps: a rule that was switched off for a year finds the year stored."""
        after = min(one.since for one in behind)
        while after < self._now() + AHEAD_AT_MOST:
            stored = await deadline_store.read_since(self._pool, behind, after, after + CATCH_UP_STEP)
            watched = await self._rulebook.watched((row.datastream_id for row in stored), self._now())
            observations = [
                (stream, observation)
                for row in stored
                if (stream := watched.get(row.datastream_id)) is not None
                and (observation := observation_of(stream.quantity, row.time, row.value, row.flags)) is not None
            ]
            await self._evaluate(lease, observations, {})
            after += CATCH_UP_STEP

    async def _clear_no_data_of_stored(self, lease: Lease, slots: frozenset[int]) -> None:
        devices = [
            one
            for one in await deadline_store.read_reporting_devices(self._pool)
            if slot_of(one.asset_id, one.device_id) in slots
        ]
        watched = await self._rulebook.watched((one.datastream_id for one in devices), self._now())
        heard = {
            (one.device_id, one.quantity): (watched[one.datastream_id], one.heard_at)
            for one in devices
            if one.datastream_id in watched
        }
        await self._evaluate(lease, [], heard)

    async def sweep(self, leases: Iterable[Lease]) -> None:
        """Open requested alerts; judge the deadlines that have passed, and resolve what nothing else would.

        Deadlines are judged in shards that are up to date, requests are taken in any case.
        """
        held = list(leases)
        current = [lease for lease in held if lease.shard in self._watching]
        try:
            await self._open_requested(held)
            slots = {lease.shard: frozenset(slots_of_shard(lease.shard, self._shards)) for lease in current}
            await self._settle_due(current, slots)
            for lease in current:
                await self._watch_gateways(lease, slots[lease.shard])
                await self._evaluate_frame_loss(lease, slots[lease.shard])
            await self._follow_registry(current)
        except (LeaseLost, *DATABASE_AWAY) as away:
            log.warning("sweep_put_off", reason=describe(away))

    async def _open_requested(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            if lease.shard == shard_of_slot(REQUESTED_SLOT, self._shards):
                while await is_any_alert_requested(self._pool):
                    async with fenced(self._pool, [lease]) as connection:
                        opened = await open_requested_alerts(connection)
                    if opened < AT_ONCE:
                        break

    async def _settle_due(self, leases: Sequence[Lease], slots: Mapping[int, frozenset[int]]) -> None:
        """In the shards that have something due; whether one has is asked for all of them at once."""
        for lease in leases:
            async with self._turns[lease.shard]:
                if self._is_to_be_written_down(lease.shard):
                    await self._write_down(lease)
        asked = [slot for those in slots.values() for slot in those]
        due = await deadline_store.read_due_slots(self._pool, self._now(), asked) if asked else set[int]()
        for lease in leases:
            if not due.isdisjoint(slots[lease.shard]):
                await self._settle_shard(lease, sorted(slots[lease.shard]))

    async def _settle_shard(self, lease: Lease, slots: Sequence[int]) -> None:
        while (since := self._watching.get(lease.shard)) is not None:
            async with self._turns[lease.shard]:
                await self._write_down(lease)
                async with self._transaction(lease) as evaluation:
                    silent = await deadline_store.lock_due(
                        evaluation.connection, evaluation.now, slots, DUE_AT_ONCE
                    )
                    if silent:
                        self._forget(lease.shard)
                        await no_data.miss(evaluation, silent, since, self._least_watch)
                    states = await evaluation.meet_deadlines(slots, DUE_AT_ONCE)
                    if states:
                        self._forget(lease.shard)
                    alerts = await evaluation.look_at_alerts(slots, DUE_AT_ONCE)
            if max(len(silent), states, alerts) < DUE_AT_ONCE:
                break

    async def _watch_gateways(self, lease: Lease, slots: frozenset[int]) -> None:
        """Every few seconds: when each gateway of this shard was last seen, as the bridge has written it."""
        now, tenants = self._now(), sorted(self._rulebook.gateway_rules())
        if not tenants or now - self._gateways_at[lease.shard] < GATEWAYS_EVERY:
            return
        seen = [
            gateway
            for gateway in await engine_store.read_gateways_seen(self._pool, tenants)
            if slot_of_asset(gateway.id) in slots
        ]
        self._gateways_at[lease.shard] = now
        since = self._watching.get(lease.shard)
        if seen and since is not None:
            async with self._turns[lease.shard], self._transaction(lease) as evaluation:
                await no_data.watch_gateways(evaluation, seen, since, self._least_watch)

    async def _evaluate_frame_loss(self, lease: Lease, slots: frozenset[int]) -> None:
        hour = self._now().replace(minute=0, second=0, microsecond=0)
        tenants = self._rulebook.tenants_with_loss_rules()
        if hour <= self._losses_at[lease.shard] or not tenants:
            return
        after: int | None = 0
        while after is not None:
            losses, after = await deadline_store.read_frame_loss(
                self._pool, tenants, hour, OF_AT_LEAST, after, LOSSES_AT_ONCE
            )
            ours = [loss for loss in losses if slot_of(loss.asset_id, loss.device_id) in slots]
            ours = await without_outages(self._pool, ours, hour)
            weighed = await self._rules_about(ours)
            if weighed and lease.shard in self._watching:
                async with self._turns[lease.shard], self._transaction(lease) as evaluation:
                    await no_data.evaluate_frame_loss(evaluation, weighed)
        self._losses_at[lease.shard] = hour

    async def _rules_about(self, frame_loss: Sequence[Loss]) -> list[tuple[Rule, Loss]]:
        watched = await self._rulebook.watched((loss.datastream_id for loss in frame_loss), self._now())
        return [
            (rule, loss)
            for loss in frame_loss
            if loss.datastream_id in watched
            for rule in self._rulebook.device_rules(watched[loss.datastream_id])
            if rule.kind == "loss"
        ]

    async def _follow_registry(self, leases: Sequence[Lease]) -> None:
        """Every few seconds: what devices were assigned, registered, replaced or removed means for alerts."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._orphans_at < self._orphans_every_s:
            return
        self._orphans_at = loop.time()
        await self._resolve_orphans(leases)
        await self._begin_deadlines(leases)

    async def _begin_deadlines(self, leases: Sequence[Lease]) -> None:
        unwatched = await deadline_store.find_unwatched(self._pool, self._now())
        for lease in leases if unwatched else ():
            slots = slots_of_shard(lease.shard, self._shards)
            ours = [(one, slot) for one in unwatched if (slot := slot_of(one.asset_id, one.device_id)) in slots]
            if ours:
                async with self._turns[lease.shard], fenced(self._pool, [lease]) as connection:
                    await deadline_store.begin_deadlines(connection, ours)

    async def _resolve_orphans(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            slots = slots_of_shard(lease.shard, self._shards)
            while ours := await alert_rows.find_orphans(self._pool, slots, ORPHANS_AT_ONCE):
                async with self._turns[lease.shard]:
                    await self._write_down(lease)
                    self._forget(lease.shard)
                    async with self._transaction(lease) as evaluation:
                        for orphan in ours:
                            await evaluation.resolve_orphan(orphan)
                if len(ours) < ORPHANS_AT_ONCE:
                    break

    async def _evaluate(
        self,
        lease: Lease,
        observations: Sequence[tuple[Watched, Observation]],
        received: dict[Sign, tuple[Watched, datetime]],
        carried: Sequence[Sequence[Measurement]] = (),
    ) -> None:
        async with self._turns[lease.shard]:
            if self._memories[lease.shard].version != self._rulebook.version:
                await self._write_down(lease)
                self._forget(lease.shard)
            memory = self._memories[lease.shard]
            work = work_of(self._rulebook, observations)
            signs = {
                sign: (stream, at)
                for sign, (stream, at) in received.items()
                if memory.moves(sign, at) and self._rulebook.silence_rules(stream, sign[1])
            }
            await memory.load(self._pool, {bound.key for bound, _, _ in work})
            quiet, told = foresee(work, memory.states, self._now())
            EVALUATED.inc(len(quiet))
            if told or signs:
                concerned = [one for one in work if one[0].key in told]
                async with self._transaction(lease) as evaluation:
                    written = await evaluation.observe(concerned, memory.states, traces_of(concerned, carried))
                    until = await no_data.clear_no_data(evaluation, signs)
                memory.saved(written)
                memory.received_until |= until
            memory.follow(quiet)

    def _is_to_be_written_down(self, shard: int) -> bool:
        """Whether it is time, by a clock that may be set back, or the table does not know what is due."""
        now, due_at = self._now(), self._memories[shard].unsaved_due_at
        is_recent = timedelta(0) <= now - self._written_down_at[shard] < WRITE_DOWN_EVERY
        return not is_recent or (due_at is not None and due_at <= now)

    async def _write_down(self, lease: Lease) -> None:
        """In the shard's turn: what was evaluated since the last time, in one transaction."""
        self._written_down_at[lease.shard] = self._now()
        memory = self._memories[lease.shard]
        if memory.unsaved:
            async with self._transaction(lease) as evaluation:
                await evaluation.save(memory.unsaved)
            memory.all_saved()

    def _forget(self, shard: int) -> None:
        """In the shard's turn, with all written down: states change in the table, and are read anew from there."""
        self._memories[shard] = Memory(self._rulebook.version)

    @asynccontextmanager
    async def _transaction(self, lease: Lease) -> AsyncGenerator[Evaluation]:
        """One transaction under the lease, in the shard's turn; what it did is counted after its commit."""
        async with fenced(self._pool, [lease]) as connection:
            evaluation = Evaluation(connection, self._rulebook, self._alert_link, self._now())
            yield evaluation
        EVALUATED.inc(evaluation.evaluated)
        for rule in evaluation.writer.opened:
            OPENED.labels(rule).inc()
        for notice_id, notice in evaluation.writer.notified:
            trace_notification(notice_id, notice)
