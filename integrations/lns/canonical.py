"""Turns an adapter's uplink into ours (docs/architecture.md, "An uplink has one identity and one time"). Pure."""

from core.messages.uplinks import Uplink
from core.model.identities import NO_TRACE, counter_of_message, message_identity, uplink_identity
from core.model.instants import placed
from integrations.lns.lns_uplink import LnsUplink

CLOCK_TOLERANCE_US = 30_000_000
NO_SESSION = 0


def stated_time_of(uplink: LnsUplink, received_at_us: int) -> int:
    """When it is said to have been heard.

    An LNS is a server with a clock of its own: what it says is stated, because its queues and our own absence make
    messages late, and a second delivery has to have the same time. Of a gateway's clock only what is within 30 s
    of that, unless it is said to replay what it kept. `core.model.instants.placed` says what becomes of it.
    """
    known_us = received_at_us if uplink.lns_time_us is None else uplink.lns_time_us
    gateway_time_us = uplink.gateway_time_us
    if gateway_time_us is None or gateway_time_us > known_us + CLOCK_TOLERANCE_US:
        return known_us
    is_near = gateway_time_us >= known_us - CLOCK_TOLERANCE_US
    return gateway_time_us if is_near or uplink.is_replay else known_us


def canonical(
    uplink: LnsUplink, source_id: int, device_id: int, received_at_us: int, trace_id: bytes = NO_TRACE
) -> Uplink:
    """The uplink of this device. It has no session of ours, whichever LNS sent it."""
    if uplink.f_cnt is None:
        message = uplink.message_id or f"{uplink.stated_time}|{uplink.f_port}|{uplink.payload.hex()}"
        uplink_id = message_identity(source_id, device_id, message)
        f_cnt = counter_of_message(uplink_id)
    else:
        f_cnt = uplink.f_cnt
        uplink_id = uplink_identity(device_id, NO_SESSION, f_cnt, uplink.f_port, uplink.payload)
    stated_us = stated_time_of(uplink, received_at_us)
    at = placed(stated_us, received_at_us)
    return Uplink(
        uplink_id=uplink_id,
        device_id=device_id,
        session_id=NO_SESSION,
        f_cnt=f_cnt,
        f_port=uplink.f_port,
        payload=uplink.payload,
        confirmed=uplink.confirmed,
        time_us=at.time_us,
        received_at_us=received_at_us,
        frequency=uplink.frequency,
        spreading_factor=uplink.spreading_factor,
        bandwidth=uplink.bandwidth,
        late=False,
        receptions=list(uplink.receptions),
        trace_id=trace_id,
        stated_us=stated_us if at.is_suspect else None,
        source_id=source_id,
    )
