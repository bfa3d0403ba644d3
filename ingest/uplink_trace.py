"""Trace steps of what became of uplinks, written once it is committed."""

import msgspec
import structlog

from core.messages.uplinks import Uplink
from core.runtime.tracing import TRACES
from ingest.batch import Prepared
from ingest.known_devices import KnownDevices
from ingest.store import Written

STAGE, OF_OURS, OF_ANOTHER_LNS = "ingest", "network", "intake"

_decoder = msgspec.msgpack.Decoder(Uplink)

log = structlog.get_logger()


def write_steps(prepared: Prepared, written: Written, devices: KnownDevices, began_us: int) -> None:
    """One for each uplink that is traced, and a line for each in quarantine."""
    for interpreted in written.batch.uplinks:
        if TRACES.is_traced(interpreted.uplink.trace_id):
            _step(interpreted.uplink, interpreted.status, devices, began_us, interpreted.reason)
    for entry in prepared.quarantined:
        trace_id = trace_of(entry.data)
        log.warning(
            "quarantined", reason=entry.reason, detail=entry.detail, trace_id=trace_id, sequence=entry.sequence
        )
    for uplink in prepared.late:
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
        began_us,
        "uplink_stored",
        OF_OURS if uplink.session_id else OF_ANOTHER_LNS,
        tenant=None if device is None else device.unassigned.tenant_id,
        dev_eui=None if device is None else device.dev_eui.hex(),
        f_cnt=uplink.f_cnt,
        outcome=outcome,
        reason=reason,
    )
