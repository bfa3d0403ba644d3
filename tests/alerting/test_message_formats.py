"""One message in each form, read by what its receiver knows."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerting.message_formats import render
from alerting.wording import Facts, Subject, body

AT = datetime(2026, 11, 25, 6, 5, tzinfo=UTC)
SUBJECT = Subject("brest", 12, "waste_container", "Bac <12> & co", "3 rue de Siam", "Brest", "em400-12", "%")
FACTS = Facts(7, "bin_75", "major", "Bac <12> & co : plein à 92 %. À vider.", AT, 92.0, 75.0)
LINK = "https://territoire.example/v1/alerts/7"
OPENED = body("alert.opened", AT, SUBJECT, FACTS, LINK)
DIGEST = json.dumps(
    {
        "type": "team.digest",
        "timestamp": "2026-11-25T06:30:00Z",
        "data": {
            "message": "2 alertes pendant les heures calmes de Voirie.",
            "alerts": [
                {"message": "Bac 12 plein.", "severity": "major", "link": LINK, "is_over": False},
                {"message": "Bac 13 plein.", "severity": "warning", "link": LINK, "is_over": True},
            ],
            "more": 4,
        },
    }
).encode()


def rendered(form: str, octets: bytes = OPENED) -> Any:
    return json.loads(render(form, "msg_1", octets).body)


def test_the_standard_form_is_the_message_itself() -> None:
    assert render("standard", "msg_1", OPENED).body == OPENED


def test_a_cloudevent_has_what_the_specification_requires_and_the_same_data() -> None:
    event = rendered("cloudevents")

    assert render("cloudevents", "msg_1", OPENED).content_type.startswith("application/cloudevents+json")
    assert event.pop("data") == json.loads(OPENED)["data"]
    assert event == {
        "specversion": "1.0",
        "id": "msg_1",
        "source": "/territoire/brest",
        "type": "fr.territoire.alert.opened",
        "time": "2026-11-25T06:05:00Z",
        "datacontenttype": "application/json",
        "subject": "alerts/7",
    }


def test_a_chat_shows_gravity_message_and_link_and_calls_nobody() -> None:
    assert rendered("chat") == {
        "text": f"*Alerte : majeure*\nBac &lt;12&gt; &amp; co : plein à 92 %. À vider.\n{LINK}"
    }


def test_a_chat_shows_a_digest_a_line_for_each_alert() -> None:
    assert rendered("chat", DIGEST)["text"].split("\n") == [
        "*2 alertes pendant les heures calmes de Voirie.*",
        f"Majeure : Bac 12 plein. {LINK}",
        f"Avertissement (terminée depuis) : Bac 13 plein. {LINK}",
        "… et 4 autres, dans la liste des alertes.",
    ]


def test_nobody_is_called_by_the_name_of_a_team_or_of_a_bin() -> None:
    content = json.loads(DIGEST)
    content["data"]["message"] = "1 alerte pour l'équipe <!channel> @all"
    content["data"]["alerts"][0]["message"] = "@here plein."
    text = rendered("chat", json.dumps(content).encode())["text"]

    assert "<" not in text
    assert [at + 1 for at, letter in enumerate(text) if letter == "@"] == [
        at for at, letter in enumerate(text) if letter == "\u200b"
    ]


def test_a_link_that_is_in_the_text_is_not_said_twice() -> None:
    facts = replace(FACTS, message=f"Plein : {LINK}")

    assert rendered("chat", body("alert.opened", AT, SUBJECT, facts, LINK))["text"].count(LINK) == 1


def test_teams_gets_a_card() -> None:
    attachment = rendered("teams")["attachments"][0]

    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert [block["text"] for block in attachment["content"]["body"]] == [
        "Alerte : majeure",
        "Bac <12> & co : plein à 92 %. À vider.",
        LINK,
    ]


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ("alert.resolved", "*Fin d'alerte*"),
        ("alert.raised", "*Alerte aggravée : majeure*"),
        ("alert.reopened", "*Alerte rouverte : majeure*"),
        ("alert.flapping", "*Alerte qui va et vient : majeure*"),
        ("alert.escalated", "*Alerte : majeure, personne ne l'a prise en charge*"),
    ],
)
def test_a_message_about_a_known_alert_begins_with_what_changed(event: str, first: str) -> None:
    assert rendered("chat", body(event, AT, SUBJECT, FACTS, LINK))["text"].split("\n")[0] == first
