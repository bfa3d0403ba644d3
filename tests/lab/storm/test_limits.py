import pytest

from lab.storm.limits import Population, join_limit


def test_the_limit_of_the_benchmark_by_hand() -> None:
    """Request of 23 octets: SF7 61.696 ms, SF12 1482.752; accept of 33 without CRC: SF7 71.936, SF12 1810.432.

    By Semtech's SX1276 calculator; 1,200 devices over 24 gateways, three channels, ALOHA at 1/(2e).
    """
    limit = join_limit([Population(960, 7, 2.5), Population(240, 12, 2.5)], 24)

    assert limit.requests_s[7] == pytest.approx(100 * 0.061696 * 5.43656 / 3, rel=1e-4)
    assert limit.requests_s[12] == pytest.approx(25 * 1.482752 * 5.43656 / 3, rel=1e-4)
    assert limit.accepts_s == pytest.approx(40 * 0.071936 + 10 * 1.810432, rel=1e-4)
    assert limit.rx1_hour_share == pytest.approx(limit.accepts_s / 36, rel=1e-4)
    assert limit.all_joined_s == pytest.approx(limit.requests_s[12] + 5, rel=1e-4)


def test_where_accepts_take_longer_than_requests_they_are_the_limit() -> None:
    limit = join_limit([Population(100, 12, 1.0)], 1)
    many_receive = join_limit([Population(100, 12, 4.0)], 1)

    assert limit.all_joined_s == pytest.approx(100 * 1.482752 * 5.43656 / 3 + 5, rel=1e-4)
    assert many_receive.requests_s[12] == pytest.approx(4 * limit.requests_s[12])
    assert many_receive.accepts_s == limit.accepts_s
