import pytest

from gateways.admission import Admission, SocketLock
from lorawan.gateway.semtech_udp import DatagramType
from lorawan.identifiers import GatewayId

OURS = GatewayId(bytes(8))
HERE, OTHER_PORT, THERE = ("192.0.2.7", 40_001), ("192.0.2.7", 40_002), ("198.51.100.4", 40_001)
PUSH, PULL, ACK = DatagramType.PUSH_DATA, DatagramType.PULL_DATA, DatagramType.TX_ACK
OWN, REJECTED = Admission(is_own=True), Admission(holder=HERE[0])


@pytest.mark.parametrize("kind", [PUSH, PULL])
def test_an_address_is_kept_until_it_has_been_silent_for_long(kind: DatagramType) -> None:
    lock = SocketLock(silence_s=30)

    assert lock.admit(OURS, kind, HERE, 0.0) == OWN
    assert lock.admit(OURS, kind, THERE, 10.0) == REJECTED
    assert lock.admit(OURS, kind, HERE, 25.0) == OWN
    assert lock.admit(OURS, kind, THERE, 54.0) == REJECTED  # What was rejected has prolonged nothing for `THERE`.
    assert lock.admit(OURS, kind, THERE, 55.0) == OWN
    assert lock.admit(OURS, kind, HERE, 56.0) == Admission(holder=THERE[0])


def test_another_socket_of_the_address_pulls_nothing_until_the_forwarder_has_restarted() -> None:
    lock = SocketLock(silence_s=30)
    lock.admit(OURS, PULL, HERE, 0.0)

    assert lock.admit(OURS, PULL, OTHER_PORT, 10.0) == REJECTED
    assert lock.admit(OURS, ACK, OTHER_PORT, 11.0) == REJECTED
    assert lock.admit(OURS, PULL, OTHER_PORT, 30.0) == OWN
    assert lock.admit(OURS, ACK, OTHER_PORT, 31.0) == OWN


def test_another_socket_of_the_address_pushes_at_its_own_expense() -> None:
    lock = SocketLock(silence_s=30)
    lock.admit(OURS, PUSH, HERE, 0.0)

    assert lock.admit(OURS, PUSH, OTHER_PORT, 10.0) == Admission()
    assert lock.admit(OURS, PUSH, HERE, 20.0) == OWN


def test_an_acknowledgement_locks_nothing_and_keeps_nothing_locked() -> None:
    lock = SocketLock(silence_s=30)

    assert lock.admit(OURS, ACK, THERE, 0.0) == OWN
    assert lock.admit(OURS, PULL, HERE, 1.0) == OWN
    assert lock.admit(OURS, ACK, HERE, 29.0) == OWN
    assert lock.admit(OURS, PULL, THERE, 31.0) == OWN


def test_a_network_that_gives_each_socket_its_address_loses_no_frame() -> None:
    lock = SocketLock(silence_s=30)

    assert lock.admit(OURS, PULL, HERE, 0.0) == OWN
    assert lock.admit(OURS, PUSH, THERE, 1.0) == OWN
    assert lock.admit(OURS, ACK, THERE, 2.0) == REJECTED  # It answers on the socket on which it was asked.


def test_who_pushes_from_elsewhere_first_does_not_keep_a_gateway_that_pulls_from_pushing() -> None:
    lock = SocketLock(silence_s=30)

    lock.admit(OURS, PULL, HERE, 0.0)
    lock.admit(OURS, PUSH, THERE, 1.0)

    assert lock.admit(OURS, PUSH, HERE, 2.0) == OWN
    assert lock.admit(OURS, PUSH, THERE, 3.0) == REJECTED
    for now in (10.0, 20.0, 30.0, 40.0):
        lock.admit(OURS, PULL, HERE, now)
    # It has pushed nothing for long, and lives.
    assert lock.admit(OURS, PUSH, THERE, 45.0) == REJECTED
    assert lock.admit(OURS, PUSH, OTHER_PORT, 46.0) == Admission()
    assert lock.admit(OURS, PUSH, THERE, 70.0) == OWN


def test_a_gateway_that_is_no_longer_registered_keeps_no_socket() -> None:
    lock = SocketLock(silence_s=30)
    lock.admit(OURS, PULL, HERE, 0.0)

    lock.keep_only(set())

    assert lock.admit(OURS, PULL, THERE, 1.0) == OWN
