"""Semtech UDP protocol, version 2 (and 1), from the server's side: octets in, values out, and the answers.

There is no authentication and no retransmission in it: whatever is said here comes from anybody.
"""

from binascii import a2b_base64
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, MsgspecError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from lorawan.gateway.lenient import (
    base64_of,
    json_array,
    json_object,
    number,
    salvaged_elements,
    text_of,
    time_us_of,
    utc_us_of_gps_ms,
    whole_json,
)
from lorawan.gateway.semtech_rxpk import (
    LORA_BY_NAME,
    MAX_FREQUENCY,
    MAX_PHY_PAYLOAD,
    RejectedRxPk,
    RxPk,
    read_rxpk,
    write_modulation,
)
from lorawan.gateway.semtech_stat import Stat, read_stat
from lorawan.identifiers import GatewayId
from lorawan.regions.region import DataRate, Fsk

VERSION = 2
VERSIONS = (1, 2)
HEADER_LENGTH = 4
GATEWAY_HEADER_LENGTH = 12
# A forwarder reads a PULL_RESP into 1000 octets and loses a longer one without a word.
MAX_PULL_RESP = 999
FSK_DEVIATION = 25_000
_CRC_OK = 1
_MAX_INDEX = 0xFF


class MalformedDatagram(ValueError):
    """The octets are no datagram of this protocol, or not one for this side; the message shows the evidence."""


class DatagramType(IntEnum):
    """The fourth octet."""

    PUSH_DATA = 0
    PUSH_ACK = 1
    PULL_DATA = 2
    PULL_RESP = 3
    PULL_ACK = 4
    TX_ACK = 5


class TxStatus(StrEnum):
    """What a gateway made of a PULL_RESP. OK means queued, not transmitted."""

    OK = "OK"
    TOO_LATE = "TOO_LATE"
    TOO_EARLY = "TOO_EARLY"
    """Also what a forwarder says when the counter has already passed: most often too late."""
    COLLISION_PACKET = "COLLISION_PACKET"
    COLLISION_BEACON = "COLLISION_BEACON"
    TX_FREQ = "TX_FREQ"
    TX_POWER = "TX_POWER"
    GPS_UNLOCKED = "GPS_UNLOCKED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    """An error that the protocol does not name."""


class PushData(Struct, frozen=True):
    """Frames and status from a gateway."""

    token: bytes
    gateway_id: GatewayId
    rxpks: tuple[RxPk, ...] = ()
    rejected: tuple[RejectedRxPk, ...] = ()
    stat: Stat | None = None
    damaged: bool = False
    """The JSON was not whole; what could be read of it is here."""


@dataclass(frozen=True, slots=True)
class PullData:
    """A gateway keeps its downlink path open: answers go to the address this came from."""

    token: bytes
    gateway_id: GatewayId


@dataclass(frozen=True, slots=True)
class TxAck:
    """The gateway's answer to the PULL_RESP with this token."""

    token: bytes
    gateway_id: GatewayId
    status: TxStatus = TxStatus.OK
    warning: str = ""
    """Sent, but not as asked: TX_POWER with the power that was used."""


Datagram = PushData | PullData | TxAck


@dataclass(frozen=True, slots=True)
class TxPk:
    """A frame to transmit. `tmst` None means at once; frequency in Hz, power in dBm.

    The forwarder takes its own antenna's gain off the power: what is left is what its radio puts out.
    """

    phy_payload: bytes
    frequency: int
    modulation: DataRate
    power: int
    tmst: int | None = None
    coding_rate: str = "4/5"


_FROM_GATEWAY = {int(kind): kind for kind in (DatagramType.PUSH_DATA, DatagramType.PULL_DATA, DatagramType.TX_ACK)}
_ACKNOWLEDGED = {
    DatagramType.PUSH_DATA: bytes((DatagramType.PUSH_ACK,)),
    DatagramType.PULL_DATA: bytes((DatagramType.PULL_ACK,)),
}
_encode = msgspec.json.Encoder().encode


