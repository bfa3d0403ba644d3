"""ChirpStack v4's gateway messages. The JSON below is in the form of protobuf's JSON mapping."""

import base64
import contextlib

import pytest
from chirpstack_api import gw
from hypothesis import given
from hypothesis import strategies as st

from gateways.chirpstack_messages import (
    EventTopic,
    UnreadableEvent,
    frame_of,
    is_json,
    read_event,
    status_of,
)
from lorawan.identifiers import GatewayId
from tests.gateways.stations import UPLINK

GATEWAY = GatewayId(bytes.fromhex("0102030405060708"))
NOW = 1_795_559_600_000_000
UP_JSON = (
    b'{"phyPayload":"%s","txInfo":{"frequency":868100000,"modulation":{"lora":{"bandwidth":125000,'
    b'"spreadingFactor":12,"codeRate":"CR_4_5"}}},"rxInfo":{"gatewayId":"0102030405060708","uplinkId":4217,'
    b'"gwTime":"2026-11-25T08:59:28.123456789Z","rssi":-110,"snr":-7.5,"channel":2,"context":"AAAAAQ==",'
    b'"crcStatus":"CRC_OK","unheardOf":{"a":1}}}' % base64.b64encode(UPLINK)
)


def test_reads_json_with_fields_that_nobody_knows_and_nanoseconds() -> None:
    frame = frame_of(read_event(UP_JSON, gw.UplinkFrame()), GATEWAY, NOW, None)

    assert (frame.phy_payload, frame.spreading_factor, frame.context) == (UPLINK, 12, b"\0\0\0\1")
    assert (frame.rssi, frame.snr, frame.channel) == (-110.0, -7.5, 2)


def test_an_snr_that_is_no_number_is_unknown() -> None:
    payload = UP_JSON.replace(b'"snr":-7.5', b'"snr":"NaN"')

    frame = frame_of(read_event(payload, gw.UplinkFrame()), GATEWAY, NOW, None)

    assert frame.snr == -100.0


def test_rejects_a_context_that_would_make_a_message_too_large_for_the_bus() -> None:
    payload = UP_JSON.replace(b"AAAAAQ==", base64.b64encode(bytes(3_000_000)))

    with pytest.raises(UnreadableEvent, match="context"):
        frame_of(read_event(payload, gw.UplinkFrame()), GATEWAY, NOW, None)


@pytest.mark.parametrize(
    ("topic", "prefix", "kind"),
    [
        ("eu868/gateway/0102030405060708/event/up", "eu868", "up"),
        ("gateway/0102030405060708/event/stats", "", "stats"),
        ("a/b/gateway/0102030405060708/state/conn", "a/b", "conn"),
    ],
)
def test_reads_topics_with_and_without_a_prefix(topic: str, prefix: str, kind: str) -> None:
    read = EventTopic.parse(topic)

    assert (read.prefix, read.gateway_id, read.kind) == (prefix, GATEWAY, kind)
    assert read.command("down") == topic.rsplit("/", 2)[0] + "/command/down"


@pytest.mark.parametrize(
    "topic", ["", "a/b/c/d", "eu868/gateway/01/event/up", "eu868/gateway/010203040506070g/event/up", "gateway/x/y"]
)
def test_rejects_topics_of_something_else(topic: str) -> None:
    with pytest.raises(UnreadableEvent):
        EventTopic.parse(topic)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (b'"crcStatus":"BAD_CRC"', "bad_crc"),
        (b'"crcStatus":[]', "malformed"),
    ],
)
def test_rejects_what_the_radio_did_not_receive_whole(change: bytes, reason: str) -> None:
    payload = UP_JSON.replace(b'"crcStatus":"CRC_OK"', change)

    with pytest.raises(UnreadableEvent) as refused:
        frame_of(read_event(payload, gw.UplinkFrame()), GATEWAY, NOW, None)

    assert refused.value.reason == reason


def test_the_first_status_that_is_not_ignored_counts() -> None:
    ack = gw.DownlinkTxAck(items=[gw.DownlinkTxAckItem(), gw.DownlinkTxAckItem(status=gw.TOO_LATE)])

    assert status_of(ack) == "TOO_LATE"
    assert status_of(gw.DownlinkTxAck()) == "INTERNAL_ERROR"


@given(st.binary(max_size=300))
def test_arbitrary_octets_raise_only_unreadable_event(octets: bytes) -> None:
    for payload in (octets, b"{" + octets):
        try:
            frame = frame_of(read_event(payload, gw.UplinkFrame()), GATEWAY, NOW, None)
        except UnreadableEvent:
            continue
        assert frame.gateway_id == GATEWAY


@pytest.mark.parametrize("key", [b"gatewayID", b"gatewayId"])
@pytest.mark.parametrize(
    "value", [b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"9" * 400, b"NaN"]
)
def test_json_of_any_depth_and_size_raises_only_unreadable_event(key: bytes, value: bytes) -> None:
    with contextlib.suppress(UnreadableEvent):
        read_event(b'{"%s":%s}' % (key, value), gw.UplinkFrame())


@given(st.text(max_size=80))
def test_an_arbitrary_topic_raises_only_unreadable_event(topic: str) -> None:
    with contextlib.suppress(UnreadableEvent):
        assert len(EventTopic.parse(topic).gateway_id) == 8


def test_no_protobuf_of_the_contract_begins_like_json() -> None:
    assert is_json(UP_JSON)
    assert not is_json(gw.UplinkFrame(phy_payload=UPLINK).SerializeToString())
