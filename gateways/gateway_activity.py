"""Counts each registered gateway's frames in memory, and adds them to its hour in the database."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime

import structlog

from core.messages.frames import GatewayFrame
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, ForeignKeyViolationError, Pool
from gateways import gateway_metrics
from gateways.frontend import FrameSink
from gateways.known_gateways import Gateways
from lorawan.identifiers import GatewayId
from registry.gateway_supervision import HourOfGateway, save_hours

SAVE_EVERY_S = 15.0
# A device repeats itself after its receive windows, seconds later; a gateway that mirrors a frame does at once.
DUPLICATE_WITHIN_US = 500_000
RECENT_FRAMES = 16
# Of one status, which comes every half minute. Whatever number a gateway invents, its row can be written.
MOST_CRC_ERRORS = 10_000

log = structlog.get_logger()


@dataclass(slots=True)
class GatewayCounts:
    """Counts since this process started."""

    uplinks: int = 0
    duplicates: int = 0
    crc_errors: int = 0
    rejected: int = 0
    limited: int = 0


WHAT = tuple(asdict(GatewayCounts()))


@dataclass(slots=True)
class _Work:
    total: GatewayCounts = field(default_factory=GatewayCounts)
    saved: GatewayCounts = field(default_factory=GatewayCounts)
    round_trip_ms: float | None = None
    recent: dict[bytes, tuple[int, int]] = field(default_factory=dict[bytes, tuple[int, int]])


class Activity:
    """Counts every frame on its way to the bus. Its memory and its metrics are bounded by the registry."""

    def __init__(self, pool: Pool, gateways: Gateways, sink: FrameSink) -> None:
        self._pool = pool
        self._gateways = gateways
        self._sink = sink
        self._work: dict[bytes, _Work] = {}

    def submit_frame(self, frame: GatewayFrame, done: Callable[[], None] | None = None) -> None:
        """Count a reception, and hand it to the next sink."""
        work = self._of(frame.gateway_id)
        if work is not None:
            _count(work, frame)
        self._sink.submit_frame(frame, done)

    def count_activity(
        self,
        gateway_id: GatewayId,
        *,
        rejected: int = 0,
        limited: int = 0,
        received: int = 0,
        received_ok: int = 0,
    ) -> None:
        """Add what else a gateway did.

        Args:
            gateway_id: one that is registered; another is ignored.
            rejected: elements of its datagrams that are no frames.
            limited: its datagrams beyond its rate.
            received: frames that its radio received since its last status, by its own count.
            received_ok: those of them whose CRC was right.
        """
        work = self._of(gateway_id)
        if work is not None:
            work.total.rejected += rejected
            work.total.limited += limited
            work.total.crc_errors += min(max(0, received - received_ok), MOST_CRC_ERRORS)

    def measured(self, gateway_id: GatewayId, round_trip_ms: float) -> None:
        """Record the round trip to a gateway."""
        work = self._of(gateway_id)
        if work is not None:
            work.round_trip_ms = round_trip_ms

    def _of(self, gateway_id: bytes) -> _Work | None:
        work = self._work.get(gateway_id)
        if work is None and gateway_id in self._gateways:
            self._work[gateway_id] = work = _Work()
        return work

    async def run(self) -> None:
        """Save every 15 s until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Add what was counted since the last save to the hour; what cannot be written is kept for the next."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        for gateway_id in [known for known in self._work if known not in self._gateways]:
            del self._work[gateway_id]
        counted = [
            (gateway_id, work, GatewayCounts(*astuple(work.total))) for gateway_id, work in self._work.items()
        ]
        changed = [(known, work, total) for known, work, total in counted if total != work.saved]
        if not changed:
            return
        hours = [
            HourOfGateway(known, hour, *_less(total, work.saved), work.round_trip_ms)
            for known, work, total in changed
        ]
        try:
            await save_hours(self._pool, hours)
        except (ForeignKeyViolationError, *DATABASE_AWAY) as away:  # One that is being removed is no reason.
            log.warning("activity_not_saved", error=describe(away))
            return
        for (_, work, total), entry in zip(changed, hours, strict=True):
            work.saved = total
            _show(entry)


def _count(work: _Work, frame: GatewayFrame) -> None:
    recent, phy_payload = work.recent, frame.phy_payload
    before = recent.get(phy_payload)
    if before is not None and frame.received_at_us - before[0] < DUPLICATE_WITHIN_US:
        # Another antenna's reception is no duplicate and no further uplink: the gateway received one frame.
        work.total.duplicates += frame.antenna == before[1]
        return
    work.total.uplinks += 1
    recent.pop(phy_payload, None)  # To the end: the oldest goes first.
    recent[phy_payload] = (frame.received_at_us, frame.antenna)
    if len(recent) > RECENT_FRAMES:
        del recent[next(iter(recent))]


def _show(entry: HourOfGateway) -> None:
    name = entry.gateway_id.hex()
    for what in WHAT:
        gateway_metrics.FRAMES.labels(name, what).inc(getattr(entry, what))
    if entry.round_trip_ms is not None:
        gateway_metrics.ROUND_TRIP.labels(name).set(entry.round_trip_ms / 1000)


def _less(total: GatewayCounts, saved: GatewayCounts) -> tuple[int, int, int, int, int]:
    return (
        total.uplinks - saved.uplinks,
        total.duplicates - saved.duplicates,
        total.crc_errors - saved.crc_errors,
        total.rejected - saved.rejected,
        total.limited - saved.limited,
    )
