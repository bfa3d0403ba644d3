from collections import Counter
from io import StringIO

import pytest
from rich.console import Console

from lab.bench.answers import AnswersOptions, Moved, Sustained, rx1_ceiling
from lab.bench.network_report import print_answers
from lab.bench.observation import Snapshot
from lab.device.answers import Answers
from lab.load.latency import Latency
from lab.load.load import Played
from lab.simulator.account import Account

SECOND_US = 1_000_000
FORWARDED = ("territoire_gateway_bridge_uplinks_total", ("forwarded",))
ACCEPTED = ("territoire_network_frames_total", ("unconfirmed_data_up", "accepted"))


def sustained(*, forwarded: int = 1_000, published: int = 1_000, missing: int = 0) -> Sustained:
    moved = Moved(
        Counter({FORWARDED: 7}), Counter({FORWARDED: 7 + forwarded}), Counter(), Counter({ACCEPTED: published})
    )
    return Sustained(
        AnswersOptions(seconds=1),
        1_010,
        1_000,
        Played(0, SECOND_US, 1_000, 0.5),
        Answers(awaited=100, rx1=98, rx2=1, outside=3),
        10,
        0,
        moved,
        Latency(1_000, 990, 300.0, 400.0, 500.0),
        Account(sent=1_010, heard=1_000, stored=1_000 - missing, missing=missing),
        Snapshot(1.0, {"network": 1.0}, 10.0, {}, 4),
        Snapshot(5.0, {"network": 2.0}, 14.0, {}, 4),
        {"COLLISION_PACKET": 2},
    )


def test_shares_are_of_the_answers_that_are_awaited() -> None:
    figures = sustained().as_dict()

    assert (figures["rx1_share"], figures["rx2_share"], figures["neither_share"]) == (0.98, 0.01, 0.01)
    assert (figures["sent"], figures["heard"], figures["ours"]) == (1_010, 1_000, 1_000)
    assert (figures["published"], figures["stored"]) == (1_000, 1_000)
    assert figures["cores_by_process"] == {"network": 0.25}
    # Four seconds of the machine, one of them the stack's and a half the generator's, in four seconds.
    assert figures["cores_busy_elsewhere"] == 0.62


def test_nothing_is_lost_only_when_every_stage_has_counted_the_same() -> None:
    assert sustained().is_exact
    assert not sustained(forwarded=999).is_exact
    assert not sustained(published=1_001).is_exact
    assert not sustained(missing=1).is_exact


def test_the_ceiling_of_answers_in_rx1_matches_a_calculation_by_hand() -> None:
    """100 acknowledgements a second over 507 gateways, 12 octets at SF7 without CRC: 41.216 ms."""
    share = rx1_ceiling(AnswersOptions(rate=2_000, gateways=507, confirmed_share=0.05))

    assert share == pytest.approx(1 / (1 + 100 / 507 * 0.041216), abs=1e-9)


def test_the_table_says_what_became_of_answers() -> None:
    out = StringIO()
    print_answers(Console(file=out, width=120), sustained().as_dict())

    assert "98.00 % (98)" in out.getvalue()
    assert "Rien n'est perdu." in out.getvalue()
    assert "La machine n'est pas au repos" in out.getvalue()
    out = StringIO()
    print_answers(Console(file=out, width=120), sustained(missing=1).as_dict())
    assert "Le compte n'est pas juste." in out.getvalue()