def datagram_type(octets: bytes) -> DatagramType | None:
    """What a datagram from a gateway is, from its header alone; None when it is no such thing."""
    if len(octets) < GATEWAY_HEADER_LENGTH or octets[0] not in VERSIONS:
        return None
    return _FROM_GATEWAY.get(octets[3])


def acknowledgement(octets: bytes) -> bytes | None:
    """What to answer to a datagram before it is parsed (PUSH_ACK or PULL_ACK); None when nothing."""
    kind = datagram_type(octets)
    answer = None if kind is None else _ACKNOWLEDGED.get(kind)
    return None if answer is None else octets[:3] + answer


def gateway_id_of(octets: bytes) -> GatewayId:
    """The gateway's EUI in a datagram whose type is known."""
    return GatewayId(octets[HEADER_LENGTH:GATEWAY_HEADER_LENGTH])


def pull_resp(token: bytes, txpk: TxPk) -> bytes:
    """The request to transmit a frame as a downlink: inverted polarity, no CRC.

    Raises:
        ValueError: the frame is empty or over 255 octets, or the datagram over what a forwarder reads.
    """
    if not 0 < len(txpk.phy_payload) <= MAX_PHY_PAYLOAD:
        raise ValueError(f"a frame has 1 to {MAX_PHY_PAYLOAD} octets, not {len(txpk.phy_payload)}")
    said: dict[str, Any] = {"imme": True} if txpk.tmst is None else {"tmst": txpk.tmst & 0xFFFF_FFFF}
    said |= {"freq": txpk.frequency / 1e6, "rfch": 0, "powe": txpk.power, **write_modulation(txpk.modulation)}
    said |= {"fdev": FSK_DEVIATION} if isinstance(txpk.modulation, Fsk) else {"codr": txpk.coding_rate}
    said |= {"ipol": True, "ncrc": True, "size": len(txpk.phy_payload), "data": base64_of(txpk.phy_payload)}
    octets = _header(DatagramType.PULL_RESP, token) + _encode({"txpk": said})
    if len(octets) > MAX_PULL_RESP:
        raise ValueError(f"PULL_RESP of {len(octets)} octets, a forwarder reads {MAX_PULL_RESP}")
    return octets


def parse_datagram(octets: bytes) -> Datagram:
    """Reads a datagram from a gateway.

    Raises:
        MalformedDatagram: it is not one, or nothing in it can be read.
    """
    kind = datagram_type(octets)
    if kind is None:
        raise MalformedDatagram(f"not from a gateway: {len(octets)} octets, {octets[:16].hex()}")
    token, gateway_id = octets[1:3], gateway_id_of(octets)
    body = octets[GATEWAY_HEADER_LENGTH:]
    if kind is DatagramType.PUSH_DATA:
        return _push_data(token, gateway_id, body)
    if kind is DatagramType.TX_ACK:
        return _tx_ack(token, gateway_id, body)
    return PullData(token, gateway_id)


def _push_data(token: bytes, gateway_id: GatewayId, body: bytes) -> PushData:
    plain = read_plain_rxpks(body)
    if plain is not None:
        return PushData(token, gateway_id, plain)
    try:
        said = whole_json(body)
    except ValueError:
        return _damaged_push_data(token, gateway_id, text_of(body))
    read = json_object(said)
    if read is None:
        raise MalformedDatagram(f"PUSH_DATA is not a JSON object: {body[:40]!r}")
    elements = json_array(read.get("rxpk"))
    if elements is None:
        # One object instead of a list of one is understood; anything else is rejected as an element.
        elements = [read["rxpk"]] if read.get("rxpk") else []
    rxpks, rejected = _judged(elements)
    return PushData(token, gateway_id, rxpks, rejected, read_stat(read.get("stat")))


def _damaged_push_data(token: bytes, gateway_id: GatewayId, text: str) -> PushData:
    """What is left when the JSON is not whole: a status cut short, or one bad element among good ones."""
    if '"rxpk"' not in text and '"stat"' not in text:
        raise MalformedDatagram(f"PUSH_DATA is not JSON: {text[:40]!r}")
    rxpks, rejected = _judged(salvaged_elements(text, "rxpk"))
    return PushData(token, gateway_id, rxpks, rejected, stat=None, damaged=True)


