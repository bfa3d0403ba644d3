import pytest
from msgspec.structs import replace

from core.model.entities import Device
from lorawan.commands.link_check import LinkCheckReq
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.mac_state import DAY_US, MacState, all_channels
from lorawan.regions import EU868
from lorawan.session import Session, build_uplink
from network.deduplication import Group
from network.held_state import DeviceCache, SessionTable
from network.receive import Candidate, Received, RejectedFrame, read_frame, receive_data
from network.sessions import HeldSession, Progress
from tests.receptions import reception

DEV_ADDR = DevAddr(bytes.fromhex("01020304"))
SECOND_US = 1_000_000
MAC = MacState(all_channels(EU868), status_due_us=DAY_US)


def cipher(number: int = 1) -> SessionCipher:
    return SessionCipher(SessionKeys(bytes([number]) * 16, bytes([number + 100]) * 16))


def house(*device_ids: int, enabled: bool = True, skip_f_cnt: bool = False) -> tuple[SessionTable, DeviceCache]:
    """Devices that share one DevAddr, one session each."""
    sessions, devices = SessionTable(), DeviceCache()
    for device_id in device_ids:
        state = Session(DEV_ADDR, skip_f_cnt=skip_f_cnt)
        sessions.add_session(HeldSession(10 + device_id, device_id, cipher(device_id), Progress(state, MAC)))
        eui = device_id.to_bytes(8)
        devices.add_device(Device(device_id, 1, DevEui(eui), JoinEui(eui), "d", 1, 0, "OTAA", skip_f_cnt, enabled))
    return sessions, devices


def group(phy: bytes, *, at_us: int = SECOND_US, gateways: int = 1) -> Group:
    copies = [
        reception(phy, bytes([g]) * 8, at_us + g, snr=5.0 + g, trace_id=bytes([g + 1]) * 16)
        for g in range(gateways)
    ]
    return Group(phy, at_us, copies, [1])


def judge(
    phy_group: Group, sessions: SessionTable, devices: DeviceCache, made=None, *, now_us: int = 0
) -> Received | RejectedFrame:
    frame = read_frame(phy_group.phy_payload)
    if isinstance(frame, RejectedFrame):
        return frame
    candidates = [
        Candidate(
            held,
            (made or {}).get(held.id) or held.progress,
            devices.is_enabled(held.device_id),
            devices.policy_of(held.device_id),
        )
        for held in sessions.of_dev_addr(frame.dev_addr)
    ]
    return receive_data(phy_group, frame, candidates, now_us)


def receive(phy_group: Group, sessions: SessionTable, devices: DeviceCache, made=None) -> Received:
    outcome = judge(phy_group, sessions, devices, made)
    assert isinstance(outcome, Received)
    return outcome


def test_of_devices_that_share_an_address_the_one_whose_mic_fits_has_the_frame() -> None:
    sessions, devices = house(1, 2, 3)

    received = receive(group(build_uplink(DEV_ADDR, cipher(2), 0, f_port=1, payload=b"x")), sessions, devices)

    assert (received.uplink.device_id, received.uplink.session_id) == (2, 12)
    assert received.first_of_session


def test_the_trace_of_an_uplink_is_that_of_its_first_copy_and_a_later_copy_has_its_own() -> None:
    sessions, devices = house(1)
    phy = build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")
    first = receive(group(phy, gateways=3), sessions, devices)
    assert first.progress is not None
    again = group(phy, at_us=3 * SECOND_US)

    late = receive(again, sessions, devices, {first.session.id: first.progress})

    assert first.uplink.trace_id == bytes([1]) * 16
    assert late.uplink.late
    assert late.uplink.trace_id == again.first.trace_id


def test_the_time_of_an_uplink_is_that_of_its_first_copy() -> None:
    sessions, devices = house(1)
    phy_group = group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x"), gateways=3)

    uplink = receive(phy_group, sessions, devices).uplink

    assert uplink.time_us == phy_group.receptions[0].time_us
    assert len(uplink.receptions) == 3


def test_two_frames_of_one_batch_follow_each_other_without_touching_the_committed_session() -> None:
    sessions, devices = house(1)
    first = receive(group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"a")), sessions, devices)
    assert first.progress is not None

    second = receive(
        group(build_uplink(DEV_ADDR, cipher(), 1, f_port=1, payload=b"b")), sessions, devices, {11: first.progress}
    )
    committed = sessions.of_device(1)[0].progress

    assert second.progress is not None
    assert second.progress.state.f_cnt_up == 2
    assert not second.first_of_session
    assert committed.state.f_cnt_up == 0


def test_a_frame_that_is_processed_again_makes_the_same_uplink() -> None:
    sessions, devices = house(1)
    phy_group = group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x"))

    assert receive(phy_group, sessions, devices).uplink == receive(phy_group, sessions, devices).uplink


def test_a_disabled_device_is_rejected_after_its_mic_was_checked() -> None:
    sessions, devices = house(1, enabled=False)

    assert judge(
        group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices
    ) == RejectedFrame("disabled", DEV_ADDR, 1)
    assert judge(
        group(build_uplink(DEV_ADDR, cipher(9), 0, f_port=1, payload=b"x")), sessions, devices
    ) == RejectedFrame("mic", DEV_ADDR, 1)


