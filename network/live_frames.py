"""Shows frames and what was decided of them, some in a second, while somebody looks.

The data path asks for nothing but whether `looks` is empty. What a viewer may not see is left out here,
before it is on any subject.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from core.messages import topics
from core.messages.frames import GatewayFrame
from core.messages.live_frames import (
    MOST_SECONDS,
    NO_MORE_LOOKS,
    LiveFrame,
    LiveReception,
    Look,
    decode_look,
    encode_live,
)
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.token_bucket import TokenBucket
from lorawan.frame import MType
from lorawan.frame_lines import header_of
from network.deduplication import Group, best_receptions
from network.held_state import DeviceCache
from network.join_handler import Admitted, JoinRejected
from network.receive import Received, RejectedFrame
from network.shards import FrameUnit

# Of all replicas together a viewer is shown some more; people read fewer.
FRAMES_PER_SECOND = 20
FRAMES_AT_ONCE = 40
MOST_LOOKS = 32
MOST_LOOKS_OF_ONE = 8  # As the API and its page say.
MOST_WAITING = 1_000
JOIN_REQUEST = MType.JOIN_REQUEST
DATA_UP = (MType.UNCONFIRMED_DATA_UP, MType.CONFIRMED_DATA_UP)


@dataclass(slots=True)
class _Open:
    """A look that is open, how much of it is shown, and what was not."""

    look: Look
    until: float
    bucket: TokenBucket
    left_out: int = 0


class LiveFrames:
    """`record_*` never block; `run` publishes."""

    def __init__(self, bus: Bus, devices: DeviceCache, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._devices = devices
        self._monotonic = monotonic
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MOST_WAITING)
        self.looks: dict[str, _Open] = {}
        """Empty: nobody looks, and nothing is to be recorded."""

    async def run(self) -> None:
        """Follow who looks, and publish what was recorded, until cancelled."""

        async def follow(_subject: str, data: bytes) -> None:
            with suppress(msgspec.MsgspecError):
                self.open_look(decode_look(data))

        await self._bus.subscribe(topics.LIVE_LOOKS, follow)
        while True:
            subject, octets = await self._waiting.get()
            with suppress(*BUS_AWAY):
                await self._bus.nudge(subject, octets)

    def open_look(self, look: Look) -> None:
        """Show frames to this viewer from now on, or for longer than was said before.

        Of one too many its viewer is answered that it is shown nothing.
        """
        now = self._monotonic()
        until = now + min(max(look.seconds, 0.0), MOST_SECONDS)
        known = self.looks.get(look.id)
        if known is not None:
            known.look, known.until = look, until
            return
        if now >= until:
            return
        self._forget_ended(now)
        of_one = sum(is_open.look.tenant_ids[:1] == look.tenant_ids[:1] for is_open in self.looks.values())
        if len(self.looks) < MOST_LOOKS and of_one < MOST_LOOKS_OF_ONE:
            bucket = TokenBucket.full(FRAMES_PER_SECOND, FRAMES_AT_ONCE, now)
            self.looks[look.id] = _Open(look, until, bucket)
            return
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait((topics.live_frames(look.id), NO_MORE_LOOKS))

    def record_uplinks(
        self,
        received: Sequence[tuple[FrameUnit, Received]],
        rejected: Sequence[tuple[FrameUnit, RejectedFrame]],
        joins: Sequence[Admitted | JoinRejected],
    ) -> None:
        """Show the frames of a batch that is committed."""
        for item, one in received:
            if item.group is not None:
                uplink = one.uplink
                frame = _uplink(
                    item.group,
                    "data_up",
                    one.outcome,
                    dev_addr=one.session.dev_addr,
                    f_cnt=uplink.f_cnt,
                    f_port=None if uplink.f_port < 0 else uplink.f_port,
                )
                self._show(frame, one.session.device_id)
        for item, refused in rejected:
            if item.group is not None:
                kind = "data_up" if _mtype(item.group) in DATA_UP else "other_up"
                frame = _uplink(item.group, kind, refused.reason, dev_addr=refused.dev_addr)
                self._show(frame, refused.device_id)
        for join in joins:
            if isinstance(join, Admitted):
                self._show(_uplink(join.group, "join_request", join.result), join.device.id)
            else:
                frame = _uplink(join.group, "join_request", join.result)
                self._show(replace(frame, dev_eui=join.dev_eui), 0)

    def record_downlink(self, frame: LiveFrame, device_id: int) -> None:
        """Show what became of a downlink."""
        self._show(frame, device_id)

    def _show(self, frame: LiveFrame, device_id: int) -> None:
        """To each viewer what it may see of it. `device_id` 0: of no device that is known."""
        now = self._monotonic()
        self._forget_ended(now)
        device = self._devices.get(device_id) if device_id else None
        if device is not None:
            frame = replace(frame, dev_eui=device.dev_eui)
        for is_open in self.looks.values():
            shown = visible_part(frame, None if device is None else device.tenant_id, is_open.look)
            if shown is None:
                continue
            if not is_open.bucket.take_token(now):
                is_open.left_out += 1
                continue
            message = topics.live_frames(is_open.look.id), encode_live(replace(shown, left_out=is_open.left_out))
            try:
                self._waiting.put_nowait(message)
            except asyncio.QueueFull:
                is_open.left_out += 1
            else:
                is_open.left_out = 0

    def _forget_ended(self, now: float) -> None:
        for look_id in [look_id for look_id, is_open in self.looks.items() if now >= is_open.until]:
            del self.looks[look_id]


def visible_part(frame: LiveFrame, tenant_id: int | None, look: Look) -> LiveFrame | None:
    """What the viewer of this look may see of a frame, and wants to; None: nothing.

    `tenant_id`: whose device sent it, or is sent it; None: no device is known.
    """
    if look.gateway_id and look.gateway_id not in [one.gateway_id for one in frame.receptions]:
        return None
    if look.dev_eui:
        # A join-request that is refused names its device itself: the look's is one that the viewer may see.
        is_it = frame.dev_eui == look.dev_eui and (tenant_id is None or tenant_id in look.tenant_ids)
        return frame if is_it else None
    if tenant_id in look.tenant_ids or (tenant_id is None and look.is_operator):
        return frame
    receptions = (
        frame.receptions
        if look.is_operator
        else [one for one in frame.receptions if one.gateway_id in look.gateway_ids]
    )
    if not receptions:
        return None
    hidden = replace(frame, receptions=receptions, is_hidden=True, dev_eui=b"")
    if look.is_operator:
        return replace(hidden, phy_payload=header_of(frame.phy_payload))
    return replace(hidden, dev_addr=b"", f_cnt=None, f_port=None, phy_payload=b"")


def _uplink(
    group: Group,
    kind: str,
    outcome: str,
    *,
    dev_addr: bytes = b"",
    f_cnt: int | None = None,
    f_port: int | None = None,
) -> LiveFrame:
    first = group.first
    return LiveFrame(
        kind=kind,  # pyright: ignore[reportArgumentType] - One of the kinds of uplinks, above.
        at_us=group.time_us,
        outcome=str(outcome),
        octets=len(group.phy_payload),
        frequency=first.frequency,
        spreading_factor=first.spreading_factor,
        receptions=_receptions(best_receptions(group.receptions)),
        dev_addr=bytes(dev_addr),
        f_cnt=f_cnt,
        f_port=f_port,
        phy_payload=group.phy_payload,
    )


def _receptions(receptions: Iterable[GatewayFrame]) -> list[LiveReception]:
    return [LiveReception(one.gateway_id, one.rssi, one.snr) for one in receptions]


def _mtype(group: Group) -> int:
    return group.phy_payload[0] >> 5 if group.phy_payload else -1
