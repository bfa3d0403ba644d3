"""What an alert says, in French, and the JSON that carries it (Standard Webhooks: type, timestamp, data)."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

PARIS = ZoneInfo("Europe/Paris")
FIELD = re.compile(r"\{(\w+)\}")
FIELD_MOST = 200
MESSAGE_MOST = 2000
NO_BREAK = "\u00a0"

# UCUM codes whose French form is another.
UNITS = {
    "1": "", "[ppm]": "ppm", "[ppb]": "ppb", "Cel": "°C", "W.h": "Wh", "V.A": "VA", "kV.A": "kVA",
    "{var}": "var", "{var}.h": "varh", "ug/m3": "µg/m³", "mg/m3": "mg/m³",
}  # fmt: skip
CAUSES = {
    "cleared": "retour à la normale",
    "emptied": "le bac a été vidé",
    "heard": "le capteur émet de nouveau",
    "rule_disabled": "la règle a été désactivée",
    "device_disabled": "le capteur a été désactivé",
    "device_replaced": "le capteur ne sert plus ce lieu",
    "asset_transferred": "l'actif a été transféré à une autre collectivité",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about, with the names that people know."""

    tenant: str
    asset_id: int | None
    asset_kind: str | None
    asset: str | None
    street: str
    commune: str
    device: str | None
    unit: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of it."""

    alert_id: int
    rule: str
    severity: str
    message: str  # The rule's template when it opens.
    since: datetime
    value: float | None
    threshold: float | None


def quantity_text(value: float | None, unit: str) -> str:
    """A value as French is written: 82,5 %."""
    if value is None:
        return "valeur inconnue"
    number = f"{value:.1f}".removesuffix(".0").replace(".", ",")
    label = UNITS.get(unit, unit)
    return f"{number}{NO_BREAK}{label}" if label else number


def instant_text(instant: datetime) -> str:
    """An instant in legal French time: le 25/11/2026 à 14 h 05."""
    local = instant.astimezone(PARIS)
    return f"le {local:%d/%m/%Y} à {local.hour}{NO_BREAK}h{NO_BREAK}{local:%M}"


def _name(subject: Subject) -> str:
    return (subject.asset or subject.device or "équipement inconnu")[:FIELD_MOST]


def _place(subject: Subject) -> str:
    places = (subject.street[:FIELD_MOST], subject.commune[:FIELD_MOST])
    return ", ".join(filter(None, places)) or "lieu non renseigné"


def opened_text(subject: Subject, facts: Facts) -> str:
    """The rule's template with its fields filled in; a field that does not exist stays as it is written."""
    fields = {
        "asset": _name(subject),
        "place": _place(subject),
        "street": subject.street[:FIELD_MOST],
        "commune": subject.commune[:FIELD_MOST],
        "device": (subject.device or "inconnu")[:FIELD_MOST],
        "value": quantity_text(facts.value, subject.unit),
        "threshold": quantity_text(facts.threshold, subject.unit),
        "since": instant_text(facts.since),
    }
    return FIELD.sub(lambda found: fields.get(found[1], found[0]), facts.message)[:MESSAGE_MOST]


def resolved_text(subject: Subject, cause: str, value: float | None) -> str:
    """The end of an alert, and why."""
    tail = "" if value is None else f" ({quantity_text(value, subject.unit)})"
    return f"{_name(subject)} ({_place(subject)}) : fin d'alerte, {CAUSES.get(cause, cause)}{tail}."


def body(event: str, at: datetime, subject: Subject, facts: Facts, link: str, cause: str | None = None) -> bytes:
    """The JSON of one message; `facts.message` is the text to show."""
    data: dict[str, Any] = {
        "alert": facts.alert_id,
        "tenant": subject.tenant,
        "rule": facts.rule,
        "severity": facts.severity,
        "message": facts.message,
        "asset": None
        if subject.asset_id is None
        else {
            "id": subject.asset_id,
            "kind": subject.asset_kind,
            "name": _name(subject),
            "street": subject.street[:FIELD_MOST],
            "commune": subject.commune[:FIELD_MOST],
        },
        "device": None if subject.device is None else subject.device[:FIELD_MOST],
        "value": facts.value,
        "unit": subject.unit or None,
        "threshold": facts.threshold,
        "since": facts.since,
        "link": link,
    }
    if cause is not None:
        data["cause"] = cause
    return msgspec.json.encode({"type": event, "timestamp": at, "data": data})