def test_a_wrong_mic_under_an_address_of_several_devices_is_nobodys() -> None:
    sessions, devices = house(1, 2)

    assert judge(
        group(build_uplink(DEV_ADDR, cipher(9), 0, f_port=1, payload=b"x")), sessions, devices
    ) == RejectedFrame("mic", DEV_ADDR, 0)


def test_an_address_of_nobody_and_a_malformed_frame_are_rejected() -> None:
    sessions, devices = house()

    assert judge(group(b"\x40\x00"), sessions, devices) == RejectedFrame("malformed")
    assert judge(
        group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices
    ) == RejectedFrame("unknown_dev_addr", DEV_ADDR)


def test_a_confirmed_uplink_sent_again_after_its_windows_is_acknowledged_again() -> None:
    sessions, devices = house(1)
    phy = build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x", confirmed=True)
    first = receive(group(phy), sessions, devices)
    assert first.progress is not None

    again = receive(group(phy, at_us=4 * SECOND_US), sessions, devices, {11: first.progress})
    copy = receive(group(phy, at_us=SECOND_US + 500_000), sessions, devices, {11: first.progress})

    assert again.uplink.late
    assert again.uplink.uplink_id == first.uplink.uplink_id
    assert again.uplink.time_us == first.uplink.time_us
    assert (again.outcome, again.opportunity is not None) == ("retransmission", True)
    assert (copy.outcome, copy.opportunity) == ("late_copy", None)


def test_mac_requests_are_answered_with_the_best_margin_of_all_gateways() -> None:
    sessions, devices = house(1)
    phy = build_uplink(DEV_ADDR, cipher(), 0, f_opts=LinkCheckReq().to_bytes())

    received = receive(group(phy, gateways=3), sessions, devices)

    assert received.uplink.f_port == -1
    assert received.opportunity is not None
    # Best SNR 7 dB, SF7 needs -7.5 dB: 14 dB; three gateways (LoRaWAN L2 1.0.4, section 5.1).
    assert received.opportunity.commands == bytes([0x02, 14, 3])
    assert received.opportunity.must_answer


def test_a_counter_from_zero_is_a_restart_where_the_device_may_restart_it() -> None:
    sessions, devices = house(1, skip_f_cnt=True)
    held = sessions.of_device(1)[0]
    held.progress = replace(held.progress, state=replace(held.progress.state, f_cnt_up=100))

    received = receive(group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices)

    assert received.outcome == "restarted"
    assert received.uplink.f_cnt == 0


def test_a_device_whose_battery_is_due_is_asked_and_the_question_is_part_of_its_progress() -> None:
    sessions, devices = house(1)
    phy = build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")

    received = receive(group(phy, at_us=2 * DAY_US), sessions, devices)

    assert received.opportunity is not None
    assert received.opportunity.commands == b"\x06"
    assert received.opportunity.must_answer
    assert received.mac is not None
    assert received.mac.is_worth_saving
    assert received.progress is not None
    assert [asked.cid for asked in received.progress.mac.asked] == [0x06]


def test_a_device_whose_windows_have_passed_is_asked_nothing() -> None:
    sessions, devices = house(1)
    phy = build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")

    outcome = judge(group(phy, at_us=2 * DAY_US), sessions, devices, now_us=2 * DAY_US + 3 * SECOND_US)

    assert isinstance(outcome, Received)
    assert outcome.opportunity is not None
    assert outcome.opportunity.commands == b""
    assert outcome.progress is not None
    assert outcome.progress.mac.asked == ()


def test_an_unknown_command_costs_what_follows_it_and_not_the_uplink() -> None:
    sessions, devices = house(1)
    f_opts = LinkCheckReq().to_bytes() + b"\x42" + LinkCheckReq().to_bytes()

    received = receive(
        group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x", f_opts=f_opts)), sessions, devices
    )

    assert received.uplink.payload == b"x"
    assert received.opportunity is not None
    assert received.opportunity.commands == bytes([0x02, 12, 1])


def test_an_ordinary_uplink_leaves_the_mac_layer_alone() -> None:
    sessions, devices = house(1)

    received = receive(group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices)

    assert received.mac is None
    assert received.progress is not None
    assert received.progress.mac is MAC


@pytest.mark.parametrize(
    ("frequency", "spreading_factor", "bandwidth", "is_off_plan"),
    [
        (868_100_000, 7, 125_000, False),
        (867_900_000, 12, 125_000, False),
        (868_300_000, 7, 250_000, False),
        (868_500_000, 0, 0, False),
        (868_700_000, 7, 125_000, True),
        (868_100_000, 9, 500_000, True),
    ],
)
def test_an_uplink_outside_the_plan_is_published_and_says_so(
    frequency: int, spreading_factor: int, bandwidth: int, is_off_plan: bool
) -> None:
    sessions, devices = house(1)
    heard = group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x"))
    heard.receptions = [
        replace(copy, frequency=frequency, spreading_factor=spreading_factor, bandwidth=bandwidth)
        for copy in heard.receptions
    ]

    received = receive(heard, sessions, devices)

    assert received.uplink.payload == b"x"
    assert received.is_off_plan == is_off_plan
