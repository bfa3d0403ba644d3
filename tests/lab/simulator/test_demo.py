import pytest

from lab.device.device import SentUplink
from lab.device.sensors import Container
from lab.fleet.build import GatewayServers
from lab.fleet.pilot import plan_pilot
from lab.simulator.demo import bins_said_full
from lab.simulator.driver import Fleet, build_fleet


@pytest.fixture
def fleet() -> Fleet:
    """The pilot fleet, which has said nothing yet."""
    servers = GatewayServers(("127.0.0.1", 9), "", "", {})
    return build_fleet(plan_pilot("essai", gateways=0), servers=servers, interval_s=30, join_spread_s=1)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ([(77.0, True), (78.0, True)], 1),
        ([(77.0, True)], 0),
        ([(77.0, True), (78.0, False)], 0),
        ([(77.0, True), (78.0, False), (79.0, True)], 1),
        ([(97.0, True), (5.0, True), (96.5, True)], 0),
        ([(50.0, True), (75.2, True), (75.4, True)], 0),
        ([], 0),
    ],
)
def test_a_bin_counts_as_full_once_two_messages_in_a_row_that_were_received_say_so(
    fleet: Fleet, said: list[tuple[float, bool]], counted: int
) -> None:
    device = next(device for device in fleet.devices if isinstance(device.application, Container))
    assert isinstance(device.application, Container)
    for f_cnt, (level, is_received) in enumerate(said):
        device.application.said.append(level)
        received_by = [b"gateway."] if is_received else []
        fleet.sent.append(SentUplink(device.dev_eui, b"\0\0\0\1", f_cnt, 0, received_by))

    assert bins_said_full(fleet) == counted
