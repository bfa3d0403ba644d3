from io import StringIO

import pytest
from rich.console import Console

from lab.bench.network_report import print_storm
from lab.bench.observation import Snapshot
from lab.bench.storm import Stormed, StormOptions, limit_of
from lab.device.device import DeviceSession
from lab.fleet.benchmark import plan_benchmark
from lab.load.latency import Latency
from lab.simulator.account import Account
from lab.storm.backoff import JoinBackoff
from lab.storm.storm import Storm, build_storm
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr

SECOND_US = 1_000_000
POWER_US = 1_795_000_000 * SECOND_US


def storm() -> Storm:
    """Twenty devices came back; four speak at DR0. All but one joined, ten seconds apart, the last at 190 s."""
    made = build_storm(
        plan_benchmark("storm", 22, 4), 2, slow_share=0.2, steady_interval_s=1, returning_interval_s=1,
        udp=("127.0.0.1", 9),
    )  # fmt: skip
    made.powered_up_us = POWER_US
    cipher = SessionCipher(SessionKeys(bytes(16), bytes(16)))
    for number, device in enumerate(made.returning):
        made.backoffs[device.dev_eui] = backoff = JoinBackoff(device.random, POWER_US)
        backoff.attempts = 1 + number % 3
        if number:
            device.session = DeviceSession(DevAddr(bytes(4)), cipher)
            device.joined_us = POWER_US + 10 * number * SECOND_US
        if number < 19:
            made.first_received_us[device.dev_eui] = POWER_US + (10 * number + 5) * SECOND_US
    return made


def stormed() -> Stormed:
    made = storm()
    quiet = Snapshot(1.0, {"network": 1.0}, 10.0, {}, 4), Snapshot(11.0, {"network": 2.0}, 14.0, {}, 4)
    account = Account(sent=100, heard=90, stored=90)
    return Stormed(
        StormOptions(gateways=4),
        made,
        limit_of(made, 4),
        180.0,
        Latency(90, 90, 300.0, 400.0, 500.0),
        account,
        *quiet,
        {"accepted": 21},
        {"sent": 20, "collision_packet": 1},
        {"OK": 20},
    )


def test_who_joined_when_is_reported_by_data_rate() -> None:
    figures = stormed().as_dict()

    assert (figures["dr5"]["devices"], figures["dr5"]["joined"]) == (16, 15)
    assert (figures["dr0"]["devices"], figures["dr0"]["joined"]) == (4, 3)
    assert figures["all"]["last_s"] == 180.0
    assert figures["all"]["most_attempts"] == 3
    assert not figures["is_all_joined"]


def test_what_answering_every_received_request_would_have_brought_ends_an_accept_before_the_goal() -> None:
    # Received at 5, 15 ... 185 s: those up to 175 s could have joined within 180 s.
    assert stormed().as_dict()["joined_if_each_heard_request_were_answered"] == 18


def test_the_limit_of_the_radio_medium_is_that_of_these_devices() -> None:
    made = storm()
    slow = [device for device in made.returning if device.spreading_factor == 12]
    heard = sum(len(device.links) for device in slow) / 4

    assert limit_of(made, 4).requests_s[12] == pytest.approx(heard * 1.482752 * 5.43656 / 3, rel=1e-4)


def test_the_report_has_both_figures() -> None:
    out, figures = StringIO(), stormed().as_dict()
    print_storm(Console(file=out, width=120), figures)

    assert "18/20" in out.getvalue()
    assert f"{figures['air_allows_s']:.0f} s" in out.getvalue()
    assert "Entendus à temps par une passerelle : 18." in out.getvalue()
