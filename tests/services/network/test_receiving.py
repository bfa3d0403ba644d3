from msgspec.structs import replace

from core.messages.frames import Frame
from core.model.entities import Device
from lorawan.commands.link_check import LinkCheckReq
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr, DevEui, JoinEui
from lorawan.session import Session, build_uplink
from services.network.deduplication import Group
from services.network.devices import DeviceCache
from services.network.receiving import Received, Refused, receive_data
from services.network.sessions import HeldSession, Progress, SessionTable

DEV_ADDR = DevAddr(bytes.fromhex("01020304"))
SECOND_US = 1_000_000


def cipher(number: int = 1) -> SessionCipher:
    return SessionCipher(SessionKeys(bytes([number]) * 16, bytes([number + 100]) * 16))


def house(*device_ids: int, enabled: bool = True, skip_f_cnt: bool = False) -> tuple[SessionTable, DeviceCache]:
    """Devices that share one DevAddr, one session each."""
    sessions, devices = SessionTable(), DeviceCache()
    for device_id in device_ids:
        state = Session(DEV_ADDR, skip_f_cnt=skip_f_cnt)
        sessions.add(HeldSession(10 + device_id, device_id, cipher(device_id), Progress(state)))
        eui = device_id.to_bytes(8)
        devices.add(Device(device_id, 1, DevEui(eui), JoinEui(eui), "d", 1, 0, "OTAA", skip_f_cnt, enabled))
    return sessions, devices


def group(phy: bytes, *, at_us: int = SECOND_US, gateways: int = 1) -> Group:
    copies = [
        Frame(phy, bytes([g]) * 8, at_us + g, at_us + g, b"", 868_100_000, 7, 125_000, 0, -80.0, 5.0 + g, 0, 0)
        for g in range(gateways)
    ]
    return Group(phy, at_us, copies, [1])


def receive(phy_group: Group, sessions: SessionTable, devices: DeviceCache, made=None) -> Received:
    outcome = receive_data(phy_group, sessions, devices, made or {})
    assert isinstance(outcome, Received)
    return outcome


def test_of_devices_that_share_an_address_the_one_whose_mic_fits_has_the_frame() -> None:
    sessions, devices = house(1, 2, 3)

    received = receive(group(build_uplink(DEV_ADDR, cipher(2), 0, f_port=1, payload=b"x")), sessions, devices)

    assert (received.uplink.device_id, received.uplink.session_id) == (2, 12)
    assert received.first_of_session


def test_the_time_of_an_uplink_is_that_of_its_first_copy() -> None:
    sessions, devices = house(1)
    phy_group = group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x"), gateways=3)

    uplink = receive(phy_group, sessions, devices).uplink

    assert uplink.time_us == phy_group.copies[0].time_us
    assert len(uplink.heard_by) == 3


def test_two_frames_of_one_pass_follow_each_other_without_touching_the_committed_session() -> None:
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


def test_a_second_pass_over_the_same_frame_makes_the_same_uplink() -> None:
    sessions, devices = house(1)
    phy_group = group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x"))

    assert receive(phy_group, sessions, devices).uplink == receive(phy_group, sessions, devices).uplink


def test_a_disabled_device_is_refused_after_its_mic_was_checked() -> None:
    sessions, devices = house(1, enabled=False)

    assert receive_data(
        group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices, {}
    ) == Refused("disabled", DEV_ADDR)
    assert receive_data(
        group(build_uplink(DEV_ADDR, cipher(9), 0, f_port=1, payload=b"x")), sessions, devices, {}
    ) == Refused("mic", DEV_ADDR)


def test_an_address_of_nobody_and_a_malformed_frame_are_refused() -> None:
    sessions, devices = house()

    assert receive_data(group(b"\x40\x00"), sessions, devices, {}) == Refused("malformed")
    assert receive_data(
        group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices, {}
    ) == Refused("unknown_dev_addr", DEV_ADDR)


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
    assert received.opportunity.f_opts == bytes([0x02, 14, 3])
    assert received.opportunity.must_answer


def test_a_device_that_may_restart_its_counter_is_told_apart() -> None:
    sessions, devices = house(1, skip_f_cnt=True)
    held = sessions.of_device(1)[0]
    held.progress = replace(held.progress, state=replace(held.progress.state, f_cnt_up=100))

    received = receive(group(build_uplink(DEV_ADDR, cipher(), 0, f_port=1, payload=b"x")), sessions, devices)

    assert received.outcome == "restarted"
    assert received.uplink.f_cnt == 0
