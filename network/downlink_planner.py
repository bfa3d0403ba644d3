"""Plans the downlinks that are due: class A answers, class C rows, join-accepts.

Planning is one fenced transaction for all that is due; each frame then goes its own way to a gateway, and what
became of it is written to its row. Reading frames never waits for any of this.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from core.messages import topics
from core.model.downlinks import DueDownlink
from core.runtime.bus import Bus
from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.errors import describe
from core.runtime.ownership import ShardsLost, fenced
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from lorawan.instants import from_us
from network import downlink_frame, downlink_store, store
from network.downlink_dispatch import Dispatcher
from network.downlink_frame import PlannedDownlink
from network.held_state import DeviceCache, SessionTable
from network.join_handler import Admitted
from network.receive import Opportunity
from network.shards import Shards, nudge_done
from network.telemetry import DOWNLINKS
from registry import downlinks
from registry.downlinks import Changed

POLL_EVERY_S = 1.0

log = structlog.get_logger()


@dataclass(slots=True)
class AnswerCandidate:
    """An uplink's windows, and whether the uplink may prove that a confirmed downlink was not acknowledged."""

    opportunity: Opportunity
    is_new: bool
    device_acknowledged: bool


@dataclass(slots=True)
class _Plan:
    """The frames to send and the rows changed by one planning transaction."""

    planned: list[tuple[PlannedDownlink, int]] = field(default_factory=list[tuple[PlannedDownlink, int]])
    changed: list[Changed] = field(default_factory=list[Changed])


