"""Pacing of campaigns, against the air-time tables of the domain and a naive count of every hour."""

from collections import defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighting.pacing import (
    AGAIN_AFTER_US,
    BETWEEN_FRAMES_US,
    EMERGENCY_SHARE,
    LATE_US,
    LISTEN_US,
    SECOND_US,
    SHARE,
    TRAIN_US,
    PacedFrame,
    Pacer,
    predict,
)
from lorawan.airtime import lora_airtime_us

HOUR_US = 3600 * SECOND_US
SF9_US, SF12_US = (lora_airtime_us(13 + 8, sf, 125_000, crc=False) for sf in (9, 12))


def frames(count: int, gateways: int, airtime_us: int) -> list[PacedFrame]:
    return [PacedFrame(number, f"g{number % gateways}", airtime_us) for number in range(count)]


def play(pacer: Pacer, wanted: list[PacedFrame]) -> list[tuple[str, int, int]]:
    """Everything is released as the pacer allows it: gateway, start and end on air as the gateway would do it."""
    waiting: dict[str, deque[PacedFrame]] = defaultdict(deque)
    for frame in wanted:
        waiting[frame.gateway].append(frame)
    now, sent, busy = 0, list[tuple[str, int, int]](), defaultdict[str, int](int)
    while any(waiting.values()):
        for frame, start in pacer.release(now, waiting):
            waiting[frame.gateway].remove(frame)
            assert start >= max(now, busy[frame.gateway])
            busy[frame.gateway] = start + frame.airtime_us
            sent.append((frame.gateway, start, start + frame.airtime_us))
        following = pacer.next_us(now, waiting)
        if following is None:
            break
        assert following > now
        now = following
    return sent


def busiest_hour_us(spans: list[tuple[int, int]]) -> int:
    """The most time on air in any window of an hour, by looking at those that begin or end with a frame."""
    windows = [(end - HOUR_US, end) for _, end in spans] + [(start, start + HOUR_US) for start, _ in spans]
    return max(sum(max(0, min(end, to) - max(start, since)) for start, end in spans) for since, to in windows)


@pytest.mark.parametrize(
    ("count", "gateways", "airtime_us", "minutes"),
    [(3900, 1, SF9_US, 120), (3900, 1, SF12_US, 858), (3900, 24, SF12_US, 3.8)],
)
def test_an_emergency_ends_when_the_tables_say(count: int, gateways: int, airtime_us: int, minutes: float) -> None:
    # A part of the hour's budget is burst at the beginning, so that it ends up to an hour's share earlier.
    ends = predict(Pacer({}, EMERGENCY_SHARE), 0, frames(count, gateways, airtime_us), {})

    assert max(ends.values()) / 60 / SECOND_US == pytest.approx(minutes, rel=0.1)


SMALL = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([SF9_US, SF12_US, 2_800_000])), max_size=200)
NEIGHBOURS = {"g0": ["g1"], "g1": ["g0", "g2"], "g2": ["g1"], "g3": []}


@given(SMALL)
def test_no_hour_takes_more_than_its_share_and_neighbours_never_send_at_once(
    wanted: list[tuple[int, int]],
) -> None:
    asked = [PacedFrame(number, f"g{gateway}", airtime) for number, (gateway, airtime) in enumerate(wanted)]
    sent = play(Pacer(NEIGHBOURS), asked)

    assert len(sent) == len(asked)
    for gateway, others in NEIGHBOURS.items():
        spans = [(start, end) for one, start, end in sent if one == gateway]
        assert not spans or busiest_hour_us(spans) <= HOUR_US * SHARE // 100
        for other, start, end in sent:
            if other in others:
                assert not any(start < until + LATE_US and since < end for since, until in spans if since <= start)


def test_a_gateway_listens_after_each_train_until_it_is_answered() -> None:
    sent = play(Pacer({}), frames(200, 1, SF9_US))

    ends = {end for _, _, end in sent}
    gaps = [start - max((end for end in ends if end <= start), default=start) for _, start, _ in sent[1:]]
    assert max(gaps) >= LISTEN_US
    assert sum(gap > SECOND_US for gap in gaps) == len(sent) * (SF9_US + 85_000) // TRAIN_US


def test_what_was_sent_before_a_restart_counts() -> None:
    pacer = Pacer({})
    pacer.restore([("g0", -HOUR_US // 2, HOUR_US * SHARE // 100)])
    waiting = {"g0": frames(1, 1, SF9_US)}

    assert pacer.release(0, waiting) == []
    assert pacer.budget("g0", 0).left_us == 0
    assert pacer.next_us(0, waiting) == pytest.approx(HOUR_US // 2 + HOUR_US * SHARE // 100, abs=SECOND_US)


def test_what_is_lost_is_counted_into_the_end() -> None:
    without = predict(Pacer({}), 0, frames(300, 1, SF9_US), {})
    lossy = predict(Pacer({}), 0, frames(300, 1, SF9_US), {"g0": 0.1})

    again_us = lossy["g0"] - without["g0"]
    assert 60 * SECOND_US < again_us < sum(AGAIN_AFTER_US)


def test_in_an_emergency_neighbours_send_at_once_and_the_end_said_beforehand_counts_on_it() -> None:
    neighbours = {"a": ["b"], "b": ["a"]}
    frames = [PacedFrame(number, "ab"[number % 2], 200_000) for number in range(60)]
    waiting = {name: [one for one in frames if one.gateway == name] for name in "ab"}

    released = Pacer(neighbours, EMERGENCY_SHARE).release(0, waiting)
    assert {frame.gateway for frame, _ in released} == {"a", "b"}

    ends = predict(Pacer(neighbours, EMERGENCY_SHARE), 0, frames, {})
    assert ends["a"] == ends["b"] < 30 * (200_000 + 2 * BETWEEN_FRAMES_US)


@given(
    sent=st.lists(
        st.tuples(st.sampled_from(["g0", "g1", "g2"]), st.integers(1, 59 * 60), st.integers(1, 100)), max_size=12
    ),
    share=st.sampled_from([SHARE, EMERGENCY_SHARE]),
)
def test_what_was_sent_decides_added_up_as_it_does_frame_by_frame_and_busy_gateways_send_nothing(
    sent: list[tuple[str, int, int]], share: int
) -> None:
    """What goes out now depends on how much a gateway has sent within the hour, and on its last frame."""
    now = HOUR_US
    spans = [(gateway, now - ago_s * SECOND_US, seconds * SECOND_US) for gateway, ago_s, seconds in sent]
    by_frame, added_up = (Pacer({"g0": ["g1"], "g1": ["g0"]}, share) for _ in range(2))
    by_frame.restore(spans)
    for gateway in {gateway for gateway, _, _ in spans}:
        own = [span for span in spans if span[0] == gateway]
        until, used = max(start + airtime for _, start, airtime in own), sum(airtime for _, _, airtime in own)
        added_up.restore([(gateway, until - used, used)])
    waiting = {
        gateway: [PacedFrame(number, gateway, SF9_US) for number in range(9)] for gateway in ("g0", "g1", "g2")
    }

    busy = added_up.busy(now)
    released = added_up.release(now, waiting)

    assert released == by_frame.release(now, waiting)
    assert not {frame.gateway for frame, _ in released} & set(busy)
