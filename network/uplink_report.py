"""What is counted, logged and traced of a batch of frames once it is committed."""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from core.messages.frames import GatewayFrame
from core.model.entities import Device
from core.runtime.tracing import TRACES
from lorawan.frame import MType
from lorawan.rejections import RejectReason
from lorawan.session import MAX_F_CNT_GAP
from network.deduplication import Group, best_receptions
from network.held_state import DeviceCache
from network.join_handler import Admitted, JoinRejected
from network.live_frames import LiveFrames
from network.receive import Received, RejectedFrame
from network.rejections import RejectionLog
from network.shards import FrameUnit
from network.telemetry import F_CNT_GAPS, FRAMES, JOINS, MAC_REFUSED, MIC_FAILURES, OFF_PLAN

STAGE, PARENT = "network", "gateway_bridge"
LOG_EVERY_S = 1.0
MIC_FAILED = str(RejectReason.MIC)  # Of a data frame and of a join-request.
_MTYPE_LABELS = tuple(m_type.name.lower() for m_type in MType)


class CountedHistogram(Collector):
    """A histogram of whole numbers. prometheus_client's own takes one value at a time, which is too slow."""

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[int], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._seen: Tally[int] = Tally()
        registry.register(self)

    def observe(self, value: int, times: int = 1) -> None:
        """Count a value that came `times` times."""
        self._seen[value] += times

    def describe(self) -> Iterable[Metric]:
        """The name alone, as registering needs it."""
        return [HistogramMetricFamily(self._name, self._documentation)]

    def collect(self) -> Iterable[Metric]:
        """The histogram as of this instant."""
        seen = self._seen
        buckets = [
            (str(float(bound)), sum(times for value, times in seen.items() if value <= bound))
            for bound in self._bounds
        ]
        family = HistogramMetricFamily(self._name, self._documentation)
        total = sum(value * times for value, times in seen.items())
        family.add_metric([], [*buckets, ("+Inf", sum(seen.values()))], total)
        return [family]


DEDUP_RECEPTIONS = CountedHistogram(
    "territoire_network_dedup_receptions",
    "Frames by how many gateways and antennas heard them",
    (1, 2, 3, 4, 6, 8, 12),
)


class SparseLog:
    """Logs an event at most once a second per event and reason, and says how many it left out."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._last: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def warning(self, event: str, reason: str, **fields: object) -> None:
        """One line, unless the same event with the same reason was logged within the last second."""
        key = (event, reason)
        now = asyncio.get_running_loop().time()
        if now - self._last.get(key, -LOG_EVERY_S) < LOG_EVERY_S:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        self._last[key] = now
        self._log.warning(event, reason=reason, left_out=self._left_out.pop(key, 0), **fields)


class UplinkReport:
    """Log, metrics, trace steps and live view of frames; rejections go to the `RejectionLog`, too."""

    def __init__(self, devices: DeviceCache, rejections: RejectionLog, live: LiveFrames) -> None:
        self._devices = devices
        self._live = live
        self._refusals = rejections
        self._sparse = SparseLog()

    def write(
        self,
        received: Sequence[tuple[FrameUnit, Received]],
        rejected: Sequence[tuple[FrameUnit, RejectedFrame]],
        joins: Sequence[Admitted | JoinRejected],
        began_us: int,
    ) -> None:
        """Report these frames and joins; joins in the order in which they came."""
        self._count(received, rejected, joins)
        if self._live.looks:
            self._live.record_uplinks(received, rejected, joins)
        for item, outcome in received:
            if item.group is not None and TRACES.is_traced(outcome.uplink.trace_id):
                _step(item.group, outcome.outcome, self._devices.get(outcome.session.device_id), began_us)
        for item, refusal in rejected:
            if item.group is not None and TRACES.is_traced(item.group.first.trace_id):
                _step(item.group, refusal.reason, self._devices.get(refusal.device_id), began_us)
        for join in joins:
            _step(join.group, join.result, None if isinstance(join, JoinRejected) else join.device, began_us)

    def _count(
        self,
        received: Sequence[tuple[FrameUnit, Received]],
        rejected: Sequence[tuple[FrameUnit, RejectedFrame]],
        joins: Sequence[Admitted | JoinRejected],
    ) -> None:
        frames: Tally[tuple[str, str]] = Tally()
        heard: Tally[int] = Tally()
        for item, one in received:
            frames[_mtype_label(item), one.outcome] += 1
            if one.progress is not None:
                heard[len(one.uplink.receptions)] += 1
            self._log_oddities(one)
        for item, refused in rejected:
            frames[_mtype_label(item), refused.reason] += 1
            if item.group is not None:
                first, dev_addr = item.group.first, refused.dev_addr
                self._sparse.warning(
                    "frame_refused", refused.reason, dev_addr=dev_addr.hex(), **reception_fields(first)
                )
                self._refusals.record_rejection(dev_addr, refused.reason, refused.device_id, first.gateway_id)
        if joins:
            self._count_joins(joins, frames, heard)
        for (mtype, outcome), count in frames.items():
            FRAMES.labels(mtype, outcome).inc(count)
            if outcome == MIC_FAILED:
                MIC_FAILURES.inc(count)
        for copies, count in heard.items():
            DEDUP_RECEPTIONS.observe(copies, count)

    def _count_joins(
        self, joins: Sequence[Admitted | JoinRejected], frames: Tally[tuple[str, str]], receptions: Tally[int]
    ) -> None:
        for join in joins:
            JOINS.labels(join.result).inc()
            frames["join_request", join.result] += 1
            receptions[len(best_receptions(join.group.receptions))] += 1
            if isinstance(join, JoinRejected):
                first, dev_eui = join.group.first, join.dev_eui
                self._sparse.warning("join_refused", join.result, dev_eui=dev_eui.hex(), **reception_fields(first))
                self._refusals.record_rejection(dev_eui, join.result, 0, first.gateway_id, join.dev_nonce)
            elif not join.repeated:
                self._refusals.clear_join_rejections(join.device.dev_eui)

    def _log_oddities(self, received: Received) -> None:
        """Count and log what is unusual about an uplink that is published all the same."""
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
            for cid in received.mac.rejected:
                MAC_REFUSED.labels(f"{cid:02x}").inc()
                self._sparse.warning("mac_command_refused", f"{cid:02x}", device_id=device_id)


def _step(group: Group, outcome: str, device: Device | None, began_us: int) -> None:
    TRACES.step(
        STAGE,
        group.first.trace_id,
        began_us,
        "frame_judged",
        PARENT,
        tenant=None if device is None else device.tenant_id,
        dev_eui=None if device is None else device.dev_eui.hex(),
        gw_eui=group.first.gateway_id.hex(),
        copies=len(group.receptions),
        outcome=outcome,
    )


def reception_fields(first: GatewayFrame) -> dict[str, str]:
    """The log fields of a frame: one gateway that received it, and its trace id."""
    return {"gw_eui": first.gateway_id.hex(), "trace_id": first.trace_id.hex()}


def _mtype_label(item: FrameUnit) -> str:
    phy_payload = b"" if item.group is None else item.group.phy_payload
    return _MTYPE_LABELS[phy_payload[0] >> 5] if phy_payload else "none"
