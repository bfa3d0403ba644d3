"""LoRa Basics Station's LNS protocol, version 2: the JSON messages of both directions, without the WebSocket.

A station takes a frame to pieces before it sends it, and has not always spelled each piece with the same capitals:
keys are read whatever their case. `xtime` is a counter of 64 bits that no float can hold: it is never one here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Any

import msgspec

from lorawan.frame import MAX_F_OPTS, MAX_PHY_PAYLOAD
from lorawan.gateway.lenient import (
    GPS_EPOCH_US,
    GPS_LEAP_SECONDS,
    integer,
    json_array,
    json_object,
    number,
    whole_json,
)
from lorawan.gateway.semtech_rxpk import UNKNOWN_SNR
from lorawan.identifiers import EUI_LENGTH, GatewayId, parse_eui

MAX_URI = 128
"""Characters of the address in a router-info answer that a station has room for."""
MAX_DATA_RATE = 15
UNKNOWN_RSSI = -200.0
PRODUCTION = "prod"
"""The feature of a station's build that refuses to have its region's limits lifted."""
# A station answers for no downlink whose DevEui is 0, and the bridge does not know whom a frame is for.
ANY_DEV_EUI = "01-01-01-01-01-01-01-01"
PRIORITY = 1

_INT32, _INT64 = 1 << 31, 1 << 63
_GPS_TO_UTC_US = GPS_EPOCH_US - GPS_LEAP_SECONDS * 1_000_000
_MAX_TEXT = 100
_ID6 = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){1,4}")
# An offset of a clock or a round trip beyond this says that a clock was set meanwhile.
MAX_ROUND_TRIP_US = 10_000_000


class MalformedMessage(ValueError):
    """A message that is not of this protocol; `msgtype` is "" when it does not say what it would have been."""

    def __init__(self, reason: str, evidence: object, msgtype: str = "") -> None:
        super().__init__(f"{msgtype or 'message'}: {reason}: {str(evidence)[:_MAX_TEXT]}")
        self.msgtype = msgtype


@dataclass(frozen=True, slots=True)
class Version:
    """The first message of a station: what it is."""

    station: str
    firmware: str
    package: str
    model: str
    protocol: int
    features: str

    @property
    def is_production(self) -> bool:
        """Whether this build keeps its region's limits whatever it is told."""
        return PRODUCTION in self.features.split()


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame from the air, whole again (`updf`, `jreq`, `propdf`). Times are microseconds since 1970 UTC.

    `rx_time_us` is the station's clock; `ref_time_us` is the last MuxTime that it was told, and the time since by
    its own clock: None where it says nothing.
    """

    msgtype: str
    phy_payload: bytes
    data_rate: int
    frequency: int
    xtime: int
    rctx: int
    rssi: float
    snr: float
    gps_time_us: int | None = None
    rx_time_us: int | None = None
    ref_time_us: int | None = None


@dataclass(frozen=True, slots=True)
class Transmitted:
    """`dntxed`: the frame with this `diid` is on the air. There is no message for one that never will be."""

    diid: int
    data_rate: int | None
    frequency: int | None


@dataclass(frozen=True, slots=True)
class TimeSync:
    """A station with a pulse per second asks what GPS time it is; `txtime` goes back as it came."""

    txtime: int


@dataclass(frozen=True, slots=True)
class Unused:
    """A message that is not for a network server of class A and C, as `rmtsh`, or that nobody knows."""

    msgtype: str


Message = Version | Heard | Transmitted | TimeSync | Unused


def eui_of(value: Any) -> bytes:
    """Eight octets from an EUI in any of a station's ways: a number, `80-00-..`, 16 digits, ID6 (`80:ff:fe00:1`).

    Raises:
        ValueError: it is none of them.
    """
    if type(value) is int and 0 <= value < 1 << 8 * EUI_LENGTH:
        return value.to_bytes(EUI_LENGTH)
    if not isinstance(value, str):
        raise ValueError(f"not an EUI: {str(value)[:_MAX_TEXT]}")  # noqa: TRY004 - One exception for every bad message.
    text = value.strip().removeprefix("router-")
    if _ID6.fullmatch(text):  # The last four groups of an IPv6 address.
        try:
            return IPv6Address(f"0:0:0:0{'' if text.startswith('::') else ':'}{text}").packed[EUI_LENGTH:]
        except AddressValueError:
            pass
    return parse_eui(text)


def id6_of(eui: bytes) -> str:
    """An EUI in the station's own notation."""
    return ":".join(f"{int.from_bytes(eui[at : at + 2]):x}" for at in range(0, EUI_LENGTH, 2))


