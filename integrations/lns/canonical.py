"""Turns an adapter's uplink into ours (docs/architecture.md, "An uplink has one identity and one time"). Pure."""

from core.messages.uplinks import Uplink
from core.model.identities import NO_TRACE, counter_of_message, message_identity, uplink_identity
from integrations.lns.lns_uplink import LnsUplink

CLOCK_TOLERANCE_US = 30_000_000
# What waited longer with an LNS, or with a gateway that says that it replays, is dated by its arrival.
KEPT_AT_MOST_US = 60 * 86_400_000_000
NO_SESSION = 0


def time_of(uplink: LnsUplink, received_at_us: int) -> int:
    """When the uplink was received, in us since 1970.

    An LNS is a server with a clock of its own: it is believed about the past, because its queues and our own
    absence make messages late, and a second delivery has to have the same time. Of a gateway's clock only what is
    within 30 s of that, unless it is said to replay what it kept. A time that is ahead by more than 30 s, or 60
    days old, is never taken.
    """
    lns_time_us = uplink.lns_time_us
    known_us = received_at_us
    if lns_time_us is not None and _is_past(lns_time_us, received_at_us):
        known_us = lns_time_us
    gateway_time_us = uplink.gateway_time_us
    if gateway_time_us is None or gateway_time_us > known_us + CLOCK_TOLERANCE_US:
        return known_us
    if gateway_time_us >= known_us - CLOCK_TOLERANCE_US:
        return gateway_time_us
    return gateway_time_us if uplink.is_replay and _is_past(gateway_time_us, received_at_us) else known_us


def _is_past(time_us: int, received_at_us: int) -> bool:
    return received_at_us - KEPT_AT_MOST_US <= time_us <= received_at_us + CLOCK_TOLERANCE_US


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
    return Uplink(
        uplink_id=uplink_id,
        device_id=device_id,
        session_id=NO_SESSION,
        f_cnt=f_cnt,
        f_port=uplink.f_port,
        payload=uplink.payload,
        confirmed=uplink.confirmed,
        time_us=time_of(uplink, received_at_us),
        received_at_us=received_at_us,
        frequency=uplink.frequency,
        spreading_factor=uplink.spreading_factor,
        bandwidth=uplink.bandwidth,
        late=False,
        receptions=list(uplink.receptions),
        trace_id=trace_id,
    )
