"""A sealed key opens for its owner alone, and what RFC 3394 wrapped before still opens."""

from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from lorawan.crypto import WrongKek, wrap_key
from registry.keys import KeyWrap, device_owner, is_sealed_for_owner, row_owner, session_owner

OLD, NEW = bytes(16), bytes(range(32))
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
EUI, OTHER_EUI = bytes.fromhex("70b3d57ed0001234"), bytes.fromhex("70b3d57ed0001235")
OWNER = device_owner(EUI, "app_key")


@pytest.mark.parametrize(
    "other",
    [
        device_owner(OTHER_EUI, "app_key"),
        device_owner(EUI, "decoding_key/"),
        session_owner(EUI, bytes(4), "app_s_key"),
        row_owner("webhook_endpoint", UUID(int=1)),
    ],
)
def test_a_sealed_key_copied_to_another_owner_or_kind_does_not_open(other: str) -> None:
    keys = KeyWrap("kek-1", OLD)
    sealed = keys.wrap(KEY, OWNER)

    assert keys.unwrap(sealed, OWNER) == KEY
    with pytest.raises(WrongKek):
        keys.unwrap(sealed, other)


def test_an_altered_or_cut_value_and_one_of_another_key_do_not_open() -> None:
    keys = KeyWrap("kek-1", OLD)
    sealed = keys.wrap(KEY, OWNER)

    altered = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    for wrong in (*altered, sealed[:-1], sealed[:-8], b"", KeyWrap("kek-1", NEW).wrap(KEY, OWNER)):
        assert not keys.opens(wrong, OWNER)


def test_each_known_key_encryption_key_opens_and_the_current_one_seals() -> None:
    before, both, after = KeyWrap("kek-1", OLD), KeyWrap("kek-2", NEW, {"kek-1": OLD}), KeyWrap("kek-2", NEW)

    assert both.unwrap(before.wrap(KEY, OWNER), OWNER) == KEY
    assert after.unwrap(both.wrap(KEY, OWNER), OWNER) == KEY
    assert not before.opens(both.wrap(KEY, OWNER), OWNER)
    assert both.kek_ids == ("kek-2", "kek-1")


@pytest.mark.parametrize("text", ["", "é", "x" * 15, "x" * 16, "x" * 17, "S3CRET " * 100])
def test_a_value_of_rfc_3394_opens_and_is_never_taken_for_a_sealed_one(text: str) -> None:
    keys = KeyWrap("kek-2", NEW, {"kek-1": OLD})
    octets = text.encode()
    former = wrap_key(OLD, octets.ljust(max(16, -(-len(octets) // 8) * 8), b"\0"))

    assert keys.unwrap_text(former, OWNER) == keys.unwrap_text(keys.wrap_text(text, OWNER), OWNER) == text
    assert not is_sealed_for_owner(former)
    assert is_sealed_for_owner(keys.wrap_text(text, OWNER))


def _count() -> float:
    return REGISTRY.get_sample_value("territoire_keys_former_rejected_total") or 0.0


def test_a_value_of_rfc_3394_is_rejected_and_counted_once_everything_was_sealed() -> None:
    keys = KeyWrap("kek-2", NEW, {"kek-1": OLD})
    former, sealed, counted = wrap_key(OLD, KEY), keys.wrap(KEY, OWNER), _count()

    keys.former_format.is_rejected = True

    with pytest.raises(WrongKek, match="names no owner"):
        keys.unwrap(former, OWNER)
    assert keys.unwrap(sealed, OWNER) == KEY
    assert former not in keys.equal_to(OWNER, KEY)
    assert _count() == counted + 1


def test_equal_keys_of_one_owner_are_found_whichever_key_sealed_them_and_of_two_owners_never() -> None:
    before, both = KeyWrap("kek-1", OLD), KeyWrap("kek-2", NEW, {"kek-1": OLD})

    equal = both.equal_to(OWNER, KEY)

    assert {before.fingerprint(OWNER, KEY), both.fingerprint(OWNER, KEY), wrap_key(OLD, KEY)} <= set(equal)
    assert before.fingerprint(OWNER, bytes(16)) not in equal
    assert before.fingerprint(device_owner(OTHER_EUI, "app_key"), KEY) not in equal


def test_keys_never_show_in_a_representation() -> None:
    assert repr(KeyWrap("kek-2", NEW, {"kek-1": OLD})) == "KeyWrap(kek-2, kek-1)"
