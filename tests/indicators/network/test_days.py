"""Days of devices and gateways, computed by hand."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.model.frame_loss import CountedUplink
from indicators.network.coverage import RadioSums, by_commune, coverage_of, loss_without
from indicators.network.days import (
    GatewayShare,
    ReceivedUplink,
    Transmitted,
    device_day,
    gateway_day,
)
from lorawan.regions import EU868

START = datetime(2026, 11, 2, tzinfo=UTC)


def uplink(
    minute: int, f_cnt: int | None, snr: dict[int, float], *, session: int = 1, sf: int = 7
) -> ReceivedUplink:
    at = START + timedelta(minutes=minute)
    return ReceivedUplink(at, session, f_cnt, 10, True, sf, 125_000, snr)


def test_a_day_counts_losses_margins_and_what_one_gateway_alone_received() -> None:
    """SF7 needs -7.5 dB, SF12 -20 dB. FCnt 10, 11, 14: five sent, three received."""
    day = device_day(
        [uplink(0, 10, {1: 2.5, 2: -7.5}), uplink(60, 11, {1: -2.5}), uplink(240, 14, {2: -15.0}, sf=12)], None, []
    )

    assert (day.sent, day.received, day.with_receptions) == (5, 3, 3)
    # Margins of the best gateway: 10, 5 and 5 dB.
    assert (day.margin_sum, day.least_margin) == (20.0, 5.0)
    assert day.gateways == (GatewayShare(1, 2, 1, 15.0), GatewayShare(2, 2, 1, 5.0))
    # 23 octets of PHYPayload: 61.696 ms at SF7 and 1,482.752 ms at SF12 by Semtech's calculator.
    assert day.air_time_us == 2 * 61_696 + 1_482_752


def test_frames_are_missing_since_the_last_one_of_an_earlier_day_and_not_since_a_join() -> None:
    day = [uplink(0, 5, {1: 0.0}), uplink(60, 6, {1: 0.0})]
    yesterday = START - timedelta(hours=1)

    missing = device_day(day, CountedUplink(yesterday, 1, 2), [])
    joined = device_day(day, CountedUplink(yesterday, 7, 900), [])
    assert (missing.sent, missing.received) == (4, 2)
    assert (joined.sent, joined.received) == (2, 2)


def test_what_fell_into_an_outage_counts_neither_as_sent_nor_as_lost() -> None:
    """One a minute; 10 minutes of outage and one until gateways are back: of 19 missing frames 11 are excused."""
    frames = [uplink(0, 0, {1: 0.0}), uplink(20, 20, {1: 0.0})]
    outage = (START + timedelta(minutes=5), START + timedelta(minutes=15))
    day = device_day(frames, None, [outage])

    assert (day.sent, day.received) == (10, 2)


def test_a_frame_that_came_twice_counts_once_with_the_gateways_of_both() -> None:
    day = device_day([uplink(0, 1, {1: -5.0}), uplink(1, 1, {2: 0.0})], None, [])

    assert (day.sent, day.received, day.with_receptions, day.margin_sum) == (1, 1, 1, 7.5)
    assert [share.alone for share in day.gateways] == [0, 0]


def test_what_no_gateway_tells_of_is_received_and_says_nothing_of_margins() -> None:
    day = device_day([uplink(0, 1, {}), uplink(1, None, {1: 0.0})], None, [])

    assert (day.received, day.with_receptions, day.least_margin, day.gateways) == (1, 0, None, ())
    assert device_day([], CountedUplink(START, 1, 1), []).sent == 0


def test_the_busiest_hour_slides_and_is_that_of_the_fullest_sub_band() -> None:
    """868.1 MHz allows 36 s an hour, 869.525 MHz 360 s; 12 s at 0:50 and 6 s at 1:10 are 50 % of an hour."""

    def sent(minute: int, seconds: float, frequency: int) -> Transmitted:
        return Transmitted(START + timedelta(minutes=minute), round(seconds * 1e6), frequency)

    day = gateway_day(
        [
            sent(70, 6, 868_100_000),
            sent(50, 12, 868_100_000),
            sent(110, 3, 868_300_000),
            sent(55, 36, 869_525_000),
        ],
        EU868,
    )

    assert (day.transmissions, day.air_time_us, day.busiest_percent) == (4, 57_000_000, 50.0)
    assert gateway_day([], EU868).busiest_percent is None


def test_states_of_coverage_by_hand() -> None:
    def state(sent: int, received: int, margin: float = 10.0) -> str:
        return coverage_of(RadioSums(30, sent, received, received, received, margin * received, margin)).state

    assert [state(19, 19), state(20, 20), state(20, 17), state(20, 20, 4.9), state(20, 10), state(20, 9)] == [
        "unknown", "covered", "weak", "weak", "weak", "white",
    ]  # fmt: skip
    known = coverage_of(RadioSums(2, 100, 90, 80, 200, 640.0, -1.5))
    assert known.loss_percent is not None
    assert (round(known.loss_percent, 9), known.mean_margin, known.redundancy) == (10.0, 8.0, 2.5)
    assert coverage_of(RadioSums(0, 0, 0, 0, 0, 0.0, None)).loss_percent is None
    assert (loss_without(40, 20).is_dark, loss_without(40, 21).is_dark) == (False, True)


def test_a_commune_reaches_its_target_by_what_is_known_of_it() -> None:
    """18 of 88 bins in a white zone: 79.5 % are reached."""
    states = [("Rennes", "white")] * 18 + [("Rennes", "covered")] * 69 + [("Rennes", "weak"), ("Bruz", "unknown")]
    bruz, rennes = by_commune(states, 90.0)

    assert (rennes.known, rennes.white, round(rennes.percent or 0, 1), rennes.is_reached) == (88, 18, 79.5, False)
    assert (bruz.known, bruz.unknown, bruz.percent, bruz.is_reached) == (0, 1, None, None)


@given(st.lists(st.integers(0, 200), min_size=1, unique=True), st.data())
def test_fewer_receptions_never_make_a_day_better(f_cnts: list[int], data: st.DataObject) -> None:
    """Removing random frames: fewer are received, none are sent that were not."""
    every = [uplink(f_cnt, f_cnt, {1: 0.0}) for f_cnt in f_cnts]
    kept = data.draw(st.lists(st.sampled_from(every), unique_by=lambda one: one.f_cnt))
    whole, part = device_day(every, None, []), device_day(kept, None, [])

    assert part.received == len(kept) <= whole.received
    assert part.sent <= whole.sent
    assert part.received <= part.sent
    assert part.air_time_us <= whole.air_time_us
