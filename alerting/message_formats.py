"""Formats one notification for its receiver: Standard Webhooks, CloudEvents, a chat's incoming webhook.

Pure. A message is JSON `{"type", "timestamp", "data"}` (`alerting.wording.body`, `alerting.dispatch`).
"""

from dataclasses import dataclass
from typing import Any

import msgspec

STANDARD, CLOUDEVENTS, CHAT, TEAMS, EMAIL = "standard", "cloudevents", "chat", "teams", "email"
FORMS = (STANDARD, CLOUDEVENTS, CHAT, TEAMS, EMAIL)
TYPE_PREFIX = "fr.territoire."
ADAPTIVE_CARD = "application/vnd.microsoft.card.adaptive"
SEVERITY_WORDS = {"info": "Information", "warning": "Avertissement", "major": "Majeure", "critical": "Critique"}
# The first words of a message about an alert that was notified before.
CHANGES = {
    "alert.raised": "Alerte aggravée",
    "alert.reopened": "Alerte rouverte",
    "alert.flapping": "Alerte qui va et vient",
    "alert.digest": "Alerte qui va et vient",
}
ENDPOINT_EVENTS = {
    "endpoint.gone": "Adresse disparue",
    "endpoint.suspended": "Adresse suspendue",
    "operator.nobody_notified": "Alertes sans destinataire",
    "webhook.code": "Code de confirmation",
    "measurement_webhook.late": "Webhook de mesures en retard",
    "measurement_webhook.stopped": "Webhook de mesures arrêté",
}
MEASUREMENTS = "measurements.changed"
SENSOR_HEALTH = "team.sensor_health"
REPORT = "team.report"
# What begins a mention or a link in Slack and Mattermost: nobody is called by the name of a bin.
CHAT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b"})


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is posted."""

    content_type: str
    body: bytes


class Line(msgspec.Struct):
    """One alert of a digest."""

    message: str = ""
    severity: str = ""
    link: str = ""
    is_over: bool = False


class Earlier(msgspec.Struct):
    """An earlier state of the alert, whose own message was not taken."""

    type: str = ""
    severity: str = ""
    message: str = ""


class Data(msgspec.Struct):
    """What people read of a message; other fields are for machines."""

    message: str = ""
    severity: str = ""
    link: str = ""
    tenant: str = ""
    alert: int | None = None
    work_order: int | None = None
    alerts: list[Line] = msgspec.field(default_factory=list[Line])
    # Of sensors, of a report, or below a work order's title.
    lines: list[str] = msgspec.field(default_factory=list[str])
    reports: list[int] = msgspec.field(default_factory=list[int])
    more: int = 0
    sequence: int = 0  # Within the alert.
    story: list[Earlier] = msgspec.field(default_factory=list[Earlier])


class Content(msgspec.Struct):
    """A message of ours."""

    type: str = ""
    timestamp: str = ""
    data: Data = msgspec.field(default_factory=Data)


def read_content(body: bytes) -> Content:
    """What there is to read in a message; raises msgspec.MsgspecError when it is none of ours."""
    return msgspec.json.decode(body, type=Content)


def headline(content: Content) -> str:
    """One line: how grave it is, or that it is over."""
    if content.type in ENDPOINT_EVENTS:
        return ENDPOINT_EVENTS[content.type]
    if content.type == "alert.resolved":
        return "Fin d'alerte"
    if content.type in CHANGES:
        return _gravity(content.data.severity, CHANGES[content.type])
    if content.type == "alert.escalated":
        return f"{_gravity(content.data.severity)}, personne ne l'a prise en charge"
    if is_list(content):
        return content.data.message
    what = "Territoire" if content.data.work_order is None else "À faire"
    return _gravity(content.data.severity) if content.data.severity else what


def is_list(content: Content) -> bool:
    """Whether it is about several things: its message is the headline."""
    return bool(content.data.alerts) or content.type in {SENSOR_HEALTH, REPORT}


def _gravity(severity: str, what: str = "Alerte") -> str:
    return f"{what} : {SEVERITY_WORDS.get(severity, severity).lower()}"


def _state(earlier: Earlier) -> str:
    return headline(Content(type=earlier.type, data=Data(severity=earlier.severity)))


def line_text(line: Line) -> str:
    """One alert of a digest in one line."""
    end = " (terminée depuis)" if line.is_over else ""
    link = f" {line.link}" if line.link else ""
    return f"{SEVERITY_WORDS.get(line.severity, line.severity)}{end} : {line.message}{link}"


def plain_lines(content: Content) -> list[str]:
    """What a person reads, without markup: a paragraph for each element."""
    data = content.data
    if content.type == SENSOR_HEALTH:
        rest = [f"… et {data.more} autres, dans la liste de la santé des capteurs."] if data.more else []
        return [*data.lines, *rest]
    if content.type == REPORT:
        rest = [f"… et {data.more} autres."] if data.more else []
        return [*data.lines, *rest, data.link]
    if data.work_order is not None:
        return [data.message, *data.lines, data.link]
    if not data.alerts:
        earlier = [f"Auparavant, non reçu : {_state(one)}. {one.message}" for one in data.story]
        # A rule's message may have the link in its text.
        return [data.message, *earlier] if data.link in data.message else [data.message, *earlier, data.link]
    rest = [f"… et {data.more} autres, dans la liste des alertes."] if data.more else []
    return [*(line_text(line) for line in data.alerts), *rest]


def render(form: str, message_id: str, body: bytes) -> Rendered:
    """`body` in a form of the web; a body that is none of ours goes as it is."""
    if form == STANDARD:
        return Rendered("application/json", body)
    if form == CLOUDEVENTS:
        return _cloudevent(message_id, body)
    content = read_content(body)
    if form == TEAMS:
        return Rendered("application/json", msgspec.json.encode(_card(content)))
    text = "\n".join([f"*{headline(content)}*", *plain_lines(content)])
    return Rendered("application/json", msgspec.json.encode({"text": text.translate(CHAT_ESCAPES)}))


def _cloudevent(message_id: str, body: bytes) -> Rendered:
    """Structured mode (CloudEvents 1.0.2, JSON format), so that the signature covers its attributes, too."""
    whole: dict[str, Any] = msgspec.json.decode(body)
    content = read_content(body)
    if content.type == MEASUREMENTS:
        return _cloudevents(message_id, content, whole["data"])
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": message_id,
        "source": f"/territoire/{content.data.tenant}" if content.data.tenant else "/territoire",
        "type": TYPE_PREFIX + content.type,
        "time": content.timestamp,
        "datacontenttype": "application/json",
        "data": whole.get("data"),
    }
    if content.data.alert is not None:
        event["subject"] = f"alerts/{content.data.alert}"
    if content.data.work_order is not None:
        event["subject"] = f"work-orders/{content.data.work_order}"
    if content.data.sequence:
        # CloudEvents' extension: a string whose order is that of its characters.
        event["sequence"] = f"{content.data.sequence:010d}"
    return Rendered("application/cloudevents+json; charset=utf-8", msgspec.json.encode(event))


def _cloudevents(message_id: str, content: Content, data: dict[str, Any]) -> Rendered:
    """JSON Batch Format: an event for each change; what concerns all of them are extensions of each."""
    events: list[dict[str, Any]] = [
        {
            "specversion": "1.0",
            "id": f"{message_id}.{place}",
            "source": f"/territoire/{content.data.tenant}/measurement-webhooks/{data['measurement_webhook']}",
            "type": f"{TYPE_PREFIX}measurement.{item['change']}",
            "subject": f"datastreams/{item['datastream_id']}",
            "time": item["recorded_at"],
            "datacontenttype": "application/json",
            "sequence": f"{data['sequence']:010d}.{place:04d}",
            "data": item,
        }
        for place, item in enumerate(data["items"], 1)
    ]
    return Rendered("application/cloudevents-batch+json; charset=utf-8", msgspec.json.encode(events))


def _card(content: Content) -> dict[str, Any]:
    """An Adaptive Card, which the workflows of Microsoft Teams take since its connectors have ended."""
    blocks: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": headline(content), "weight": "Bolder", "wrap": True},
        *({"type": "TextBlock", "text": line, "wrap": True} for line in plain_lines(content)),
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    return {"type": "message", "attachments": [{"contentType": ADAPTIVE_CARD, "content": card}]}
