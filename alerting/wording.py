"""The French text of alerts, and the JSON that carries it (Standard Webhooks: type, timestamp, data)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from alerting.rules.lighting_series import PHASE, Said
from alerting.rules.model import MESSAGE_FIELD, Doubt
from core.model.region import METROPOLITAN, Region, region_of

FIELD_MOST = 200
MESSAGE_MOST = 2000
NO_BREAK = "\u00a0"

# UCUM codes whose French form is another.
UNITS = {
    "1": "", "[ppm]": "ppm", "[ppb]": "ppb", "Cel": "°C", "W.h": "Wh", "V.A": "VA", "kV.A": "kVA",
    "{var}": "var", "{var}.h": "varh", "ug/m3": "µg/m³", "mg/m3": "mg/m³", "m3": "m³", "W/m2": "W/m²", "deg": "°",
    "uS/cm": "µS/cm", "[g]": "g", "{lamp}": "lampe(s)",
}  # fmt: skip
CAUSES = {
    "cleared": "retour à la normale",
    "emptied": "le bac a été vidé",
    "heard": "le capteur émet de nouveau",
    "seen": "la passerelle émet de nouveau",
    "partner_cleared": "le système partenaire signale la fin",
    "program_reported": "l'horloge tient le programme prévu",
    "export_dropped": "les fichiers arrivent de nouveau, ou ne sont plus attendus",
    "rule_disabled": "la règle a été désactivée",
    "rule_narrowed": "la règle ne regarde plus ce lieu",
    "device_disabled": "le capteur a été désactivé",
    "asset_archived": "l'actif a été archivé",
    "device_replaced": "capteur remplacé, ou retiré de ce lieu",
    "device_assigned": "le capteur sert désormais un lieu",
    "asset_transferred": "l'actif a été transféré à une autre collectivité",
}
PHASES = {"phase_a": "1", "phase_b": "2", "phase_c": "3"}
PERCENT_SERIES = ("power_ratio", "contract_ratio", "phase_voltage", "phase_current")
DOUBTS = {
    Doubt.VALUE: "Valeur improbable : hors de la plage de mesure du capteur.",
    Doubt.TIME: "Instant improbable : l'heure que dit le capteur ou sa source est fausse.",
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
    gateway: str | None = None
    department: str | None = None  # The tenant's.
    timezone: str = "Europe/Paris"  # The deployment's.
    channel: str = ""  # Of the datastream, of an alert about one.

    @property
    def region(self) -> Region:
        """The time zone and public holidays of the tenant."""
        return region_of(self.department, self.timezone)


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of an alert that its text may name."""

    alert_id: int
    rule: str
    severity: str
    message: str  # The rule's template when it opens.
    since: datetime
    value: float | None
    threshold: float | None
    occurrences: int = 1
    doubt: Doubt | None = None
    learnt_at: datetime | None = None  # Long after it began.
    said: Said | None = None  # What the value of a series of lighting means.
    note: str = ""  # Said after the rule's own text.


def unit_of(series: str | None, kind: str, unit: str) -> str:
    """The unit (UCUM) of what a rule judges, of a quantity in `unit`."""
    if series in PERCENT_SERIES or kind == "loss":
        return "%"
    if series == "missing_lamps":
        return "{lamp}"
    if series == "night_minimum_flow" or kind == "rate":
        return f"{unit}/h" if unit != "1" else "/h"
    return unit


def quantity_text(value: float | None, unit: str) -> str:
    """A value as French is written: 82,5 %."""
    if value is None:
        return "valeur inconnue"
    number = f"{value:.{1 if abs(value) >= 1 else 3}f}".rstrip("0").rstrip(".").replace(".", ",")
    number = "0" if number == "-0" else number
    label = unit_label(unit)
    return f"{number}{NO_BREAK}{label}" if label else number


def unit_label(unit: str) -> str:
    """A UCUM code as people write it: °C, ppm, m³/h; empty for a number without a unit."""
    base = unit.removesuffix("/h")
    return UNITS.get(base, base) + unit.removeprefix(base)


def instant_text(instant: datetime, region: Region = METROPOLITAN) -> str:
    """An instant in the legal time of a region: le 25/11/2026 à 14 h 05."""
    local = region.local(instant)
    return f"le {local:%d/%m/%Y} à {local.hour}{NO_BREAK}h{NO_BREAK}{local:%M}"


def _name(subject: Subject) -> str:
    return (subject.asset or subject.device or subject.gateway or "équipement inconnu")[:FIELD_MOST]


