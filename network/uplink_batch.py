"""One batch of frames: judged, published as uplinks, sessions saved in one transaction, and memory after it.

A crash between any two steps means that the same frames come again and make the same uplinks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import structlog

from core.messages import topics
from core.messages.batch import encode_batches
from core.messages.frames import FRAME_BATCHES
from core.messages.uplinks import Uplink
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.errors import describe_defect
from core.runtime.lease import Lease
from core.runtime.ownership import fenced
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from core.runtime.shard_worker import Pace, Place, ShardWorker
from lorawan.commands.dev_status import DevStatusAns
from lorawan.frame import MalformedFrame, MType, mtype_of
from lorawan.rejections import RejectReason
from network import store
from network.deduplication import Group
from network.downlink_planner import AnswerCandidate, Downlinks
from network.held_state import DeviceCache, SessionTable
from network.join_handler import Admitted, JoinHandler, JoinRejected
from network.live_frames import LiveFrames
from network.receive import Candidate, Received, RejectedFrame, read_frame, receive_data
from network.rejections import RejectionLog
from network.sessions import Progress
from network.settings import NetworkServerSettings
from network.shards import SERVICE, FrameUnit, Shard, Shards, nudge_done
from network.telemetry import PASS_SECONDS, PASSES_RETRIED, QUARANTINED, SESSIONS_HELD
from network.uplink_report import UplinkReport, reception_fields
from registry.downlinks import Changed, acknowledge_downlinks
from registry.quarantine import quarantine

MAX_ITEMS = 500  # Of a published message.
# A batch costs a transaction, and a message for each shard, however few its frames: what comes within this time of
# the last one goes together. A frame that comes alone does not wait.
BATCH_EVERY_S = 0.04
# A bridge publishes for all shards at once: after a batch of so many groups the next awaits the windows that end,
# and the messages that come, within a moment of the first.
USUAL_GROUPS = 20
LINGER_S = 0.01
# Groups in one transaction at most, after which memory follows and leases are renewed; a backlog brings more.
MAX_FRAMES = 2_000
DATA_UP = (MType.UNCONFIRMED_DATA_UP, MType.CONFIRMED_DATA_UP)

log = structlog.get_logger()


@dataclass(slots=True)
class Judged:
    """The results of a batch before anything is published or saved."""

    now_us: int
    received: list[tuple[FrameUnit, Received]] = field(default_factory=list[tuple[FrameUnit, Received]])
    refused: list[tuple[FrameUnit, RejectedFrame]] = field(default_factory=list[tuple[FrameUnit, RejectedFrame]])
    joins: list[FrameUnit] = field(default_factory=list[FrameUnit])
    poison: list[Quarantined] = field(default_factory=list[Quarantined])
    progress: dict[int, Progress] = field(default_factory=dict[int, Progress])


@dataclass(slots=True)
class UplinkBatch:
    """Closed groups of all shards, for one transaction."""

    uplinks: "Uplinks"
    units: Sequence[FrameUnit]
    acknowledged: Sequence[Changed] = ()

    async def prepare(self) -> None:
        """Nothing to prepare: a frame is judged by the session as the batch before has left it."""

    async def commit(self) -> None:
        """Publish, commit, answer."""
        with PASS_SECONDS.time():
            self.acknowledged = await self.uplinks.carry_out(self.units)

    async def publish(self) -> None:
        """Nudge those that wait for acknowledged downlinks; uplinks were published before the commit."""
        await nudge_done(self.uplinks.bus, self.acknowledged, self.uplinks.shards.count)


class Uplinks:
    """What is done with the frames of the owned shards, all shards together; for a `ShardWorker`."""

    # What the database rejects stays rejected: the frame goes to quarantine.
    transient: tuple[type[Exception], ...] = ()

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: Shards,
        sessions: SessionTable,
        devices: DeviceCache,
        joins: JoinHandler,
        downlinks: Downlinks,
        rejections: RejectionLog,
        live: LiveFrames,
        clock: WallClock = wall_clock_us,
    ) -> None:
        self._pool = pool
        self.bus = bus
        self.shards = shards
        self._sessions = sessions
        self._devices = devices
        self._joins = joins
        self._downlinks = downlinks
        self._report = UplinkReport(devices, rejections, live)
        self._clock = clock

    async def open_shard(self, lease: Lease) -> Shard:
        """Load a shard that was taken."""
        return await self.shards.open(lease)

    def batch(self, units: list[FrameUnit]) -> UplinkBatch:
        """One batch of these groups, for one transaction."""
        return UplinkBatch(self, units)

    def divide(self, unit: FrameUnit) -> list[FrameUnit]:
        """A group cannot be divided."""
        return [unit]

    def place_of(self, unit: FrameUnit) -> Place | None:
        """The place of a group's first reception: its message, and which of that message's frames it is."""
        group = unit.group
        if group is None:
            return None
        sequence = group.sequences[0]
        frames = FRAME_BATCHES.decode(unit.shard.held[sequence].message.data)
        return Place(sequence, [frame.phy_payload for frame in frames].index(group.phy_payload))

    def rejected(self, unit: FrameUnit, error: Exception | None) -> FrameUnit | None:
        """The group for quarantine, with the reason."""
        if unit.group is None:
            return None
        if error is not None:
            log.error("frame_quarantined", exc_info=error, **reception_fields(unit.group.first))
        reason = QuarantineReason.POISON if error is None else QuarantineReason.DEFECT
        detail = str(unit.shard.lease.crashes) if error is None else describe_defect(error)
        return FrameUnit(unit.shard, unit.sequences, poison=_quarantined(unit, unit.group, reason, detail))

    def count_retry(self, error: Exception) -> None:
        """Count it by what was away."""
        is_bus = isinstance(error, BUS_AWAY) and not isinstance(error, DATABASE_AWAY)
        PASSES_RETRIED.labels("bus" if is_bus else "database").inc()

    async def carry_out(self, units: Sequence[FrameUnit]) -> list[Changed]:
        """Judge, publish and save these groups once; returns the downlinks that devices have acknowledged."""
        judged = self._judge(units)
        await self._publish(judged)
        leases = list({id(unit.shard): unit.shard.lease for unit in units}.values())
        async with self._sessions.lock:
            async with fenced(self._pool, leases) as connection:
                joins = await self._admit(connection, judged)
                acknowledged = await self._save(connection, judged)
            self._apply(judged, joins)
        self._write_report(judged, joins)
        self._answer(judged, joins)
        return acknowledged

    def _judge(self, units: Sequence[FrameUnit]) -> Judged:
        """Decide about every group, in the order of the stream; memory stays as it is."""
        judged = Judged(now_us=self._clock())
        for item in units:
            if item.poison is not None:
                judged.poison.append(item.poison)
            if item.group is None:
                continue
            try:
                self._judge_group(judged, item, item.group)
            except Exception as broken:
                log.exception("frame_quarantined", **reception_fields(item.group.first))
                defect = _quarantined(item, item.group, QuarantineReason.DEFECT, describe_defect(broken))
                judged.poison.append(defect)
        return judged

    def _judge_group(self, judged: Judged, item: FrameUnit, group: Group) -> None:
        try:
            m_type = mtype_of(group.phy_payload)
        except MalformedFrame:
            judged.refused.append((item, RejectedFrame(RejectReason.MALFORMED)))
            return
        if m_type is MType.JOIN_REQUEST:
            judged.joins.append(item)
            return
        if m_type not in DATA_UP:
            judged.refused.append((item, RejectedFrame(RejectReason.IGNORED)))  # Matrix row 48.
            return
        frame = read_frame(group.phy_payload)
        if isinstance(frame, RejectedFrame):
            judged.refused.append((item, frame))
            return
        made, devices = judged.progress, self._devices
        candidates = [
            Candidate(
                held,
                made.get(held.id) or held.progress,
                devices.is_enabled(held.device_id),
                devices.policy_of(held.device_id),
            )
            for held in self._sessions.of_dev_addr(frame.dev_addr)
        ]
        outcome = receive_data(group, frame, candidates, judged.now_us)
        if isinstance(outcome, RejectedFrame):
            judged.refused.append((item, outcome))
            return
        judged.received.append((item, outcome))
        if outcome.progress is not None:
            judged.progress[outcome.session.id] = outcome.progress

    async def _publish(self, judged: Judged) -> None:
        """Publish per shard, one message after the other; raises when the bus does not acknowledge."""
        by_shard: dict[int, list[Uplink]] = {}
        shards: dict[int, Shard] = {}
        for item, received in judged.received:
            by_shard.setdefault(item.shard.number, []).append(received.uplink)
            shards[item.shard.number] = item.shard

        async def publish(number: int) -> None:
            for octets in encode_batches(by_shard[number], MAX_ITEMS):
                shards[number].lease.check()
                message_id = blake2b(octets, digest_size=16).hexdigest()
                await self.bus.publish_once(topics.uplinks(number), octets, message_id)

        results = await asyncio.gather(*(publish(number) for number in by_shard), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _admit(self, connection: Connection, judged: Judged) -> list[Admitted | JoinRejected]:
        groups = [item.group for item in judged.joins if item.group is not None]
        return await self._joins.admit(connection, groups, self._clock()) if groups else []

    async def _save(self, connection: Connection, judged: Judged) -> list[Changed]:
        if judged.poison:
            await quarantine(connection, SERVICE, judged.poison)
        if not judged.progress:
            return []
        await store.save_sessions(connection, judged.progress)
        await self._save_mac(connection, judged)
        first_used = [received.session for _, received in judged.received if received.first_of_session]
        if first_used:
            await store.close_older_sessions(connection, first_used)
        acknowledging = [r.session.device_id for _, r in judged.received if r.device_acknowledged]
        if not acknowledging:
            return []
        return await acknowledge_downlinks(connection, self.shards.slots(), acknowledging)

    async def _save_mac(self, connection: Connection, judged: Judged) -> None:
        """Save what few uplinks change: MAC requests and answers, and DevStatusAns."""
        changed: dict[int, Progress] = {}
        statuses: dict[int, tuple[DevStatusAns, int]] = {}
        for _, received in judged.received:
            news = received.mac
            if news is None:
                continue
            if news.is_worth_saving:
                changed[received.session.id] = judged.progress[received.session.id]
            if news.status is not None:
                statuses[received.session.device_id] = (news.status, received.uplink.time_us)
        if changed:
            await store.save_mac_states(connection, changed)
        if statuses:
            await store.save_statuses(connection, statuses)

    def _apply(self, judged: Judged, joins: Sequence[Admitted | JoinRejected]) -> None:
        """Bring memory to what was committed."""
        for session_id, progress in judged.progress.items():
            self._sessions.advance(session_id, progress)
        for _, received in judged.received:
            if received.first_of_session:
                self._sessions.close_older(received.session.device_id, received.session.id)
        for join in joins:
            if isinstance(join, Admitted) and self.shards.of_slot(join.session.slot) is not None:
                self._devices.add_device(join.device)
                self._sessions.add_session(join.session)
                for session_id in join.superseded:
                    self._sessions.remove(session_id)

    def _write_report(self, judged: Judged, joins: Sequence[Admitted | JoinRejected]) -> None:
        QUARANTINED.inc(len(judged.poison))
        if joins:
            SESSIONS_HELD.set(len(self._sessions))
        came = {id(item.group): place for place, item in enumerate(judged.joins)}
        joins_in_order = sorted(joins, key=lambda join: came[id(join.group)])
        self._report.write(judged.received, judged.refused, joins_in_order, judged.now_us)

    def _answer(self, judged: Judged, joins: Sequence[Admitted | JoinRejected]) -> None:
        self._downlinks.accept(join for join in joins if isinstance(join, Admitted))
        self._downlinks.queue_answers(
            AnswerCandidate(received.opportunity, received.progress is not None, received.device_acknowledged)
            for _, received in judged.received
            if received.opportunity is not None
        )


def _quarantined(item: FrameUnit, group: Group, reason: QuarantineReason, detail: str) -> Quarantined:
    subject = topics.frames(item.shard.number)
    return Quarantined(subject, group.sequences[0], reason, group.phy_payload, detail)


def worker_of(pool: Pool, uplinks: Uplinks, settings: NetworkServerSettings) -> ShardWorker[FrameUnit]:
    """A worker that reads one fetch ahead, since the stream's clock is known from the last message read."""

    def linger_s(last_frames: int) -> float:
        return LINGER_S if last_frames >= USUAL_GROUPS else 0.0

    pace = Pace(settings.fetch_messages, MAX_FRAMES, read_ahead=0, linger_s=linger_s, every_s=BATCH_EVERY_S)
    return ShardWorker(pool, uplinks, pace)
