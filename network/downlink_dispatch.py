"""Asks gateways to transmit a downlink, one after the other, each with its own FCntDown."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import msgspec
import structlog

from core.messages import topics
from core.messages.downlinks import Transmission, TransmitReply, TransmitRequest, decode_reply, encode_transmit
from core.messages.live_frames import LiveFrame, LiveReception
from core.model.downlinks import DownlinkReason, DownlinkState, DueDownlink
from core.runtime.bus import BUS_AWAY, Bus, NoResponders
from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.errors import describe
from core.runtime.lease import LeaseLost
from core.runtime.ownership import fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from lorawan.crypto import WrongKek
from lorawan.frame_lines import header_of
from lorawan.instants import from_us, to_us
from lorawan.regions.region import HOUR_US
from lorawan.windows import Window
from network import downlink_frame, store
from network.downlink_frame import Attempt, PlannedDownlink
from network.join_pressure import JoinPressure
from network.live_frames import LiveFrames
from network.sessions import SessionReception
from network.settings import NetworkServerSettings
from network.shards import Shard, Shards, nudge_done
from network.telemetry import DOWNLINK_DELAY, DOWNLINKS
from registry import downlinks
from registry.downlinks import MAX_ATTEMPTS, Changed, Settlement
from registry.group_keys import group_message
from registry.keys import key_wrap_of

OK = "OK"
# Nothing was received of the gateway, or no bridge has a path to it: it is not asked for another window.
SILENT = ("NO_ACK", DownlinkReason.GATEWAY_UNREACHABLE, DownlinkReason.GATEWAY_NO_ANSWER)
HOPELESS = (
    DownlinkReason.PAYLOAD_TOO_LARGE,
    DownlinkReason.INTERNAL_ERROR,
    DownlinkReason.WRONG_KEK,
    DownlinkReason.SUPERSEDED,
)
# Results without an attempt: the row waits until its `not_after`.
WAITING = (DownlinkReason.GATEWAY_UNREACHABLE, DownlinkReason.DUTY_CYCLE_OVERFLOW)
# Beyond the window: the gateway's TX_ACK, or the bridge's knowledge that none will come.
ANSWER_MARGIN_S = 5.0
RETRY_AFTER_US = (2_000_000, 5_000_000, 10_000_000)
# Every request uses up an FCntDown, and a device follows a gap of 16384: with two minutes between requests the
# gateway may be away for three weeks.
SHORTEST_WAIT_US, LONGEST_WAIT_US = 5_000_000, 120_000_000
GUARD_US = 100_000
# A bridge says when a frame starts by its own clock, which may be wrong; by ours no window opens later after its
# uplink (RxDelay 15, and RX2), and no answer comes later than this.
LATEST_START_US, LATEST_ANSWER_US = 20_000_000, 5_000_000
# How long the shard's drain waits for gateways' answers, which usually come within milliseconds.
FINISH_S = 3.0
MAX_REMEMBERED = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TransmitOutcome:
    """What became of one frame.

    `status` OK: a gateway has it in its queue, to start at `starts_at_us`. Else a DownlinkReason, or an error of
    the gateway's own that is none.
    """

    status: str
    gateway_id: bytes | None = None
    starts_at_us: int = 0
    fits_at_us: int = 0
    transmission: Transmission | None = None


class _Asked:
    """What the gateways that were asked for one frame have left to the others."""

    def __init__(self, planned: PlannedDownlink) -> None:
        self._planned = planned
        self._silent: set[bytes] = set()
        self._on_air_delay_us = -1  # Of the last window in which a gateway that stays silent may transmit.
        self.outcome: TransmitOutcome | None = None

    def windows_left(self, attempt: Attempt, now_us: int) -> list[Window]:
        """Those to ask this gateway for; none when it can serve none, or not the one that comes first."""
        reception = attempt.reception
        if reception.gateway_id in self._silent:
            return []
        windows = [
            window
            for window in downlink_frame.fitting(self._planned, attempt.windows)
            if window.delay_us > self._on_air_delay_us and downlink_frame.is_open(window, reception, now_us)
        ]
        if attempt.falls_back or windows[:1] == [attempt.windows[0]]:
            return windows
        return []

    def record_rejection(self, request: TransmitRequest, reply: TransmitReply) -> None:
        """It has not taken the frame, or nobody knows whether it has."""
        # A join-accept is one text whatever its window: a gateway that dropped it in RX1 may still send it in RX2.
        if reply.status in SILENT and not self._planned.accept:
            self._silent.add(request.gateway_id)
            asked_for = None if reply.index < 0 else request.transmissions[reply.index]
            if asked_for is not None and not asked_for.immediate:
                self._on_air_delay_us = asked_for.delay_us
        fits_at_us = min(filter(None, (self.outcome and self.outcome.fits_at_us, reply.fits_at_us)), default=0)
        self.outcome = TransmitOutcome(reply.status, request.gateway_id, fits_at_us=fits_at_us)


class Dispatcher:
    """Asks gateways to transmit, in a bounded number of tasks; a device has one downlink under way at a time."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: Shards,
        settings: NetworkServerSettings,
        tasks: asyncio.TaskGroup,
        clock: WallClock = wall_clock_us,
        live: LiveFrames | None = None,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._shards = shards
        self._settings = settings
        self._keys = key_wrap_of(settings)
        self._live = live
        self._clock = clock
        self._group = tasks
        self._room = asyncio.Semaphore(settings.requests_in_flight)
        self._busy: Counter[int] = Counter()
        self._rows: set[int] = set()
        self._asked: Counter[bytes] = Counter()  # Requests that a gateway has not answered yet, by gateway.
        self._accepts: dict[int, None] = {}  # Sessions whose join-accept is on its way or transmitted.
        self._on_air_until_us: dict[int, int] = {}
        self._pressure = JoinPressure()
        self._tasks: dict[asyncio.Task[None], int] = {}  # With the slot of each.
        self._freed: Callable[[], None] = lambda: None
        shards.on_leaving(self._finish)

    def on_free(self, freed: Callable[[], None]) -> None:
        """Call `freed` each time that the downlink of a device has ended and the next may be planned."""
        self._freed = freed

    def is_busy(self, device_id: int) -> bool:
        """Whether a frame for this device is on its way to a gateway."""
        return device_id in self._busy

    def rows_in_flight(self) -> list[int]:
        """The downlink rows whose frames are on their way; any other row in state `sending` was left over."""
        return list(self._rows)

    def on_air_until_us(self, device_id: int) -> int:
        """When the last frame for this device is off the air."""
        return self._on_air_until_us.get(device_id, 0)

    def start(self, planned: PlannedDownlink, f_cnt: int) -> None:
        """Send a data frame whose counter and row are committed."""
        self._spawn(planned, f_cnt)

    def start_accept(self, planned: PlannedDownlink) -> None:
        """Send a join-accept, unless the same is on its way or out already."""
        if planned.session.id in self._accepts:
            return
        self._accepts[planned.session.id] = None
        while len(self._accepts) > MAX_REMEMBERED:
            del self._accepts[next(iter(self._accepts))]
        self._pressure.record_joins([copy.gateway_id for copy in planned.routes], self._clock())
        self._spawn(planned, 0)

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is on its way, so that its rows say what became of it; the rest is made again later."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()

    async def _finish(self, slots: Collection[int]) -> None:
        """Finish the frames of a shard that is given away: its next owner might transmit unsettled ones twice."""
        tasks = [task for task, slot in self._tasks.items() if slot in slots]
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_S)

    def _spawn(self, planned: PlannedDownlink, f_cnt: int) -> None:
        self._busy[planned.device_id] += 1
        if planned.row is not None:
            self._rows.add(planned.row.id)
        task = self._group.create_task(self._carry(planned, f_cnt), name=f"downlink to device {planned.device_id}")
        self._tasks[task] = planned.session.slot
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _carry(self, planned: PlannedDownlink, f_cnt: int) -> None:
        shard = self._shards.of_slot(planned.session.slot)
        try:
            if shard is None:
                return
            async with self._room:
                outcome = await self._transmit_safely(shard, planned, f_cnt)
            self._record_outcome(planned, outcome)
            if planned.row is not None:
                if outcome.status == OK:
                    asked_us = to_us(planned.row.created_at)
                    DOWNLINK_DELAY.observe(max(0, outcome.starts_at_us - asked_us) / 1_000_000)
                await self._settle(shard, planned.row, outcome, is_class_c=planned.is_class_c)
        except LeaseLost as lost:
            # The row stays `sending`: the shard's next owner makes the request again.
            log.warning("downlink_dropped", error=str(lost))
            if shard is not None:
                self._shards.drop(shard)
        finally:
            if planned.row is not None:
                self._rows.discard(planned.row.id)
            self._busy[planned.device_id] -= 1
            if not self._busy[planned.device_id]:
                del self._busy[planned.device_id]
            self._freed()

    def _record_outcome(self, planned: PlannedDownlink, outcome: TransmitOutcome) -> None:
        DOWNLINKS.labels("sent" if outcome.status == OK else outcome.status.lower()).inc()
        if self._live is not None and self._live.looks:
            self._live.record_downlink(_live_frame(planned, outcome, self._clock()), planned.device_id)
        if planned.accept and outcome.status != OK:
            self._accepts.pop(planned.session.id, None)
        if len(self._on_air_until_us) > MAX_REMEMBERED:
            now_us = self._clock()
            self._on_air_until_us = {d: until for d, until in self._on_air_until_us.items() if until > now_us}

    async def _transmit_safely(self, shard: Shard, planned: PlannedDownlink, f_cnt: int) -> TransmitOutcome:
        try:
            framed = await self._with_group_keys(planned)
            if isinstance(framed, DownlinkReason):
                return TransmitOutcome(framed)
            return await self._transmit(shard, framed, f_cnt)
        except DATABASE_AWAY as away:
            log.warning("downlink_interrupted", error=describe(away))
            return TransmitOutcome(DownlinkReason.DATABASE_AWAY)
        except (ValueError, OverflowError) as wrong:  # This frame cannot be built; the next one may.
            log.error("downlink_not_built", device_id=planned.device_id, error=str(wrong))
            return TransmitOutcome(DownlinkReason.INTERNAL_ERROR)

    async def _with_group_keys(self, planned: PlannedDownlink) -> PlannedDownlink | DownlinkReason:
        """With the octets of a row that gives a group's keys, which only its frame has; or why it cannot."""
        row = planned.row
        if row is None or row.keys_of_group is None:
            return planned
        try:
            octets = await group_message(self._pool, self._keys, row.keys_of_group)
        except WrongKek:
            return DownlinkReason.WRONG_KEK
        if octets is None:  # The group was removed a moment ago.
            return DownlinkReason.SUPERSEDED
        return replace(planned, row=replace(row, payload=octets))

    async def _transmit(self, shard: Shard, planned: PlannedDownlink, f_cnt: int) -> TransmitOutcome:
        """Ask one gateway after the other until one has the frame, or no window is left."""
        attempts = self._attempts(planned)
        if attempts and not any(downlink_frame.fitting(planned, attempt.windows) for attempt in attempts):
            return TransmitOutcome(DownlinkReason.PAYLOAD_TOO_LARGE)
        asked = _Asked(planned)
        for attempt in attempts:
            if self._clock() > planned.latest_us:
                break
            windows = asked.windows_left(attempt, self._clock())
            if not windows:
                continue  # They have passed, or this gateway is too far away; another one may be in time.
            if asked.outcome is not None and not planned.accept:
                numbered = await self._another_f_cnt(shard, planned, attempt.reception)
                if numbered is None:
                    return TransmitOutcome(DownlinkReason.SESSION_CLOSED)
                f_cnt = numbered
            phy_payload = downlink_frame.frame(planned, windows, f_cnt)
            request = downlink_frame.request(planned, attempt, windows, phy_payload, self._clock())
            if request is None:
                continue
            shard.lease.check()
            reply = await self._ask(request)
            if reply.status == OK:
                return self._sent(planned, request, reply)
            asked.record_rejection(request, reply)
        return asked.outcome or TransmitOutcome(DownlinkReason.TOO_LATE)

    def _attempts(self, planned: PlannedDownlink) -> list[Attempt]:
        load = self._asked.__getitem__
        return downlink_frame.attempts(
            planned, self._settings.gateways_tried, self._is_below_limit, load, self._clock()
        )

    def _is_below_limit(self, gateway_id: bytes) -> bool:
        return self._pressure.is_below_limit(gateway_id, self._clock())

    async def _ask(self, request: TransmitRequest) -> TransmitReply:
        """Ask a gateway; until it answers, the request counts as load of this gateway when others are ranked."""
        self._asked[request.gateway_id] += 1
        try:
            return await ask_gateway(self._bus, request)
        finally:
            self._asked[request.gateway_id] -= 1
            if not self._asked[request.gateway_id]:
                del self._asked[request.gateway_id]

    def _sent(self, planned: PlannedDownlink, request: TransmitRequest, reply: TransmitReply) -> TransmitOutcome:
        transmission = request.transmissions[max(0, min(reply.index, len(request.transmissions) - 1))]
        now_us = self._clock()
        starts_at_us = reply.starts_at_us or (request.uplink_at_us or now_us) + transmission.delay_us
        starts_at_us = max(now_us - LATEST_ANSWER_US, min(starts_at_us, now_us + LATEST_START_US))
        ends_at_us = starts_at_us + downlink_frame.airtime_us(transmission) + GUARD_US
        self._on_air_until_us[planned.device_id] = ends_at_us
        return TransmitOutcome(OK, request.gateway_id, starts_at_us, transmission=transmission)

    async def _another_f_cnt(
        self, shard: Shard, planned: PlannedDownlink, reception: SessionReception
    ) -> int | None:
        """The counter for the next gateway: the former one is used up, whatever its gateway did."""
        async with fenced(self._pool, [shard.lease]) as connection:
            f_cnts = await store.advance_f_cnt_down(connection, [planned.session.id])
            f_cnt = f_cnts.get(planned.session.id)
            if f_cnt is not None and planned.row is not None:
                await downlinks.save_f_cnt_down(connection, [planned.row.id], [f_cnt], [reception.gateway_id])
        return f_cnt

    async def _settle(self, shard: Shard, row: DueDownlink, outcome: TransmitOutcome, *, is_class_c: bool) -> None:
        """Write what became of the row, however long the database is away, while the shard is ours."""
        settlement = settlement_of(row, outcome, self._clock(), is_class_c=is_class_c)
        changed: list[Changed] = []
        while True:
            try:
                async with fenced(self._pool, [shard.lease]) as connection:
                    changed = await downlinks.settle(connection, settlement)
                break
            except DATABASE_AWAY as away:
                log.warning("downlink_not_settled", downlink_id=row.id, error=describe(away))
                await asyncio.sleep(0.5)
        if settlement.state is DownlinkState.FAILED:
            log.warning("downlink_failed", downlink_id=row.id, reason=settlement.reason)
        await nudge_done(self._bus, changed, self._shards.count)


