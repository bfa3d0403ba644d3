from datetime import UTC, datetime, timedelta

import pytest

from api.downlink_reasons import sentence
from api.preflight import explain
from core.model.downlinks import Downlink, DownlinkReason, OpenRow, Preflight, Reach

NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def row(state: str = "queued", **fields) -> Downlink:
    values = {
        "id": 7,
        "tenant_id": 1,
        "device_id": 1,
        "slot": 0,
        "f_port": 1,
        "payload": b"",
        "confirmed": False,
        "priority": 2,
        "not_after": NOW + timedelta(days=1),
        "state": state,
        "reason": None,
        "detail": None,
        "attempts": 0,
        "f_cnt_down": None,
        "gateway_id": None,
        "lns_source_id": None,
        "created_at": NOW,
        "updated_at": NOW,
        "sent_at": None,
    }
    return Downlink(**values | fields)


def reach(**fields) -> Reach:
    values = {
        "device_class": "A",
        "activation": "OTAA",
        "enabled": True,
        "has_session": True,
        "heard_at": NOW - timedelta(hours=1),
        "rx1_delay": 1,
        "gateways": 1,
        "gateways_online": 1,
    }
    return Reach(**values | fields)


def open_row(number: int = 7, state: str = "queued", *, priority: int = 2, not_before=None) -> OpenRow:
    return OpenRow(number, state, priority, not_before, None)


def said(downlink: Downlink, known: Reach, *rows: OpenRow) -> tuple[str | None, str | None]:
    explained = explain(downlink, Preflight(known, rows), NOW)
    return explained.waits_for, explained.text


@pytest.mark.parametrize(
    ("known", "waits_for", "text"),
    [
        ({"enabled": False}, "enabling", "capteur désactivé : réactivez-le"),
        (
            {"heard_at": None, "has_session": False},
            "join",
            "attend que le capteur rejoigne le réseau, puis son premier message montant",
        ),
        ({"heard_at": None}, "first_uplink", "attend le premier message montant du capteur"),
        ({}, "uplink", "attend le prochain message montant du capteur"),
        (
            {"gateways_online": 0},
            "uplink",
            "attend le prochain message montant du capteur ; passerelle hors ligne",
        ),
        ({"device_class": "C"}, "nothing", "part dans la seconde"),
        ({"device_class": "C", "gateways_online": 0}, "gateway", "passerelle hors ligne"),
        (
            {"device_class": "C", "heard_at": NOW},
            "locked",
            "verrouillé jusqu'à 15:00:02 : fenêtres de réception du dernier message montant",
        ),
    ],
)
def test_a_row_waits_for_what_its_device_lacks(known: dict, waits_for: str, text: str) -> None:
    assert said(row(), reach(**known), open_row()) == (waits_for, text)


@pytest.mark.parametrize("device_class", ["A", "C"])
@pytest.mark.parametrize(
    ("reason", "waits_for", "text"),
    [
        ("DUTY_CYCLE_OVERFLOW", "duty_cycle", "plus de temps d'émission avant 15:05:00 (limite légale)"),
        ("GATEWAY_UNREACHABLE", "gateway", "passerelle hors ligne, nouvel essai à 15:05:00"),
        ("TX_FREQ", "locked", "verrouillé jusqu'à 15:05:00 : la passerelle n'émet pas sur cette fréquence"),
        ("NEW_WORD", "locked", "verrouillé jusqu'à 15:05:00 : NEW_WORD"),
    ],
)
def test_a_rejected_row_says_until_when_and_why(device_class: str, reason: str, waits_for: str, text: str) -> None:
    refused = open_row(not_before=LATER)

    explained = explain(row(reason=reason), Preflight(reach(device_class=device_class), (refused,)), NOW)

    assert (explained.waits_for, explained.text, explained.until) == (waits_for, text, LATER)


def test_a_pause_that_is_over_is_not_shown_any_more() -> None:
    over = open_row(not_before=NOW)

    assert said(row(reason="TX_FREQ"), reach(), over)[0] == "uplink"


def test_another_day_is_named() -> None:
    tomorrow = open_row(not_before=NOW + timedelta(days=1))

    assert said(row(reason="TX_FREQ"), reach(), tomorrow)[1].startswith(
        "verrouillé jusqu'à 15:00:00 le 26/11/2026"
    )


@pytest.mark.parametrize("device_class", ["A", "C"])
def test_one_message_under_way_holds_up_the_others(device_class: str) -> None:
    known = reach(device_class=device_class)

    awaited = said(row(), known, open_row(3, "sent"), open_row())
    asked = said(row(), known, open_row(3, "sending"), open_row())

    assert awaited == ("acknowledgement", "accusé de réception attendu du message n° 3")
    assert asked == ("emission", "attend l'émission du message n° 3")


def test_rows_go_out_by_priority_then_by_age() -> None:
    others = (open_row(9, priority=1), open_row(3), open_row(), open_row(8), open_row(2, not_before=LATER))

    class_a = said(row(), reach(), *others)
    class_c = said(row(), reach(device_class="C"), *others)

    assert class_a == ("uplink", "attend le prochain message montant du capteur, après 2 autres messages")
    assert class_c == ("turn", "attend son tour, après 2 autres")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "failed", "reason": "DEVICE_NO_ACK"}, "abandonné : le capteur n'a pas accusé réception"),
        ({"state": "failed", "reason": None}, "abandonné : raison inconnue"),
        ({"state": "expired", "reason": "NOT_AFTER"}, "délai dépassé"),
        (
            {"state": "expired", "reason": "GATEWAY_UNREACHABLE"},
            "délai dépassé ; dernière tentative : passerelle hors ligne",
        ),
        ({"state": "sent"}, None),
        ({"state": "acknowledged", "confirmed": True}, None),
        ({"state": "cancelled", "reason": "superseded"}, None),
        (
            {"state": "queued", "lns_source_id": 1, "reason": "LNS_ANSWERED", "detail": "503 : later"},
            "l'autre LNS ne l'a pas pris : 503 : later",
        ),
        ({"state": "failed", "lns_source_id": 1, "reason": "other", "detail": "mots de là-bas"}, "mots de là-bas"),
        ({"state": "sent", "lns_source_id": 1}, None),
    ],
)
def test_a_row_that_has_ended_waits_for_nothing(fields: dict, text: str | None) -> None:
    assert said(row(**fields), reach()) == (None, text)


@pytest.mark.parametrize("reason", DownlinkReason)
def test_every_reason_has_a_sentence_in_french(reason: DownlinkReason) -> None:
    assert sentence(reason) not in ("", reason)


def test_a_tenant_that_does_not_see_the_device_learns_nothing_of_it() -> None:
    assert explain(row(), None, NOW).text is None
