from datetime import UTC, datetime

import msgspec
import pytest

from core.model.downlinks import DueDownlink
from lorawan.airtime import Priority
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import DevAddr
from lorawan.mac_state import MacState
from lorawan.session import Session
from network import downlink_frame
from network.downlink_dispatch import TransmitOutcome, settlement_of
from network.downlink_frame import Attempt, PlannedDownlink
from network.receive import Opportunity
from network.sessions import HeldSession, Progress, SessionReception

NOW_US = 1_764_000_000_000_000
CREATED_US = NOW_US - 100_000_000
CIPHER = SessionCipher(SessionKeys(bytes(16), bytes(16)))
SESSION = HeldSession(1, 1, CIPHER, Progress(Session(DevAddr(b"\1\2\3\4"), rx2_dr=3), MacState(0xFF)))


def reception(
    gateway: int = 1, *, snr: float = 5.0, rssi: float = -80.0, spreading_factor: int = 7, far_us: int = 0
) -> SessionReception:
    return SessionReception(
        bytes([gateway]) * 8, b"c", NOW_US, 868_300_000, spreading_factor, 125_000, rssi, snr, far_us
    )


def row(payload: bytes = b"x", *, attempts: int = 0, waiting: int = 1) -> DueDownlink:
    not_after, created_at = datetime(2026, 12, 1, tzinfo=UTC), at(CREATED_US)
    return DueDownlink(5, 1, 0, 10, payload, False, 1, attempts, not_after, created_at, waiting)


def at(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)


def answer(
    due: DueDownlink | None = None, *receptions: SessionReception, ack: bool = True, commands: bytes = b""
) -> PlannedDownlink:
    heard_by = receptions or (reception(),)
    return downlink_frame.plan_answer(Opportunity(SESSION, heard_by, NOW_US, ack, commands, must_answer=True), due)


def test_a_gateway_with_two_antennas_is_asked_once_and_the_best_comes_first() -> None:
    ranked = downlink_frame.rank([reception(1, snr=-5.0), reception(2, snr=9.0), reception(1, snr=3.0)])

    assert [(heard.gateway_id[0], heard.snr) for heard in ranked] == [(2, 9.0), (1, 3.0)]


def test_of_gateways_that_receive_a_device_comfortably_the_least_busy_comes_first() -> None:
    # SF7 needs -7.5 dB: 10 dB of margin from 2.5 dB on.
    copies = [reception(1, snr=9.0), reception(2, snr=5.0), reception(3, snr=2.0)]
    busy = {bytes([1]) * 8: 2, bytes([2]) * 8: 1, bytes([3]) * 8: 0}

    idle, loaded = downlink_frame.rank(copies, lambda _: 0), downlink_frame.rank(copies, busy.__getitem__)

    assert [heard.gateway_id[0] for heard in idle] == [1, 2, 3]
    assert [heard.gateway_id[0] for heard in loaded] == [2, 1, 3]


def test_both_windows_carry_the_same_frame() -> None:
    planned = answer()
    windows = tuple(downlink_frame.fitting(planned, downlink_frame.windows_of(planned, planned.routes[0])))

    request = downlink_frame.request(
        planned, Attempt(reception(), windows), windows, downlink_frame.frame(planned, windows, 0), NOW_US
    )

    assert request is not None
    assert [(t.delay_us, t.frequency, t.spreading_factor) for t in request.transmissions] == [
        (1_000_000, 868_300_000, 7),
        (2_000_000, 869_525_000, 9),
    ]
    assert len({t.phy_payload for t in request.transmissions}) == 1


def test_once_rx1_has_passed_only_rx2_is_asked_for_and_then_nothing() -> None:
    planned = answer()
    windows = downlink_frame.windows_of(planned, planned.routes[0])

    late = downlink_frame.request(planned, Attempt(reception(), windows), windows, b"", NOW_US + 1_200_000)
    too_late = downlink_frame.request(planned, Attempt(reception(), windows), windows, b"", NOW_US + 2_200_000)

    assert late is not None
    assert [t.delay_us for t in late.transmissions] == [2_000_000]
    assert too_late is None


def test_a_far_gateway_is_asked_for_the_windows_that_it_can_be_in_time_for() -> None:
    planned = answer()
    windows = downlink_frame.windows_of(planned, planned.routes[0])

    def asked(far_us: int) -> list[int]:
        far = Attempt(reception(far_us=far_us), windows)
        made = downlink_frame.request(planned, far, windows, b"", NOW_US + 250_000)
        return [] if made is None else [t.delay_us for t in made.transmissions]

    assert asked(700_000) == [1_000_000, 2_000_000]
    assert asked(700_001) == [2_000_000]
    assert asked(1_700_001) == []


def test_the_gateway_that_is_in_time_for_rx1_is_asked_before_one_that_receives_better() -> None:
    planned = answer(
        None,
        reception(1, snr=12.0, far_us=900_000),
        reception(2, snr=4.0),
        reception(3, snr=11.0, far_us=1_900_000),
    )

    asked = downlink_frame.attempts(planned, 3, lambda _: True, lambda _: 0, NOW_US + 250_000)

    assert [attempt.reception.gateway_id[0] for attempt in asked] == [2, 1, 3, 2, 1, 3]