def _live_frame(planned: PlannedDownlink, outcome: TransmitOutcome, now_us: int) -> LiveFrame:
    """What viewers are shown of a downlink."""
    sent = outcome.transmission
    has_keys = planned.row is not None and planned.row.keys_of_group is not None
    return LiveFrame(
        kind="join_accept" if planned.accept else "downlink",
        at_us=outcome.starts_at_us or now_us,
        outcome=str(outcome.status),
        octets=0 if sent is None else len(sent.phy_payload),
        frequency=0 if sent is None else sent.frequency,
        spreading_factor=0 if sent is None else sent.spreading_factor,
        receptions=[
            LiveReception(route.gateway_id, route.rssi, route.snr)
            for route in planned.routes
            if route.gateway_id == outcome.gateway_id
        ],
        dev_addr=bytes(planned.session.dev_addr),
        f_port=None if planned.row is None else planned.row.f_port,
        phy_payload=b"" if sent is None else header_of(sent.phy_payload) if has_keys else sent.phy_payload,
    )


async def ask_gateway(bus: Bus, request: TransmitRequest) -> TransmitReply:
    """Ask the bridge replica that holds a gateway's path; its answer, or the reason why there is none."""
    delay_us = max(transmission.delay_us for transmission in request.transmissions)
    timeout_s = ANSWER_MARGIN_S + (delay_us or downlink_frame.CLASS_C_PATIENCE_US) / 1_000_000
    try:
        octets = await bus.request(topics.gateway_down(request.gateway_id), encode_transmit(request), timeout_s)
        return decode_reply(octets)
    except NoResponders:
        return TransmitReply(DownlinkReason.GATEWAY_UNREACHABLE, -1, 0, 0)
    except (*BUS_AWAY, msgspec.MsgspecError) as away:
        log.warning("gateway_not_asked", gw_eui=request.gateway_id.hex(), error=str(away))
        return TransmitReply(DownlinkReason.GATEWAY_NO_ANSWER, -1, 0, 0)


