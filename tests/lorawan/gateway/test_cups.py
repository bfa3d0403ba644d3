"""CUPS messages against what the real station 2.0.6 says and keeps, and its regression tests' own key."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.basics_station import MalformedMessage
from lorawan.gateway.cups import (
    NOTHING,
    SignedUpdate,
    UpdateAnswer,
    crc_of_credential,
    crc_of_key,
    is_trust,
    parse_update_info,
    token_credential,
)

# As station 2.0.6 wrote it.
ASKED: dict[str, Any] = {
    "router": "0:0:0:1",
    "cupsUri": "https://127.0.0.1:3002",
    "tcUri": "wss://127.0.0.1:3001",
    "cupsCredCrc": 2948861651,
    "tcCredCrc": 3774422915,
    "station": "2.0.6(linux/testsim) 2026-11-27 18:59:00",
    "model": "linux",
    "package": None,
    "keys": [488546068],
}
# lorabasics/basicstation v2.0.6, regr-tests/test4-cups/sig-0.key; its tests write that CRC as 1D1E9F14.
SIG_KEY = bytes.fromhex(
    "83891ff51948a77aa5bb1b1aff1b674c264ea897214f036ed2e32852671332282ec40d2ff19fcb818ba39203dfac47af700b09324a323da7"
    "fdd5f8e093e779b6"
)
TRUST = b"\x30\x82\x01\x00" + bytes(256)


def test_what_a_station_has_is_read() -> None:
    info = parse_update_info(json.dumps(ASKED).encode())

    assert (info.gateway_id.hex(), info.package, info.keys) == ("0000000000000001", "", (0x1D1E9F14,))
    assert (info.cups_uri, info.tc_uri) == ("https://127.0.0.1:3002", "wss://127.0.0.1:3001")
    assert parse_update_info(json.dumps(ASKED | {"tcCredCrc": -520544381}).encode()).tc_cred_crc == 3774422915


def test_a_station_is_answered_six_segments_each_with_its_length() -> None:
    update = SignedUpdate(0x1D1E9F14, b"signature", b"#!/bin/sh\n")
    answer = UpdateAnswer("https://a:1", "wss://b:2", b"cups", b"tc", update)

    assert answer.to_bytes() == (
        b"\x0bhttps://a:1\x09wss://b:2\x04\x00cups\x02\x00tc"
        b"\x0d\x00\x00\x00\x14\x9f\x1e\x1dsignature\x0a\x00\x00\x00#!/bin/sh\n"
    )
    assert UpdateAnswer().to_bytes() == NOTHING
    with pytest.raises(ValueError, match="127"):
        UpdateAnswer(tc_uri="wss://" + "a" * 122).to_bytes()


def test_a_credential_has_the_crc_of_the_three_files_that_the_station_makes_of_it() -> None:
    token = b"Authorization: tgw_5f0c8d1b2a3e4f60_x\r\n"
    crc = zlib.crc32(token, zlib.crc32(bytes(4), zlib.crc32(TRUST)))

    assert crc_of_credential(token_credential(TRUST, "tgw_5f0c8d1b2a3e4f60_x")) == crc
    assert crc_of_key(SIG_KEY) == 0x1D1E9F14


@pytest.mark.parametrize(
    ("der", "is_one"),
    [(TRUST, True), (TRUST + b"\0", False), (TRUST[:-1], False), (b"-----BEGIN", False), (b"0\x81\x80", False)],
)
def test_only_one_certificate_whose_end_a_station_finds_is_trust(der: bytes, is_one: bool) -> None:
    assert is_trust(der) is is_one


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(
    body=st.binary(max_size=200)
    | st.builds(
        lambda said: json.dumps(ASKED | said).encode(), st.dictionaries(st.sampled_from([*ASKED]), anything)
    )
)
def test_whatever_is_asked_raises_only_malformed_message(body: bytes) -> None:
    try:
        info = parse_update_info(body)
    except MalformedMessage:
        return
    assert all(0 <= crc < 1 << 32 for crc in (info.cups_cred_crc, info.tc_cred_crc, *info.keys))
