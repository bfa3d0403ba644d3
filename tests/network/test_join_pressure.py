from network.join_pressure import STORM_JOINS, WINDOW_US, JoinPressure

GATEWAY, OTHER = b"gateway1", b"gateway2"
NOW = 1_764_000_000_000_000


def test_a_few_joins_leave_a_gateway_below_its_limit() -> None:
    pressure = JoinPressure()
    for _ in range(STORM_JOINS - 1):
        pressure.record_joins([GATEWAY], NOW)

    assert pressure.is_below_limit(GATEWAY, NOW)


def test_a_join_storm_puts_one_gateway_above_its_limit_until_the_window_ends() -> None:
    pressure = JoinPressure()
    for _ in range(STORM_JOINS):
        pressure.record_joins([GATEWAY], NOW)

    assert not pressure.is_below_limit(GATEWAY, NOW)
    assert pressure.is_below_limit(OTHER, NOW)
    assert pressure.is_below_limit(GATEWAY, NOW + WINDOW_US + 1)