class Downlinks:
    """Plans downlinks. `queue_answers` and `accept` never block; `run` does the work."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: Shards,
        sessions: SessionTable,
        devices: DeviceCache,
        dispatcher: Dispatcher,
        clock: WallClock = wall_clock_us,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._shards = shards
        self._sessions = sessions
        self._devices = devices
        self._dispatcher = dispatcher
        self._clock = clock
        self._offers: dict[int, AnswerCandidate] = {}  # By device: a newer uplink's windows replace the older's.
        self._wake = asyncio.Event()
        self._nudged = True
        dispatcher.on_free(self._wake.set)

    def queue_answers(self, candidates: Iterable[AnswerCandidate]) -> None:
        """Answer these uplinks, whose sessions are committed, if a row or their MAC layer needs it."""
        for offered in candidates:
            self._offers[offered.opportunity.session.device_id] = offered
        if self._offers:
            self._wake.set()

    def accept(self, admitted: Iterable[Admitted]) -> None:
        """Joins whose sessions are committed: send the accepts, each once."""
        for join in admitted:
            self._dispatcher.start_accept(downlink_frame.plan_accept(join.session, join.group, join.accept))

    async def run(self) -> None:
        """Plan on an uplink, on a nudge and every second, until cancelled."""

        async def nudge(_subject: str, _data: bytes) -> None:
            self._nudged = True
            self._wake.set()

        await self._bus.subscribe(topics.ALL_DOWNLINKS_DUE, nudge)
        loop = asyncio.get_running_loop()
        next_poll = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_poll - loop.time())):
                    await self._wake.wait()
            self._wake.clear()
            poll = self._nudged or loop.time() >= next_poll
            if poll:
                self._nudged = False
                next_poll = loop.time() + POLL_EVERY_S
            await self.plan_due(poll)

    async def plan_due(self, poll: bool) -> None:
        """One planning: of what was received since the last, and with `poll` of all that is due."""
        offers = self._pop_answerable()
        if not offers and not poll:
            return
        try:
            plan = await self._plan(offers, poll)
        except ShardsLost as lost:
            self._shards.drop_all(lost.shards)
            self._offers = {o.opportunity.session.device_id: o for o in offers} | self._offers
            self._wake.set()
            return
        except DATABASE_AWAY as away:
            log.warning("downlinks_not_planned", error=describe(away))
            self._offers = {o.opportunity.session.device_id: o for o in offers} | self._offers
            await asyncio.sleep(0.5)
            return
        for planned, f_cnt in plan.planned:
            self._dispatcher.start(planned, f_cnt)
        await nudge_done(self._bus, plan.changed, self._shards.count)

    def _pop_answerable(self) -> list[AnswerCandidate]:
        """The candidates that can be answered now; those of a device whose downlink is under way wait."""
        now_us = self._clock()
        taken: list[AnswerCandidate] = []
        for device_id, offer in list(self._offers.items()):
            if now_us > downlink_frame.answer_useful_until_us(offer.opportunity):
                del self._offers[device_id]
                if offer.opportunity.must_answer:
                    DOWNLINKS.labels("stale_uplink").inc()
                # No window is left, but the uplink still settles an unacknowledged confirmed downlink.
                if not offer.is_new or offer.device_acknowledged:
                    continue
            elif self._dispatcher.is_busy(device_id):
                continue
            else:
                del self._offers[device_id]
            if self._shards.of_slot(offer.opportunity.session.slot) is not None:
                taken.append(offer)
        return taken

    async def _plan(self, candidates: Sequence[AnswerCandidate], poll: bool) -> _Plan:
        """One transaction: what expired, what was not acknowledged, what is due, and the counters for it."""
        plan = _Plan()
        slots, leases = self._shards.slots(), [shard.lease for shard in self._shards.owned()]
        if not slots:
            return plan
        # A look costs one query and locks nothing; nearly no candidate needs an answer or changes a row.
        concerned = await downlink_store.read_concerned(self._pool, slots) if candidates or poll else set[int]()
        if concerned is not None:
            candidates = self._among(concerned, candidates)
            if not candidates and not (poll and concerned):
                return plan
        now_us = self._clock()
        # The leases from before the query: a shard that was lost meanwhile is not ours to plan for.
        async with fenced(self._pool, leases) as connection:
            if poll:
                await downlinks.requeue_sending(connection, slots, self._dispatcher.rows_in_flight())
                plan.changed += await downlinks.expire(connection, slots)
                plan.changed += await downlinks.fail_silent(connection, slots)
                plan.changed += await downlinks.retry_silent_class_c(connection, slots)
            wanted = await self._answers(connection, plan, candidates, slots, now_us)
            if poll:
                wanted += self._class_c(await downlink_store.read_due_class_c(connection, slots), wanted, now_us)
            await self._number(connection, plan, wanted)
        return plan

    @staticmethod
    def _among(concerned: set[int], candidates: Sequence[AnswerCandidate]) -> list[AnswerCandidate]:
        return [
            offer
            for offer in candidates
            if offer.opportunity.must_answer or offer.opportunity.session.device_id in concerned
        ]

    async def _answers(
        self,
        connection: Connection,
        plan: _Plan,
        candidates: Sequence[AnswerCandidate],
        slots: Sequence[int],
        now_us: int,
    ) -> list[PlannedDownlink]:
        silent = [offer.opportunity for offer in candidates if offer.is_new and not offer.device_acknowledged]
        class_a = [o for o in silent if not self._devices.is_class_c(o.session.device_id)]
        if class_a:
            plan.changed += await downlinks.retry_unacknowledged(
                connection,
                slots,
                [opportunity.session.device_id for opportunity in class_a],
                [from_us(opportunity.uplink_at_us) for opportunity in class_a],
            )
        open_offers = [
            o.opportunity for o in candidates if now_us <= downlink_frame.answer_useful_until_us(o.opportunity)
        ]
        device_ids = [
            opportunity.session.device_id
            for opportunity in open_offers
            if not self._devices.is_class_c(opportunity.session.device_id)
        ]
        due: dict[int, DueDownlink] = {}
        if device_ids:
            due = await downlink_store.read_due_of_devices(connection, slots, device_ids)
        return [
            downlink_frame.plan_answer(opportunity, due.get(opportunity.session.device_id))
            for opportunity in open_offers
            if opportunity.must_answer or opportunity.session.device_id in due
        ]

    def _class_c(
        self, due: dict[int, DueDownlink], answered: Sequence[PlannedDownlink], now_us: int
    ) -> list[PlannedDownlink]:
        """The rows of class C devices that listen at this moment; the others wait for the next second."""
        occupied = {planned.device_id for planned in answered}
        wanted: list[PlannedDownlink] = []
        for device_id, row in due.items():
            session = self._sessions.current_of(device_id)
            if session is None or device_id in occupied or self._dispatcher.is_busy(device_id):
                continue
            if now_us < max(
                downlink_frame.class_c_listens_from_us(session), self._dispatcher.on_air_until_us(device_id)
            ):
                continue
            wanted.append(downlink_frame.plan_class_c(session, row, now_us))
        return wanted

    async def _number(self, connection: Connection, plan: _Plan, wanted: Sequence[PlannedDownlink]) -> None:
        """Give each frame its FCntDown, used up by this commit; mark the rows that go out."""
        if not wanted:
            return
        f_cnts = await store.advance_f_cnt_down(connection, [planned.session.id for planned in wanted])
        numbered = [planned for planned in wanted if planned.session.id in f_cnts and planned.routes]
        rows = [planned.row.id for planned in numbered if planned.row is not None]
        marked = await downlinks.mark_sending(connection, rows) if rows else []
        plan.changed += marked
        going_out = {changed.id for changed in marked}
        for planned in numbered:
            if planned.row is None or planned.row.id in going_out:
                plan.planned.append((planned, f_cnts[planned.session.id]))
        with_rows = [(planned, f_cnt) for planned, f_cnt in plan.planned if planned.row is not None]
        if with_rows:
            await downlinks.save_f_cnt_down(
                connection,
                [planned.row.id for planned, _ in with_rows if planned.row is not None],
                [f_cnt for _, f_cnt in with_rows],
                [planned.routes[0].gateway_id for planned, _ in with_rows],
            )
