"""Runs shadow codec versions on stored frames after the commit, and stores only how they differ."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from core.messages.uplinks import Uplink
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, ForeignKeyViolationError, Pool, uuid_of
from decoders.canonical import Decoded, MalformedPayload
from ingest.batch import Shown
from ingest.pipeline import Read
from ingest.scripts import Scripts, call_of
from ingest.telemetry import SHADOWS_DROPPED
from ingest.vendor_codecs import AnyCodec, FrameWaits, ScriptFailed, VendorCodec
from lorawan.instants import from_us
from registry.codec_shadows import Compared, ShadowKey, store_compared

WAITING_AT_MOST = 2_000
AT_ONCE = 200
PAUSE_S = 0.5
VALUES_KEPT = 200

log = structlog.get_logger()


class Shadows:
    """Takes frames after their commit, and compares them when there is time."""

    def __init__(self, scripts: Scripts, pool: Pool) -> None:
        self._scripts = scripts
        self._pool = pool
        self._waiting: deque[Shown] = deque()
        self._dropped: Counter[ShadowKey] = Counter()
        self._arrived = asyncio.Event()

    def show(self, frames: Sequence[Shown]) -> None:
        """Take these frames; what is too much at once is dropped and counted."""
        room = WAITING_AT_MOST - len(self._waiting)
        self._waiting += frames[:room]
        for shown in frames[room:]:
            self._dropped[_key(shown)] += 1
            SHADOWS_DROPPED.inc()
        if frames:
            self._arrived.set()

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await self._arrived.wait()
            await self.compare_some()
            if not self._waiting:
                self._arrived.clear()
            await asyncio.sleep(PAUSE_S)

    async def compare_some(self) -> None:
        """Compare what waits, some of it, and store how that went; it never raises for the database's sake."""
        frames = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        dropped, self._dropped = self._dropped, Counter()
        reads = await self._shadow_reads(frames)
        compared: list[Compared] = []
        for place, shown in enumerate(frames):
            try:
                compared.append(_compare(shown, reads.get(place)))
            except FrameWaits:  # One of the two may not run at present: there is nothing to compare.
                dropped[_key(shown)] += 1
        if not compared and not dropped:
            return
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await store_compared(connection, compared, dropped)
        except (ForeignKeyViolationError, *DATABASE_AWAY) as failed:
            SHADOWS_DROPPED.inc(len(compared))
            log.warning("shadows_not_stored", frames=len(compared), error=describe(failed))

    async def _shadow_reads(self, frames: Sequence[Shown]) -> dict[int, Read]:
        asked = [
            (place, shown, shown.device.shadow)
            for place, shown in enumerate(frames)
            if isinstance(shown.device.shadow, VendorCodec) and shown.device.shadow.suspended is None
        ]
        calls = [call_of(shown.uplink, shown.device, shadow) for _, shown, shadow in asked]
        answers = await self._scripts.ask(calls)
        return {
            place: partial(shadow.read, answer, shown.uplink.time_us)
            for (place, shown, shadow), answer in zip(asked, answers, strict=True)
            if answer is not None
        }


def _key(shown: Shown) -> ShadowKey:
    device = shown.device
    assert device.shadow_version_id is not None  # noqa: S101 - Only such devices are shown.
    return ShadowKey(device.unassigned.tenant_id, device.device_profile_id, device.shadow_version_id)


def _compare(shown: Shown, shadow_read: Read | None) -> Compared:
    uplink, device = shown.uplink, shown.device
    return Compared(
        _key(shown),
        device.id,
        uuid_of(uplink.uplink_id),
        from_us(uplink.time_us),
        uplink.f_port,
        uplink.payload,
        outcome(device.codec, uplink, device.all_options(), shown.read),
        outcome(device.shadow, uplink, device.all_options(), shadow_read),
    )


def outcome(
    codec: AnyCodec | None, uplink: Uplink, options: Mapping[str, Any], read: Read | None
) -> dict[str, Any]:
    """What a codec makes of a frame, as JSON: `reason` of a failure, `values` by instant, channel and quantity.

    Raises:
        FrameWaits: it may not run at present.
    """
    if codec is None:
        return {"reason": "codec inconnu", "values": [], "warnings": []}
    try:
        decoded = codec.decode(uplink.f_port, uplink.payload, uplink.time_us, options) if read is None else read()
    except FrameWaits:
        raise
    except (MalformedPayload, ScriptFailed) as refused:
        return {"reason": str(refused), "values": [], "warnings": []}
    except Exception as defect:  # noqa: BLE001 - Whatever it is, it is what there is to compare.
        return {"reason": f"{type(defect).__name__} {defect}", "values": [], "warnings": []}
    return {"reason": None, "values": _values(decoded), "warnings": list(decoded.warnings)}


def _values(decoded: Decoded) -> list[list[Any]]:
    values = [
        [reading.time_us, reading.channel, reading.quantity, float(reading.value)]
        for reading in decoded.readings
        if math.isfinite(reading.value)
    ]
    return sorted(values)[:VALUES_KEPT]
