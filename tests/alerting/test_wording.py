import json
from datetime import UTC, datetime

from alerting.rules.model import MESSAGE_FIELDS
from alerting.wording import (
    Facts,
    Subject,
    body,
    instant_text,
    opened_text,
    partner_text,
    quantity_text,
    resolved_text,
)

AT = datetime(2026, 11, 25, 13, 5, tzinfo=UTC)
BIN = Subject("sdef", 12, "bin", "Bac 12", "3 rue de Siam", "Brest", "em400-12", "%")
TEMPLATE = "{asset} ({place}) est rempli à {value} depuis {since} (seuil {threshold}) {inconnu} {0}"


def facts(message: str = TEMPLATE) -> Facts:
    return Facts(5, "bin_75", "warning", message, AT, 82.25, 75)


def test_a_message_is_written_in_french_with_local_time() -> None:
    assert opened_text(BIN, facts()) == (
        "Bac 12 (3 rue de Siam, Brest) est rempli à 82,2\u00a0% depuis le 25/11/2026 à 14\u00a0h\u00a005 "
        "(seuil 75\u00a0%) {inconnu} {0}"
    )


def test_units_and_instants_have_their_french_form() -> None:
    assert quantity_text(1500, "[ppm]") == "1500\u00a0ppm"
    assert quantity_text(1, "1") == "1"
    assert quantity_text(None, "%") == "valeur inconnue"
    assert quantity_text(12, "Cel/h") == "12\u00a0°C/h"
    assert quantity_text(9, "L/h") == "9\u00a0L/h"
    assert quantity_text(0.042, "mg/m3") == "0,042\u00a0mg/m³"
    assert quantity_text(-0.0001, "Cel") == "0\u00a0°C"
    assert quantity_text(100, "m3") == "100\u00a0m³"
    assert instant_text(datetime(2026, 7, 14, 22, 30, tzinfo=UTC)) == "le 15/07/2026 à 0\u00a0h\u00a030"


def test_the_end_of_an_alert_says_why() -> None:
    text = resolved_text(BIN, "emptied", 10)

    assert text == "Bac 12 (3 rue de Siam, Brest) : fin d'alerte, le bac a été vidé (10\u00a0%)."


def test_a_partners_alarm_says_where_what_since_when_and_who_says_so() -> None:
    nowhere = Subject("sdef", None, None, None, "", "", None, "")

    assert partner_text(BIN, "Centrale", "porte-3", "porte forcée.", AT) == (
        "Bac 12 (3 rue de Siam, Brest) : porte forcée, depuis le 25/11/2026 à 14\u00a0h\u00a005 "
        "(Centrale, porte-3)."
    )
    assert partner_text(nowhere, "Centrale", None, "porte forcée", AT) == (
        "Centrale : porte forcée, depuis le 25/11/2026 à 14\u00a0h\u00a005."
    )


def test_every_field_that_a_rule_may_name_is_filled_in() -> None:
    template = " ".join(f"{{{name}}}" for name in MESSAGE_FIELDS)

    assert "{" not in opened_text(BIN, facts(template), "https://territoire.example/v1/alerts/5")


def test_a_body_carries_what_a_team_needs_and_stays_small() -> None:
    long = Subject("sdef", 12, "bin", "B" * 5000, "r" * 5000, "c" * 5000, "d" * 5000, "%")
    text = opened_text(long, facts("{asset}" * 100))
    octets = body("alert.opened", AT, long, facts(text), "https://t.example.fr/v1/alerts/5")
    content = json.loads(octets)

    assert len(octets) < 20_000
    assert content["type"] == "alert.opened"
    assert content["data"]["rule"] == "bin_75"
    assert content["data"]["since"] == "2026-11-25T13:05:00Z"
    assert "cause" not in content["data"]