def settlement_of(row: DueDownlink, outcome: TransmitOutcome, now_us: int, *, is_class_c: bool) -> Settlement:
    """What is written to the row: sent, to be tried again later, or failed after three attempts."""
    if outcome.status == OK:
        return Settlement(
            row.id, DownlinkState.SENT, gateway_id=outcome.gateway_id, sent_at=from_us(outcome.starts_at_us)
        )
    attempt = row.attempts + 1  # `attempts` was read before this one was marked.
    waits = outcome.status in WAITING
    if outcome.status in HOPELESS or (attempt >= MAX_ATTEMPTS and not waits):
        return Settlement(row.id, DownlinkState.FAILED, outcome.status, outcome.gateway_id)
    pause_us = RETRY_AFTER_US[min(attempt, len(RETRY_AFTER_US)) - 1]
    if waits and is_class_c:  # A class A device's next uplink is pause enough.
        age_us = now_us - to_us(row.created_at)
        pause_us = min(max(age_us // 10, SHORTEST_WAIT_US), LONGEST_WAIT_US)
    latest_fit_us = HOUR_US if outcome.status == DownlinkReason.DUTY_CYCLE_OVERFLOW else LATEST_START_US
    again_us = max(now_us + pause_us, min(outcome.fits_at_us, now_us + latest_fit_us))
    return Settlement(
        row.id,
        DownlinkState.QUEUED,
        outcome.status,
        outcome.gateway_id,
        not_before=from_us(again_us),
        counts=not waits,
    )
