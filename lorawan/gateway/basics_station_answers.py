"""LoRa Basics Station's LNS protocol, version 2: messages to a station, but for its configuration."""

from dataclasses import dataclass
from typing import Any

import msgspec

from lorawan.gateway.basics_station import TimeSync
from lorawan.identifiers import EUI_LENGTH, GatewayId
from lorawan.instants import GPS_EPOCH_US, GPS_LEAP_SECONDS

MAX_URI = 128
"""Characters of the address in a router-info answer that a station has room for."""
# A station answers for no downlink whose DevEui is 0, and the bridge does not know whom a frame is for.
ANY_DEV_EUI = "01-01-01-01-01-01-01-01"
PRIORITY = 1


def id6_of(eui: bytes) -> str:
    """An EUI in the station's own notation."""
    return ":".join(f"{int.from_bytes(eui[at : at + 2]):x}" for at in range(0, EUI_LENGTH, 2))


def discovery_answer(router: GatewayId, uri: str) -> str:
    """Where the station is to connect; `uri` has a port and a path."""
    return _text({"router": id6_of(router), "muxs": "muxs-::0", "uri": uri})


def discovery_error(router: GatewayId, error: str) -> str:
    """The answer to a discovery request that is rejected, with the reason."""
    return _text({"router": id6_of(router), "error": error})


@dataclass(frozen=True, slots=True)
class Tuning:
    """The index of a data rate in router_config's DRs, and a frequency in Hz: what the radio is set to."""

    data_rate: int
    frequency: int


@dataclass(frozen=True, slots=True)
class ClassA:
    """`rx_delay` seconds after the uplink of `xtime` in RX1; a second later in RX2, when RX1 is taken."""

    xtime: int
    rx_delay: int
    rx1: Tuning
    rx2: Tuning | None = None


@dataclass(frozen=True, slots=True)
class ClassC:
    """At once, with the parameters of RX2."""

    rx2: Tuning


def dnmsg(diid: int, phy_payload: bytes, when: ClassA | ClassC, rctx: int, now_us: int) -> str:
    """A frame for the radio. A station says nothing of one that it cannot send: `dntxed`, or silence."""
    message: dict[str, Any] = {
        "msgtype": "dnmsg",
        "DevEui": ANY_DEV_EUI,
        "dC": 0 if isinstance(when, ClassA) else 2,
        "diid": diid,
        "pdu": phy_payload.hex(),
        "priority": PRIORITY,
        "rctx": rctx,
    }
    match when:
        case ClassA(xtime, rx_delay, rx1, rx2):
            message |= {"RxDelay": rx_delay, "RX1DR": rx1.data_rate, "RX1Freq": rx1.frequency, "xtime": xtime}
        case ClassC(rx2):
            pass
    if rx2 is not None:
        message |= {"RX2DR": rx2.data_rate, "RX2Freq": rx2.frequency}
    return _text(message | {"MuxTime": mux_time(now_us)})


def timesync_answer(asked: TimeSync, now_us: int) -> str:
    """GPS time in microseconds since 6 January 1980, for the instant at which it is sent."""
    gps_time = now_us - GPS_EPOCH_US + GPS_LEAP_SECONDS * 1_000_000
    return _text({"msgtype": "timesync", "txtime": asked.txtime, "gpstime": gps_time, "MuxTime": mux_time(now_us)})


def mux_time(now_us: int) -> float:
    """Our clock in seconds since 1970, which comes back as RefTime; to the microsecond until 2106."""
    return now_us / 1e6


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
