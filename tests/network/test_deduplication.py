from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.messages.frames import GatewayFrame
from network.deduplication import Deduplication, Group, best_receptions
from tests import receptions

HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
WINDOW_US = 200_000


def reception(
    phy: bytes = b"phy", gateway: int = 1, *, snr: float = 0.0, frequency: int = 868_100_000, antenna: int = 0
):
    return receptions.reception(phy, bytes([gateway]) * 8, 0, snr=snr, frequency=frequency, antenna=antenna)


def groups_of(windows: Deduplication) -> list[tuple[bytes, list[bytes], list[int]]]:
    return [(g.phy_payload, [c.gateway_id for c in g.receptions], g.sequences) for g in windows.take_closed()]


def test_copies_within_the_window_are_one_group() -> None:
    windows = Deduplication(WINDOW_US)
    windows.add_frames(1, 0, [reception(gateway=1)])
    windows.add_frames(2, WINDOW_US - 1, [reception(gateway=2)])

    windows.close_until(WINDOW_US)

    assert groups_of(windows) == [(b"phy", [b"\x01" * 8, b"\x02" * 8], [1, 2])]


def test_a_copy_after_the_window_opens_another_group() -> None:
    windows = Deduplication(WINDOW_US)
    windows.add_frames(1, 0, [reception(gateway=1)])
    windows.add_frames(2, WINDOW_US, [reception(gateway=2)])

    windows.close_until(2 * WINDOW_US)

    assert [len(copies) for _, copies, _ in groups_of(windows)] == [1, 1]


def test_a_clock_that_is_set_back_holds_up_no_frame() -> None:
    hour_us = 3_600_000_000
    windows = Deduplication(WINDOW_US)
    windows.add_frames(1, hour_us, [reception(b"before")])
    windows.add_frames(2, 0, [reception(b"after")])

    windows.close_until(WINDOW_US)

    assert [phy for phy, _, _ in groups_of(windows)] == [b"before", b"after"]


def received(stated_us: int, time_us: int | None = None, published_us: int = 10 * HOUR_US) -> Group:
    """A group of one reception, of a bridge whose clock said so when it received it."""
    frame = replace(reception(), received_at_us=stated_us, time_us=stated_us if time_us is None else time_us)
    return Group(b"phy", published_us, [frame], [1])


def test_a_bridge_whose_clock_is_an_hour_ahead_dates_nothing_after_it_was_published() -> None:
    group = received(11 * HOUR_US)

    assert (group.time_us, group.received_at_us) == (10 * HOUR_US, 10 * HOUR_US)


def test_of_such_a_bridge_a_gateway_that_knows_better_is_believed() -> None:
    kept = received(11 * HOUR_US, 9 * HOUR_US)  # By GPS, of a gateway that replays its buffer.

    assert (kept.time_us, kept.received_at_us) == (9 * HOUR_US, 10 * HOUR_US)


def test_a_frame_that_a_bridge_has_kept_for_an_hour_and_one_that_is_a_little_ahead_stay_as_they_are() -> None:
    for stated_us in (9 * HOUR_US, 10 * HOUR_US, 10 * HOUR_US + 5 * MINUTE_US):
        assert (received(stated_us).time_us, received(stated_us).received_at_us) == (stated_us, stated_us)


def test_the_copy_of_a_bridge_whose_clock_is_right_dates_the_uplink() -> None:
    ahead, right = received(11 * HOUR_US).first, received(10 * HOUR_US - 1).first
    group = Group(b"phy", 10 * HOUR_US, [ahead, right], [1, 2])

    assert group.time_us == 10 * HOUR_US - 1


def test_a_mirror_on_another_frequency_merges_and_the_best_snr_stays() -> None:
    copies = [reception(snr=-3.0, frequency=868_300_000), reception(snr=7.0), reception(snr=1.0, antenna=1)]

    best = best_receptions(copies)

    assert [(kept.snr, kept.antenna) for kept in best] == [(7.0, 0), (1.0, 1)]


def test_the_next_close_is_that_of_the_oldest_window() -> None:
    windows = Deduplication(WINDOW_US)
    assert windows.next_close_us is None
    windows.add_frames(1, 1_000, [reception(b"a")])
    windows.add_frames(2, 5_000, [reception(b"b")])

    assert windows.next_close_us == 1_000 + WINDOW_US


frames = st.builds(reception, st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 4), snr=st.floats(-20, 10))
messages = st.lists(st.tuples(st.integers(0, 90_000), st.lists(frames, max_size=4)), max_size=25)


def stream_of(drawn: list[tuple[int, list[GatewayFrame]]]) -> list[tuple[int, int, list[GatewayFrame]]]:
    """Sequences and rising publication times from drawn gaps."""
    at, stream = 0, []
    for sequence, (gap, items) in enumerate(drawn, start=1):
        at += gap
        stream.append((sequence, at, items))
    return stream


@given(messages)
def test_every_copy_is_in_one_group_and_every_message_counts_its_groups(drawn) -> None:
    windows, promised = Deduplication(WINDOW_US), {}
    for sequence, at, items in stream_of(drawn):
        promised[sequence] = windows.add_frames(sequence, at, items)
    windows.close_until(10**12)
    groups = windows.take_closed()

    assert sum(len(group.receptions) for group in groups) == sum(len(items) for _, items in drawn)
    for sequence, count in promised.items():
        assert sum(sequence in group.sequences for group in groups) == count
    assert windows.next_close_us is None


@given(messages, st.sets(st.integers(0, 25)))
def test_however_the_messages_are_fetched_the_groups_are_the_same(drawn, taken_after: set[int]) -> None:
    at_once, piecemeal = Deduplication(WINDOW_US), Deduplication(WINDOW_US)
    collected: list[Group] = []
    for place, (sequence, at, items) in enumerate(stream_of(drawn)):
        at_once.add_frames(sequence, at, items)
        piecemeal.add_frames(sequence, at, items)
        if place in taken_after:
            collected += piecemeal.take_closed()
    at_once.close_until(10**12)
    piecemeal.close_until(10**12)

    assert collected + piecemeal.take_closed() == at_once.take_closed()


@given(st.lists(frames, min_size=1, max_size=8), st.randoms())
def test_the_order_of_the_copies_does_not_change_what_is_kept_of_them(receptions, random) -> None:
    shuffled = list(receptions)
    random.shuffle(shuffled)

    kept = {(c.gateway_id, c.antenna): (c.snr, c.rssi) for c in best_receptions(receptions)}
    kept_shuffled = {(c.gateway_id, c.antenna): (c.snr, c.rssi) for c in best_receptions(shuffled)}

    assert kept == kept_shuffled


def test_a_level_that_is_no_number_is_the_worst() -> None:
    broken = reception(gateway=1, snr=float("nan"))

    best = best_receptions([broken, reception(gateway=1, snr=-20.0), reception(gateway=2, snr=float("inf"))])

    assert [heard.snr for heard in best] == [-20.0, -100.0]