def parse_discovery(message: str | bytes) -> GatewayId:
    """Who asks where its network server is: `{"router": EUI}`.

    Raises:
        MalformedMessage: it is no such question.
    """
    said = _object_of(message)
    try:
        return GatewayId(eui_of(said.get("router")))
    except ValueError as wrong:
        raise MalformedMessage("router", wrong, "router-info") from wrong


def discovery_answer(router: GatewayId, uri: str) -> str:
    """Where the station is to connect; `uri` has a port and a path."""
    return _text({"router": id6_of(router), "muxs": "muxs-::0", "uri": uri})


def discovery_refusal(router: GatewayId, error: str) -> str:
    """Why the station is not told."""
    return _text({"router": id6_of(router), "error": error})


def parse_message(message: str | bytes) -> Message:  # noqa: PLR0911 - One for each kind of message.
    """What a station says on its connection.

    Raises:
        MalformedMessage: it is not JSON, or a part that is needed is missing or out of its range.
    """
    said = _object_of(message)
    msgtype = said.get("msgtype")
    if not isinstance(msgtype, str):
        raise MalformedMessage("msgtype", type(msgtype).__name__)
    try:
        match msgtype:
            case "updf":
                return _heard(msgtype, said, _data_frame(said))
            case "jreq":
                return _heard(msgtype, said, _join_request(said))
            case "propdf":
                return _heard(msgtype, said, _octets(said, "frmpayload"))
            case "dntxed":
                return Transmitted(_exact(said, "diid"), integer(said.get("dr")), integer(said.get("freq")))
            case "timesync":
                return TimeSync(_exact(said, "txtime"))
            case "version":
                return _version(said)
            case _:
                return Unused(msgtype[:_MAX_TEXT])
    except ValueError as wrong:
        raise MalformedMessage("field", wrong, msgtype) from wrong


def _object_of(message: str | bytes) -> Mapping[str, Any]:
    octets = message.encode(errors="replace") if isinstance(message, str) else message
    try:
        said = json_object(whole_json(octets))
    except ValueError as wrong:
        raise MalformedMessage("not JSON", wrong) from wrong
    if said is None:
        raise MalformedMessage("not an object", octets[:_MAX_TEXT])
    return _by_lower_key(said)


def _by_lower_key(said: dict[str, Any]) -> dict[str, Any]:
    return {key.lower(): value for key, value in said.items()}


def _version(said: Mapping[str, Any]) -> Version:
    names = ("station", "firmware", "package", "model")
    station, firmware, package, model = (_printable(said.get(name)) for name in names)
    return Version(
        station, firmware, package, model, integer(said.get("protocol")) or 0, _features(said.get("features"))
    )


def _features(value: Any) -> str:
    """One string with spaces in station 2.0, an array in others."""
    listed = json_array(value)
    return _printable(" ".join(map(str, listed)) if listed is not None else value)


def _printable(value: Any) -> str:
    return "".join(filter(str.isprintable, value))[:_MAX_TEXT] if isinstance(value, str) else ""


def _data_frame(said: Mapping[str, Any]) -> bytes:
    f_ctrl, f_opts = _ranged(said, "fctrl", 0, 0xFF), _octets(said, "fopts")
    if len(f_opts) != f_ctrl & MAX_F_OPTS:
        raise ValueError(f"FCtrl {f_ctrl:02x} with {len(f_opts)} octets of FOpts")
    f_port, frm_payload = _ranged(said, "fport", -1, 0xFF), _octets(said, "frmpayload")
    if f_port < 0 and frm_payload:
        raise ValueError("FRMPayload without FPort")
    return b"".join(
        (
            _ranged(said, "mhdr", 0, 0xFF).to_bytes(),
            _word(said, "devaddr"),
            f_ctrl.to_bytes(),
            _ranged(said, "fcnt", 0, 0xFFFF).to_bytes(2, "little"),
            f_opts,
            b"" if f_port < 0 else f_port.to_bytes(),
            frm_payload,
            _word(said, "mic"),
        )
    )


