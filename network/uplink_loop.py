"""The pass: from frames that were read to uplinks that are published, sessions that are saved, messages that are
acknowledged. A crash between any two steps means that the same frames come again and make the same uplinks.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import structlog

from core.messages import topics
from core.messages.batch import encode_batches
from core.messages.frames import Frame
from core.messages.uplinks import Uplink
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.clock import wall_clock_us
from core.runtime.errors import describe
from core.runtime.lease import LeaseLost
from core.runtime.ownership import ShardsLost, fenced
from core.runtime.postgres import BAD_DATA, DATABASE_AWAY, Connection, Pool, PostgresError
from lorawan.commands.dev_status import DevStatusAns
from lorawan.frame import MalformedFrame, MType, mtype_of
from lorawan.mac_state import MacPolicy
from lorawan.session import MAX_F_CNT_GAP, RejectReason
from network import downlink_store, store, uplink_trace
from network.deduplication import Group, best_copies
from network.device_cache import DeviceCache
from network.downlink_planner import Downlinks, Offer
from network.downlink_store import Changed
from network.join_handler import Admitted, JoinDesk, JoinRefused
from network.receive import Received, Refused, receive_data
from network.rejections import Refusals
from network.sessions import Progress, SessionTable
from network.shards import Shard, Shards, nudge_done
from network.store import Poison
from network.stream_reader import Work, acknowledge, cut, lay_down, pick_up, take
from network.telemetry import (
    DEDUP_RECEPTIONS,
    F_CNT_GAPS,
    FRAMES,
    JOINS,
    MAC_REFUSED,
    MIC_FAILURES,
    OFF_PLAN,
    PASS_SECONDS,
    PASSES_RETRIED,
    QUARANTINED,
    SESSIONS_HELD,
    SparseLog,
)

MAX_ITEMS = 500  # Of a published message.
# A pass costs a transaction, and a message for each shard, however few its frames: what comes within this time of
# the last one goes together. A frame that comes alone does not wait.
PASS_EVERY_S = 0.04
# Of one transaction, after which memory follows and leases are renewed; a backlog brings more than this at once.
MAX_WORK = 2_000
IDLE_S = 1.0
RETRY_S = (0.1, 0.3, 1.0, 2.0)
# Not the frames' fault, unless the database refuses a value: the same again will pass.
PASSING = (PostgresError, *DATABASE_AWAY, *BUS_AWAY)
MIC_FAILED = str(RejectReason.MIC)  # Of a data frame and of a join-request.
DATA_UP = (MType.UNCONFIRMED_DATA_UP, MType.CONFIRMED_DATA_UP)
_MTYPE_LABELS = tuple(m_type.name.lower() for m_type in MType)

log = structlog.get_logger()


@dataclass(slots=True)
class Judged:
    """What a pass will do; nothing of it has happened yet."""

    now_us: int
    received: list[tuple[Work, Received]] = field(default_factory=list[tuple[Work, Received]])
    refused: list[tuple[Work, Refused]] = field(default_factory=list[tuple[Work, Refused]])
    joins: list[Work] = field(default_factory=list[Work])
    poison: list[Poison] = field(default_factory=list[Poison])
    progress: dict[int, Progress] = field(default_factory=dict[int, Progress])


class UplinkPass:
    """Works through what the readers of the owned shards bring, all shards together."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: Shards,
        sessions: SessionTable,
        devices: DeviceCache,
        joins: JoinDesk,
        downlinks: Downlinks,
        policy: MacPolicy,
        refusals: Refusals,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._shards = shards
        self._sessions = sessions
        self._devices = devices
        self._joins = joins
        self._downlinks = downlinks
        self._policy = policy
        self._refusals = refusals
        self._sparse = SparseLog()

    async def run(self, stopping: asyncio.Event) -> None:
        """Pass after pass until told to stop; the pass in hand is finished."""
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s()):
                    await self._shards.something_to_do.wait()
            self._shards.something_to_do.clear()
            started = loop.time()
            if await self.step():
                await asyncio.sleep(max(0.0, started + PASS_EVERY_S - loop.time()))

    def _patience_s(self) -> float:
        now = asyncio.get_running_loop().time()
        waits = [shard.closes_in_s(now) for shard in self._shards.owned()]
        return min((wait for wait in waits if wait is not None), default=IDLE_S)

    async def step(self) -> bool:
        """One pass: take what was read and closed, see it through, acknowledge it; whether there was anything."""
        work = [item for shard in self._shards.owned() for item in await take(shard)]
        for part in cut(work, MAX_WORK):
            with PASS_SECONDS.time():
                done = await self._see_through(part)
                await acknowledge(done)
        return bool(work)

    async def _see_through(self, work: list[Work]) -> list[Work]:
        """Do it, however often the database or the bus is away; never read past it.

        Returns the work that is done: that of shards that were lost meanwhile is left to their new owner.
        """
        attempt = 0
        while work := [item for item in work if item.shard.is_ours]:
            try:
                await pick_up(work)
                await self._carry_out(work)
                await lay_down(work)
            except ShardsLost as lost:
                self._shards.drop_all(lost.shards)
            except LeaseLost:
                for item in work:
                    self._drop_if_overdue(item.shard)
            except Exception as broken:
                if isinstance(broken, PASSING) and not isinstance(broken, BAD_DATA):
                    await self._put_off(work, broken, attempt)
                    attempt += 1
                elif len(work) == 1 and work[0].poison is None:
                    log.exception("frame_quarantined")
                    work = [_poisoned(work[0], broken)]
                elif len(work) == 1:
                    raise
                else:
                    # One item breaks the statement of all: find it.
                    half = len(work) // 2
                    return await self._see_through(work[:half]) + await self._see_through(work[half:])
            else:
                return work
        return []

    async def _put_off(self, work: Sequence[Work], failed: Exception, attempt: int) -> None:
        is_bus = isinstance(failed, BUS_AWAY) and not isinstance(failed, DATABASE_AWAY)
        PASSES_RETRIED.labels("bus" if is_bus else "database").inc()
        log.warning("pass_retried", attempt=attempt, error=describe(failed))
        await self._keep_messages(work)
        await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])

    def _drop_if_overdue(self, shard: Shard) -> None:
        try:
            shard.lease.check()
        except LeaseLost as lost:
            log.warning("shard_lost", shard=shard.number, error=str(lost))
            self._shards.drop(shard)

    async def _keep_messages(self, work: Sequence[Work]) -> None:
        """Everything that is held stays ours while we wait."""
        with contextlib.suppress(*BUS_AWAY):
            for shard in {id(item.shard): item.shard for item in work}.values():
                for held in shard.held.values():
                    await held.message.in_progress()
                for message in shard.inbox:
                    await message.in_progress()

    async def _carry_out(self, work: Sequence[Work]) -> None:
        judged = self._judge(work)
        await self._publish(judged)
        leases = list({id(item.shard): item.shard.lease for item in work}.values())
        async with self._sessions.lock:
            async with fenced(self._pool, leases) as connection:
                joins = await self._admit(connection, judged)
                acknowledged = await self._save(connection, judged)
            self._apply(judged, joins)
        self._count(judged, joins)
        uplink_trace.tell(judged.received, judged.refused, joins, self._devices, judged.now_us)
        self._answer(judged, joins)
        await nudge_done(self._bus, acknowledged, self._shards.count)

    def _judge(self, work: Sequence[Work]) -> Judged:
        """Decide about every group, in the order of the stream; memory stays as it is."""
        judged = Judged(now_us=wall_clock_us())
        for item in work:
            if item.poison is not None:
                judged.poison.append(item.poison)
            if item.group is None:
                continue
            try:
                self._judge_group(judged, item, item.group)
            except Exception as broken:
                log.exception("frame_quarantined", **_heard(item.group.first))
                judged.poison.append(_poison(item, item.group, broken))
        return judged

    def _judge_group(self, judged: Judged, item: Work, group: Group) -> None:
        try:
            m_type = mtype_of(group.phy_payload)
        except MalformedFrame:
            judged.refused.append((item, Refused("malformed")))
            return
        if m_type is MType.JOIN_REQUEST:
            judged.joins.append(item)
            return
        if m_type not in DATA_UP:
            judged.refused.append((item, Refused("ignored")))  # Matrix row 48.
            return
        made, policy = judged.progress, self._policy
        outcome = receive_data(group, self._sessions, self._devices, made, policy, judged.now_us)
        if isinstance(outcome, Refused):
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
                await self._bus.publish_once(topics.uplinks(number), octets, message_id)

        results = await asyncio.gather(*(publish(number) for number in by_shard), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _admit(self, connection: Connection, judged: Judged) -> list[Admitted | JoinRefused]:
        groups = [item.group for item in judged.joins if item.group is not None]
        return await self._joins.admit(connection, groups, wall_clock_us()) if groups else []

    async def _save(self, connection: Connection, judged: Judged) -> list[Changed]:
        if judged.poison:
            await store.quarantine(connection, judged.poison)
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
        return await downlink_store.acknowledge(connection, self._shards.slots(), acknowledging)

    async def _save_mac(self, connection: Connection, judged: Judged) -> None:
        """What few uplinks change: what was asked and answered, and what devices say of themselves."""
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

    def _apply(self, judged: Judged, joins: Sequence[Admitted | JoinRefused]) -> None:
        """The commit has happened: memory follows."""
        for session_id, progress in judged.progress.items():
            self._sessions.advance(session_id, progress)
        for _, received in judged.received:
            if received.first_of_session:
                self._sessions.close_older(received.session.device_id, received.session.id)
        for join in joins:
            if isinstance(join, Admitted) and self._shards.of_slot(join.session.slot) is not None:
                self._devices.add(join.device)
                self._sessions.add(join.session)
                for session_id in join.superseded:
                    self._sessions.remove(session_id)

    def _answer(self, judged: Judged, joins: Sequence[Admitted | JoinRefused]) -> None:
        self._downlinks.accept(join for join in joins if isinstance(join, Admitted))
        self._downlinks.offer(
            Offer(received.opportunity, received.progress is not None, received.device_acknowledged)
            for _, received in judged.received
            if received.opportunity is not None
        )

    def _count(self, judged: Judged, joins: Sequence[Admitted | JoinRefused]) -> None:
        QUARANTINED.inc(len(judged.poison))
        frames: Counter[tuple[str, str]] = Counter()
        heard: Counter[int] = Counter()
        for item, received in judged.received:
            frames[_mtype_label(item), received.outcome] += 1
            if received.progress is not None:
                heard[len(received.uplink.heard_by)] += 1
            self._note(received)
        for item, refused in judged.refused:
            frames[_mtype_label(item), refused.reason] += 1
            if item.group is not None:
                first, dev_addr = item.group.first, refused.dev_addr
                self._sparse.warning("frame_refused", refused.reason, dev_addr=dev_addr.hex(), **_heard(first))
                self._refusals.note(dev_addr, refused.reason, refused.device_id, first.gateway_id)
        came = {id(item.group): place for place, item in enumerate(judged.joins)}
        self._count_joins(sorted(joins, key=lambda join: came[id(join.group)]), frames, heard)
        for (mtype, outcome), count in frames.items():
            FRAMES.labels(mtype, outcome).inc(count)
            if outcome == MIC_FAILED:
                MIC_FAILURES.inc(count)
        for copies, count in heard.items():
            DEDUP_RECEPTIONS.observe(copies, count)
        if joins:
            SESSIONS_HELD.set(len(self._sessions))

    def _count_joins(
        self, joins: Sequence[Admitted | JoinRefused], frames: Counter[tuple[str, str]], heard: Counter[int]
    ) -> None:
        for join in joins:
            JOINS.labels(join.result).inc()
            frames["join_request", join.result] += 1
            heard[len(best_copies(join.group.copies))] += 1
            if isinstance(join, JoinRefused):
                first, dev_eui = join.group.first, join.dev_eui
                self._sparse.warning("join_refused", join.result, dev_eui=dev_eui.hex(), **_heard(first))
                self._refusals.note(dev_eui, join.result, 0, first.gateway_id, join.dev_nonce)
            elif not join.repeated:
                self._refusals.forgive(join.device.dev_eui)

    def _note(self, received: Received) -> None:
        """Count and log what is odd about an uplink that is published all the same."""
        device_id = received.session.device_id
        if received.missed > MAX_F_CNT_GAP:
            F_CNT_GAPS.inc()
            self._sparse.warning("f_cnt_gap", "gap", device_id=device_id, missed=received.missed)
        if received.is_off_plan:
            OFF_PLAN.inc()
            uplink = received.uplink
            self._sparse.warning(
                "uplink_off_plan",
                "channel",
                device_id=device_id,
                frequency=uplink.frequency,
                spreading_factor=uplink.spreading_factor,
                bandwidth=uplink.bandwidth,
            )
        if received.mac is not None:
            for cid in received.mac.refused:
                MAC_REFUSED.labels(f"{cid:02x}").inc()
                self._sparse.warning("mac_command_refused", f"{cid:02x}", device_id=device_id)


def _heard(first: Frame) -> dict[str, str]:
    """Of a line about a frame: who heard it, and how to follow it."""
    return {"gw_eui": first.gateway_id.hex(), "trace_id": first.trace_id.hex()}


def _mtype_label(item: Work) -> str:
    phy_payload = b"" if item.group is None else item.group.phy_payload
    return _MTYPE_LABELS[phy_payload[0] >> 5] if phy_payload else "none"


def _poison(item: Work, group: Group, broken: Exception) -> Poison:
    reason = f"{type(broken).__name__}: {broken}"
    return Poison(topics.frames(item.shard.number), group.sequences[0], reason, group.phy_payload)


def _poisoned(item: Work, broken: Exception) -> Work:
    poison = None if item.group is None else _poison(item, item.group, broken)
    return Work(item.shard, poison=poison, sequences=item.sequences)
