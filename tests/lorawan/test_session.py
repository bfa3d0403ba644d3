"""Which uplinks a session accepts (docs/protocols.md, rows 4 to 13), and how its downlinks are numbered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame, UplinkFrame
from lorawan.identifiers import DevAddr
from lorawan.session import (
    Accepted,
    Outcome,
    Rejected,
    RejectReason,
    Retransmission,
    Session,
    accept,
    build_downlink,
    build_uplink,
    next_downlink,
)

DEV_ADDR = DevAddr(bytes.fromhex("00a1b2c3"))
CIPHER = SessionCipher(SessionKeys(bytes(range(16)), bytes(range(16, 32))))
OTHER_CIPHER = SessionCipher(SessionKeys(bytes(16), bytes(16)))
NOW_US = 1_795_564_800_000_000
SECOND_US = 1_000_000


def uplink(f_cnt: int, payload: bytes = b"payload", confirmed: bool = False) -> bytes:
    return build_uplink(DEV_ADDR, CIPHER, f_cnt, f_port=10, payload=payload, confirmed=confirmed)


def judge(session: Session, phy: bytes, now_us: int = NOW_US) -> Outcome:
    return accept(session, CIPHER, UplinkFrame.from_bytes(phy), phy, now_us)


def accepted(session: Session, phy: bytes, now_us: int = NOW_US) -> Accepted:
    outcome = judge(session, phy, now_us)
    assert isinstance(outcome, Accepted)
    return outcome


def test_accepts_the_next_uplink() -> None:
    outcome = accepted(Session(DEV_ADDR, f_cnt_up=5), uplink(5))

    assert (outcome.f_cnt, outcome.payload, outcome.missed) == (5, b"payload", 0)
    assert outcome.session.f_cnt_up == 6
    assert not outcome.counter_restarted


def test_counts_the_uplinks_that_were_missed() -> None:
    outcome = accepted(Session(DEV_ADDR, f_cnt_up=5), uplink(40_000))

    assert (outcome.missed, outcome.session.f_cnt_up) == (39_995, 40_001)


@pytest.mark.parametrize(
    ("expected", "sent"), [(65_535, 65_535), (65_536, 65_536), (65_530, 65_540), (131_071, 131_080)]
)
def test_follows_the_counter_past_sixteen_bits(expected: int, sent: int) -> None:
    outcome = accepted(Session(DEV_ADDR, f_cnt_up=expected), uplink(sent))

    assert (outcome.f_cnt, outcome.session.f_cnt_up) == (sent, sent + 1)


def test_another_devices_frame_is_a_wrong_mic() -> None:
    phy = uplink(5)
    frame = UplinkFrame.from_bytes(phy)

    outcome = accept(Session(DEV_ADDR), OTHER_CIPHER, frame, phy, NOW_US)

    assert outcome == Rejected(RejectReason.MIC)


def test_an_older_uplink_is_a_replay() -> None:
    first = accepted(Session(DEV_ADDR), uplink(3)).session
    second = accepted(first, uplink(4)).session

    assert judge(second, uplink(3)) == Rejected(RejectReason.REPLAY, 3)


def test_an_uplink_of_the_former_rollover_is_a_replay() -> None:
    session = Session(DEV_ADDR, f_cnt_up=65_540)

    assert judge(session, uplink(65_530)) == Rejected(RejectReason.REPLAY, 65_530)


def test_a_device_that_restarted_is_distinguished_from_a_wrong_mic() -> None:
    session = Session(DEV_ADDR, f_cnt_up=200_000)

    assert judge(session, uplink(0)) == Rejected(RejectReason.REPLAY, 0)


def test_the_same_counter_with_other_octets_is_rejected() -> None:
    session = accepted(Session(DEV_ADDR), uplink(3, b"on")).session

    assert judge(session, uplink(3, b"off")) == Rejected(RejectReason.SAME_F_CNT, 3)


def test_the_same_octets_are_a_retransmission() -> None:
    session = accepted(Session(DEV_ADDR), uplink(3)).session

    outcome = judge(session, uplink(3), NOW_US + 4 * SECOND_US)

    assert outcome == Retransmission(3, acknowledge=False, confirmed=False)


@pytest.mark.parametrize(
    ("after_s", "acknowledge"),
    [(-1, False), (0, False), (0.9, False), (1, True), (4, True), (12, True), (13, False)],
)
def test_a_confirmed_uplink_is_acknowledged_again_within_its_window(after_s: float, acknowledge: bool) -> None:
    phy = uplink(3, confirmed=True)
    session = accepted(Session(DEV_ADDR, rx1_delay=1), phy).session

    outcome = judge(session, phy, NOW_US + int(after_s * SECOND_US))

    assert outcome == Retransmission(3, acknowledge=acknowledge, confirmed=True)


def test_an_abp_device_may_restart_when_its_flag_says_so() -> None:
    session = Session(DEV_ADDR, f_cnt_up=70_000, skip_f_cnt=True)

    outcome = accepted(session, uplink(0))

    assert outcome.counter_restarted
    assert (outcome.f_cnt, outcome.session.f_cnt_up) == (0, 1)


def test_the_flag_does_not_excuse_a_wrong_mic() -> None:
    phy = uplink(0)
    session = Session(DEV_ADDR, f_cnt_up=70_000, skip_f_cnt=True)

    outcome = accept(session, OTHER_CIPHER, UplinkFrame.from_bytes(phy), phy, NOW_US)

    assert outcome == Rejected(RejectReason.MIC)


def test_the_last_counter_is_accepted_and_none_after_it() -> None:
    last = uplink(0xFFFF_FFFF)
    session = accepted(Session(DEV_ADDR, f_cnt_up=0xFFFF_FFFF), last).session

    assert session.f_cnt_up == 1 << 32
    assert isinstance(judge(session, uplink(0xFFFF_FFFE)), Rejected)
    assert isinstance(judge(session, uplink(3)), Rejected)


def test_commands_come_from_f_opts_or_from_f_port_0() -> None:
    in_f_opts = build_uplink(DEV_ADDR, CIPHER, 0, f_opts=bytes.fromhex("0307"))
    on_f_port_0 = build_uplink(DEV_ADDR, CIPHER, 1, f_port=0, payload=bytes.fromhex("06ff3f"))

    first = accepted(Session(DEV_ADDR), in_f_opts)
    second = accepted(first.session, on_f_port_0)

    assert (first.commands, first.f_port, first.payload) == (bytes.fromhex("0307"), None, b"")
    assert (second.commands, second.f_port) == (bytes.fromhex("06ff3f"), 0)


FRAMES = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 5, 16_000, 65_534, 65_535, 65_536, 65_537, 131_072]), st.booleans()),
    max_size=25,
)


@given(FRAMES)
def test_the_counter_never_decreases_and_a_replay_is_never_accepted(frames: list[tuple[int, bool]]) -> None:
    session, counters = Session(DEV_ADDR), set[int]()
    for f_cnt, variant in frames:
        outcome = judge(session, uplink(f_cnt, b"a" if variant else b"b"))
        if isinstance(outcome, Accepted):
            assert outcome.f_cnt == f_cnt
            assert f_cnt not in counters
            assert outcome.session.f_cnt_up > session.f_cnt_up
            counters.add(f_cnt)
            session = outcome.session


@given(FRAMES)
def test_with_the_flag_the_counter_follows_the_device(frames: list[tuple[int, bool]]) -> None:
    session = Session(DEV_ADDR, skip_f_cnt=True)
    for f_cnt, _ in frames:
        outcome = judge(session, uplink(f_cnt))
        if isinstance(outcome, Accepted):
            assert outcome.session.f_cnt_up == f_cnt + 1
            session = outcome.session
        assert not isinstance(outcome, Rejected) or f_cnt > 0xFFFF


@given(st.binary(min_size=12, max_size=60), st.integers(0, 0xFFFF_FFFF))
def test_what_the_device_did_not_sign_changes_nothing(octets: bytes, f_cnt_up: int) -> None:
    frame = replace(UplinkFrame.from_bytes(uplink(f_cnt_up)), frm_payload=octets, mic=b"\x00\x00\x00\x00")
    phy = frame.to_bytes()

    outcome = accept(Session(DEV_ADDR, f_cnt_up=f_cnt_up), CIPHER, frame, phy, NOW_US)

    assert isinstance(outcome, Rejected)


def test_every_downlink_has_its_own_counter() -> None:
    session, first = next_downlink(Session(DEV_ADDR))
    session, second = next_downlink(session)

    assert (first, second, session.f_cnt_down) == (0, 1, 2)


def test_the_downlink_counter_ends() -> None:
    with pytest.raises(OverflowError, match="FCntDown of 00a1b2c3"):
        next_downlink(Session(DEV_ADDR, f_cnt_down=1 << 32))


def test_a_bare_acknowledgement_has_no_f_port() -> None:
    phy = build_downlink(Session(DEV_ADDR), CIPHER, 0x1_0002, ack=True)
    frame = DownlinkFrame.from_bytes(phy)

    assert frame.f_ctrl.ack
    assert (frame.f_cnt, frame.f_port, len(phy)) == (2, None, 12)
    assert CIPHER.verify_downlink(phy, DEV_ADDR, 0x1_0002)


def test_a_downlink_with_both_kinds_of_commands_is_rejected() -> None:
    with pytest.raises(ValueError, match="FPort 0 together with FOpts"):
        build_downlink(Session(DEV_ADDR), CIPHER, 0, f_port=0, payload=b"\x06", f_opts=b"\x06")
