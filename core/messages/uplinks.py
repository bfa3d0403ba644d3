"""UPLINKS: authenticated, deduplicated application frames, from network (and other LNS) to ingest."""

import msgspec

from core.messages.batch import BatchDecoder
from core.model.identities import NO_TRACE


class Reception(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One gateway's reception of an uplink."""

    gateway_id: bytes
    antenna: int
    rssi: float  # dBm
    snr: float  # dB


class Uplink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One uplink of one device, or a late copy of it. Times are microseconds since 1970 UTC.

    `uplink_id` is the uplink's identity: a second delivery of the same uplink carries the same
    (docs/architecture.md, "An uplink has one identity and one time").
    A late copy (`late`) brings receptions only: the uplink itself was published before.
    `trace_id` is that of the copy which came first. An instant that its source stated, and that is not credible,
    is `stated_us`, and `time_us` the reception then (core.model.instants).
    """

    uplink_id: bytes  # 16 octets, a UUID
    device_id: int
    session_id: int  # 0: a bearer without sessions.
    f_cnt: int
    f_port: int  # -1: the frame had no FPort.
    payload: bytes  # Decrypted.
    confirmed: bool
    time_us: int
    received_at_us: int
    frequency: int  # Hz
    spreading_factor: int
    bandwidth: int  # Hz
    late: bool
    receptions: list[Reception]
    trace_id: bytes = NO_TRACE
    stated_us: int | None = None
    source_id: int = 0  # Of another LNS or a system beside; 0: our own network.


UPLINK_BATCHES = BatchDecoder(Uplink)
