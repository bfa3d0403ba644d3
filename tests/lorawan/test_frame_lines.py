"""Frames as lines for people: fields and MAC commands of independent encoders, and no payload in a header."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lorawan.frame_lines import frame_lines, header_of

VECTORS = Path(__file__).parents[1] / "vectors"
LORA_PACKET: dict[str, Any] = json.loads((VECTORS / "lora_packet.json").read_text())
WIRESHARK: dict[str, Any] = json.loads((VECTORS / "wireshark_mac_commands.json").read_text())


def lines_of(octets: bytes) -> dict[str, str]:
    return dict(frame_lines(octets))


def test_frames_of_lora_packet_are_read_field_by_field() -> None:
    for row in LORA_PACKET["data"]:
        octets = bytes.fromhex(row["phy"])
        lines = lines_of(octets)
        kind = ("Confirmed" if row["confirmed"] else "Unconfirmed") + "Data" + row["direction"].capitalize()

        assert lines["MHDR"] == f"{octets[0]:02x} {kind}"
        assert (lines["DevAddr"], lines["FCnt"]) == (row["dev_addr"], str(row["f_cnt"] & 0xFFFF))
        assert ("ADR " in lines["FCtrl"]) == row["adr"]
        assert ("ACK" in lines["FCtrl"].replace("ADRACKReq", "")) == row["ack"]
        assert lines.get("FPort") == (None if row["f_port"] is None else str(row["f_port"]))
        assert lines["MIC"] == row["phy"][-8:]
        header = header_of(octets)
        shown = dict(frame_lines(header, is_header=True))
        assert shown == {name: value for name, value in lines.items() if name not in {"FRMPayload", "MIC"}}
        assert octets.startswith(header)
        assert len(octets) - len(header) - 4 == len(row["payload"] or "") // 2


def lines_of_f_opts(direction: str, f_opts: bytes) -> list[str]:
    mhdr = 0x40 if direction == "up" else 0x60
    octets = bytes((mhdr, 4, 3, 2, 1, len(f_opts), 0, 0)) + f_opts + bytes(4)
    return [line.value for line in frame_lines(octets) if line.name == "FOpts"]


def test_each_mac_command_that_wireshark_dissects_is_one_line() -> None:
    for row in WIRESHARK["commands"]:
        f_opts = bytes.fromhex(row["octets"])
        twice = lines_of_f_opts(row["direction"], f_opts * 2) if len(f_opts) < 8 else []

        assert len(lines_of_f_opts(row["direction"], f_opts)) == 1, row
        assert len(twice) in {0, 2}
        assert len(set(twice)) < 2

    read = {
        row["octets"]: lines_of_f_opts(row["direction"], bytes.fromhex(row["octets"]))
        for row in WIRESHARK["commands"]
    }
    assert read["036b"] == ["LinkADRAns PowerAck=0 DataRateAck=1 ChannelMaskAck=1"]
    assert read["062de9"] == ["DevStatusAns Battery=45 Margin=-23"]


def test_what_stands_behind_an_unknown_command_is_said_to_be_unread() -> None:
    assert lines_of_f_opts("down", bytes.fromhex("0351ff0001067f01")) == [
        "LinkADRReq DataRate=5 TXPower=1 ChMask=00ff ChMaskCntl=0 NbTrans=1",
        "DevStatusReq",
        "unknown CID 7f at octet 6 of 0351ff0001067f01",
    ]


def test_a_request_to_join_says_who_asks_and_its_header_does_not() -> None:
    octets = bytes.fromhex("0008070605040302011817161514131211cdab01020304")

    assert frame_lines(octets)[1:] == [
        ("JoinEUI", "0102030405060708"),
        ("DevEUI", "1112131415161718"),
        ("DevNonce", "43981"),
        ("MIC", "01020304"),
    ]
    assert header_of(octets) == b"\0"
    assert [line.name for line in frame_lines(header_of(octets), is_header=True)] == ["MHDR"]


@given(st.binary(max_size=80))
def test_whatever_was_received_is_lines_and_a_header_is_no_more_than_it(octets: bytes) -> None:
    assert bool(frame_lines(octets)) == bool(octets)
    header = header_of(octets)
    assert octets.startswith(header)
    assert all(line.name not in {"FRMPayload", "MIC", "DevEUI"} for line in frame_lines(header, is_header=True))
