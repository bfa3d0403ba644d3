"""Trace steps of traced frames, written once they are committed."""

from collections.abc import Sequence

from core.messages.traces import NO_TRACE
from core.model.entities import Device
from core.runtime.clock import wall_clock_us
from core.runtime.tracing import TRACES
from network.deduplication import Group
from network.device_cache import DeviceCache
from network.join_handler import Admitted, JoinRefused
from network.receive import Received, Refused
from network.stream_reader import Work

STAGE, PARENT = "network", "gateway_bridge"


def tell(
    received: Sequence[tuple[Work, Received]],
    refused: Sequence[tuple[Work, Refused]],
    joins: Sequence[Admitted | JoinRefused],
    devices: DeviceCache,
    began_us: int,
) -> None:
    """One step for each that is followed; the others cost a comparison."""
    limit = TRACES.limit
    for item, outcome in received:
        if NO_TRACE < outcome.uplink.trace_id < limit and item.group is not None:
            _step(item.group, outcome.outcome, devices.get(outcome.session.device_id), began_us)
    for item, refusal in refused:
        if item.group is not None and TRACES.follows(item.group.first.trace_id):
            _step(item.group, refusal.reason, devices.get(refusal.device_id), began_us)
    for join in joins:
        if TRACES.follows(join.group.first.trace_id):
            _step(join.group, join.result, None if isinstance(join, JoinRefused) else join.device, began_us)


def _step(group: Group, outcome: str, device: Device | None, began_us: int) -> None:
    first = group.first
    TRACES.step(
        STAGE,
        first.trace_id,
        (began_us, wall_clock_us()),
        "frame_judged",
        PARENT,
        tenant=None if device is None else device.tenant_id,
        dev_eui=None if device is None else device.dev_eui.hex(),
        gw_eui=first.gateway_id.hex(),
        copies=len(group.copies),
        outcome=outcome,
    )
