import pytest

from core.messages.claims import Claim, ClaimReply, decode_claim, decode_claim_reply, encode_claim

UDP, STATION, MQTT = "semtech_udp", "basics_station", "chirpstack_mqtt"
HERE, THERE = "192.0.2.7", "198.51.100.4"


@pytest.mark.parametrize(
    ("claim", "owner", "passes"),
    [
        (Claim(UDP, HERE, port=1), Claim(UDP, HERE, port=1), True),
        (Claim(UDP, HERE, port=2), Claim(UDP, HERE, port=1), False),
        (Claim(UDP, HERE, port=2), Claim(UDP, HERE), True),  # Remembered from before a restart: no port is known.
        (Claim(UDP, THERE, port=1), Claim(UDP, HERE), False),
        (Claim(STATION, HERE), Claim(STATION, HERE), True),  # Its former connection is half open.
        (Claim(STATION, THERE), Claim(STATION, HERE), False),
        (Claim(STATION, HERE), Claim(UDP, HERE, port=1), False),
        (Claim(MQTT, "mqtt eu868"), Claim(STATION, HERE), False),
        (Claim(STATION, THERE, is_proved=True), Claim(UDP, HERE, port=1), True),
        (Claim(STATION, THERE, is_proved=True), Claim(STATION, HERE, is_proved=True), True),  # 4G fallback.
        (Claim(MQTT, "mqtt eu868", is_proved=True), Claim(UDP, HERE, port=1), True),
        (Claim(STATION, HERE), Claim(STATION, HERE, is_proved=True), False),
        (Claim(UDP, HERE, port=1), Claim(STATION, HERE, is_proved=True), False),
    ],
)
def test_a_living_owner_gives_way_to_a_proof_or_to_itself(claim: Claim, owner: Claim, passes: bool) -> None:
    assert claim.may_replace(owner) is passes


def test_claims_and_replies_are_read_as_they_were_written() -> None:
    claim = Claim(UDP, HERE, port=40_001)

    assert decode_claim(encode_claim(claim)) == claim
    assert decode_claim_reply(encode_claim(ClaimReply(claim, 12.5))) == ClaimReply(claim, 12.5)
    assert decode_claim_reply(encode_claim(ClaimReply())) == ClaimReply()
