from uuid import uuid5

from core.model.identities import (
    F_CNT_END,
    UPLINK_NAMESPACE,
    counter_of_message,
    digest_of,
    message_identity,
    uplink_identity,
)


def test_an_identity_names_device_session_counter_port_and_payload() -> None:
    identities = {
        uplink_identity(1, 1, 1, 1, b"x"),
        uplink_identity(2, 1, 1, 1, b"x"),
        uplink_identity(1, 2, 1, 1, b"x"),
        uplink_identity(1, 1, 2, 1, b"x"),
        uplink_identity(1, 1, 1, 2, b"x"),
        uplink_identity(1, 1, 1, 1, b"y"),
        uplink_identity(1, 1, 1, -1, b""),
    }

    assert len(identities) == 7
    # For ever: another value would store the uplinks of an upgrade's redelivery twice.
    assert uplink_identity(1, 1, 1, 1, b"x").hex() == "36a0f1928f36578d8ae8f468f0330ace"


def test_an_uplink_without_counter_is_named_by_its_source_and_message() -> None:
    identities = {
        message_identity(1, 1, "a"),
        message_identity(2, 1, "a"),
        message_identity(1, 2, "a"),
        message_identity(1, 1, "b"),
    }

    assert len(identities) == 4
    assert message_identity(1, 2, "a") == uuid5(UPLINK_NAMESPACE, "source 1|2|a").bytes


def test_what_stands_in_for_a_counter_is_no_counter_of_a_device() -> None:
    counters = {counter_of_message(message_identity(1, 1, str(number))) for number in range(1000)}

    assert len(counters) == 1000
    assert all(F_CNT_END <= counter < 1 << 62 for counter in counters)
    assert F_CNT_END <= counter_of_message(b"\xff" * 16) < 1 << 63


def test_the_digest_is_the_start_of_sha_256_over_port_and_payload() -> None:
    # printf '\x00\x55\x01' | sha256sum
    expected = "baa6c6516293ae71"

    assert digest_of(85, b"\x01").to_bytes(8, "big", signed=True).hex() == expected
