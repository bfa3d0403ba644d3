"""Frames without keys: what is read, what is rejected, and where a frame is routed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.frame import (
    DownlinkFCtrl,
    DownlinkFrame,
    MalformedFrame,
    MType,
    UplinkFCtrl,
    UplinkFrame,
    mtype_of,
    routing_slot,
)
from lorawan.identifiers import DevAddr, DevEui, slot_of_dev_addr, slot_of_dev_eui
from lorawan.join import JoinRequest

UPLINK = bytes.fromhex("40f17dbe4900020001954378762b11ff0d")  # The README of lora-packet.
DEV_ADDR = DevAddr(bytes.fromhex("49be7df1"))
FOUR_OCTETS = st.binary(min_size=4, max_size=4)


@st.composite
def uplinks(draw: st.DrawFn) -> UplinkFrame:
    f_ctrl = draw(st.builds(UplinkFCtrl, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
    f_port, f_opts, payload = draw(bodies())
    dev_addr, f_cnt = DevAddr(draw(FOUR_OCTETS)), draw(st.integers(0, 0xFFFF))
    confirmed, mic = draw(st.booleans()), draw(FOUR_OCTETS)
    return UplinkFrame(confirmed, dev_addr, f_ctrl, f_cnt, f_opts, f_port, payload, mic)


@st.composite
def downlinks(draw: st.DrawFn) -> DownlinkFrame:
    f_ctrl = draw(st.builds(DownlinkFCtrl, st.booleans(), st.booleans(), st.booleans()))
    f_port, f_opts, payload = draw(bodies())
    dev_addr, f_cnt = DevAddr(draw(FOUR_OCTETS)), draw(st.integers(0, 0xFFFF))
    confirmed, mic = draw(st.booleans()), draw(FOUR_OCTETS)
    return DownlinkFrame(confirmed, dev_addr, f_ctrl, f_cnt, f_opts, f_port, payload, mic)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[int | None, bytes, bytes]:
    """FPort, FOpts and FRMPayload that go together."""
    f_port = draw(st.none() | st.integers(0, 255))
    f_opts = b"" if f_port == 0 else draw(st.binary(max_size=15))
    payload = b"" if f_port is None else draw(st.binary(max_size=242 - len(f_opts)))
    return f_port, f_opts, payload


def test_reads_an_uplink() -> None:
    frame = UplinkFrame.from_bytes(UPLINK)

    assert frame == UplinkFrame(
        confirmed=False,
        dev_addr=DEV_ADDR,
        f_ctrl=UplinkFCtrl(),
        f_cnt=2,
        f_opts=b"",
        f_port=1,
        frm_payload=bytes.fromhex("95437876"),
        mic=bytes.fromhex("2b11ff0d"),
    )


def test_a_frame_without_f_port_has_no_payload() -> None:
    frame = UplinkFrame.from_bytes(bytes.fromhex("40f17dbe49000200" + "2b11ff0d"))

    assert frame.f_port is None
    assert frame.frm_payload == b""


def test_a_frame_may_have_an_f_port_and_no_payload() -> None:
    frame = UplinkFrame.from_bytes(bytes.fromhex("40f17dbe49000200" + "05" + "2b11ff0d"))

    assert frame.f_port == 5
    assert frame.frm_payload == b""


@pytest.mark.parametrize(
    ("octets", "evidence"),
    [
        ("", "empty"),
        ("40f17dbe490002002b11ff", "11 octets.*at least 12"),
        ("40f17dbe490f020001954378762b11ff0d", "FOptsLen 15 runs into the MIC"),
        ("40f17dbe4901020003002b11ff0d", "FPort 0 together with FOpts 03"),
        ("41f17dbe4900020001954378762b11ff0d", "Major 1 in MHDR 41"),
        ("60f17dbe4900020001954378762b11ff0d", "UNCONFIRMED_DATA_DOWN in MHDR 60"),
        ("e0f17dbe4900020001954378762b11ff0d", "PROPRIETARY in MHDR e0"),
        ("40" + "00" * 255, "256 octets.*at most 255"),
    ],
)
def test_rejects_a_malformed_uplink_and_says_why(octets: str, evidence: str) -> None:
    with pytest.raises(MalformedFrame, match=evidence):
        UplinkFrame.from_bytes(bytes.fromhex(octets))


def test_rejects_an_uplink_where_a_downlink_is_expected() -> None:
    with pytest.raises(MalformedFrame, match="UNCONFIRMED_DATA_UP in MHDR 40, expected UNCONFIRMED_DATA_DOWN"):
        DownlinkFrame.from_bytes(UPLINK)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_malformed_frame(octets: bytes) -> None:
    for read in (UplinkFrame.from_bytes, DownlinkFrame.from_bytes, JoinRequest.from_bytes, mtype_of):
        try:
            read(octets)
        except MalformedFrame:
            continue


@given(st.binary(min_size=12, max_size=60), st.sampled_from([0x40, 0x80]))
def test_what_is_read_as_an_uplink_is_written_back(octets: bytes, mhdr: int) -> None:
    phy = bytes((mhdr,)) + octets
    try:
        frame = UplinkFrame.from_bytes(phy)
    except MalformedFrame:
        return

    assert frame.to_bytes() == phy


@given(uplinks())
def test_uplink_round_trip(frame: UplinkFrame) -> None:
    assert UplinkFrame.from_bytes(frame.to_bytes()) == frame


@given(downlinks())
def test_downlink_round_trip(frame: DownlinkFrame) -> None:
    assert DownlinkFrame.from_bytes(frame.to_bytes()) == frame


@pytest.mark.parametrize(
    ("f_opts", "f_port", "payload", "rule"),
    [
        (bytes(16), 1, b"", "FOpts of 16 octets"),
        (b"", None, b"a", "FRMPayload without FPort"),
        (b"\x02", 0, b"", "FPort 0 together with FOpts"),
        (b"", 1, bytes(243), "256 octets"),
    ],
)
def test_rejects_to_write_what_cannot_be_sent(
    f_opts: bytes, f_port: int | None, payload: bytes, rule: str
) -> None:
    frame = DownlinkFrame(False, DEV_ADDR, DownlinkFCtrl(), 0, f_opts, f_port, payload)

    with pytest.raises(ValueError, match=rule):
        frame.message()


def test_m_type_of_each_kind() -> None:
    assert [mtype_of(bytes((kind << 5,))) for kind in MType] == list(MType)


def test_a_data_uplink_is_routed_by_its_dev_addr() -> None:
    assert routing_slot(UPLINK) == slot_of_dev_addr(DEV_ADDR)
    assert routing_slot(b"\x80" + UPLINK[1:]) == slot_of_dev_addr(DEV_ADDR)


def test_a_join_request_is_routed_by_its_dev_eui() -> None:
    phy = bytes.fromhex("00010000d07ed5b37030051c000ba3040002014490ce9b")

    assert routing_slot(phy) == slot_of_dev_eui(DevEui(bytes.fromhex("0004a30b001c0530")))


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "40",
        "40f17dbe490002002b11ff",  # One octet short of a data frame.
        "41f17dbe490002002b11ff0d",  # Another major version.
        "60f17dbe490002002b11ff0d",  # A downlink.
        "20" + "00" * 32,  # A join-accept.
        "c0" + "00" * 18,  # A rejoin-request.
        "e0" + "00" * 18,  # Proprietary.
        "00" * 22,  # A join-request cut short, and one too long.
        "00" * 24,
        "40" + "00" * 255,
    ],
)
def test_anything_else_has_no_slot(octets: str) -> None:
    assert routing_slot(bytes.fromhex(octets)) is None


@given(st.binary(max_size=40))
def test_every_frame_that_is_read_has_a_slot(octets: bytes) -> None:
    try:
        frame = UplinkFrame.from_bytes(octets)
    except MalformedFrame:
        return

    assert routing_slot(octets) == slot_of_dev_addr(frame.dev_addr)