@pytest.mark.parametrize(("rx1_delay", "over_after_us"), [(1, 2_500_000), (5, 6_500_000)])
def test_a_class_c_frame_waits_out_rx2_of_the_last_uplink(rx1_delay: int, over_after_us: int) -> None:
    state = Session(DevAddr(b"\1\2\3\4"), rx1_delay=rx1_delay)
    earlier = msgspec.structs.replace(reception(2), received_at_us=NOW_US - 100_000)
    session = HeldSession(1, 1, CIPHER, Progress(state, MacState(0xFF), b"", (reception(), earlier)))

    assert downlink_frame.class_c_listens_from_us(session) == NOW_US + over_after_us


def test_a_payload_with_room_in_rx1_only_goes_out_in_rx1_only() -> None:
    planned = answer(row(bytes(200)))

    windows = downlink_frame.fitting(planned, downlink_frame.windows_of(planned, planned.routes[0]))

    assert [window.name for window in windows] == ["RX1"]


def test_mac_answers_that_have_no_room_beside_the_row_are_left_out() -> None:
    planned = answer(row(bytes(115)), commands=b"\x02\x10\x01")
    windows = downlink_frame.fitting(planned, downlink_frame.windows_of(planned, planned.routes[0]))

    frame = DownlinkFrame.from_bytes(downlink_frame.frame(planned, windows, 0))

    assert frame.f_opts == b""
    assert frame.f_ctrl.ack
    assert len(frame.frm_payload) == 115


def test_f_pending_says_that_more_rows_wait() -> None:
    planned = answer(row(waiting=2))
    windows = downlink_frame.windows_of(planned, planned.routes[0])

    assert DownlinkFrame.from_bytes(downlink_frame.frame(planned, windows, 0)).f_ctrl.f_pending


def test_rx1_is_tried_on_every_gateway_before_rx2_and_on_a_single_one_with_it() -> None:
    routes = (reception(1), reception(2))
    accept = PlannedDownlink(SESSION, routes, 0, accept=b"accept")
    data = PlannedDownlink(SESSION, routes, 0, acknowledge=True)

    one, two = routes[0].gateway_id, routes[1].gateway_id

    def asked(planned: PlannedDownlink, *below_limit: bytes) -> list[tuple[bytes, list[str]]]:
        made = downlink_frame.attempts(planned, 3, lambda gateway: gateway in below_limit, lambda _: 0, NOW_US)
        return [(each.reception.gateway_id, [window.name for window in each.windows]) for each in made]

    assert asked(accept, one, two) == [(one, ["RX1"]), (two, ["RX1"]), (one, ["RX2"]), (two, ["RX2"])]
    assert asked(accept, two) == [(one, ["RX1"]), (two, ["RX1"]), (two, ["RX2"])]
    both = ["RX1", "RX2"]
    assert asked(data) == [(one, both), (two, both), (one, ["RX2"]), (two, ["RX2"])]
    assert asked(PlannedDownlink(SESSION, routes[:1], 0, acknowledge=True)) == [(one, both)]


def test_a_gateway_falls_back_to_its_own_rx2_only_when_it_is_the_only_one() -> None:
    def falls_back(*routes: SessionReception) -> list[bool]:
        planned = PlannedDownlink(SESSION, routes, 0, acknowledge=True)
        made = downlink_frame.attempts(planned, 3, lambda _: True, lambda _: 0, NOW_US)
        return [attempt.falls_back for attempt in made]

    assert falls_back(reception(1)) == [True]
    assert falls_back(reception(1), reception(2)) == [False, False, True, True]


def test_in_a_storm_an_accept_tries_rx2_where_it_holds_the_radio_no_longer_than_rx1_would_have() -> None:
    def asked(spreading_factor: int) -> list[str]:
        planned = PlannedDownlink(SESSION, (reception(1, spreading_factor=spreading_factor),), 0, accept=b"accept")
        made = downlink_frame.attempts(planned, 3, lambda _: False, lambda _: 0, NOW_US)
        return [window.name for attempt in made for window in attempt.windows]

    assert [asked(factor) for factor in (7, 11, 12)] == [["RX1"], ["RX1"], ["RX1", "RX2"]]


def test_acknowledgements_come_before_commands() -> None:
    assert answer(row()).priority == Priority.JOIN_OR_ACK
    assert answer(row(), ack=False).priority == 1


def test_a_data_rate_outside_the_plan_is_answered_in_rx2_alone() -> None:
    planned = answer(None, reception(spreading_factor=5))

    assert [window.name for window in downlink_frame.windows_of(planned, planned.routes[0])] == ["RX2"]