def _join_request(said: Mapping[str, Any]) -> bytes:
    return b"".join(
        (
            _ranged(said, "mhdr", 0, 0xFF).to_bytes(),
            eui_of(said.get("joineui"))[::-1],
            eui_of(said.get("deveui"))[::-1],
            _ranged(said, "devnonce", 0, 0xFFFF).to_bytes(2, "little"),
            _word(said, "mic"),
        )
    )


def _heard(msgtype: str, said: Mapping[str, Any], phy_payload: bytes) -> Heard:
    if not 0 < len(phy_payload) <= MAX_PHY_PAYLOAD:
        raise ValueError(f"a PHYPayload of {len(phy_payload)} octets")
    up_info = _by_lower_key(json_object(said.get("upinfo")) or {})
    rssi, snr, gps_time = number(up_info.get("rssi")), number(up_info.get("snr")), integer(up_info.get("gpstime"))
    return Heard(
        msgtype,
        phy_payload,
        data_rate=_ranged(said, "dr", 0, MAX_DATA_RATE),
        frequency=_ranged(said, "freq", 1, _INT32 - 1),
        xtime=_exact(up_info, "xtime"),
        rctx=_exact(up_info, "rctx") if "rctx" in up_info else 0,
        rssi=UNKNOWN_RSSI if rssi is None else rssi,
        snr=UNKNOWN_SNR if snr is None else snr,
        gps_time_us=gps_time + _GPS_TO_UTC_US if gps_time is not None and 0 < gps_time < _INT64 >> 1 else None,
        rx_time_us=_seconds_us(up_info.get("rxtime")),
        ref_time_us=_seconds_us(said.get("reftime")),
    )


def _seconds_us(value: Any) -> int | None:
    seconds = number(value)
    return round(seconds * 1e6) if seconds is not None and 0 < seconds < 1e12 else None  # noqa: PLR2004


def _exact(said: Mapping[str, Any], name: str) -> int:
    """A signed integer of 64 bits; a float may have lost its last digits, hence is none."""
    value = said.get(name)
    if isinstance(value, str) and len(value) <= 20:  # noqa: PLR2004 - As many digits and a sign.
        value = int(value)
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise ValueError(f"{name} {str(value)[:_MAX_TEXT]}")
    return value


def _ranged(said: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = integer(said.get(name))
    if value is None or not low <= value <= high:
        raise ValueError(f"{name} {str(value)[:_MAX_TEXT]}, expected {low} to {high}")
    return value


def _word(said: Mapping[str, Any], name: str) -> bytes:
    """Four octets little-endian; a station writes them as a signed number, others as an unsigned one."""
    return (_ranged(said, name, -_INT32, 2 * _INT32 - 1) % (2 * _INT32)).to_bytes(4, "little")


def _octets(said: Mapping[str, Any], name: str) -> bytes:
    digits = said.get(name) or ""
    if not isinstance(digits, str) or len(digits) > 2 * MAX_PHY_PAYLOAD:
        raise ValueError(f"{name} {str(digits)[:_MAX_TEXT]}")
    return bytes.fromhex(digits)


# --- To the station ----------------------------------------------------------------------------------


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
    gps_time = now_us - _GPS_TO_UTC_US
    return _text({"msgtype": "timesync", "txtime": asked.txtime, "gpstime": gps_time, "MuxTime": mux_time(now_us)})


def mux_time(now_us: int) -> float:
    """Our clock in seconds since 1970, which comes back as RefTime; to the microsecond until 2106."""
    return now_us / 1e6


def round_trip_us(ref_time_us: int | None, now_us: int) -> int | None:
    """From the last MuxTime that the station was told until now, less the time that it spent there."""
    elapsed_us = 0 if ref_time_us is None else now_us - ref_time_us
    return elapsed_us if 0 < elapsed_us < MAX_ROUND_TRIP_US else None


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
