"""A simulated device is asked and answers: what the network's own negotiation makes of it."""

from msgspec.structs import replace

from lab.device.application import Message
from lab.device.mac_layer import MacLayer
from lab.radio.clock import now_us
from lab.radio.transmission import SECOND_US
from lorawan.commands import encode_commands, parse_uplink_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.new_channel import NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.frame import MAX_F_OPTS, UplinkFrame
from lorawan.identifiers import DevAddr
from lorawan.mac_state import DAY_US, MacPolicy, all_channels, first_state
from lorawan.negotiation import AcceptedUplink, ask, handle_uplink
from lorawan.regions import EU868
from lorawan.session import Session
from tests.lab.device.test_device import deliver_in_rx1, downlink, joined


def answers_of(mac: MacLayer) -> tuple:
    return parse_uplink_commands(mac.f_opts()).commands


def test_the_battery_is_reported_once() -> None:
    mac = MacLayer(200)

    mac.take_commands(DevStatusReq().to_bytes(), 7.6)

    assert answers_of(mac) == (DevStatusAns(200, 8),)
    assert answers_of(mac) == ()


def test_a_sticky_answer_is_repeated_until_a_downlink_is_received() -> None:
    mac = MacLayer(200)

    delay = mac.take_commands(RxTimingSetupReq(5).to_bytes(), 5.0)
    twice = answers_of(mac), answers_of(mac)
    mac.take_commands(b"", 5.0)

    assert delay == 5
    assert twice == ((RxTimingSetupAns(),), (RxTimingSetupAns(),))
    assert answers_of(mac) == ()


def test_it_decides_its_data_rate_and_its_windows_itself() -> None:
    mac = MacLayer(200)

    mac.take_commands(encode_commands([LinkAdrReq(5, 0, 7, 0, 1), RxParamSetupReq(0, 3, 869_525_000)]), 5.0)

    assert answers_of(mac) == (RxParamSetupAns(False, False, False), LinkAdrAns(False, False, True))


def test_what_an_uplink_has_no_room_for_is_left_out() -> None:
    mac = MacLayer(200)

    mac.take_commands(NewChannelReq(3, 867_100_000, 0, 5).to_bytes() * 9, 5.0)

    assert len(mac.f_opts()) <= MAX_F_OPTS


async def test_a_device_with_a_new_delay_listens_by_it_from_its_next_uplink_on() -> None:
    device, _, _, antenna = joined(class_c=False)
    device.send(Message(2, b"up"), now_us())
    deliver_in_rx1(device, downlink(device, 0, f_opts=RxTimingSetupReq(5).to_bytes() + DevStatusReq().to_bytes()))

    sent_at = now_us()
    device.send(Message(2, b"up"), sent_at)
    uplink = UplinkFrame.from_bytes(antenna.receptions[-1].transmission.phy_payload)

    assert [window.opens_us - sent_at for window in device.windows] == [5 * SECOND_US, 6 * SECOND_US]
    assert parse_uplink_commands(uplink.f_opts).commands == (RxTimingSetupAns(), DevStatusAns(254, 8))


def test_the_network_gets_what_it_wants_of_a_simulated_device() -> None:
    policy = MacPolicy(EU868, rx1_delay=5, max_duty_cycle=7)
    session, now = Session(DevAddr(bytes(4))), 20_000 * DAY_US
    state, mac = replace(first_state(EU868, session.dev_addr, now, joined=False), status_due_us=now), MacLayer(77)
    delays, statuses = [], []
    for turn in range(4):
        heard = AcceptedUplink(now + turn * SECOND_US, mac.f_opts(), False, False, 5, 8.0, 0)
        learned = handle_uplink(state, session, heard, policy)
        session, statuses = learned.session, [*statuses, learned.status]
        state, octets = ask(learned.state, session, heard, policy)
        if octets or learned.must_answer:
            delays.append(mac.take_commands(octets, 8.0))

    assert (session.rx1_delay, delays[0]) == (5, 5)
    assert state.channels == all_channels(EU868)
    assert (state.max_duty_cycle, state.asked) == (7, ())
    assert DevStatusAns(77, 8) in statuses
