"""The token of a report, on a capture published with its key (IoT Academy, LoRaPayloadSimulator)."""

import json

import pytest

from integrations.lns.adapters.thingpark import has_valid_token

KEY = "00112233445566778899aabbccddeeff"
TOKEN = "18f44bb294f9dd33b5168eeb92a0c7f9fa807914097dc9bb2ed5a789a65fad33"
QUERY = (
    "LrnDevEui=0059AC000010020D&LrnFPort=2&LrnInfos=TWA_100006246.167.AS-1-1361149&AS_ID=hookbin"
    "&Time=2016-07-05T08:58:26.911%2B02:00"
)
REPORT = {
    "Time": "2016-07-05T08:58:26.654+02:00",
    "DevEUI": "0059AC000010020D",
    "FPort": "2",
    "FCntUp": "3",
    "payload_hex": "00277c0878fd9b2e000000000000ffff",
    "CustomerID": "100006246",
}


def body(**changes: str) -> bytes:
    return json.dumps({"DevEUI_uplink": REPORT | changes}).encode()


@pytest.mark.parametrize("plus", ["%2B", "+"])
def test_a_token_of_thingpark_is_valid_whichever_way_its_plus_is_written(plus: str) -> None:
    assert has_valid_token(body(), f"{QUERY.replace('%2B', plus)}&Token={TOKEN}", KEY)
    assert has_valid_token(body(), f"{QUERY}&Token={TOKEN.upper()}", KEY.upper())


@pytest.mark.parametrize(
    ("octets", "query", "key"),
    [
        (body(payload_hex="00"), f"{QUERY}&Token={TOKEN}", KEY),
        (body(DevEUI="0059AC000010020E"), f"{QUERY}&Token={TOKEN}", KEY),
        (body(), f"{QUERY.replace('hookbin', 'other')}&Token={TOKEN}", KEY),
        (body(), f"{QUERY}&Token={TOKEN}", KEY[::-1]),
        (body(), f"{QUERY}&Token=", KEY),
        (body(), f"{QUERY}&Token=é%FF", KEY),
        (body(), "", KEY),
        (b"[]", f"{QUERY}&Token={TOKEN}", KEY),
    ],
)
def test_what_was_changed_has_no_valid_token(octets: bytes, query: str, key: str) -> None:
    assert not has_valid_token(octets, query, key)
