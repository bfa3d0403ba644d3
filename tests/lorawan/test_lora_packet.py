"""Frames of an independent encoder, both ways; tests/vectors/lora_packet.json says where they come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFCtrl, DownlinkFrame, UplinkFCtrl, UplinkFrame
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.join import CFList, JoinAccept, JoinRequest, derive_session_keys
from lorawan.session import Accepted, Session, accept, build_downlink, build_uplink

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "lora_packet.json").read_text())
UPLINKS = [row for row in VECTORS["data"] if row["direction"] == "up"]
DOWNLINKS = [row for row in VECTORS["data"] if row["direction"] == "down"]


def octets(row: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(row[name])


def cipher_of(row: dict[str, Any]) -> SessionCipher:
    return SessionCipher(SessionKeys(octets(row, "nwk_s_key"), octets(row, "app_s_key")))


def uplink_f_ctrl(row: dict[str, Any]) -> UplinkFCtrl:
    return UplinkFCtrl(row["adr"], row["adr_ack_req"], row["ack"], row["bit_4"])


def cf_list_of(row: dict[str, Any]) -> CFList | None:
    return CFList(tuple(row["cf_list"])) if row["cf_list"] else None


@pytest.mark.parametrize("row", UPLINKS, ids=lambda row: row["phy"][:24])
def test_uplink_is_read_and_accepted(row: dict[str, Any]) -> None:
    phy = octets(row, "phy")
    frame = UplinkFrame.from_bytes(phy)
    session = Session(DevAddr(octets(row, "dev_addr")), f_cnt_up=row["f_cnt"])

    outcome = accept(session, cipher_of(row), frame, phy, 0)

    assert frame.dev_addr == session.dev_addr
    assert frame.f_ctrl == uplink_f_ctrl(row)
    assert frame.to_bytes() == phy
    assert isinstance(outcome, Accepted)
    assert (outcome.f_cnt, outcome.f_port, outcome.confirmed) == (row["f_cnt"], row["f_port"], row["confirmed"])
    assert (outcome.payload, outcome.f_opts) == (octets(row, "payload"), octets(row, "f_opts"))


@pytest.mark.parametrize("row", UPLINKS, ids=lambda row: row["phy"][:24])
def test_uplink_is_built(row: dict[str, Any]) -> None:
    phy = build_uplink(
        DevAddr(octets(row, "dev_addr")),
        cipher_of(row),
        row["f_cnt"],
        f_port=row["f_port"],
        payload=octets(row, "payload"),
        confirmed=row["confirmed"],
        f_ctrl=uplink_f_ctrl(row),
        f_opts=octets(row, "f_opts"),
    )

    assert phy == octets(row, "phy")


@pytest.mark.parametrize("row", DOWNLINKS, ids=lambda row: row["phy"][:24])
def test_downlink_is_read_and_verified(row: dict[str, Any]) -> None:
    phy, cipher, dev_addr = octets(row, "phy"), cipher_of(row), DevAddr(octets(row, "dev_addr"))

    frame = DownlinkFrame.from_bytes(phy)
    payload = cipher.crypt(Direction.DOWN, dev_addr, row["f_cnt"], frame.f_port or 0, frame.frm_payload)

    assert frame.f_ctrl == DownlinkFCtrl(row["adr"], row["ack"], row["bit_4"])
    assert (frame.dev_addr, frame.confirmed, frame.f_port) == (dev_addr, row["confirmed"], row["f_port"])
    assert (frame.f_cnt, frame.f_opts) == (row["f_cnt"] & 0xFFFF, octets(row, "f_opts"))
    assert cipher.verify_downlink(phy, dev_addr, row["f_cnt"])
    assert not cipher.verify_uplink(phy, dev_addr, row["f_cnt"])
    assert payload == octets(row, "payload")
    assert frame.to_bytes() == phy


@pytest.mark.parametrize("row", DOWNLINKS, ids=lambda row: row["phy"][:24])
def test_downlink_is_built(row: dict[str, Any]) -> None:
    phy = build_downlink(
        Session(DevAddr(octets(row, "dev_addr"))),
        cipher_of(row),
        row["f_cnt"],
        f_port=row["f_port"],
        payload=octets(row, "payload"),
        confirmed=row["confirmed"],
        ack=row["ack"],
        adr=row["adr"],
        f_pending=row["bit_4"],
        f_opts=octets(row, "f_opts"),
    )

    assert phy == octets(row, "phy")


@pytest.mark.parametrize("row", VECTORS["join_requests"], ids=lambda row: row["dev_eui"])
def test_join_request_both_ways(row: dict[str, Any]) -> None:
    app_key = octets(row, "app_key")
    join_eui, dev_eui = JoinEui(octets(row, "join_eui")), DevEui(octets(row, "dev_eui"))

    request = JoinRequest.from_bytes(octets(row, "phy"))

    assert request == JoinRequest.signed(app_key, join_eui, dev_eui, row["dev_nonce"])
    assert request.verify(app_key)
    assert request.to_bytes() == octets(row, "phy")


@pytest.mark.parametrize("row", VECTORS["join_accepts"], ids=lambda row: row["dev_addr"])
def test_join_accept_both_ways(row: dict[str, Any]) -> None:
    app_key = octets(row, "app_key")
    expected = JoinAccept(
        join_nonce=row["join_nonce"],
        net_id=row["net_id"],
        dev_addr=DevAddr(octets(row, "dev_addr")),
        rx1_dr_offset=row["rx1_dr_offset"],
        rx2_dr=row["rx2_dr"],
        rx1_delay=row["rx1_delay"],
        cf_list=cf_list_of(row),
    )

    accept_frame = JoinAccept.from_bytes(octets(row, "phy"), app_key)

    assert accept_frame == expected
    assert accept_frame.to_bytes(app_key) == octets(row, "phy")


@pytest.mark.parametrize("row", VECTORS["join_accepts"], ids=lambda row: row["dev_addr"])
def test_session_keys(row: dict[str, Any]) -> None:
    keys = derive_session_keys(octets(row, "app_key"), row["join_nonce"], row["net_id"], row["dev_nonce"])

    assert keys == SessionKeys(octets(row, "nwk_s_key"), octets(row, "app_s_key"))
