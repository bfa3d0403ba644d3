"""Files of other LNS, on the forms that their tools write."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.lns_files import Row, UnreadableFile, read_devices

KEY, OTHER_KEY = "000102030405060708090a0b0c0d0e0f", "101112131415161718191a1b1c1d1e1f"
OTAA = {"dev_eui": "70b3d57ed0001234", "join_eui": "70b3d57ed0001000", "device_profile_id": 42, "app_key": KEY}

# `ttn-lw-cli end-devices get --all`, shortened to what is read.
THE_THINGS_STACK: dict[str, Any] = {
    "ids": {"device_id": "benne-12", "dev_eui": "70B3D57ED0001234", "join_eui": "70B3D57ED0001000"},
    "name": "Benne 12",
    "root_keys": {"root_key_id": "ttn-lw-cli-generated", "app_key": {"key": KEY.upper()}},
    "last_join_nonce": 9,
    "session": {
        "dev_addr": "260B1234",
        "keys": {
            "session_key_id": "AXA50w==",
            "f_nwk_s_int_key": {"key": KEY},
            "app_s_key": {"key": OTHER_KEY},
        },
        "last_f_cnt_up": 1840,
        "last_n_f_cnt_down": 16,
    },
    "mac_state": {
        "current_parameters": {
            "rx1_delay": "RX_DELAY_5",
            "rx2_data_rate_index": "DATA_RATE_3",
            "rx2_frequency": "869525000",
        }
    },
}
CHIRPSTACK: dict[str, Any] = {
    "device": {"devEui": "70b3d57ed0001234", "joinEui": "70b3d57ed0001000", "name": "Benne 12"},
    "deviceKeys": {"devEui": "70b3d57ed0001234", "nwkKey": KEY, "appKey": "0" * 32},
    "deviceActivation": {
        "devEui": "70b3d57ed0001234",
        "devAddr": "01ab23cd",
        "appSKey": OTHER_KEY,
        "nwkSEncKey": KEY,
        "fNwkSIntKey": KEY,
        "sNwkSIntKey": KEY,
        "fCntUp": 1841,
        "nFCntDown": 17,
    },
}


def read(document: Any, profile_id: int | None = 42) -> list[Row]:
    return read_devices(json.dumps(document).encode(), is_csv=False, profile_id=profile_id)


def test_the_things_stack_exports_the_last_counter_and_we_import_the_next_one() -> None:
    (row,) = read([THE_THINGS_STACK])

    assert row.wrong == ()
    assert row.device == OTAA | {
        "name": "Benne 12",
        "join_nonce": 9,
        "session": {
            "dev_addr": "260b1234",
            "nwk_s_key": KEY,
            "app_s_key": OTHER_KEY,
            "f_cnt_up": 1841,
            "f_cnt_down": 17,
            "rx1_delay": 5,
            "rx2_data_rate": 3,
            "rx2_frequency": 869_525_000,
        },
    }
    assert read({"end_devices": [THE_THINGS_STACK]}) == read(THE_THINGS_STACK) == [row]


def test_chirpstack_has_the_root_key_of_1_0_devices_in_its_nwk_key() -> None:
    (row,) = read(CHIRPSTACK)

    session = {
        "dev_addr": "01ab23cd",
        "nwk_s_key": KEY,
        "app_s_key": OTHER_KEY,
        "f_cnt_up": 1841,
        "f_cnt_down": 17,
    }
    assert row == Row(1, OTAA["dev_eui"], OTAA | {"name": "Benne 12", "session": session})


@pytest.mark.parametrize("delimiter", [";", ","])
def test_a_csv_of_a_spreadsheet_is_read_with_its_bom_its_separators_and_its_empty_cells(delimiter: str) -> None:
    lines = [
        ["DEV_EUI", "join_eui", "app_key", "dev_addr", "nwk_s_key", "app_s_key", "f_cnt_up", "name"],
        ["70-B3-D5-7E-D0-00-12-34", "70b3d57ed0001000", KEY.upper(), "", "", "", "", "Benne 12"],
        ["70B3D57ED0001235", "", "", "260B1234", KEY, OTHER_KEY, "1841", ""],
    ]
    octets = "\r\n".join(delimiter.join(line) for line in lines).encode("utf-8-sig")

    otaa, abp = read_devices(octets, is_csv=True, profile_id=42)

    session = {"dev_addr": "260b1234", "nwk_s_key": KEY, "app_s_key": OTHER_KEY, "f_cnt_up": 1841}
    assert otaa == Row(2, OTAA["dev_eui"], OTAA | {"name": "Benne 12"})
    assert abp == Row(
        3, "70b3d57ed0001235", {"dev_eui": "70b3d57ed0001235", "device_profile_id": 42, "session": session}
    )


def test_an_export_of_ours_is_read_as_it_is() -> None:
    device = OTAA | {"name": "x", "join_nonce": None, "session": None}

    assert [row.device for row in read({"devices": [device]}, None)] == [OTAA | {"name": "x"}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dev_eui": "70b3d57ed000123"}, "dev_eui : 16 chiffres hexadécimaux attendus"),
        ({"app_key": "secret"}, "app_key : 32 chiffres hexadécimaux attendus"),
        ({"join_eui": None}, "join_eui manque"),
        ({"device_profile_id": None}, "profil absent"),
        ({"session": {"dev_addr": "260b1234"}}, "session.nwk_s_key manque"),
        ({"session": {"f_cnt_up": "beaucoup"}}, "session.f_cnt_up : nombre entier attendu"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_and_never_with_its_keys(change: dict[str, Any], said: str) -> None:
    (row,) = read([OTAA | change], None)

    assert any(said in one for one in row.wrong)
    assert KEY not in repr(row)


@pytest.mark.parametrize(
    ("octets", "is_csv"),
    [
        (b"\xff\xfe", True),
        (b"nom;cle\n1;2", True),
        (b"", True),
        (b"\r\0", True),
        (b"dev_eui\n" + b"1" * 200_000, True),
        (b"{", False),
        (b"3", False),
        (b'{"dev_eui": "70b3d57ed0001234", "name": Infinity}', False),
        (b'{"dev_eui": "70b3d57ed0001234", "name": "\\ud800"}', False),
    ],
)
def test_a_file_of_another_kind_is_rejected_whole(octets: bytes, is_csv: bool) -> None:
    with pytest.raises(UnreadableFile):
        read_devices(octets, is_csv=is_csv)


@given(st.binary(max_size=200), st.booleans())
def test_any_octets_are_read_or_rejected(octets: bytes, is_csv: bool) -> None:
    try:
        rows = read_devices(octets, is_csv=is_csv)
    except UnreadableFile:
        return
    assert all(isinstance(row, Row) for row in rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ids", "device", "session", "keys", "dev_eui", "f_cnt_up", "devices"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_rejected(document: Any) -> None:
    try:
        rows = read(document)
    except UnreadableFile:
        return
    assert all(row.wrong or "dev_eui" in row.device for row in rows)
