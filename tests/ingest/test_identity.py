from typing import Any

import pytest

from core.messages.uplinks import Uplink
from ingest.identity import SAME_WITHIN_US, Stored, seen_key, sort_out, stored_as

NOW_US = 1_795_597_200_000_000  # 2026-11-25
A, B = b"a" * 16, b"b" * 16


def uplink(uplink_id: bytes = A, session_id: int = 1, time_us: int = NOW_US, **changes: Any) -> Uplink:
    values: dict[str, Any] = {
        "uplink_id": uplink_id,
        "device_id": 1,
        "session_id": session_id,
        "f_cnt": 1,
        "f_port": 85,
        "payload": b"\x01",
        "confirmed": False,
        "time_us": time_us,
        "received_at_us": time_us,
        "frequency": 868_100_000,
        "spreading_factor": 7,
        "bandwidth": 125_000,
        "late": False,
        "receptions": [],
    }
    return Uplink(**(values | changes))


def test_another_port_another_payload_and_another_counter_have_other_keys() -> None:
    keys = {seen_key(uplink(**change)) for change in ({}, {"f_port": -1}, {"payload": b""}, {"f_cnt": 2})}

    assert len(keys) == 4


@pytest.mark.parametrize(
    ("stored", "is_same"),
    [
        (Stored(A, NOW_US, 1), True),  # Delivered once more.
        (Stored(A, NOW_US + 5, 1), True),
        (Stored(B, NOW_US, 0), True),  # From a network server without sessions of ours.
        (Stored(B, NOW_US - SAME_WITHIN_US, 0), True),
        (Stored(B, NOW_US - SAME_WITHIN_US - 1, 0), False),
        (Stored(B, NOW_US, 2), False),  # A new session counts from 0 again.
        (Stored(A, NOW_US - SAME_WITHIN_US - 1, 1), False),  # An ABP device that was reset.
    ],
)
def test_an_uplink_is_another_copy_within_ten_minutes_unless_both_have_a_session_of_ours(
    stored: Stored, is_same: bool
) -> None:
    assert stored_as(uplink(), [stored]) == (stored if is_same else None)


def test_of_several_the_one_that_was_delivered_before_counts_then_the_first() -> None:
    first, own, last = Stored(B, NOW_US - 9, 0), Stored(A, NOW_US, 1), Stored(b"c" * 16, NOW_US + 9, 0)

    assert stored_as(uplink(), [last, own, first]) == own
    assert stored_as(uplink(b"d" * 16), [last, first]) == first


def test_what_is_new_is_known_to_what_follows_in_the_same_batch() -> None:
    copy, late = uplink(B, 0, NOW_US + 7), uplink(B, 0, NOW_US + 8, late=True)

    found = sort_out([uplink(), copy, late], {})

    assert found == [None, Stored(A, NOW_US, 1), Stored(A, NOW_US, 1)]


def test_a_late_copy_is_never_new() -> None:
    found = sort_out([uplink(late=True), uplink(B, 0)], {})

    assert found == [None, None]