def _place(subject: Subject) -> str:
    places = (subject.street[:FIELD_MOST], subject.commune[:FIELD_MOST])
    return ", ".join(filter(None, places)) or "lieu non renseigné"


def opened_text(subject: Subject, facts: Facts, link: str = "") -> str:
    """The rule's template with its fields filled in; a field that does not exist stays as it is written.

    The text names the doubt about a value.
    """
    fields = {
        "asset": _name(subject),
        "place": _place(subject),
        "street": subject.street[:FIELD_MOST],
        "commune": subject.commune[:FIELD_MOST],
        "device": (subject.device or "inconnu")[:FIELD_MOST],
        "gateway": (subject.gateway or "inconnue")[:FIELD_MOST],
        "value": quantity_text(facts.value, subject.unit),
        "threshold": quantity_text(facts.threshold, subject.unit),
        "since": instant_text(facts.since, subject.region),
        "link": link,
        "measured": _said_text(facts, "measured"),
        "expected": _said_text(facts, "expected"),
        "phase": PHASES.get(subject.channel, subject.channel.removeprefix(PHASE) or "inconnue"),
    }
    text = MESSAGE_FIELD.sub(lambda found: fields.get(found[1], found[0]), facts.message)
    notes = facts.note if facts.doubt is None else f"{facts.note} {DOUBTS[facts.doubt]}"
    if facts.learnt_at is not None:
        learnt, since = instant_text(facts.learnt_at, subject.region), fields["since"]
        notes += f" (appris tard : dure depuis {since}, appris {learnt}.)"
    return text[: MESSAGE_MOST - len(notes)] + notes


def _said_text(facts: Facts, which: Literal["measured", "expected"]) -> str:
    said = facts.said
    return quantity_text(None, "") if said is None else quantity_text(getattr(said, which), said.unit)


def partner_text(subject: Subject, source: str, named: str | None, said: str, since: datetime) -> str:
    """A partner's alarm: at which asset, what its system `source` says, of what it calls `named`, since when."""
    who = source if named is None else f"{source}, {named}"
    when = f"depuis {instant_text(since, subject.region)}"
    said = said.rstrip(" .")
    if subject.asset is None:
        return f"{who} : {said}, {when}."
    return f"{_name(subject)} ({_place(subject)}) : {said}, {when} ({who})."


def _whom(subject: Subject, said: str) -> str:
    """Where it is; of what is nowhere, as a partner's alarm may be, what was said of it."""
    if not (subject.asset or subject.device or subject.gateway) and said:
        return said[:FIELD_MOST].rstrip(".")
    return _name(subject) if subject.asset is None and subject.gateway else f"{_name(subject)} ({_place(subject)})"


def resolved_text(subject: Subject, cause: str, value: float | None, said: str = "") -> str:
    """The end of an alert, and why; `said` is what was said when it began."""
    tail = "" if value is None else f" ({quantity_text(value, subject.unit)})"
    return f"{_whom(subject, said)} : fin d'alerte, {CAUSES.get(cause, cause)}{tail}."


def flapping_text(subject: Subject, rule: str, said: str = "") -> str:
    """The text of an alert that changes too often to be notified each time."""
    return (
        f"{_whom(subject, said)} : l'alerte {rule} va et vient (plus de 4 changements en 6 heures). Ses "
        "changements ne seront plus annoncés un par un, mais résumés une fois par heure."
    )


def digest_text(
    subject: Subject, rule: str, changes: int, value: float | None, said: str = "", *, is_open: bool
) -> str:
    """What an alert that comes and goes did in the last hour."""
    many = "1 changement" if changes == 1 else f"{changes} changements"
    now = "toujours ouverte" if is_open else "terminée pour l'instant"
    tail = "" if value is None else f" ({quantity_text(value, subject.unit)})"
    return f"{_whom(subject, said)} : alerte {rule}, {many} en une heure, {now}{tail}."


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
        "gateway": None if subject.gateway is None else subject.gateway[:FIELD_MOST],
        "value": facts.value,
        "unit": subject.unit or None,
        "threshold": facts.threshold,
        "since": facts.since,
        "occurrences": facts.occurrences,
        "link": link,
    }
    if facts.learnt_at is not None:
        data["learnt_at"] = facts.learnt_at
    if cause is not None:
        data["cause"] = cause
    return msgspec.json.encode({"type": event, "timestamp": at, "data": data})
