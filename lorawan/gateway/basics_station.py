"""LoRa Basics Station's LNS protocol, version 2: what a station says, in JSON messages on a WebSocket.

A station takes a frame to pieces before it sends it, and has not always spelled each piece with the same capitals:
keys are read whatever their case. `xtime` is a counter of 64 bits that no float can hold: it is never one here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from lorawan.frame import MAX_F_OPTS, MAX_PHY_PAYLOAD
from lorawan.gateway.lenient import integer, json_array, json_object, number, whole_json
from lorawan.gateway.semtech_rxpk import UNKNOWN_SNR
from lorawan.identifiers import EUI_LENGTH, GatewayId, parse_eui
from lorawan.instants import GPS_EPOCH_US, GPS_LEAP_SECONDS

MAX_DATA_RATE = 15
UNKNOWN_RSSI = -200.0
PRODUCTION = "prod"
"""The feature of a station's build that does not let its region's limits be lifted."""

_INT32, _INT64 = 1 << 31, 1 << 63
_GPS_TO_UTC_US = GPS_EPOCH_US - GPS_LEAP_SECONDS * 1_000_000
_MAX_TEXT = 100
_DIGITS = re.compile(r"-?[0-9]{1,19}")
# Groups of hexadecimal digits between colons; a colon in front is one of two.
_ID6 = re.compile(r"(?!:(?:[^:]|$))[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){1,4}")
# An offset of a clock or a round trip beyond this says that a clock was set meanwhile.
MAX_ROUND_TRIP_US = 10_000_000


class MalformedMessage(ValueError):
    """A message that is not of this protocol; `msgtype` is "" when it does not say what it would have been."""

    def __init__(self, reason: str, evidence: object, msgtype: str = "") -> None:
        shown = str(evidence)[:_MAX_TEXT].encode(errors="backslashreplace").decode()  # Also half of a letter.
        super().__init__(f"{msgtype or 'message'}: {reason}: {shown}")
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
        """Whether this build keeps its region's limits whatever its router_config says."""
        return PRODUCTION in self.features.split()


@dataclass(frozen=True, slots=True)
class StationUplink:
    """A frame from the air, whole again (`updf`, `jreq`, `propdf`). Times are microseconds since 1970 UTC.

    `rx_time_us` is the station's clock; `ref_time_us` is the last MuxTime that it received, and the time since by
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


Message = Version | StationUplink | Transmitted | TimeSync | Unused


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
                return _station_uplink(msgtype, said, _data_frame(said))
            case "jreq":
                return _station_uplink(msgtype, said, _join_request(said))
            case "propdf":
                return _station_uplink(msgtype, said, _octets(said, "frmpayload"))
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


def _station_uplink(msgtype: str, said: Mapping[str, Any], phy_payload: bytes) -> StationUplink:
    if not 0 < len(phy_payload) <= MAX_PHY_PAYLOAD:
        raise ValueError(f"a PHYPayload of {len(phy_payload)} octets")
    up_info = _by_lower_key(json_object(said.get("upinfo")) or {})
    rssi, snr, gps_time = number(up_info.get("rssi")), number(up_info.get("snr")), integer(up_info.get("gpstime"))
    return StationUplink(
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
    if isinstance(value, str) and _DIGITS.fullmatch(value):
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


def round_trip_us(ref_time_us: int | None, now_us: int) -> int | None:
    """From the last MuxTime that the station received until now, less the time that it spent there."""
    elapsed_us = 0 if ref_time_us is None else now_us - ref_time_us
    return elapsed_us if 0 < elapsed_us < MAX_ROUND_TRIP_US else None
