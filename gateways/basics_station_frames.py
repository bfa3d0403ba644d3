"""Converts between LoRa Basics Station's messages and ours: receptions, transmissions, station properties."""

import struct
from collections.abc import Sequence
from typing import Any

from core.messages.downlinks import Transmission
from core.messages.frames import GatewayFrame
from core.model.identities import new_trace
from gateways.frontend import ChosenTransmission
from gateways.gateway_times import reception_time_us
from lorawan.gateway.basics_station import StationUplink, Transmitted, Version
from lorawan.gateway.basics_station_answers import ClassA, ClassC, Tuning
from lorawan.gateway.basics_station_config import channel_of
from lorawan.identifiers import GatewayId
from lorawan.regions import Fsk, Lora, Region

# rctx and xtime, big-endian: as ChirpStack's Gateway Bridge packs them into its context.
CONTEXT = struct.Struct(">qq")
RX_DELAYS = range(1, 16)
MAX_ANTENNA = 255

_SECOND_US = 1_000_000


class Unfit(ValueError):
    """A station cannot be asked for this; the message says why."""


def frame_of(
    uplink: StationUplink, gateway_id: GatewayId, region: Region, received_at_us: int, round_trip_us: int = 0
) -> GatewayFrame | None:
    """The reception that a station reports; None when its data rate is none of those that we configured."""
    if uplink.data_rate >= len(region.data_rates):
        return None
    rate = region.data_rates[uplink.data_rate]
    lora = rate if isinstance(rate, Lora) else Lora(0, 0)
    return GatewayFrame(
        phy_payload=uplink.phy_payload,
        gateway_id=gateway_id,
        time_us=reception_time_us(
            received_at_us, gps_time_us=uplink.gps_time_us, gateway_time_us=uplink.rx_time_us
        ),
        received_at_us=received_at_us,
        context=CONTEXT.pack(uplink.rctx, uplink.xtime),
        frequency=uplink.frequency,
        spreading_factor=lora.spreading_factor,
        bandwidth=lora.bandwidth,
        bit_rate=rate.bit_rate if isinstance(rate, Fsk) else 0,
        rssi=uplink.rssi,
        snr=uplink.snr,
        channel=channel_of(region, uplink.frequency, rate),
        antenna=uplink.rctx if 0 <= uplink.rctx <= MAX_ANTENNA else 0,
        round_trip_us=round_trip_us,
        trace_id=new_trace(),
    )


def schedule_of(radio_requests: Sequence[ChosenTransmission], region: Region) -> tuple[ClassA | ClassC, int]:
    """When and how a station is to transmit one of `radio_requests`, and its rctx.

    Raises:
        Unfit: a data rate that it does not know, a delay that it cannot keep, or no uplink of a station to follow.
    """
    first = radio_requests[0].transmission
    context = radio_requests[0].context
    rctx, xtime = CONTEXT.unpack(context) if len(context) == CONTEXT.size else (0, None)
    if first.immediate:
        return ClassC(_tuning(first, region)), rctx
    if xtime is None:
        raise Unfit(f"context {context.hex()} is not a station's")
    rx_delay, odd_us = divmod(first.delay_us, _SECOND_US)
    if rx_delay not in RX_DELAYS or odd_us:
        raise Unfit(f"a delay of {first.delay_us} us")
    second = radio_requests[1].transmission if len(radio_requests) > 1 else None
    if second is not None and second.delay_us != first.delay_us + _SECOND_US:
        raise Unfit(f"{second.delay_us - first.delay_us} us between the windows")
    rx2 = None if second is None else _tuning(second, region)
    return ClassA(xtime, rx_delay, _tuning(first, region), rx2), rctx


def _tuning(transmission: Transmission, region: Region) -> Tuning:
    data_rate = region.data_rate_of(transmission.spreading_factor, transmission.bandwidth)
    if data_rate is None:
        raise Unfit(f"SF{transmission.spreading_factor}BW{transmission.bandwidth}")
    return Tuning(data_rate, transmission.frequency)


def fell_back(transmitted: Transmitted, when: ClassA | ClassC) -> bool:
    """Whether a station took RX2 after RX1 had been offered, too."""
    if not isinstance(when, ClassA) or when.rx2 is None:
        return False
    said = (transmitted.data_rate, transmitted.frequency)
    rx1, rx2 = ((tuning.data_rate, tuning.frequency) for tuning in (when.rx1, when.rx2))
    return said == rx2 != rx1


def stats_of(version: Version) -> dict[str, Any]:
    """A station's version, as `gateway_state.stats` keeps it."""
    said = {
        "station": version.station,
        "firmware": version.firmware,
        "package": version.package,
        "model": version.model,
        "features": version.features,
    }
    return {name: value for name, value in said.items() if value}