@pytest.mark.parametrize(
    ("attempts", "status", "state"),
    [
        (0, "OK", "sent"),
        (0, "TOO_LATE", "queued"),
        (1, "GATEWAY_NO_ANSWER", "queued"),
        (2, "GATEWAY_NO_ANSWER", "failed"),
        (0, "PAYLOAD_TOO_LARGE", "failed"),
    ],
)
def test_an_attempt_ends_sent_or_queued_or_failed(attempts: int, status: str, state: str) -> None:
    emission = TransmitOutcome(status, starts_at_us=NOW_US)

    settled = settlement_of(row(attempts=attempts), emission, NOW_US, is_class_c=False)

    assert settled.state == state
    assert settled.reason == (None if state == "sent" else status)
    assert (settled.not_before is not None) == (state == "queued")


def test_a_rejected_row_waits_until_it_fits() -> None:
    fits_at_us = NOW_US + 600_000_000

    settled = settlement_of(
        row(), TransmitOutcome("DUTY_CYCLE_OVERFLOW", fits_at_us=fits_at_us), NOW_US, is_class_c=True
    )

    assert settled.not_before == at(fits_at_us)


@pytest.mark.parametrize(("status", "longest_s"), [("DUTY_CYCLE_OVERFLOW", 3_600), ("COLLISION_PACKET", 20)])
def test_a_row_waits_no_longer_than_a_radio_may_be_taken_whatever_its_bridge_s_clock_says(
    status: str, longest_s: int
) -> None:
    outcome = TransmitOutcome(status, fits_at_us=NOW_US + 7_200_000_000)

    assert settlement_of(row(), outcome, NOW_US, is_class_c=True).not_before == at(NOW_US + longest_s * 1_000_000)


@pytest.mark.parametrize("status", ["GATEWAY_UNREACHABLE", "DUTY_CYCLE_OVERFLOW"])
def test_no_attempt_is_counted_where_there_was_nobody_to_ask_or_no_time_on_the_air(status: str) -> None:
    settled = settlement_of(row(attempts=2), TransmitOutcome(status), NOW_US, is_class_c=True)

    assert (settled.state, settled.counts) == ("queued", False)


@pytest.mark.parametrize(("age_s", "pause_s"), [(0, 5), (100, 10), (86_400, 120)])
def test_a_class_c_row_asks_again_the_later_the_longer_it_has_waited(age_s: int, pause_s: int) -> None:
    now_us = CREATED_US + age_s * 1_000_000

    settled = settlement_of(row(), TransmitOutcome("GATEWAY_UNREACHABLE"), now_us, is_class_c=True)

    assert settled.not_before == at(now_us + pause_s * 1_000_000)


def test_fifteen_octets_of_commands_go_beside_the_payload_and_sixteen_go_alone() -> None:
    beside, alone = answer(row(b"light"), commands=b"\x0d" * 15), answer(row(b"light"), commands=b"\x0d" * 16)
    both = [
        (
            planned,
            DownlinkFrame.from_bytes(
                downlink_frame.frame(planned, downlink_frame.windows_of(planned, planned.routes[0]), 7)
            ),
        )
        for planned in (beside, alone)
    ]
    (_, with_f_opts), (_, under_0) = both
    clear = CIPHER.crypt(Direction.DOWN, under_0.dev_addr, 7, 0, under_0.frm_payload)

    assert (with_f_opts.f_opts, with_f_opts.f_port) == (b"\x0d" * 15, 10)
    assert not with_f_opts.f_ctrl.f_pending
    assert (under_0.f_opts, under_0.f_port, clear) == (b"", 0, b"\x0d" * 16)
    # The row waits for the next uplink, and the answer sets FPending.
    assert alone.row is None
    assert under_0.f_ctrl.f_pending


def test_commands_alone_need_room_as_any_payload_does() -> None:
    planned = answer(commands=b"\x0d" * 52)

    # SF9, in RX2, has room for 115 octets; SF12, in RX1, for 51.
    slow = answer(None, reception(spreading_factor=12), commands=b"\x0d" * 52)

    assert [
        window.name
        for window in downlink_frame.fitting(planned, downlink_frame.windows_of(planned, planned.routes[0]))
    ] == [
        "RX1",
        "RX2",
    ]
    assert [
        window.name for window in downlink_frame.fitting(slow, downlink_frame.windows_of(slow, slow.routes[0]))
    ] == ["RX2"]


def test_a_downlink_to_a_device_in_adr_has_the_adr_bit_set() -> None:
    adapted = Progress(SESSION.progress.state, MacState(0xFF, data_rate=5), b"", (reception(),))
    session = HeldSession(1, 1, CIPHER, adapted)
    opportunity = Opportunity(session, (reception(),), NOW_US, False, b"", must_answer=True)
    told = [
        downlink_frame.plan_answer(opportunity, None),
        downlink_frame.plan_class_c(session, row(), NOW_US),
        answer(),
    ]

    frames = [
        DownlinkFrame.from_bytes(
            downlink_frame.frame(planned, downlink_frame.windows_of(planned, planned.routes[0]), 0)
        )
        for planned in told
    ]

    assert [frame.f_ctrl.adr for frame in frames] == [True, True, False]
