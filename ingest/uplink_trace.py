"""Trace steps of traced uplinks, written once they are committed."""

import msgspec
import structlog

from core.messages.traces import NO_TRACE
from core.messages.uplinks import Uplink
from core.runtime.clock import wall_clock_us
from core.runtime.tracing import TRACES
from ingest.batch import Prepared
from ingest.known_devices import KnownDevices
from ingest.store import Written

STAGE, OF_OURS, OF_ANOTHER_LNS = "ingest", "network", "intake"

_decoder = msgspec.msgpack.Decoder(Uplink)

log = structlog.get_logger()


def tell(prepared: Prepared, written: Written, devices: KnownDevices, began_us: int) -> None:
    """One step for each that is followed, and a line for each in quarantine; the others cost a comparison."""
    limit = TRACES.limit
    for interpreted in written.batch.uplinks:
        if NO_TRACE < interpreted.uplink.trace_id < limit:
            _step(interpreted.uplink, interpreted.status, devices, began_us, interpreted.reason)
    for entry in prepared.quarantined:
        trace_id = trace_of(entry.data)
        log.warning(
            "quarantined", kind=entry.kind, reason=entry.reason, trace_id=trace_id, sequence=entry.sequence
        )
    for uplink in prepared.late:
        if NO_TRACE < uplink.trace_id < limit:
            _step(uplink, "late", devices, began_us)


def trace_of(quarantined: bytes) -> str | None:
    """Of an uplink as quarantine keeps it, in hexadecimal; None: this is none, or it has no trace."""
    try:
        return _decoder.decode(quarantined).trace_id.hex() or None
    except msgspec.MsgspecError:
        return None


def _step(uplink: Uplink, outcome: str, devices: KnownDevices, began_us: int, reason: str | None = None) -> None:
    device = devices.known(uplink.device_id)
    TRACES.step(
        STAGE,
        uplink.trace_id,
        (began_us, wall_clock_us()),
        "uplink_stored",
        OF_OURS if uplink.session_id else OF_ANOTHER_LNS,
        tenant=None if device is None else device.unassigned.tenant_id,
        dev_eui=None if device is None else device.dev_eui.hex(),
        f_cnt=uplink.f_cnt,
        outcome=outcome,
        reason=reason,
    )
