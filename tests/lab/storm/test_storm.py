"""A crowded air: an uplink takes its time, may be spoilt, and is heard when it has ended."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.load.plan import plan_load_devices, plan_load_gateways
from lab.simulator.concentrator import Concentrator, RadioAccount
from lab.simulator.device import Device
from lab.simulator.gateway import GatewayBase
from lab.simulator.radio import Air, Copy, Link
from lab.simulator.transmission import Emission
from lab.simulator.udp_gateway import UdpGateway
from lab.storm.storm import build_storm, links_of
from lorawan.airtime import lora_airtime_us
from lorawan.join import JoinAccept

KEY = bytes(range(16))
NOW = 1_795_000_000_000_000


@dataclass
class Ear:
    gateway_id: bytes = b"gateway1"
    account: RadioAccount = field(default_factory=RadioAccount)
    copies: list[Copy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.concentrator = Concentrator(self.account, 0)

    def receive(self, copy: Copy) -> bool:
        self.copies.append(copy)
        return True


class Clock:
    """What is to happen later, until somebody lets it happen."""

    def __init__(self) -> None:
        self.coming: list[tuple[int, Callable[[], object]]] = []

    def later(self, at_us: int, act: Callable[[], object]) -> None:
        self.coming.append((at_us, act))

    def happen(self) -> list[int]:
        coming, self.coming = sorted(self.coming, key=lambda entry: entry[0]), []
        for _, act in coming:
            act()
        return [at_us for at_us, _ in coming]


def crowded() -> tuple[Air, Clock]:
    clock = Clock()
    return Air(random.Random(1), uplink_loss=0, downlink_loss=0, later=clock.later), clock


def device(air: Air, ears: list[Ear], snr: float, number: int = 1, seed: int = 2) -> Device:
    links = [Link(ear, snr) for ear in ears]
    made = Device(
        number.to_bytes(8), b"joineui1", KEY, False, None, links, air,  # pyright: ignore[reportArgumentType]
        random.Random(seed), lambda _uplink: None, lambda _device, _message: None,
    )  # fmt: skip
    air.place(made, links)
    return made


def test_an_uplink_is_heard_when_it_has_ended_and_its_windows_open_from_there() -> None:
    (air, clock), ear = crowded(), Ear()
    one = device(air, [ear], 8.0)
    heard = one.join(NOW)
    airtime = lora_airtime_us(23, 7, 125_000, crc=True)

    assert (heard, ear.copies) == ([], [])
    assert clock.happen() == [NOW + airtime]
    assert heard == [ear.gateway_id]
    assert [window.opens_us for window in one.windows] == [NOW + airtime + 5_000_000, NOW + airtime + 6_000_000]


def test_two_requests_at_once_on_one_channel_are_lost_and_counted() -> None:
    (air, clock), ear = crowded(), Ear()
    for number in (1, 2):  # The same seed: the same channel.
        device(air, [ear], 8.0, number).join(NOW + number)
    clock.happen()

    assert ear.copies == []
    assert ear.account.collided == 2


def test_two_gateways_that_answer_at_once_are_not_understood_where_both_are_in_range() -> None:
    (air, clock), ears = crowded(), [Ear(b"gateway1"), Ear(b"gateway2")]
    one = device(air, ears, 8.0)
    one.join(NOW)
    clock.happen()
    window = one.windows[0]
    accept = JoinAccept(1, 0, bytes(4)).to_bytes(KEY)
    emissions = [
        Emission(accept, window.frequency, window.spreading_factor, window.opens_us + place, 70_000)
        for place in range(2)
    ]
    for ear, emission in zip(ears, emissions, strict=True):
        air.announce(ear.gateway_id, emission)
    for ear, emission in zip(ears, emissions, strict=True):
        air.downlink(ear.gateway_id, emission)

    assert one.session is None
    assert air.spoilt_downlinks == 2

    alone = Emission(accept, window.frequency, window.spreading_factor, window.opens_us + 200, 70_000)
    far_away = Air(random.Random(1), uplink_loss=0, downlink_loss=0, later=clock.later)
    far_away.place(one, [Link(ears[0], 8.0)])
    far_away.announce(ears[0].gateway_id, alone)
    far_away.downlink(ears[0].gateway_id, alone)
    assert one.session is not None
    assert one.joined_us == alone.end_us


def test_of_the_returning_devices_a_share_is_far_from_every_gateway() -> None:
    plans = plan_load_devices(60, "storm")
    storm = build_storm(
        plan_load_gateways(4, "storm"), plans[:10], plans[10:], slow_share=0.2, steady_interval_s=1,
        returning_interval_s=1, udp=("127.0.0.1", 9), seed="storm",
    )  # fmt: skip

    assert {made.spreading_factor for made in storm.steady} == {7}
    assert sorted(made.spreading_factor for made in storm.returning) == [7] * 40 + [12] * 10
    assert storm.air.is_crowded
    assert all(gateway.clock_error_us == 0 for gateway in storm.gateways)


def test_the_nearer_a_gateway_the_better_it_hears() -> None:
    plans = plan_load_gateways(8, "links")
    gateways: list[GatewayBase] = [
        UdpGateway(plan.gateway_id, plan.name, plan.latitude, plan.longitude, crowded()[0], random.Random(1))
        for plan in plans
    ]
    for plan in plan_load_devices(40, "links"):
        links = links_of(plan, gateways, random.Random(plan.dev_eui.hex()), slow=False)

        assert 1 <= len(links) <= 4
        assert links[0].snr == max(link.snr for link in links)
