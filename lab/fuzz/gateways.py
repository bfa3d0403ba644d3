"""What gateways may send: datagrams of packet forwarders, messages of stations, bodies of other people's LNS."""

import base64
import json
import random
from typing import Any, NamedTuple

from core.messages.batch import BatchDecoder, encode_batch
from core.messages.frames import GatewayFrame
from core.messages.uplinks import Uplink
from gateways.basics_station_frames import frame_of, stats_of
from gateways.semtech_udp import frames_of
from gateways.semtech_udp import stats_of as stats_of_forwarder
from integrations.lns.adapters import read
from integrations.lns.canonical import canonical
from integrations.lns.lns_uplink import LnsMessage, LnsUplink, Unreadable
from lab.fuzz import mutations, recorded
from lab.fuzz.json_octets import body_of
from lab.fuzz.target import NOW_US, Target
from lorawan.gateway.basics_station import MalformedMessage, StationUplink, TimeSync, Version, parse_message
from lorawan.gateway.basics_station_answers import timesync_answer
from lorawan.gateway.semtech_udp import (
    DatagramType,
    MalformedDatagram,
    PushData,
    acknowledgement,
    datagram_type,
    parse_datagram,
)
from lorawan.identifiers import GatewayId
from lorawan.regions import EU868

GATEWAY = GatewayId(bytes.fromhex("0080e115000a9b72"))
LARGEST_DATAGRAM = 65_507
# Of the protocol's own text, section 4 (Lora-net/packet_forwarder, PROTOCOL.TXT), with what gateways add.
RXPK = {
    "time": "2013-03-31T16:21:17.528002Z", "tmst": 3_512_348_611, "chan": 2, "rfch": 0, "freq": 866.349812,
    "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/6", "rssi": -35, "lsnr": 5.1, "size": 32,
    "data": "-DS4CGaDCdG+48eJNM3Vai-zDpsR71Pn9CPA9uCON84", "tmms": 1_440_000_000_000, "foff": 12,
    "rsig": [{"ant": 0, "chan": 7, "rssic": -35, "lsnr": 5.1}, {"ant": 1, "chan": 23, "rssic": -40, "lsnr": 5.1}],
}  # fmt: skip
FSK = RXPK | {"modu": "FSK", "datr": 50_000}
STAT = {
    "time": "2014-01-12 08:59:28 GMT", "lati": 46.24, "long": 3.2523, "alti": 145, "rxnb": 2, "rxok": 2, "rxfw": 2,
    "ackr": 100.0, "dwnb": 2, "txnb": 2, "temp": 40,
}  # fmt: skip
TX_ACK = {"txpk_ack": {"error": "COLLISION_PACKET", "warn": "TX_POWER", "value": 20}}

_frames = BatchDecoder(GatewayFrame)
_uplinks = BatchDecoder(Uplink)


def datagram(source: random.Random) -> bytes:
    """A datagram as a forwarder sends it, spoilt in its document, its octets, its header, or all of it noise."""
    if source.random() < 0.05:  # noqa: PLR2004 - Now and then.
        return mutations.noise(source, 600)
    kind = source.choice((DatagramType.PUSH_DATA,) * 6 + (DatagramType.TX_ACK, DatagramType.PULL_DATA))
    body = body_of(source, _document(source, kind))
    if source.random() < 0.2:  # noqa: PLR2004
        body = mutations.octets(source, body)
    made = bytes((2,)) + source.randbytes(2) + bytes((kind,)) + GATEWAY + body
    if source.random() < 0.1:  # noqa: PLR2004
        made = mutations.octets(source, made[:12]) + made[12:]
    return made[:LARGEST_DATAGRAM]


def _document(source: random.Random, kind: DatagramType) -> Any:
    if kind is DatagramType.TX_ACK:
        return TX_ACK
    frames = [dict(source.choice((RXPK, FSK))) for _ in range(source.randint(0, 4))]
    for one in frames:
        if source.random() < 0.5:  # noqa: PLR2004 - Most frames of the air are whole.
            one["data"] = base64.b64encode(mutations.noise(source, 60)).decode()
    return {"rxpk": frames} | ({"stat": STAT} if source.random() < 0.3 else {})  # noqa: PLR2004


