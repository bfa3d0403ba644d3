"""Codes on devices: the examples of TR005, and what vendors print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.device_code import NoDeviceCode, read_device_code

# TR005, section 3.2.
EXAMPLE = "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR:CAF2C"
EUI = "aabbccddeeff0011"


def test_a_code_of_tr005_names_device_join_server_vendor_and_serial_number() -> None:
    read = read_device_code(EXAMPLE)

    assert (read.dev_eui.hex(), read.join_eui and read.join_eui.hex()) == (EUI, "1122334455667788")
    assert (read.vendor_id, read.profile_id, read.serial_number) == (0xAABB, 0x1122, "YYWWNNNNNN")
    assert read_device_code(EXAMPLE.lower()).dev_eui == read.dev_eui
    assert read_device_code("LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122").serial_number == ""


@pytest.mark.parametrize(
    "text",
    [
        EUI,
        EUI.upper(),
        "AA-BB-CC-DD-EE-FF-00-11",
        "aa:bb:cc:dd:ee:ff:00:11",
        f" DevEUI: {EUI}\n",
        f"SN123;EUI={EUI};V2",
    ],
)
def test_a_dev_eui_is_found_in_whatever_stands_around_it(text: str) -> None:
    assert read_device_code(text).dev_eui.hex() == EUI


@pytest.mark.parametrize(
    "text", ["", "bonjour", EUI[:-1], EUI + "0", f"{EUI} 1122334455667788", EXAMPLE[:40], "LW:D1:" + EXAMPLE[6:]]
)
def test_what_names_no_device_or_two_is_none(text: str) -> None:
    with pytest.raises(NoDeviceCode):
        read_device_code(text)


@given(st.text(max_size=60))
def test_arbitrary_text_raises_only_no_device_code(text: str) -> None:
    try:
        read_device_code(text)
    except NoDeviceCode:
        return
