"""Sends a message to a multicast group through one gateway after the other, and repeats it.

The owner of the group's slot has its FCntDown. A message has one counter and is one frame, whichever gateway
transmits it and however often: a member that has it ignores repetitions, and an owner that takes over may repeat
it. Gateways that reach the same members would collide, so they transmit in turn.
"""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.messages.downlinks import Transmission, TransmitReply, TransmitRequest
from core.model.downlinks import DownlinkReason
from core.runtime.bus import Bus
from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.errors import describe
from core.runtime.lease import LeaseLost
from core.runtime.ownership import ShardsLost, fenced
from core.runtime.postgres import DATABASE_AWAY, Pool
from lorawan.airtime import Priority
from lorawan.crypto import SessionCipher, SessionKeys, WrongKek
from lorawan.identifiers import DevAddr
from lorawan.instants import to_us
from lorawan.multicast import MemberReception, build_multicast, gateways_for, repeats_of
from lorawan.regions import EU868, REQUIRED_SNR, Lora
from network import multicast_store
from network.downlink_dispatch import GUARD_US, OK, ask_gateway
from network.downlink_frame import CLASS_C_PATIENCE_US, airtime_us
from network.multicast_store import DueMessage, MulticastTransmission
from network.sessions import SessionReception
from network.settings import NetworkServerSettings
from network.shards import Shard, Shards
from network.telemetry import MULTICASTS
from registry.keys import key_wrap_of, row_owner

POLL_EVERY_S = 1.0
TRY_AGAIN_US = 2_000_000
ATTEMPTS = 3  # Per gateway and repetition.
# Between two looks at whether a gateway beside one transmits still, at random: nobody is always the last.
LOOK_AGAIN_S = (0.05, 0.25)
# Before a message of an emergency is repeated: a member that was sending, or listened to its own windows, is back.
EMERGENCY_PAUSES_S = (2.0, 5.0)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Call:
    """One message on its way: the frame and the gateways that transmit it, in turn."""

    message: DueMessage
    shard: Shard
    transmission: Transmission
    gateways: tuple[bytes, ...]
    in_range: frozenset[bytes]
    """Gateways that a member may hear, be it badly."""

    def disturbs(self, gateway_id: bytes, other: "_Call", beside: bytes) -> bool:
        """Whether members of either would receive neither, were both transmitted at once."""
        mine, its = self.transmission, other.transmission
        is_alike = mine.frequency == its.frequency and mine.spreading_factor == its.spreading_factor
        return is_alike and (gateway_id in other.in_range or beside in self.in_range)


