from collections import Counter

from lab.device.device import SentUplink
from lab.gateway.gateway import Uptime
from lab.simulator.account import Kill, balance

GATEWAY, OTHER = b"gateway1", b"gateway2"
SECOND_US = 1_000_000


def uplink(f_cnt: int, *, at_s: float = 10, received_by: tuple[bytes, ...] = (GATEWAY,)) -> SentUplink:
    return SentUplink(b"deveui01", b"addr", f_cnt, round(at_s * SECOND_US), list(received_by))


def stored(*f_cnts: int) -> Counter:
    return Counter((b"deveui01", b"addr", f_cnt) for f_cnt in f_cnts)


def test_balances_when_every_uplink_received_is_stored_once() -> None:
    account = balance([uplink(0), uplink(1), uplink(2, received_by=())], stored(0, 1), set())

    assert account.balances
    assert (account.sent, account.heard, account.stored) == (3, 2, 2)


def test_a_missing_uplink_is_found() -> None:
    account = balance([uplink(0), uplink(1)], stored(0), set())

    assert not account.balances
    assert account.missing == 1
    assert "f_cnt 1 enregistrée 0 fois" in account.examples[0]


def test_a_duplicate_is_found() -> None:
    account = balance([uplink(0)], stored(0, 0), set())

    assert not account.balances
    assert account.duplicates == 1


def test_an_uplink_that_nobody_sent_is_found() -> None:
    account = balance([uplink(0)], stored(0, 7), set())

    assert not account.balances
    assert account.unexpected == 1


def test_an_uplink_that_was_not_decoded_is_found() -> None:
    account = balance([uplink(0)], stored(0), set(stored(0)))

    assert not account.balances
    assert account.undecodable == 1


def outage(*, killed_s: float, back_s: float) -> tuple[list[Kill], dict[bytes, Uptime]]:
    kill = Kill(round(killed_s * SECOND_US), frozenset({GATEWAY}))
    uptime = Uptime([round(back_s * SECOND_US)])
    return [kill], {GATEWAY: uptime, OTHER: Uptime([])}


def test_a_kill_at_the_radio_edge_excuses_from_one_second_before_until_the_gateway_is_answered() -> None:
    kills, uptimes = outage(killed_s=10, back_s=14)
    sent = [uplink(number, at_s=at) for number, at in enumerate((8.9, 9.1, 12, 14.1))]
    account = balance(sent, stored(0, 3), set(), kills=kills, uptimes=uptimes)

    assert account.balances
    assert account.left_out == 2


def test_what_still_answers_after_it_was_asked_to_stop_is_not_back_before_it_is_gone() -> None:
    asked = Kill(10 * SECOND_US, frozenset({GATEWAY}), gone_us=13 * SECOND_US)
    uptimes = {GATEWAY: Uptime([11 * SECOND_US, 16 * SECOND_US]), OTHER: Uptime([])}
    account = balance([uplink(0, at_s=14), uplink(1, at_s=16.1)], stored(), set(), kills=[asked], uptimes=uptimes)

    assert (account.left_out, account.missing) == (1, 1)


def test_a_kill_excuses_nothing_that_was_sent_after_it_to_a_socket_that_is_kept() -> None:
    at_us = 10 * SECOND_US
    kill = Kill(at_us, frozenset({GATEWAY}), gone_us=at_us + 20_000, is_kept=True)
    uptimes = {GATEWAY: Uptime([14 * SECOND_US]), OTHER: Uptime([])}
    sent = [uplink(number, at_s=at) for number, at in enumerate((8.9, 9.1, 10.01, 10.03, 13))]
    account = balance(sent, stored(), set(), kills=[kill], uptimes=uptimes)

    assert (account.left_out, account.missing) == (2, 3)


def test_a_kill_excuses_nothing_outside_its_interval() -> None:
    kills, uptimes = outage(killed_s=10, back_s=14)
    account = balance([uplink(0, at_s=8.9), uplink(1, at_s=14.1)], stored(), set(), kills=kills, uptimes=uptimes)

    assert account.missing == 2


def test_an_uplink_received_also_by_a_gateway_that_was_not_cut_off_is_not_excused() -> None:
    kills, uptimes = outage(killed_s=10, back_s=14)
    account = balance(
        [uplink(0, at_s=12, received_by=(GATEWAY, OTHER))], stored(), set(), kills=kills, uptimes=uptimes
    )

    assert account.missing == 1


def test_a_kill_never_excuses_a_duplicate() -> None:
    kills, uptimes = outage(killed_s=10, back_s=14)
    account = balance([uplink(0, at_s=12)], stored(0, 0), set(), kills=kills, uptimes=uptimes)

    assert account.duplicates == 1
