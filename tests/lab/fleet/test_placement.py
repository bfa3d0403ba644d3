import random

from lab.fleet.benchmark import plan_benchmark
from lab.fleet.build import build_udp_gateway
from lab.fleet.placement import even_gateways, nearest_links
from lab.gateway.udp import UdpGateway
from lab.radio.medium import RadioMedium

PLAN = plan_benchmark("links", 40, 8)


def gateways() -> list[UdpGateway]:
    source = random.Random(1)
    return [build_udp_gateway(plan, RadioMedium(source), source, ("127.0.0.1", 9)) for plan in PLAN.gateways]


def test_one_to_four_gateways_receive_a_device_and_the_nearest_the_best() -> None:
    made = gateways()
    for plan in PLAN.devices:
        links = nearest_links(plan, made, random.Random(plan.dev_eui.hex()), (0.0, 11.0))

        assert 1 <= len(links) <= 4
        assert links[0].snr == max(link.snr for link in links)
        assert links[0].gateway is min(
            made, key=lambda one: (one.latitude - plan.latitude) ** 2 + (one.longitude - plan.longitude) ** 2
        )
        assert 0.0 <= links[0].snr <= 11.0


def test_even_gateways_are_as_many_as_copies_on_average_and_the_first_is_home() -> None:
    made, source = gateways(), random.Random(1)
    those = [even_gateways(source, made, number, 2.5) for number in range(800)]

    assert [one[0] for one in those[:8]] == made
    assert {len(one) for one in those} == {2, 3}
    assert 2.4 < sum(map(len, those)) / len(those) < 2.6
    assert all(len({gateway.gateway_id for gateway in one}) == len(one) for one in those)
