"""Session ciphers and the wrapping of keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.crypto import Direction, SessionCipher, SessionKeys, WrongKek, cmac_mic, unwrap_key, wrap_key
from lorawan.identifiers import DevAddr

KEYS = SessionKeys(bytes(range(16)), bytes(range(16, 32)))
DEV_ADDR = DevAddr(bytes.fromhex("26011bda"))


@given(st.sampled_from(Direction), st.integers(0, 0xFFFF_FFFF), st.integers(0, 255), st.binary(max_size=242))
def test_decrypting_undoes_encrypting(direction: Direction, f_cnt: int, f_port: int, payload: bytes) -> None:
    cipher = SessionCipher(KEYS)

    encrypted = cipher.crypt(direction, DEV_ADDR, f_cnt, f_port, payload)

    assert cipher.crypt(direction, DEV_ADDR, f_cnt, f_port, encrypted) == payload
    assert len(encrypted) == len(payload)


def test_the_key_stream_depends_on_direction_counter_and_key() -> None:
    cipher = SessionCipher(KEYS)
    zeros = bytes(16)

    streams = {
        cipher.crypt(Direction.UP, DEV_ADDR, 1, 1, zeros),
        cipher.crypt(Direction.DOWN, DEV_ADDR, 1, 1, zeros),
        cipher.crypt(Direction.UP, DEV_ADDR, 2, 1, zeros),
        cipher.crypt(Direction.UP, DEV_ADDR, 0x1_0001, 1, zeros),
        cipher.crypt(Direction.UP, DEV_ADDR, 1, 0, zeros),
    }

    assert len(streams) == 5
    assert cipher.crypt(Direction.UP, DEV_ADDR, 1, 9, zeros) in streams


@given(st.binary(min_size=8, max_size=200), st.integers(0, 0xFFFF_FFFF), st.integers(0, 31))
def test_a_flipped_bit_breaks_the_mic(message: bytes, f_cnt: int, bit: int) -> None:
    cipher = SessionCipher(KEYS)
    phy = message + cipher.uplink_mic(message, DEV_ADDR, f_cnt)
    flipped = bytearray(phy)
    flipped[-1 - bit // 8] ^= 1 << bit % 8

    assert cipher.verify_uplink(phy, DEV_ADDR, f_cnt)
    assert not cipher.verify_uplink(bytes(flipped), DEV_ADDR, f_cnt)
    assert not cipher.verify_downlink(phy, DEV_ADDR, f_cnt)


def test_keys_do_not_show() -> None:
    assert repr(KEYS) == "SessionKeys()"


def test_a_key_of_another_length_is_rejected() -> None:
    with pytest.raises(ValueError, match="AppSKey has 15 octets, not 16"):
        SessionKeys(bytes(16), bytes(15))


@pytest.mark.parametrize(  # RFC 3394, sections 4.1 to 4.3.
    ("kek", "wrapped"),
    [
        ("000102030405060708090a0b0c0d0e0f", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
        (
            "000102030405060708090a0b0c0d0e0f1011121314151617",
            "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7",
        ),
    ],
)
def test_wraps_as_rfc_3394_does(kek: str, wrapped: str) -> None:
    key = bytes.fromhex("00112233445566778899aabbccddeeff")

    assert wrap_key(bytes.fromhex(kek), key).hex() == wrapped
    assert unwrap_key(bytes.fromhex(kek), bytes.fromhex(wrapped)) == key


@given(st.binary(max_size=40))
def test_what_was_not_wrapped_with_this_key_does_not_open(octets: bytes) -> None:
    with pytest.raises(WrongKek, match=f"wrapped key of {len(octets)} octets"):
        unwrap_key(bytes(32), octets)


def test_mic_of_join_frames_is_aes_cmac() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")

    mic = cmac_mic(key, bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"))

    assert mic == bytes.fromhex("070a16b4")  # RFC 4493, section 4, example 2.
