"""What the demonstration's account says of what went wrong, and of what only had no time."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lab.radio.concentrator import RadioAccount
from lab.simulator.account import Account
from lab.simulator.campaign import CampaignAccount
from lab.simulator.figures import Draining, wait_until_empty
from lab.simulator.pushed import Pushed
from lab.simulator.receiver import Received
from lab.simulator.replacement import NAME
from lab.simulator.report import NOT_YET, DemoReport, Verdict, print_account
from lab.simulator.street_lights import LightingAccount

BIN = {"data": {"rule": "bin_75"}}


class Gateway:
    """Of a gateway only its account counts here."""

    gateway_id = b"\x01" * 8
    received = 0

    def __init__(self, *, immediate: int = 6, rejected: int = 0) -> None:
        self.account = RadioAccount(emitted=20, emitted_immediate=immediate)
        if rejected:
            self.account.refused["TOO_LATE"] = rejected


def account(**changes: object) -> DemoReport:
    """Of a demonstration in which everything happened."""
    whole = DemoReport(
        seconds=90.0,
        devices=1288,
        joined=1288,
        draining=Draining.EMPTY,
        uplinks=Account(sent=3000, heard=2900, stored=2900),
        bins_said_full=8,
        bins_over_threshold=8,
        first_bin_s_ago=60.0,
        received=Received(bodies=[BIN], ids={"1": 1}),
        lighting=LightingAccount(requested=10, confirmed_class_a=4, confirmed_class_c=6),
        gateways=[Gateway()],  # type: ignore[list-item]
        class_c_disturbed=0,
        memory_mb={"network": 60.0},
    )
    return replace(whole, **changes)


def verdict(report: DemoReport, beginning: str) -> Verdict:
    [found] = [check.verdict for check in report.checks if check.text.startswith(beginning)]
    return found


STORED, BINS = "Chaque trame entendue", "Un bac passe"
CLASS_C, CLASS_A = "Une commande d'éclairage, émise", "Une commande d'éclairage est relue par le point"


def test_the_account_of_what_happened_balances() -> None:
    assert {check.verdict for check in account().checks} == {Verdict.YES}
    assert account().status == 0


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"draining": Draining.SHRINKING}, "Files vides"),
        (
            {"draining": Draining.SHRINKING, "uplinks": Account(sent=10, heard=10, stored=4, missing=6)},
            STORED,
        ),
        ({"seconds": 20.0, "joined": 0, "uplinks": Account()}, "Activations"),
        ({"seconds": 20.0, "joined": 0, "uplinks": Account()}, STORED),
        ({"joined": 3, "uplinks": Account()}, STORED),
        ({"joined": 0, "gateways": [Gateway(rejected=300)]}, "Activations"),
        ({"bins_said_full": 0, "bins_over_threshold": 0, "received": Received()}, BINS),
        ({"draining": Draining.SHRINKING, "bins_over_threshold": 0, "received": Received()}, BINS),
        ({"first_bin_s_ago": 3.0, "received": Received()}, BINS),
        ({"lighting": LightingAccount(), "gateways": [Gateway(immediate=0)]}, CLASS_C),
        ({"lighting": LightingAccount(requested=6, states={"sent": 6})}, CLASS_C),
        ({"lighting": LightingAccount(requested=8, confirmed_class_c=6, states={"queued": 2})}, CLASS_A),
    ],
)
def test_what_could_not_happen_in_the_time_is_no_failure(changes: dict[str, object], check: str) -> None:
    report = account(**changes)

    assert verdict(report, check) is Verdict.NOT_YET
    assert report.status == NOT_YET


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"draining": Draining.STUCK}, "Files vides"),
        ({"uplinks": Account(sent=10, heard=10, stored=9, missing=1)}, STORED),
        (
            {"draining": Draining.STUCK, "uplinks": Account(sent=10, heard=10, stored=4, missing=6)},
            STORED,
        ),
        (
            {"draining": Draining.SHRINKING, "uplinks": Account(sent=10, heard=10, stored=11, duplicates=1)},
            STORED,
        ),
        ({"joined": 0, "uplinks": Account()}, "Activations"),
        ({"uplinks": Account(sent=5)}, STORED),
        ({"bins_over_threshold": 0, "received": Received()}, BINS),
        ({"received": Received()}, BINS),
        ({"received": Received(bodies=[BIN], forged=1)}, BINS),
        ({"lighting": LightingAccount(requested=6, unconfirmed_class_c=6)}, CLASS_C),
        (
            {"lighting": LightingAccount(requested=6, confirmed_class_c=6), "gateways": [Gateway(immediate=0)]},
            CLASS_C,
        ),
        ({"lighting": LightingAccount(requested=6, refused=["non"])}, CLASS_A),
        ({"class_c_disturbed": 1}, "Les fenêtres"),
        ({"memory_mb": {"network": 651.0}}, "Mémoire"),
    ],
)
def test_what_went_wrong_is_no_lack_of_time(changes: dict[str, object], check: str) -> None:
    report = account(**changes)

    assert verdict(report, check) is Verdict.NO
    assert report.status == 1


@pytest.mark.parametrize(
    ("change", "shown", "conclusion"),
    [
        (account, "oui", "Le compte est juste."),
        (lambda: account(joined=0, seconds=20.0, uplinks=Account()), "pas eu le temps", "Rien n'est faux"),
        (lambda: account(class_c_disturbed=1), "NON", "Le compte n'est pas juste."),
    ],
)
def test_the_printed_and_the_json_report_have_the_same_verdicts(
    change: Callable[[], DemoReport], shown: str, conclusion: str, tmp_path: Path
) -> None:
    report, printed = change(), io.StringIO()

    print_account(Console(file=printed, width=200), report, tmp_path / "demo-report.json")

    assert shown in printed.getvalue()
    assert conclusion in printed.getvalue()
    written = json.loads(json.dumps(report.as_dict()))
    assert written["succeeded"] == (report.status == 0)
    for check, said in zip(report.checks, written["checks"], strict=True):
        assert said["verdict"] == check.verdict.value
        assert said["holds"] == (check.verdict is Verdict.YES)


class Streams:
    """A bus whose two streams hold, at each look, half of these numbers each; the last one stays."""

    def __init__(self, *waiting: int) -> None:
        self.looks = [half for number in waiting for half in (number // 2, number - number // 2)]

    async def stream_messages(self, _stream: str) -> int:
        return self.looks.pop(0) if len(self.looks) > 2 else self.looks[-1]


@pytest.mark.parametrize(
    ("waiting", "found"),
    [
        ((5, 2, 0, 0), Draining.EMPTY),
        ((90, 60, 40), Draining.SHRINKING),
        ((40, 40), Draining.STUCK),
        ((40, 90), Draining.STUCK),
    ],
)
async def test_streams_that_are_read_slowly_are_distinguished_from_those_that_nobody_reads(
    waiting: tuple[int, ...], found: Draining
) -> None:
    assert await wait_until_empty(Streams(*waiting), 1.2) is found  # type: ignore[arg-type]


FIRE = {"data": {"rule": "bin_fire", "message": "Borne : 180 °C. Valeur improbable : hors de la plage."}}
MISSED = {"data": {"rule": "device_silent", "message": f"Bac : le capteur {NAME} est muet"}}
FIRES, REPLACED = "Un bac brûle", "Un capteur remplacé"


def test_a_fire_that_was_received_and_of_which_nobody_is_notified_fails() -> None:
    burning = account(burning=1, burning_received=1, received=Received(bodies=[BIN, FIRE]))

    assert verdict(burning, FIRES) is Verdict.YES
    assert verdict(replace(burning, received=Received(bodies=[BIN])), FIRES) is Verdict.NO
    assert verdict(replace(burning, received=Received(bodies=[BIN]), burning_received=0), FIRES) is Verdict.NOT_YET


def test_a_replacement_that_nobody_misses_in_time_fails() -> None:
    replaced = account(replaced_s_ago=90.0, received=Received(bodies=[BIN, MISSED]))

    assert verdict(replaced, REPLACED) is Verdict.YES
    assert verdict(replace(replaced, received=Received(bodies=[BIN])), REPLACED) is Verdict.NO
    early = replace(replaced, received=Received(bodies=[BIN]), replaced_s_ago=20.0)
    assert verdict(early, REPLACED) is Verdict.NOT_YET


CAMPAIGN, UNLIT = "Une campagne approuvée", "Une armoire que rien"
NOT_RELIT = {"data": {"rule": "relight_failed", "message": "Armoire 380, rue Pasteur : aucun équipement"}}
ORDERED = {
    "type": "work_order.opened",
    "data": {"origin": "lighting", "description": "Armoire 380, rue Pasteur : aucun équipement"},
}


@pytest.mark.parametrize(
    ("campaign", "found"),
    [
        (CampaignAccount("running", first=5, first_proved=5), Verdict.YES),
        (CampaignAccount("approved", first=5, waits_for_dusk=True, approved_s_ago=200.0), Verdict.YES),
        (CampaignAccount("canary", first=5, first_proved=2, approved_s_ago=30.0), Verdict.NOT_YET),
        (CampaignAccount("running", first=5, first_proved=4, approved_s_ago=30.0), Verdict.NOT_YET),
        (CampaignAccount("canary", first=5, first_proved=2, approved_s_ago=90.0), Verdict.NO),
        (CampaignAccount("halted", first=5, first_proved=4, waits_for_dusk=True), Verdict.NO),
    ],
)
def test_a_campaign_that_does_not_go_on_after_its_first_cabinets_fails(
    campaign: CampaignAccount, found: Verdict
) -> None:
    assert verdict(account(campaign=campaign), CAMPAIGN) is found


def test_a_cabinet_that_nothing_lights_and_to_which_nobody_is_sent_fails() -> None:
    unlit = account(unlit="Armoire 380", unlit_s_ago=30.0, received=Received(bodies=[BIN, NOT_RELIT, ORDERED]))

    assert verdict(unlit, UNLIT) is Verdict.YES
    assert verdict(replace(unlit, received=Received(bodies=[BIN, NOT_RELIT])), UNLIT) is Verdict.NO
    assert verdict(replace(unlit, unlit="Armoire 381"), UNLIT) is Verdict.NO
    assert verdict(replace(unlit, unlit="Armoire 381", unlit_s_ago=10.0), UNLIT) is Verdict.NOT_YET


def test_batches_of_measurements_are_whole_and_none_comes_twice() -> None:
    def pushed(*batches: tuple[int, str], forged: int = 0) -> Pushed:
        bodies = [
            {
                "type": "measurements.changed",
                "data": {
                    "measurement_webhook": 1,
                    "sequence": number,
                    "items": [{"datastream_id": 7, "time": time, "change": "new"}],
                },
            }
            for number, time in batches
        ]
        return Pushed(Received(bodies=bodies, forged=forged), 1)

    told = {
        "whole": pushed((3, "10:00"), (4, "10:01")),
        "missing": pushed((3, "10:00"), (5, "10:01")),
        "twice": pushed((3, "10:00"), (4, "10:00")),
        "forged": pushed((3, "10:00"), forged=1),
        "nothing": pushed(),
    }

    found = {name: verdict(account(pushed=one), "Les niveaux des bacs") for name, one in told.items()}

    assert found == dict.fromkeys(("missing", "twice", "forged"), Verdict.NO) | {
        "whole": Verdict.YES,
        "nothing": Verdict.NOT_YET,
    }


def test_figures_of_past_months_are_judged_once_they_are_asked_for() -> None:
    beginning = "Les indicateurs disent"

    assert not [check for check in account().checks if check.text.startswith(beginning)]
    assert verdict(account(figures_asked=11), beginning) is Verdict.YES
    wrong = account(figures_asked=11, figures_wrong=("qu'ont économisé les travaux ? 12 %, attendu 25 %",))
    assert verdict(wrong, beginning) is Verdict.NO
    assert wrong.status == 1
