import pytest

from gateways.admission import AddressLock
from lorawan.gateway.semtech_udp import DatagramType
from lorawan.identifiers import GatewayId

OURS = GatewayId(bytes(8))
HERE, THERE = "192.0.2.7", "198.51.100.4"
PUSH, PULL, ACK = DatagramType.PUSH_DATA, DatagramType.PULL_DATA, DatagramType.TX_ACK


@pytest.mark.parametrize("kind", [PUSH, PULL])
def test_an_address_is_kept_until_it_has_been_silent_for_long(kind: DatagramType) -> None:
    lock = AddressLock(silence_s=60)

    assert lock.holder(OURS, kind, HERE, 0.0) is None
    assert lock.holder(OURS, kind, THERE, 10.0) == HERE
    assert lock.holder(OURS, kind, HERE, 50.0) is None
    assert lock.holder(OURS, kind, THERE, 109.0) == HERE  # What was rejected has prolonged nothing for `THERE`.
    assert lock.holder(OURS, kind, THERE, 110.0) is None
    assert lock.holder(OURS, kind, HERE, 111.0) == THERE


def test_a_network_that_gives_each_socket_its_address_loses_no_frame() -> None:
    lock = AddressLock(silence_s=60)

    assert lock.holder(OURS, PULL, HERE, 0.0) is None
    assert lock.holder(OURS, PUSH, THERE, 1.0) is None
    assert lock.holder(OURS, ACK, THERE, 2.0) == HERE  # It answers on the socket on which it was asked.


def test_a_gateway_that_is_no_longer_registered_keeps_no_address() -> None:
    lock = AddressLock(silence_s=60)
    lock.holder(OURS, PULL, HERE, 0.0)

    lock.keep_only(set())

    assert lock.holder(OURS, PULL, THERE, 1.0) is None
