from gateways import admission
from gateways.admission import BURST_S, SWEEP_EVERY_S, Limits

OURS = bytes(8)


def test_a_gateway_has_its_rate_wherever_it_speaks_from_and_costs_nobody_else() -> None:
    limited = Limits(gateway_rate=1, address_rate=1)

    sent = [limited.of_gateway(OURS, 100.0) for _ in range(int(BURST_S) + 1)]

    assert sent == [True] * int(BURST_S) + [False]
    assert limited.of_gateway(b"\1" * 8, 100.0)
    assert limited.of_address(("192.0.2.1", 1700), 100.0)
    assert limited.of_gateway(OURS, 101.0)


def test_an_address_and_port_that_speak_for_nobody_have_their_own_rate() -> None:
    limited = Limits(gateway_rate=1, address_rate=0.1)

    assert [limited.of_address(("192.0.2.1", 1700), 0.0) for _ in range(2)] == [True, False]
    assert limited.of_address(("192.0.2.1", 1701), 0.0)
    assert limited.of_address(("192.0.2.1", 1700), BURST_S)


def test_invented_addresses_fill_no_memory_and_those_that_spoke_before_are_received(monkeypatch) -> None:
    monkeypatch.setattr(admission, "MAX_ADDRESSES", 3)
    limited = Limits(gateway_rate=1, address_rate=10)

    heard = [limited.of_address((f"192.0.2.{last}", 1700), 0.0) for last in range(5)]

    assert heard == [True, True, True, False, False]
    assert limited.of_address(("192.0.2.0", 1700), BURST_S / 2)  # Not forgotten: it has just spoken.
    later = [limited.of_address((f"198.51.100.{last}", 1700), BURST_S + SWEEP_EVERY_S) for last in range(3)]
    assert later == [True, True, False]


def test_a_gateway_that_is_no_longer_registered_is_forgotten() -> None:
    limited = Limits(gateway_rate=0.1, address_rate=1)
    assert [limited.of_gateway(OURS, 0.0) for _ in range(2)] == [True, False]

    limited.keep_only(set())

    assert limited.of_gateway(OURS, 0.0)