class Multicasts:
    """Sends the messages of the owned slots; each group's one after the other."""

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        shards: Shards,
        settings: NetworkServerSettings,
        tasks: asyncio.TaskGroup,
        clock: WallClock = wall_clock_us,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._shards = shards
        self._keys = key_wrap_of(settings)
        self._clock = clock
        self._pause = pause
        self._group = tasks
        self._calls: dict[int, asyncio.Task[None]] = {}  # By group.
        self._on_air: dict[bytes, list[_Call]] = defaultdict(list)  # By gateway; asked for, or transmitted now.
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look for messages on a nudge and every second, until cancelled; what is on its way is left for later."""

        async def nudge(_subject: str, _data: bytes) -> None:
            self._wake.set()

        await self._bus.subscribe(topics.ALL_DOWNLINKS_DUE, nudge)
        try:
            while True:
                try:
                    await self.plan_due()
                except ShardsLost as lost:
                    self._shards.drop_all(lost.shards)
                except DATABASE_AWAY as away:
                    log.warning("multicasts_not_planned", error=describe(away))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_EVERY_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            for call in self._calls.values():
                call.cancel()

    async def plan_due(self) -> None:
        """Begin what is due of the owned slots, unless a message of the same group is on its way."""
        slots, leases = self._shards.slots(), [shard.lease for shard in self._shards.owned()]
        if not slots or not await multicast_store.is_anything_open(self._pool, slots):
            return
        async with fenced(self._pool, leases) as connection:
            await multicast_store.expire(connection, slots)
            due = await multicast_store.read_due(connection, slots, list(self._calls))
            if not due:
                return
            f_cnts = await multicast_store.start(connection, [message.id for message in due])
            receptions = await multicast_store.read_member_receptions(
                connection, [message.group_id for message in due]
            )
        for message in due:
            shard = self._shards.of_slot(message.slot)
            if shard is None or message.id not in f_cnts:
                continue
            call = self._group.create_task(
                self._carry(message, shard, f_cnts[message.id], receptions.get(message.group_id, {})),
                name=f"multicast to group {message.group_id}",
            )
            self._calls[message.group_id] = call

    async def _carry(
        self, message: DueMessage, shard: Shard, f_cnt: int, receptions: Mapping[int, Sequence[SessionReception]]
    ) -> None:
        try:
            made = self._make(message, shard, f_cnt, receptions)
            if isinstance(made, _Call):
                await self._say(made)
            else:
                await self._finish(message, shard, [], made)
        except ValueError as wrong:  # A row that cannot be read, or a frame that cannot be built.
            log.error("multicast_not_built", message_id=message.id, error=str(wrong))
            await self._give_up(message, shard)
        except ShardsLost as lost:
            self._shards.drop_all(lost.shards)
        except LeaseLost as lost:
            log.warning("multicast_dropped", error=str(lost))
            self._shards.drop(shard)
        except DATABASE_AWAY as away:
            # The row says `sending`: the next look at it goes on from what is written.
            log.warning("multicast_interrupted", error=describe(away))
            await self._pause(POLL_EVERY_S)
        finally:
            self._calls.pop(message.group_id, None)
            self._wake.set()

    async def _give_up(self, message: DueMessage, shard: Shard) -> None:
        with contextlib.suppress(ShardsLost, *DATABASE_AWAY):  # The shard's next owner gives it up.
            await self._finish(message, shard, [], DownlinkReason.INTERNAL_ERROR)

    def _make(
        self, message: DueMessage, shard: Shard, f_cnt: int, receptions: Mapping[int, Sequence[SessionReception]]
    ) -> _Call | DownlinkReason:
        """The call, or the reason why the message cannot be sent."""
        gateways = gateways_for(
            {device: list(map(_member_reception, copies)) for device, copies in receptions.items()}
        )
        if not gateways:
            return DownlinkReason.NO_MEMBER_HEARD
        if len(message.payload) > EU868.max_payload[message.data_rate]:
            return DownlinkReason.PAYLOAD_TOO_LARGE
        try:
            keys = SessionKeys(
                self._keys.unwrap(message.nwk_s_key_wrapped, _owner(message, "nwk_s_key")),
                self._keys.unwrap(message.app_s_key_wrapped, _owner(message, "app_s_key")),
            )
        except WrongKek:
            return DownlinkReason.WRONG_KEK
        phy_payload = build_multicast(
            DevAddr(message.dev_addr), SessionCipher(keys), f_cnt, f_port=message.f_port, payload=message.payload
        )
        rate = EU868.data_rates[message.data_rate]
        assert isinstance(rate, Lora)  # noqa: S101 - DR0 to DR5, by the table's check.
        transmission = Transmission(
            phy_payload, message.frequency, rate.spreading_factor, rate.bandwidth, 0, immediate=True
        )
        in_range = frozenset(copy.gateway_id for copies in receptions.values() for copy in copies)
        return _Call(message, shard, transmission, gateways, in_range)

    async def _say(self, call: _Call) -> None:
        message, emissions = call.message, call.message.emitted()
        done = {(emission.repeat, emission.gateway_id) for emission in emissions}
        for repeat in range(repeats_of(message.repeats, message.priority)):
            if repeat and message.priority == Priority.JOIN_OR_ACK:
                await self._pause(random.uniform(*EMERGENCY_PAUSES_S))  # noqa: S311 - No secret.
            for gateway_id in call.gateways:
                if (repeat, gateway_id.hex()) in done:
                    continue
                status = await self._transmit(call, gateway_id)
                MULTICASTS.labels("sent" if status == OK else status.lower()).inc()
                emissions.append(MulticastTransmission(gateway_id.hex(), repeat, status, self._clock()))
                if not await self._save_progress(message, call.shard, emissions, "sending", None):
                    return  # Cancelled.
        await self._finish(message, call.shard, emissions, None)

    async def _transmit(self, call: _Call, gateway_id: bytes) -> str:
        """Ask one gateway until it has the frame, has rejected it three times, or `not_after` has passed."""
        not_after_us = to_us(call.message.not_after)
        status: str = DownlinkReason.NOT_AFTER
        again_us = 0
        for _ in range(ATTEMPTS):
            await self._pause(max(0, again_us - self._clock()) / 1_000_000)
            while self._is_disturbed(call, gateway_id) and self._clock() < not_after_us:
                await self._pause(random.uniform(*LOOK_AGAIN_S))  # noqa: S311 - No secret.
            now_us = self._clock()
            if now_us >= not_after_us:
                break
            call.shard.lease.check()
            request = TransmitRequest(
                downlink_id=0,
                gateway_id=gateway_id,
                context=b"",
                uplink_at_us=0,
                latest_at_us=min(now_us + CLASS_C_PATIENCE_US, not_after_us),
                priority=call.message.priority,
                transmissions=[call.transmission],
            )
            self._on_air[gateway_id].append(call)
            try:
                reply = await ask_gateway(self._bus, request)
                if reply.status == OK:
                    await self._until_off_air(call, reply)
                    return OK
            finally:
                self._on_air[gateway_id].remove(call)
            status = reply.status
            again_us = min(max(reply.fits_at_us, now_us + TRY_AGAIN_US), not_after_us)
        return status

    def _is_disturbed(self, call: _Call, gateway_id: bytes) -> bool:
        return any(
            call.disturbs(gateway_id, other, beside)
            for beside, others in self._on_air.items()
            for other in others
            if beside != gateway_id
        )

    async def _until_off_air(self, call: _Call, reply: TransmitReply) -> None:
        """Wait for the end of this gateway's frame: the next one may reach the same members."""
        now_us = self._clock()
        ends_us = (reply.starts_at_us or now_us) + airtime_us(call.transmission) + GUARD_US
        await self._pause(min(max(0, ends_us - now_us), CLASS_C_PATIENCE_US) / 1_000_000)

    async def _finish(
        self,
        message: DueMessage,
        shard: Shard,
        outcomes: Sequence[MulticastTransmission],
        reason: DownlinkReason | None,
    ) -> None:
        """Save the result. Sent when every gateway transmitted at least once; else it says that some did not."""
        if reason is not None:
            await self._save_progress(message, shard, outcomes, "failed", reason)
            return
        reached = {emission.gateway_id for emission in outcomes if emission.status == OK}
        missed = {emission.gateway_id for emission in outcomes} - reached
        if not reached:
            await self._save_progress(message, shard, outcomes, "failed", DownlinkReason.NO_GATEWAY)
        else:
            await self._save_progress(
                message, shard, outcomes, "sent", DownlinkReason.SOME_GATEWAYS if missed else None
            )

    async def _save_progress(
        self,
        message: DueMessage,
        shard: Shard,
        outcomes: Sequence[MulticastTransmission],
        state: str,
        reason: DownlinkReason | None,
    ) -> bool:
        async with fenced(self._pool, [shard.lease]) as connection:
            return await multicast_store.save(connection, message.id, outcomes, state, reason)


def _owner(message: DueMessage, kind: str) -> str:
    return row_owner("multicast_group", message.sealed_for, kind)


def _member_reception(reception: SessionReception) -> MemberReception:
    return MemberReception(reception.gateway_id, reception.snr - REQUIRED_SNR.get(reception.spreading_factor, 0.0))
