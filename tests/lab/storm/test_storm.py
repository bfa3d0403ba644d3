from lab.fleet.benchmark import plan_benchmark
from lab.storm.storm import build_storm


def test_of_the_returning_devices_a_share_is_far_from_every_gateway() -> None:
    storm = build_storm(
        plan_benchmark("storm", 60, 4), 10, slow_share=0.2, steady_interval_s=1, returning_interval_s=1,
        udp=("127.0.0.1", 9),
    )  # fmt: skip

    assert {made.spreading_factor for made in storm.steady} == {7}
    assert sorted(made.spreading_factor for made in storm.returning) == [7] * 40 + [12] * 10
    assert storm.medium.has_collisions
    assert all(gateway.clock_error_us == 0 for gateway in storm.gateways)
