"""What the network asks of devices that obey, reject, forget or do not answer."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lorawan.adr import HISTORY, LOWEST_POWER, Bounds, Limits, Sample
from lorawan.commands import DownlinkCommand, UplinkCommand, encode_commands, parse_downlink_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.dl_channel import DlChannelAns
from lorawan.commands.duty_cycle import DutyCycleAns, DutyCycleReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.link_check import LinkCheckReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.identifiers import DevAddr
from lorawan.mac_state import (
    DAY_US,
    FIRST_PAUSE_US,
    HOUR_US,
    LIMITS_HOLD_US,
    LONGEST_PAUSE_US,
    MacPolicy,
    MacState,
    all_channels,
    default_channels,
    first_state,
    is_quiet,
)
from lorawan.negotiation import AcceptedUplink, Learned, ask, handle_uplink
from lorawan.regions import EU868
from lorawan.session import Session

NOW = 20_000 * DAY_US
MINUTE = 60_000_000
POLICY = MacPolicy(EU868)
SESSION = Session(DevAddr(bytes.fromhex("01020304")))
EVERY_CHANNEL = all_channels(EU868)
NEVER = NOW + 1000 * DAY_US
JOINED = MacState(EVERY_CHANNEL, status_due_us=NEVER)


def uplink(at_us: int = NOW, *answers: UplinkCommand, adr: bool = False, **fields: Any) -> AcceptedUplink:
    values = {"adr_ack_req": False, "data_rate": 0, "snr": 5.0, "missed": 0} | fields
    return AcceptedUplink(at_us, encode_commands(answers), adr, **values)


def turn(
    state: MacState, session: Session, uplink: AcceptedUplink, policy: MacPolicy = POLICY
) -> tuple[Learned, MacState, tuple[DownlinkCommand, ...]]:
    """An uplink is received and answered."""
    learned = handle_uplink(state, session, uplink, policy)
    asked, octets = ask(learned.state, learned.session, uplink, policy)
    parsed = parse_downlink_commands(octets)
    assert parsed.problem is None
    return learned, asked, parsed.commands


def adr_history(snr: float, data_rate: int = 0) -> MacState:
    return replace(JOINED, data_rate=data_rate, history=(Sample(snr, 0),) * HISTORY)


def test_a_device_of_which_nothing_is_wanted_is_left_in_peace() -> None:
    _, state, requests = turn(JOINED, SESSION, uplink())

    assert requests == ()
    assert state == JOINED
    assert is_quiet(JOINED, SESSION, POLICY, NOW)


@pytest.mark.parametrize(
    ("state", "session", "policy"),
    [
        (JOINED, replace(SESSION, rx1_delay=5), POLICY),
        (JOINED, SESSION, replace(POLICY, rx_params=RxParamSetupReq(0, 3, 869_525_000))),
        (JOINED, SESSION, replace(POLICY, max_duty_cycle=7)),
        (replace(JOINED, channels=default_channels(EU868)), SESSION, POLICY),
        (replace(JOINED, status_due_us=NOW), SESSION, POLICY),
    ],
    ids=["RxDelay", "RX2", "duty cycle", "channels", "status"],
)
def test_whatever_is_to_be_asked_is_neither_quiet_nor_forgotten(
    state: MacState, session: Session, policy: MacPolicy
) -> None:
    assert not is_quiet(state, session, policy, NOW)
    assert turn(state, session, uplink(), policy)[2] != ()


# Row 39.


def test_the_session_follows_a_new_rx_delay_only_once_the_device_has_answered() -> None:
    policy = replace(POLICY, rx1_delay=5)

    first, asked, requests = turn(JOINED, SESSION, uplink(), policy)
    learned, state, again = turn(asked, first.session, uplink(NOW + MINUTE, RxTimingSetupAns()), policy)

    assert requests == (RxTimingSetupReq(5),)
    assert first.session.rx1_delay == 1
    assert learned.session.rx1_delay == 5
    assert again == ()
    assert state == JOINED


def test_a_device_whose_gateways_are_far_away_is_given_five_seconds_and_its_second_back_after_a_day() -> None:
    far, near = {"round_trip_us": 700_000}, {"round_trip_us": 60_000}

    first, state, requests = turn(JOINED, SESSION, uplink(NOW, **far))
    moved, state, _ = turn(state, first.session, uplink(NOW + MINUTE, RxTimingSetupAns(), **far))
    within, state, nothing = turn(state, moved.session, uplink(NOW + 23 * 60 * MINUTE, **near))
    after, state, back = turn(state, within.session, uplink(NOW + 25 * 60 * MINUTE, **near))
    returned, _, _ = turn(state, after.session, uplink(NOW + 26 * 60 * MINUTE, RxTimingSetupAns(), **near))

    assert (requests, nothing, back) == ((RxTimingSetupReq(5),), (), (RxTimingSetupReq(1),))
    assert (moved.session.rx1_delay, returned.session.rx1_delay) == (5, 1)


def test_where_one_delay_is_for_all_distance_changes_nothing() -> None:
    policy = replace(POLICY, far_rx1_delay=1)

    _, _, requests = turn(JOINED, SESSION, uplink(NOW, round_trip_us=700_000), policy)

    assert requests == ()


@pytest.mark.parametrize(
    "answer", [RxTimingSetupAns(), RxParamSetupAns(True, True, True), DlChannelAns(True, True)]
)
def test_a_sticky_answer_is_answered_even_when_it_was_not_asked_for(answer: UplinkCommand) -> None:
    learned = handle_uplink(JOINED, SESSION, uplink(NOW, answer), POLICY)

    assert learned.must_answer
    assert (learned.state, learned.session) == (JOINED, SESSION)


def test_other_answers_do_not_wait_for_a_downlink() -> None:
    assert not handle_uplink(
        JOINED, SESSION, uplink(NOW, DevStatusAns(255, 0), DutyCycleAns()), POLICY
    ).must_answer


@pytest.mark.parametrize("bits", [(True, True, False), (True, False, True), (False, True, True)])
def test_receive_windows_change_on_all_bits_or_not_at_all(bits: tuple[bool, bool, bool]) -> None:
    policy = replace(POLICY, rx_params=RxParamSetupReq(1, 3, 869_525_000))
    _, asked, requests = turn(JOINED, SESSION, uplink(), policy)

    refused = handle_uplink(asked, SESSION, uplink(NOW, RxParamSetupAns(*bits)), policy)
    agreed = handle_uplink(asked, SESSION, uplink(NOW, RxParamSetupAns(True, True, True)), policy)

    assert requests == (RxParamSetupReq(1, 3, 869_525_000),)
    assert (refused.session, refused.rejected) == (SESSION, (5,))
    assert (agreed.session.rx1_dr_offset, agreed.session.rx2_dr) == (1, 3)


# Row 38.


def test_the_battery_is_asked_for_once_a_day() -> None:
    due = replace(JOINED, status_due_us=NOW)

    _, asked, requests = turn(due, SESSION, uplink())
    learned, state, again = turn(asked, SESSION, uplink(NOW + HOUR_US, DevStatusAns(254, -3)))
    early = turn(state, SESSION, uplink(NOW + DAY_US))[2]
    late = turn(state, SESSION, uplink(NOW + HOUR_US + DAY_US))[2]

    assert requests == late == (DevStatusReq(),)
    assert again == early == ()
    assert learned.status == DevStatusAns(254, -3)


def test_a_network_may_want_to_know_nothing_of_batteries() -> None:
    policy = replace(POLICY, status_every_us=0)

    assert turn(replace(JOINED, status_due_us=0), SESSION, uplink(), policy)[2] == ()


@given(st.binary(min_size=4, max_size=4), st.integers(0, 30_000 * DAY_US))
def test_the_first_question_comes_within_a_day_of_the_join(dev_addr: bytes, now_us: int) -> None:
    state = first_state(EU868, DevAddr(dev_addr), now_us, joined=True)

    assert now_us < state.status_due_us <= now_us + DAY_US


def test_devices_that_join_together_are_not_asked_together() -> None:
    addresses = [DevAddr(bytes((0, *number.to_bytes(3, "big")))) for number in range(0, 1 << 24, 1 << 14)]
    due = sorted(first_state(EU868, address, NOW, joined=True).status_due_us for address in addresses)

    busiest = max(sum(at <= other < at + HOUR_US for other in due) for at in due)

    assert busiest <= len(addresses) / 24 + 1


# Row 40.


def test_a_device_without_cf_list_is_given_the_five_other_channels_three_at_a_time() -> None:
    yes = NewChannelAns(True, True)
    state = first_state(EU868, SESSION.dev_addr, NOW, joined=False)

    _, state, first = turn(state, SESSION, uplink())
    _, state, second = turn(state, SESSION, uplink(NOW + MINUTE, yes, yes, yes))
    _, state, third = turn(state, SESSION, uplink(NOW + 2 * MINUTE, yes, yes))

    assert first == tuple(NewChannelReq(3 + n, 867_100_000 + n * 200_000, 0, 5) for n in range(3))
    assert second == tuple(NewChannelReq(6 + n, 867_700_000 + n * 200_000, 0, 5) for n in range(2))
    assert third == ()
    assert state.channels == EVERY_CHANNEL


def test_a_device_that_joined_has_all_channels_already() -> None:
    assert first_state(EU868, SESSION.dev_addr, NOW, joined=True).channels == EVERY_CHANNEL


def test_new_channels_and_link_adr_never_share_a_frame() -> None:
    state = replace(adr_history(5.0), channels=default_channels(EU868))

    _, state, first = turn(state, SESSION, uplink(adr=True))
    _, state, second = turn(state, SESSION, uplink(NOW, *[NewChannelAns(False, False)] * 3, adr=True))

    assert {type(request) for request in first} == {NewChannelReq}
    # The channels are rejected for now: ADR goes on with those that the device has.
    assert second == (LinkAdrReq(5, 0, 0b111, 0, 1),)


def test_of_three_channels_those_that_were_taken_are_kept() -> None:
    state = replace(JOINED, channels=default_channels(EU868))
    _, asked, _ = turn(state, SESSION, uplink())
    answers = [NewChannelAns(True, True), NewChannelAns(True, False), NewChannelAns(True, True)]

    learned = handle_uplink(asked, SESSION, uplink(NOW, *answers), POLICY)

    assert learned.state.channels == 0b10_1111
    assert learned.rejected == (7,)


# Row 41.


def test_a_limit_of_the_duty_cycle_is_asked_for_until_it_is_understood() -> None:
    policy = replace(POLICY, max_duty_cycle=10)

    _, asked, first = turn(JOINED, SESSION, uplink(), policy)
    _, asked, second = turn(asked, SESSION, uplink(), policy)
    _, state, third = turn(asked, SESSION, uplink(NOW, DutyCycleAns()), policy)

    assert first == second == (DutyCycleReq(10),)
    assert third == ()
    assert state.max_duty_cycle == 10


# Rows 34 to 36.


def test_adr_asks_once_enough_uplinks_were_received_and_follows_the_answer() -> None:
    state = JOINED
    for _ in range(HISTORY):
        state = handle_uplink(state, SESSION, uplink(adr=True, snr=12.0), POLICY).state

    state, octets = ask(state, SESSION, uplink(adr=True), POLICY)
    answered = handle_uplink(
        state, SESSION, uplink(NOW, LinkAdrAns(True, True, True), adr=True, data_rate=5), POLICY
    ).state

    assert parse_downlink_commands(octets).commands == (LinkAdrReq(5, 2, 0xFF, 0, 1),)
    assert (answered.data_rate, answered.tx_power, answered.asked) == (5, 2, ())
    assert len(answered.history) == 1


def test_a_device_without_adr_gets_no_link_adr_req() -> None:
    assert turn(adr_history(12.0), SESSION, uplink(adr=False))[2] == ()
    assert turn(adr_history(12.0), SESSION, uplink(adr=True), replace(POLICY, adr=False))[2] == ()


def test_a_device_that_sets_adr_ack_req_is_sent_its_plan_again() -> None:
    state = replace(JOINED, data_rate=5, tx_power=2, history=(Sample(5.0, 0),))

    requests = turn(state, SESSION, uplink(adr=True, adr_ack_req=True, data_rate=5, snr=5.0))[2]

    assert requests == (LinkAdrReq(5, 2, 0xFF, 0, 1),)


def test_a_device_that_slowed_down_by_itself_is_at_full_power() -> None:
    state = replace(JOINED, data_rate=5, tx_power=4, nb_trans=2, history=(Sample(5.0, 0),) * 3)

    heard = handle_uplink(state, SESSION, uplink(adr=True, data_rate=4), POLICY).state

    assert (heard.data_rate, heard.tx_power, heard.nb_trans, len(heard.history)) == (4, 0, 1, 1)


@pytest.mark.parametrize(
    ("answer", "limits", "channels"),
    [
        (LinkAdrAns(False, True, True), Limits(max_tx_power=1), EVERY_CHANNEL),
        (LinkAdrAns(True, False, True), Limits(max_data_rate=4), EVERY_CHANNEL),
        (LinkAdrAns(True, True, False), Limits(), 0b111),
    ],
)
def test_what_a_device_rejects_is_not_asked_again_as_it_was(
    answer: LinkAdrAns, limits: Limits, channels: int
) -> None:
    _, asked, requests = turn(adr_history(12.0), SESSION, uplink(adr=True))

    learned = handle_uplink(asked, SESSION, uplink(NOW, answer, adr=True), POLICY)

    assert requests == (LinkAdrReq(5, 2, 0xFF, 0, 1),)
    assert learned.rejected == (3,)
    assert learned.state.tx_power == 0
    assert learned.state.limits_at(NOW) == limits
    assert learned.state.channels == channels


def test_a_slower_data_rate_that_is_rejected_is_asked_for_again_and_no_slower_one() -> None:
    policy = replace(POLICY, adr_bounds=Bounds(max_data_rate=3))
    hour = 60 * MINUTE
    heard = {"adr": True, "data_rate": 5, "snr": 0.0}

    _, state, first = turn(adr_history(0.0, 5), SESSION, uplink(**heard), policy)
    _, state, _ = turn(state, SESSION, uplink(NOW + MINUTE, LinkAdrAns(True, False, True), **heard), policy)
    _, state, again = turn(state, SESSION, uplink(NOW + 2 * hour, **heard), policy)

    assert [one.data_rate for one in first + again if isinstance(one, LinkAdrReq)] == [3, 3]


def test_full_power_that_is_rejected_is_one_step_too_much() -> None:
    state = replace(JOINED, data_rate=0, history=(Sample(-20.0, 0),))
    _, asked, requests = turn(state, SESSION, uplink(adr=True, adr_ack_req=True, snr=-20.0))

    learned = handle_uplink(asked, SESSION, uplink(NOW, LinkAdrAns(False, True, True), adr=True), POLICY)

    assert requests == (LinkAdrReq(0, 0, 0xFF, 0, 1),)
    assert learned.state.limits_at(NOW) == Limits(min_tx_power=1)


def test_a_device_that_left_adr_and_takes_the_channels_has_not_rejected() -> None:
    _, asked, _ = turn(adr_history(12.0), SESSION, uplink(adr=True))

    learned = handle_uplink(asked, SESSION, uplink(NOW, LinkAdrAns(False, False, True), adr=False), POLICY)

    assert learned.rejected == ()
    assert learned.state.asked == ()
    assert learned.state.tx_power == 0


def test_an_answer_that_was_lost_is_seen_by_the_new_data_rate() -> None:
    _, asked, _ = turn(adr_history(12.0), SESSION, uplink(adr=True))

    learned = handle_uplink(asked, SESSION, uplink(NOW + MINUTE, adr=True, data_rate=5, missed=1), POLICY)

    assert (learned.state.tx_power, learned.state.asked) == (2, ())


def test_a_rejection_waits_twice_as_long_each_time_and_a_day_at_most() -> None:
    policy = replace(POLICY, rx_params=RxParamSetupReq(1, 3, 869_525_000))
    state, at, pauses = JOINED, NOW, []
    for _ in range(8):
        _, state, requests = turn(state, SESSION, uplink(at), policy)
        assert requests
        refused_at = at + MINUTE
        _, state, requests = turn(state, SESSION, uplink(refused_at, RxParamSetupAns(False, True, True)), policy)
        assert not requests
        at = refused_at
        while not turn(state, SESSION, uplink(at), policy)[2]:
            at += MINUTE
        pauses.append(at - refused_at)

    assert pauses == [min(FIRST_PAUSE_US << n, LONGEST_PAUSE_US) for n in range(8)]


def test_adr_backs_off_for_a_device_that_accepts_and_does_not_move() -> None:
    state, session, asked_at = adr_history(5.0), SESSION, list[int]()
    accepted: tuple[UplinkCommand, ...] = ()
    for number in range(20 * 24 * 6):  # Ten minutes each, twenty days of SF12.
        at_us = NOW + number * 10 * MINUTE
        learned, state, requests = turn(state, session, uplink(at_us, *accepted, adr=True, snr=5.0))
        session = learned.session
        accepted = tuple(LinkAdrAns(True, True, True) for one in requests if isinstance(one, LinkAdrReq))
        asked_at += [at_us] * len(accepted)

    # Its answer, then the uplink that shows that it has not moved: from there on it is left alone.
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses[:3] == [
        FIRST_PAUSE_US + 20 * MINUTE,
        2 * FIRST_PAUSE_US + 20 * MINUTE,
        4 * FIRST_PAUSE_US + 20 * MINUTE,
    ]
    assert max(pauses) == LONGEST_PAUSE_US + 20 * MINUTE
    assert state.asked_for(LinkAdrReq.CID).failures >= len(asked_at) - 1


def test_a_device_that_moves_one_uplink_after_it_accepted_has_not_failed() -> None:
    _, state, (request,) = turn(adr_history(5.0), SESSION, uplink(adr=True))
    assert isinstance(request, LinkAdrReq)

    _, state, waits = turn(state, SESSION, uplink(NOW + MINUTE, LinkAdrAns(True, True, True), adr=True))
    _, state, _ = turn(state, SESSION, uplink(NOW + 2 * MINUTE, adr=True, data_rate=request.data_rate))

    assert waits == ()
    assert state.asked == ()


def test_silence_is_asked_three_times_then_pauses_and_is_never_the_end() -> None:
    state, asked_at = replace(JOINED, status_due_us=NOW), []
    for minute in range(3 * 24 * 60):
        _, state, requests = turn(state, SESSION, uplink(NOW + minute * MINUTE))
        if requests:
            asked_at.append(minute)

    assert asked_at[:6] == [0, 1, 2, 63, 64, 65]
    assert all(later - earlier <= 24 * 60 + 1 for earlier, later in pairwise(asked_at))
    assert asked_at[-1] > 2 * 24 * 60 - 60


def test_a_rejected_command_holds_up_no_other() -> None:
    policy = replace(POLICY, rx_params=RxParamSetupReq(1, 3, 869_525_000))
    _, asked, _ = turn(adr_history(-20.0), SESSION, uplink(adr=True, snr=-20.0), policy)
    refusal = RxParamSetupAns(False, True, True)

    _, _, requests = turn(asked, SESSION, uplink(NOW, refusal, adr=True, snr=12.0), policy)

    assert requests == (LinkAdrReq(5, 2, 0xFF, 0, 1),)


def test_a_limit_is_believed_for_a_week_so_that_nothing_stalls_for_ever() -> None:
    _, asked, _ = turn(adr_history(12.0), SESSION, uplink(adr=True))
    refused = handle_uplink(asked, SESSION, uplink(NOW, LinkAdrAns(True, False, True), adr=True), POLICY).state
    refused = replace(refused, history=(Sample(12.0, 0),) * HISTORY)

    soon = turn(refused, SESSION, uplink(NOW + DAY_US, adr=True))[2]
    later = turn(refused, SESSION, uplink(NOW + LIMITS_HOLD_US, adr=True))[2]

    assert soon == (LinkAdrReq(4, 0, 0xFF, 0, 1),)
    assert later == (LinkAdrReq(5, 2, 0xFF, 0, 1),)


def test_a_history_alone_is_not_worth_a_write() -> None:
    before = replace(JOINED, data_rate=0)

    heard = handle_uplink(before, SESSION, uplink(adr=True, snr=-15.0), POLICY).state
    asked = turn(adr_history(12.0), SESSION, uplink(adr=True))[1]

    assert heard.history != before.history
    assert not heard.differs_from(before)
    assert asked.differs_from(before)


class Radio:
    """A device that keeps to the specification, written from it and from nothing of ours; its luck is drawn."""

    def __init__(self, draw: st.DataObject) -> None:
        self.draw = draw
        self.data_rate, self.tx_power, self.nb_trans = 0, 0, 1
        self.channels = {0, 1, 2}
        self.rx1_delay = 1
        self.answers: list[UplinkCommand] = []
        self.sticky: list[UplinkCommand] = []

    def receive(self, octets: bytes, *, grumpy: bool) -> None:
        self.sticky = []
        for request in parse_downlink_commands(octets).commands:
            refuses = grumpy and self.draw.draw(st.booleans())
            match request:
                case LinkAdrReq(data_rate, tx_power, mask, _, nb_trans):
                    knows = all(index in self.channels for index in range(16) if mask >> index & 1)
                    answer = LinkAdrAns(not refuses, not refuses, knows)
                    if answer.accepted:
                        self.data_rate, self.tx_power, self.nb_trans = data_rate, tx_power, nb_trans
                    self.answers.append(answer)
                case NewChannelReq(index):
                    if not refuses:
                        self.channels.add(index)
                    self.answers.append(NewChannelAns(not refuses, not refuses))
                case RxTimingSetupReq(delay):
                    self.rx1_delay = delay
                    self.sticky.append(RxTimingSetupAns())
                case DevStatusReq():
                    self.answers.append(DevStatusAns(200, 3))
                case DutyCycleReq():
                    self.answers.append(DutyCycleAns())
                case _:
                    raise AssertionError(f"nobody wants {request}")

    def say(self, at_us: int, snr: float) -> AcceptedUplink:
        answers, self.answers = self.answers, []
        snr -= 2 * self.tx_power
        return uplink(at_us, *answers, *self.sticky, adr=True, data_rate=self.data_rate, snr=snr)


@given(st.data())
def test_however_frames_are_lost_and_rejected_an_obedient_device_ends_as_wanted(data: st.DataObject) -> None:
    policy = MacPolicy(EU868, rx1_delay=5, max_duty_cycle=7)
    device, session = Radio(data), SESSION
    state, at = first_state(EU868, SESSION.dev_addr, NOW, joined=False), NOW
    trouble = data.draw(st.integers(0, 30))
    for number in range(trouble + 90):
        in_trouble = number < trouble
        at += 4 * HOUR_US
        said = device.say(at, 8.0)
        if in_trouble and data.draw(st.booleans()):
            continue  # The uplink is lost.
        learned = handle_uplink(state, session, said, policy)
        session = learned.session
        state, octets = ask(learned.state, session, said, policy)
        if (octets or learned.must_answer) and not (in_trouble and data.draw(st.booleans())):
            device.receive(octets, grumpy=in_trouble)

    assert (session.rx1_delay, device.rx1_delay) == (5, 5)
    assert device.channels == set(range(8))
    assert state.max_duty_cycle == 7
    assert (state.data_rate, state.tx_power) == (device.data_rate, device.tx_power)
    # SF7 needs -7.5 dB: 15.5 dB at full power, 11.5 dB with 4 dB less, and another step would leave less than 10.
    assert (device.data_rate, device.tx_power) == (5, 2)


uplinks = st.builds(
    AcceptedUplink,
    st.integers(NOW, NOW + 40 * DAY_US),
    st.binary(max_size=15)
    | st.sampled_from([b"\x03\x07", b"\x05\x07", b"\x07\x03", b"\x08", b"\x06\xff\x3f", b"\x04"]),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 7),
    st.floats(-40, 40),
    st.integers(0, 100_000),
)


@given(st.lists(uplinks, max_size=40), st.booleans())
def test_whatever_a_device_says_what_is_asked_of_it_can_be_sent_and_what_is_known_of_it_stored(
    said: list[AcceptedUplink], joined: bool
) -> None:
    policy = MacPolicy(EU868, 5, RxParamSetupReq(0, 3, 869_525_000), 3)
    state, session = first_state(EU868, SESSION.dev_addr, NOW, joined=joined), SESSION
    for heard in said:
        learned, state, requests = turn(state, session, heard, policy)
        session = learned.session

        assert len(encode_commands(requests)) <= 51 - 9  # DR0, beside LinkCheckAns and DeviceTimeAns.
        assert sum(isinstance(request, NewChannelReq) for request in requests) <= 3
        assert 0 <= state.tx_power <= LOWEST_POWER
        assert 1 <= state.nb_trans <= 3
        assert state.channels & 0b111 == 0b111
        stored = msgspec.json.encode(state)
        assert msgspec.json.decode(stored, type=MacState) == state


def test_a_question_of_the_device_changes_nothing_that_is_known_of_it() -> None:
    learned = handle_uplink(JOINED, SESSION, uplink(NOW, LinkCheckReq()), POLICY)

    assert (learned.state, learned.session, learned.status) == (JOINED, SESSION, None)


def test_a_device_knows_that_we_decide_for_as_long_as_it_lets_us() -> None:
    adapted = handle_uplink(JOINED, SESSION, uplink(adr=True), POLICY).state
    left = handle_uplink(adapted, SESSION, uplink(adr=False), POLICY).state
    unwanted = handle_uplink(JOINED, SESSION, uplink(adr=True), replace(POLICY, adr=False)).state

    assert (JOINED.adr, adapted.adr, left.adr, unwanted.adr) == (False, True, False, False)
