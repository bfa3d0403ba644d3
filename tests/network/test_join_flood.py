from hypothesis import given
from hypothesis import strategies as st

from network import join_flood
from network.join_flood import JoinFlood

GATEWAY, OTHER = b"gateway1", b"gateway2"
NOW = 1_764_000_000_000_000
SECOND = 1_000_000


def test_a_gateway_may_bring_a_burst_and_then_as_many_as_it_is_given() -> None:
    flood = JoinFlood(per_s=2, burst=5)

    assert [flood.admits([GATEWAY], NOW) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [flood.admits([GATEWAY], NOW + SECOND) for _ in range(3)] == [True, True, False]


def test_what_another_gateway_received_too_is_admitted() -> None:
    flood = JoinFlood(per_s=2, burst=1)
    flood.admits([GATEWAY], NOW)

    assert not flood.admits([GATEWAY], NOW)
    assert flood.admits([GATEWAY, OTHER], NOW)
    assert not flood.admits([GATEWAY, OTHER], NOW)


def test_two_receptions_of_one_gateway_are_charged_once() -> None:
    flood = JoinFlood(per_s=2, burst=2)
    flood.admits([GATEWAY, GATEWAY], NOW)

    assert flood.admits([GATEWAY], NOW)


@given(st.lists(st.integers(-10 * SECOND, 10 * SECOND), max_size=60))
def test_however_the_clock_jumps_a_gateway_gets_no_more_than_its_burst_and_what_time_gave(
    steps: list[int],
) -> None:
    flood, now_us, given_us, admitted = JoinFlood(per_s=1, burst=3), NOW, 0, 0
    for step in steps:
        now_us += step
        given_us += max(0, step)
        admitted += flood.admits([GATEWAY], now_us)

    assert admitted <= 3 + given_us / SECOND


def test_memory_of_gateways_in_a_join_flood_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(join_flood, "MAX_GATEWAYS", 3)
    flood = JoinFlood(per_s=1, burst=1)
    for number in range(10):
        flood.admits([bytes([number])], NOW)

    assert not flood.admits([bytes([9])], NOW)
    assert flood.admits([bytes([0])], NOW)
