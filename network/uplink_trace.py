"""Trace steps of what became of frames, written once it is committed."""

from collections.abc import Sequence

from core.model.entities import Device
from core.runtime.tracing import TRACES
from network.deduplication import Group
from network.device_cache import DeviceCache
from network.join_handler import Admitted, JoinRejected
from network.receive import Received, RejectedFrame
from network.shards import FrameUnit

STAGE, PARENT = "network", "gateway_bridge"


def write_steps(
    received: Sequence[tuple[FrameUnit, Received]],
    rejected: Sequence[tuple[FrameUnit, RejectedFrame]],
    joins: Sequence[Admitted | JoinRejected],
    devices: DeviceCache,
    began_us: int,
) -> None:
    """One for each frame that is traced."""
    for item, outcome in received:
        if item.group is not None and TRACES.is_traced(outcome.uplink.trace_id):
            _step(item.group, outcome.outcome, devices.get(outcome.session.device_id), began_us)
    for item, refusal in rejected:
        if item.group is not None and TRACES.is_traced(item.group.first.trace_id):
            _step(item.group, refusal.reason, devices.get(refusal.device_id), began_us)
    for join in joins:
        _step(join.group, join.result, None if isinstance(join, JoinRejected) else join.device, began_us)


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