def _judged(elements: Iterable[Any]) -> tuple[tuple[RxPk, ...], tuple[RejectedRxPk, ...]]:
    rxpks: list[RxPk] = []
    rejected: list[RejectedRxPk] = []
    for element in elements:
        judged = read_rxpk(element)
        if isinstance(judged, RxPk):
            rxpks.append(judged)
        else:
            rejected.append(judged)
    return tuple(rxpks), tuple(rejected)


def _tx_ack(token: bytes, gateway_id: GatewayId, body: bytes) -> TxAck:
    if not body.strip(b"\0 \r\n\t"):
        return TxAck(token, gateway_id)
    try:
        said = whole_json(body)
    except ValueError as error:
        raise MalformedDatagram(f"TX_ACK is not JSON: {body[:40]!r}") from error
    ack: Any = (json_object(said) or {}).get("txpk_ack") or {}
    answer = json_object(ack)
    if answer is None:
        raise MalformedDatagram(f"txpk_ack is not an object: {body[:40]!r}")
    return TxAck(token, gateway_id, _status_of(answer.get("error")), _warning_of(answer))


def _status_of(error: Any) -> TxStatus:
    name = str(error or "NONE").strip().upper()
    if name in ("NONE", "OK"):
        return TxStatus.OK
    return TxStatus.__members__.get(name, TxStatus.INTERNAL_ERROR)


def _warning_of(answer: dict[str, Any]) -> str:
    name = str(answer.get("warn") or "NONE").strip().upper()[:40]
    if name == "NONE":
        return ""
    value = number(answer.get("value"))
    return name if value is None else f"{name} {value:g}"


def _header(kind: DatagramType, token: bytes) -> bytes:
    return bytes((VERSION, *token[:2], kind))


class _PlainRxPk(Struct, gc=False):
    """What nearly every `rxpk` says. Whatever else it says that we read makes it one for the lenient reader."""

    data: str
    freq: float
    datr: str
    rssi: float
    lsnr: float
    tmst: int | None = None
    time: str | None = None
    tmms: int | None = None
    codr: str = ""
    stat: int = _CRC_OK
    chan: int = 0
    ant: int = 0
    rsig: Raw | UnsetType = UNSET


class _PlainBody(Struct, gc=False):
    rxpk: list[_PlainRxPk]
    stat: Raw | UnsetType = UNSET


_decode = Decoder(_PlainBody).decode


def read_plain_rxpks(body: bytes) -> tuple[RxPk, ...] | None:
    """The frames of a PUSH_DATA that holds LoRa frames with a good CRC and nothing else; None for any other."""
    try:
        said = _decode(body)
        if said.stat is not UNSET:
            return None
        return tuple([_rxpk_of(element) for element in said.rxpk])
    except (MsgspecError, ValueError, KeyError, OverflowError, RecursionError):
        return None


def _rxpk_of(said: _PlainRxPk) -> RxPk:
    """Raises ValueError or KeyError for what the lenient reader is to judge."""
    phy_payload = a2b_base64(said.data, strict_mode=True)
    frequency = round(said.freq * 1e6)
    channel, antenna, tmst = said.chan, said.ant, said.tmst
    if not (
        said.stat == _CRC_OK
        and said.rsig is UNSET
        and 0 < len(phy_payload) <= MAX_PHY_PAYLOAD
        and 0 < frequency <= MAX_FREQUENCY
        and 0 <= channel <= _MAX_INDEX
        and 0 <= antenna <= _MAX_INDEX
    ):
        raise ValueError("not plain")
    return RxPk(
        phy_payload,
        None if tmst is None else tmst & 0xFFFF_FFFF,
        frequency,
        LORA_BY_NAME[said.datr],
        said.rssi,
        said.lsnr,
        said.codr,
        None if said.time is None else time_us_of(said.time),
        None if said.tmms is None else utc_us_of_gps_ms(said.tmms),
        channel,
        antenna,
    )
