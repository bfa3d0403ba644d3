"""FRAMES: received frames, from gateway_bridge to network; one item per reception."""

import msgspec

from core.messages.batch import BatchDecoder
from core.model.identities import NO_TRACE


class GatewayFrame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One gateway's copy of one PHYPayload. Times are microseconds since 1970 UTC.

    `time_us` is the instant of the end of reception as the bridge decided it (docs/protocols.md, row 16): GPS
    time, else the gateway's clock when within 30 s, else `received_at_us`, the bridge's own clock at arrival.
    `round_trip_us` is the time to the gateway and back, as the bridge has measured it so far; 0: it has not.
    `context` is opaque: it comes back with the request to transmit (`tmst` in Semtech UDP, 4 octets big-endian;
    `rx_info.context` in ChirpStack's contract; `rctx` and `xtime` of a Basics Station, 8 octets each, big-endian).
    `trace_id` is new with each copy; the uplink keeps that of its first (`core.model.identities`).
    """

    phy_payload: bytes
    gateway_id: bytes
    time_us: int
    received_at_us: int
    context: bytes
    frequency: int  # Hz
    spreading_factor: int  # 0: not LoRa.
    bandwidth: int  # Hz; 0: not LoRa.
    bit_rate: int  # bit/s; 0: not FSK.
    rssi: float  # dBm
    snr: float  # dB
    channel: int
    antenna: int
    round_trip_us: int = 0
    trace_id: bytes = NO_TRACE


FRAME_BATCHES = BatchDecoder(GatewayFrame)