def receive_datagram(octets: bytes) -> str:
    """What the bridge makes of it; frames go over the bus and come out the same."""
    kind, _ = datagram_type(octets), acknowledgement(octets)
    try:
        found = parse_datagram(octets)
    except MalformedDatagram as malformed:
        str(malformed).encode()
        return "malformed"
    if kind is None:
        raise AssertionError("read, and of no kind")
    if not isinstance(found, PushData):
        return kind.name.lower()
    frames = [frame for rxpk in found.rxpks for frame in frames_of(rxpk, found.gateway_id, NOW_US)]
    _over_the_bus(frames)
    if found.stat is not None:
        json.dumps(stats_of_forwarder(found.stat), allow_nan=False)
    return "push_data" if frames else "push_data_without_frame"


def _over_the_bus(frames: list[GatewayFrame]) -> None:
    if _frames.decode(encode_batch(frames)) != frames:
        raise AssertionError(f"{frames} come out of the bus as others")


def acknowledges_a_good_datagram() -> None:
    """One frame: acknowledged with its token, read whole."""
    octets = (
        b"\x02\x12\x34\x00" + GATEWAY + json.dumps({"rxpk": [RXPK | {"size": 4, "data": "AAECAw=="}]}).encode()
    )
    assert acknowledgement(octets) == b"\x02\x12\x34\x01"
    found = parse_datagram(octets)
    assert isinstance(found, PushData)
    assert [rxpk.phy_payload for rxpk in found.rxpks] == [bytes(range(4))]


def station_message(source: random.Random) -> str:
    """A message as a station sends it, spoilt; as text, since octets are the remote shell's."""
    return body_of(source, source.choice(recorded.station_messages())).decode("utf-8", "replace")


def receive_station_message(text: str) -> str:
    """What the bridge makes of it."""
    try:
        found = parse_message(text)
    except MalformedMessage as malformed:
        str(malformed).encode()
        return "malformed"
    match found:
        case StationUplink():
            frame = frame_of(found, GATEWAY, EU868, NOW_US)
            _over_the_bus([] if frame is None else [frame])
        case TimeSync():
            json.loads(timesync_answer(found, NOW_US))
        case Version():
            json.dumps(stats_of(found), allow_nan=False)
        case _:
            pass
    return type(found).__name__


def answers_a_good_station() -> None:
    """A question about the time is answered, and a recorded uplink is a frame of 17 octets."""
    asked = parse_message('{"msgtype":"timesync","txtime":1407375152494224}')
    assert isinstance(asked, TimeSync)
    assert json.loads(timesync_answer(asked, NOW_US))["txtime"] == 1407375152494224  # noqa: PLR2004
    found = parse_message(json.dumps(recorded.station_messages()[1]))
    assert isinstance(found, StationUplink)
    assert found.phy_payload.hex() == "40f17dbe4900020001954378762b11ff0d"


class Push(NamedTuple):
    """A message of an LNS, of which kind its source is."""

    kind: str
    message: LnsMessage


def lns_message(source: random.Random) -> Push:
    """The message of an LNS, spoilt; now and then at the source of another."""
    sample = source.choice(recorded.lns_messages())
    kind = sample["kind"] if source.random() < 0.95 else source.choice(recorded.lns_messages())["kind"]  # noqa: PLR2004
    topic = sample["topic"] if source.random() < 0.8 else mutations.text(source, sample["topic"])  # noqa: PLR2004
    said = topic.encode("utf-8", "replace").decode()  # As a broker and a path have it.
    return Push(kind, LnsMessage(body_of(source, sample["body"]), said, sample["headers"]))


def receive_lns_message(case: Push) -> str:
    """What intake makes of it; an uplink goes over the bus and comes out the same."""
    try:
        found = read(case.kind, case.message)
    except Unreadable as unreadable:
        unreadable.french.encode()
        return f"unreadable_{unreadable.reason}"
    if isinstance(found, LnsUplink):
        uplink = canonical(found, 1, 2, NOW_US)
        if _uplinks.decode(encode_batch([uplink])) != [uplink]:
            raise AssertionError(f"{uplink} comes out of the bus as another")
        found.address.encode()
    return type(found).__name__


def reads_a_good_lns_message() -> None:
    """Each LNS's own message is an uplink."""
    for sample in recorded.lns_messages():
        found = read(
            sample["kind"], LnsMessage(json.dumps(sample["body"]).encode(), sample["topic"], sample["headers"])
        )
        assert isinstance(found, LnsUplink), sample["kind"]


UDP = Target("udp", "Datagrammes UDP", datagram, receive_datagram, acknowledges_a_good_datagram)
STATION = Target(
    "station", "Messages de stations", station_message, receive_station_message, answers_a_good_station
)
LNS = Target("lns", "Corps des autres LNS", lns_message, receive_lns_message, reads_a_good_lns_message)
