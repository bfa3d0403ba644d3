"""Every MAC command both ways, and runs of them: known, unknown and cut off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.commands import (
    DOWNLINK_COMMANDS,
    UPLINK_COMMANDS,
    DownlinkCommand,
    UplinkCommand,
    encode_commands,
    parse_downlink_commands,
    parse_uplink_commands,
)
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.device_time import DeviceTimeAns, DeviceTimeReq
from lorawan.commands.dl_channel import DlChannelAns, DlChannelReq
from lorawan.commands.duty_cycle import DutyCycleAns, DutyCycleReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.link_check import LinkCheckAns, LinkCheckReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.commands.tx_param_setup import TxParamSetupAns, TxParamSetupReq
from lorawan.frame import MalformedFrame

UPLINK = [  # By hand from LoRaWAN L2 1.0.4, section 5.
    ("02", LinkCheckReq()),
    ("0307", LinkAdrAns(power_ack=True, data_rate_ack=True, channel_mask_ack=True)),
    ("0303", LinkAdrAns(power_ack=False, data_rate_ack=True, channel_mask_ack=True)),
    ("04", DutyCycleAns()),
    ("0506", RxParamSetupAns(rx1_dr_offset_ack=True, rx2_dr_ack=True, channel_ack=False)),
    ("06ff3f", DevStatusAns(battery=255, margin=-1)),
    ("060020", DevStatusAns(battery=0, margin=-32)),
    ("06fe1f", DevStatusAns(battery=254, margin=31)),
    ("0702", NewChannelAns(data_rate_range_ack=True, frequency_ack=False)),
    ("08", RxTimingSetupAns()),
    ("09", TxParamSetupAns()),
    ("0a01", DlChannelAns(uplink_frequency_exists=False, frequency_ack=True)),
    ("0d", DeviceTimeReq()),
]
DOWNLINK = [
    ("021403", LinkCheckAns(margin=20, gateway_count=3)),
    ("0350ff0001", LinkAdrReq(data_rate=5, tx_power=0, ch_mask=0x00FF, ch_mask_cntl=0, nb_trans=1)),
    ("031f070163", LinkAdrReq(data_rate=1, tx_power=15, ch_mask=0x0107, ch_mask_cntl=6, nb_trans=3)),
    ("0407", DutyCycleReq(max_d_cycle=7)),
    ("0513d2ad84", RxParamSetupReq(rx1_dr_offset=1, rx2_dr=3, rx2_frequency=869_525_000)),
    ("06", DevStatusReq()),
    ("0703184f8450", NewChannelReq(ch_index=3, frequency=867_100_000, min_dr=0, max_dr=5)),
    ("0805", RxTimingSetupReq(rx1_delay=5)),
    ("092d", TxParamSetupReq(downlink_dwell_time=True, uplink_dwell_time=False, max_eirp=13)),
    ("0a03d2ad84", DlChannelReq(ch_index=3, frequency=869_525_000)),
    ("0d7856341280", DeviceTimeAns(gps_seconds=0x12345678, fraction=128)),
]


@pytest.mark.parametrize(("octets", "command"), UPLINK)
def test_uplink_command_both_ways(octets: str, command: UplinkCommand) -> None:
    assert parse_uplink_commands(bytes.fromhex(octets)).commands == (command,)
    assert command.to_bytes().hex() == octets


@pytest.mark.parametrize(("octets", "command"), DOWNLINK)
def test_downlink_command_both_ways(octets: str, command: DownlinkCommand) -> None:
    assert parse_downlink_commands(bytes.fromhex(octets)).commands == (command,)
    assert command.to_bytes().hex() == octets


def test_reads_a_run_of_commands_in_order() -> None:
    commands = tuple(command for _, command in UPLINK)

    parsed = parse_uplink_commands(encode_commands(commands))

    assert parsed.commands == commands
    assert (parsed.unread, parsed.problem) == (b"", None)


def test_stops_at_an_unknown_cid_and_keeps_what_came_before() -> None:
    parsed = parse_uplink_commands(bytes.fromhex("0307" + "99" + "0d"))

    assert parsed.commands == (LinkAdrAns(True, True, True),)
    assert parsed.unread == bytes.fromhex("990d")
    assert parsed.problem == "unknown CID 99 at octet 2 of 0307990d"


def test_stops_at_a_command_that_is_cut_off() -> None:
    parsed = parse_uplink_commands(bytes.fromhex("0206ff"))

    assert parsed.commands == (LinkCheckReq(),)
    assert parsed.unread == bytes.fromhex("06ff")
    assert parsed.problem == "DevStatusAns at octet 1 is cut off: 0206ff"


BITS = st.integers(0, 15)
FREQUENCIES = st.integers(0, 0xFF_FFFF).map(lambda steps: steps * 100)
UPLINK_COMMAND_STRATEGY = st.one_of(
    st.sampled_from([LinkCheckReq(), DutyCycleAns(), RxTimingSetupAns(), TxParamSetupAns(), DeviceTimeReq()]),
    st.builds(LinkAdrAns, st.booleans(), st.booleans(), st.booleans()),
    st.builds(RxParamSetupAns, st.booleans(), st.booleans(), st.booleans()),
    st.builds(NewChannelAns, st.booleans(), st.booleans()),
    st.builds(DlChannelAns, st.booleans(), st.booleans()),
    st.builds(DevStatusAns, st.integers(0, 255), st.integers(-32, 31)),
)
DOWNLINK_COMMAND_STRATEGY = st.one_of(
    st.just(DevStatusReq()),
    st.builds(LinkCheckAns, st.integers(0, 254), st.integers(0, 255)),
    st.builds(LinkAdrReq, BITS, BITS, st.integers(0, 0xFFFF), st.integers(0, 7), BITS),
    st.builds(DutyCycleReq, BITS),
    st.builds(RxParamSetupReq, st.integers(0, 7), BITS, FREQUENCIES),
    st.builds(NewChannelReq, st.integers(0, 255), FREQUENCIES, BITS, BITS),
    st.builds(RxTimingSetupReq, st.integers(1, 15)),
    st.builds(TxParamSetupReq, st.booleans(), st.booleans(), BITS),
    st.builds(DlChannelReq, st.integers(0, 255), FREQUENCIES),
    st.builds(DeviceTimeAns, st.integers(0, 0xFFFF_FFFF), st.integers(0, 255)),
)


@given(st.lists(UPLINK_COMMAND_STRATEGY), st.lists(DOWNLINK_COMMAND_STRATEGY))
def test_whatever_is_written_is_read_back(ups: list[UplinkCommand], downs: list[DownlinkCommand]) -> None:
    assert list(parse_uplink_commands(encode_commands(ups)).commands) == ups
    assert list(parse_downlink_commands(encode_commands(downs)).commands) == downs


@given(st.binary(max_size=242))
def test_any_octets_are_read_up_to_where_they_make_sense(octets: bytes) -> None:
    for parsed in (parse_uplink_commands(octets), parse_downlink_commands(octets)):
        read = sum(command.LENGTH + 1 for command in parsed.commands)

        assert octets[read:] == parsed.unread
        assert (parsed.problem is None) == (not parsed.unread)


def test_the_tables_cover_the_same_commands() -> None:
    assert set(UPLINK_COMMANDS) == set(DOWNLINK_COMMANDS) == {2, 3, 4, 5, 6, 7, 8, 9, 0x0A, 0x0D}


@pytest.mark.parametrize("octets", ["", "02", "0307ff", "0407"])
def test_a_command_rejects_the_octets_of_another(octets: str) -> None:
    with pytest.raises(MalformedFrame, match="LinkAdrAns is CID 03 and 1 octets"):
        LinkAdrAns.from_bytes(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (LinkCheckAns(255, 1), "Margin 255 is not 0 to 254"),
        (LinkAdrReq(16, 0, 0, 0, 1), "DataRate 16 is not 0 to 15"),
        (LinkAdrReq(5, 0, 0x1_0000, 0, 1), "ChMask 65536"),
        (RxTimingSetupReq(0), "RxDelay 0 is not 1 to 15"),
        (DevStatusAns(1, 32), "Margin 32 is not -32 to 31"),
        (NewChannelReq(3, 867_100_001, 0, 5), "867100001 Hz"),
        (DeviceTimeAns(-1, 0), "GPS seconds -1"),
    ],
)
def test_rejects_to_write_a_field_out_of_its_range(command: UplinkCommand | DownlinkCommand, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        command.to_bytes()


def test_an_answer_counts_as_accepted_only_with_all_its_bits() -> None:
    assert LinkAdrAns(True, True, True).accepted
    assert not LinkAdrAns(True, False, True).accepted
    assert not RxParamSetupAns(True, True, False).accepted
    assert not NewChannelAns(False, True).accepted
    assert not DlChannelAns(True, False).accepted


def test_delay_0_is_one_second() -> None:
    assert RxTimingSetupReq.from_bytes(b"\x08\x00").rx1_delay == 1


def test_the_most_power_goes_by_its_code() -> None:
    assert [TxParamSetupReq(False, False, code).max_eirp_dbm for code in (0, 5, 15)] == [8, 16, 36]


@pytest.mark.parametrize(("battery", "fraction"), [(0, None), (255, None), (1, 0.0), (254, 1.0)])
def test_the_battery_as_a_fraction(battery: int, fraction: float | None) -> None:
    assert DevStatusAns(battery, 0).battery_fraction == fraction


def test_device_time_counts_from_the_gps_epoch_with_its_leap_seconds() -> None:
    # 2026-11-25T00:00:00.5Z is 1,795,564,800.5 s after 1970; GPS began 315,964,800 s after 1970 and is 18 s ahead.
    answer = DeviceTimeAns.at(1_795_564_800_500_000)

    assert answer == DeviceTimeAns(gps_seconds=1_795_564_800 - 315_964_800 + 18, fraction=128)
