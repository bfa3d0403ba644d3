"""Frames on which two independent implementations agreed (docs/radio.md, "Golden frames")."""

from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFCtrl, DownlinkFrame, UplinkFCtrl, UplinkFrame
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.join import EU868_CF_LIST, JoinAccept, JoinRequest, derive_session_keys

APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
KEYS = SessionKeys(
    nwk_s_key=bytes.fromhex("5e8adee30d9e12b266d74fe3d5550790"),
    app_s_key=bytes.fromhex("3c8f091902900f1ce38ed0718af294aa"),
)
DEV_ADDR = DevAddr(bytes.fromhex("01020304"))
JOIN_REQUEST = bytes.fromhex("00010000d07ed5b37030051c000ba3040002014490ce9b")
JOIN_ACCEPT = bytes.fromhex("20f3c79aa469322101bcf0e6a6b86db0187da5b246424c7e34ecbf8d0e487ffbba")
UPLINK = bytes.fromhex("800403020182030003060aeacbd316e2705bc6")
DOWNLINK = bytes.fromhex("6004030201a007000084e48e9d4939ba7162")


def test_join_request_is_read_and_verified() -> None:
    request = JoinRequest.from_bytes(JOIN_REQUEST)

    assert request.join_eui == bytes.fromhex("70b3d57ed0000001")
    assert request.dev_eui == bytes.fromhex("0004a30b001c0530")
    assert request.dev_nonce == 0x0102
    assert request.verify(APP_KEY)
    assert not request.verify(bytes(16))


def test_join_request_is_built() -> None:
    join_eui, dev_eui = JoinEui(bytes.fromhex("70b3d57ed0000001")), DevEui(bytes.fromhex("0004a30b001c0530"))

    request = JoinRequest.signed(APP_KEY, join_eui, dev_eui, 0x0102)

    assert request.to_bytes() == JOIN_REQUEST


def test_join_accept_is_opened_and_built() -> None:
    accept = JoinAccept.from_bytes(JOIN_ACCEPT, APP_KEY)

    assert (accept.join_nonce, accept.net_id, accept.dev_addr) == (1, 0, DEV_ADDR)
    assert accept.cf_list == EU868_CF_LIST
    assert accept.to_bytes(APP_KEY) == JOIN_ACCEPT


def test_cf_list_of_eu868() -> None:
    assert EU868_CF_LIST.to_bytes() == bytes.fromhex("184f84e85684b85e84886684586e8400")


def test_session_keys_follow_from_the_join() -> None:
    assert derive_session_keys(APP_KEY, join_nonce=1, net_id=0, dev_nonce=0x0102) == KEYS


def test_confirmed_uplink_beyond_sixteen_bits() -> None:
    cipher = SessionCipher(KEYS)
    frame = UplinkFrame.from_bytes(UPLINK)

    payload = cipher.crypt(Direction.UP, frame.dev_addr, 0x10003, 10, frame.frm_payload)

    assert frame.confirmed
    assert frame.f_ctrl == UplinkFCtrl(adr=True)
    assert (frame.f_cnt, frame.f_opts, frame.f_port) == (3, bytes.fromhex("0306"), 10)
    assert payload == b"test"
    assert cipher.verify_uplink(UPLINK, DEV_ADDR, 0x10003)
    assert not cipher.verify_uplink(UPLINK, DEV_ADDR, 3)
    assert frame.to_bytes() == UPLINK


def test_downlink_of_commands_under_f_port_0() -> None:
    cipher = SessionCipher(KEYS)
    frame = DownlinkFrame.from_bytes(DOWNLINK)

    assert not frame.confirmed
    assert frame.f_ctrl == DownlinkFCtrl(adr=True, ack=True)
    assert (frame.dev_addr, frame.f_cnt, frame.f_port) == (DEV_ADDR, 7, 0)
    assert cipher.verify_downlink(DOWNLINK, DEV_ADDR, 7)
    assert frame.to_bytes() == DOWNLINK
    assert cipher.crypt(Direction.DOWN, DEV_ADDR, 7, 0, frame.frm_payload) == bytes.fromhex("0350ff0001")
