"""Joining: what is rejected, what comes back, and which DevAddr is handed out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.frame import MalformedFrame
from lorawan.identifiers import DevAddr, DevEui, JoinEui, slot_of_dev_addr
from lorawan.join import (
    EU868_CF_LIST,
    CFList,
    JoinAccept,
    JoinRequest,
    allocate_dev_addr,
    derive_session_keys,
    frequency_to_bytes,
)

APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
DEV_ADDR = DevAddr(bytes.fromhex("01020304"))
FREQUENCIES = st.integers(1, 0xFF_FFFF).map(lambda steps: steps * 100)
CF_LISTS = st.builds(CFList, st.lists(FREQUENCIES, min_size=1, max_size=5).map(tuple))


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8), st.integers(0, 0xFFFF))
def test_join_request_round_trip(join_eui: bytes, dev_eui: bytes, dev_nonce: int) -> None:
    request = JoinRequest.signed(APP_KEY, JoinEui(join_eui), DevEui(dev_eui), dev_nonce)

    assert JoinRequest.from_bytes(request.to_bytes()) == request
    assert request.verify(APP_KEY)


@pytest.mark.parametrize("octet", [1, 9, 17, 19, 22])
def test_an_altered_join_request_does_not_verify(octet: int) -> None:
    phy = bytearray.fromhex("00010000d07ed5b37030051c000ba3040002014490ce9b")
    phy[octet] ^= 1

    assert not JoinRequest.from_bytes(bytes(phy)).verify(APP_KEY)


@pytest.mark.parametrize(
    ("octets", "evidence"),
    [("00" * 22, "22 octets, a join-request has 23"), ("40" + "00" * 22, "expected JOIN_REQUEST")],
)
def test_rejects_what_is_not_a_join_request(octets: str, evidence: str) -> None:
    with pytest.raises(MalformedFrame, match=evidence):
        JoinRequest.from_bytes(bytes.fromhex(octets))


@given(
    st.builds(
        JoinAccept,
        join_nonce=st.integers(0, 0xFF_FFFF),
        net_id=st.integers(0, 0xFF_FFFF),
        dev_addr=st.binary(min_size=4, max_size=4).map(DevAddr),
        rx1_dr_offset=st.integers(0, 7),
        rx2_dr=st.integers(0, 15),
        rx1_delay=st.integers(1, 15),
        cf_list=st.none() | CF_LISTS,
    )
)
def test_join_accept_round_trip(accept: JoinAccept) -> None:
    phy = accept.to_bytes(APP_KEY)

    assert JoinAccept.from_bytes(phy, APP_KEY) == accept
    assert len(phy) == (17 if accept.cf_list is None else 33)


def test_another_app_key_does_not_open_a_join_accept() -> None:
    phy = JoinAccept(1, 0, DEV_ADDR).to_bytes(APP_KEY)

    with pytest.raises(MalformedFrame, match="MIC of a join-accept should be"):
        JoinAccept.from_bytes(phy, bytes(16))


@given(st.binary(max_size=40) | st.binary(min_size=16, max_size=32).map(lambda octets: b"\x20" + octets))
def test_arbitrary_bytes_as_a_join_accept_raise_only_malformed_frame(octets: bytes) -> None:
    with pytest.raises(MalformedFrame):
        JoinAccept.from_bytes(octets, APP_KEY)


@pytest.mark.parametrize(
    ("accept", "rule"),
    [
        (JoinAccept(1, 0, DEV_ADDR, rx1_dr_offset=8), "RX1DROffset 8"),
        (JoinAccept(1, 0, DEV_ADDR, rx2_dr=16), "RX2DR 16"),
        (JoinAccept(1, 0, DEV_ADDR, rx1_delay=0), "RxDelay of 0 s"),
        (JoinAccept(1, 0, DEV_ADDR, cf_list=CFList((867_100_050,))), "867100050 Hz"),
        (JoinAccept(1, 0, DEV_ADDR, cf_list=CFList((867_100_000,) * 6)), "6 channels"),
    ],
)
def test_rejects_to_send_what_devices_would_misread(accept: JoinAccept, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        accept.to_bytes(APP_KEY)


def test_a_cf_list_of_another_type_is_rejected() -> None:
    octets = EU868_CF_LIST.to_bytes()[:-1] + b"\x01"

    with pytest.raises(MalformedFrame, match="ends in 00"):
        CFList.from_bytes(octets)


def test_a_frequency_is_twenty_four_bits_of_hundred_hertz() -> None:
    assert frequency_to_bytes(869_525_000) == bytes.fromhex("d2ad84")


def test_session_keys_differ_and_depend_on_the_nonce() -> None:
    first = derive_session_keys(APP_KEY, 1, 0, 2)
    second = derive_session_keys(APP_KEY, 1, 0, 3)

    assert first.nwk_s_key != first.app_s_key
    assert first != second


@given(st.integers(0, 15), st.integers(0, 0x1F_FFFF), st.randoms(use_true_random=False))
def test_an_allocated_dev_addr_has_the_prefix_and_the_slot(slot: int, net_id: int, source: random.Random) -> None:
    draws = random.Random(source.getrandbits(64))

    dev_addr = allocate_dev_addr(net_id, slot, draws.randrange)

    assert slot_of_dev_addr(dev_addr) == slot
    assert dev_addr[0] >> 1 == net_id & 0x3F


def test_allocation_rejects_another_type_of_net_id() -> None:
    with pytest.raises(ValueError, match="NetID 600013 is not of type 0"):
        allocate_dev_addr(0x600013, 0, random.Random(1).randrange)


def test_allocation_rejects_an_unknown_slot() -> None:
    with pytest.raises(ValueError, match="slot 16, there are 16"):
        allocate_dev_addr(0, 16, random.Random(1).randrange)


def test_allocation_gives_up_on_a_source_that_is_not_random() -> None:
    slot = slot_of_dev_addr(DevAddr(bytes(4)))

    with pytest.raises(ValueError, match="not random"):
        allocate_dev_addr(0, (slot + 1) % 16, lambda _: 0)
