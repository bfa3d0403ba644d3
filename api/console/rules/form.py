"""The form of an alert rule: what it shows of a rule, and what of a rule was typed into it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerting.rules.checks import RUNGS_MOST
from alerting.rules.model import Rule
from alerting.wording import NO_BREAK
from api.console import forms
from api.console.forms import Content, Form
from api.console.language import Language
from api.console.navigation import marked
from api.console.rules.words import duration, parse_duration
from core.runtime.http.errors import FieldError, Problem

LABELS = {
    "name": marked("Nom court"),
    "quantity": marked("Grandeur"),
    "series": marked("Ce qui est comparé"),
    "asset_kinds": marked("Types d’équipements"),
    "tags": marked("Étiquettes"),
    "scope": marked("Une alerte par"),
    "fire_op": marked("Comparaison"),
    "fire_value": marked("Seuil de déclenchement"),
    "fire_upper": marked("Haut de la plage"),
    "clear_op": marked("Comparaison de la fin"),
    "clear_value": marked("Seuil de retour à la normale"),
    "clear_upper": marked("Haut du retour à la normale"),
    "for_seconds": marked("Pendant"),
    "for_readings": marked("Mesures au-delà du seuil"),
    "of_readings": marked("Sur combien de mesures"),
    "keep_firing_seconds": marked("Retour à la normale pendant"),
    "clear_on_emptying": marked("Un conteneur vidé y met fin"),
    "silence_intervals": marked("Intervalles sans message"),
    "ladder": marked("Degrés plus graves"),
    "schedule": marked("Quand elle veille"),
    "calendar_id": marked("Calendrier"),
    "severity": marked("Gravité"),
    "message": marked("Texte envoyé"),
    "team_id": marked("Équipe prévenue"),
    "cadence": marked("Prévenir"),
    "inhibits": marked("Elle explique ce qui dépend de l’équipement"),
    "reopen_after_seconds": marked("Rouvrir après"),
    "judges_improbable": marked("Juger aussi les valeurs improbables"),
    "opens_work_order": marked("Ouvrir une intervention pour chaque alerte"),
    "enabled": marked("En service"),
}
TEXTS = (
    "name",
    "quantity",
    "series",
    "scope",
    "fire_op",
    "clear_op",
    "schedule",
    "severity",
    "message",
    "cadence",
)
NUMBERS = ("fire_value", "fire_upper", "clear_value", "clear_upper", "silence_intervals")
COUNTS = ("for_readings", "of_readings", "calendar_id", "team_id")
DURATIONS = ("for_seconds", "keep_firing_seconds", "reopen_after_seconds")
SWITCHES = ("clear_on_emptying", "inhibits", "judges_improbable", "opens_work_order", "enabled")
_COMPARED = ("fire_op", "fire_value", "clear_op", "clear_value")
_PLACES = ("asset_kinds", "tags")
_PATIENCE = ("for_seconds", "for_readings", "of_readings", "keep_firing_seconds")
_MOMENT = ("schedule", "calendar_id")
_ALWAYS = (
    *("name", "severity", "message", "team_id", "cadence", "inhibits", "reopen_after_seconds", "opens_work_order"),
    "enabled",
)
# What each kind of rule goes by: the form asks for nothing else.
FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset((*_ALWAYS, *fields))
    for kind, fields in {
        "threshold": (
            *("quantity", "series", "scope", "clear_on_emptying", "ladder", "judges_improbable"),
            *(*_COMPARED, *_PLACES, *_PATIENCE, *_MOMENT),
        ),
        "range": (
            *("quantity", "scope", "fire_value", "fire_upper", "clear_value", "clear_upper"),
            *("judges_improbable", "ladder", *_PLACES, *_PATIENCE, *_MOMENT),
        ),
        "rate": ("quantity", "scope", "ladder", *_COMPARED, *_PLACES, *_PATIENCE, *_MOMENT),
        "boolean": ("quantity", "scope", "fire_value", "judges_improbable", *_PLACES, *_PATIENCE, *_MOMENT),
        "flat": ("quantity", "scope", "fire_value", "for_seconds", "keep_firing_seconds", *_PLACES, *_MOMENT),
        "silence": ("quantity", "silence_intervals", *_PLACES),
        "gateway": ("for_seconds", "keep_firing_seconds"),
        "loss": ("keep_firing_seconds", "ladder", *_COMPARED, *_PLACES),
        "gateway_address": (),
        "codec": (),
        "clock": (),
        "program_mismatch": (),
        "relight_failed": (),
        "export_drop": (),
        "partner": _PLACES,
    }.items()
}
# The others make themselves at the first event.
TO_CREATE = ("threshold", "range", "rate", "boolean", "flat", "silence", "gateway", "loss")
RUNG_FIELDS = ("severity", "how", "op", "amount", "limit", "at_once")
YES = "oui"
_NAME_IN_TEXT = re.compile(r"`(\w+)`")
# Said to programs.
_ROUTE_IN_TEXT = re.compile(r" ?: (?:choisissez dans|voyez) GET [^;,.]*")


@dataclass(slots=True)
class Typed:
    """What stands in the fields of the form."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    kinds: list[str] = field(default_factory=list[str])

    def rungs(self) -> range:
        """The rows of the ladder: those that are filled in, and an empty one."""
        filled = [number for number in range(RUNGS_MOST) if self.values.get(f"rung{number}_severity")]
        return range(min(max(filled, default=-1) + 2, RUNGS_MOST))


def typed_of_rule(rule: Rule, language: Language) -> Typed:
    """The form as it shows a rule."""
    values: dict[str, str] = {"tags": " ".join(rule.tags)}
    for name in (*TEXTS, *COUNTS):
        value: Any = getattr(rule, name)
        values[name] = "" if value is None else str(value)
    for name in NUMBERS:
        values[name] = _number_text(getattr(rule, name))
    for name in DURATIONS:
        values[name] = (
            duration(getattr(rule, name), language).replace(NO_BREAK, " ") if getattr(rule, name) else ""
        )
    for name in SWITCHES:
        values[name] = YES if getattr(rule, name) else ""
    for number, rung in enumerate(rule.ladder):
        how = "value" if rung.value is not None else "hours" if rung.within_hours is not None else "median"
        amount = {"value": rung.value, "hours": rung.within_hours, "median": rung.times_median}[how]
        row = {"severity": rung.severity, "how": how, "op": rung.op, "amount": _number_text(amount)}
        row |= {"limit": _number_text(rung.limit), "at_once": YES if rung.at_once else ""}
        values |= {f"rung{number}_{name}": text for name, text in row.items()}
    return Typed(values, list(rule.asset_kinds or ()))


def _number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}".replace(".", ",")


def typed_of(form: Form) -> Typed:
    """The form as it was sent."""
    return Typed(dict(form.carried()), form.texts("asset_kinds"))


def content_of(kind: str, typed: Typed, language: Language) -> dict[str, Any]:
    """The fields of a rule of this kind, for the API; raises 422 with what is wrong in each field."""
    reading = _Reading(typed.values, language)
    asked = FIELDS[kind]
    content: dict[str, Any] = {"kind": kind, "asset_kinds": typed.kinds or None}
    content |= {name: typed.values.get(name, "").strip() or None for name in TEXTS}
    content |= {name: reading.number(name) for name in NUMBERS}
    content |= {name: reading.count(name) for name in COUNTS}
    content |= {name: reading.seconds(name) for name in DURATIONS}
    content |= {name: typed.values.get(name) == YES for name in SWITCHES}
    content["tags"] = typed.values.get("tags", "").replace(",", " ").split()
    content["ladder"] = reading.ladder()
    content = {name: value for name, value in content.items() if name in asked or name == "kind"}
    for name, usual in (("for_readings", 1), ("silence_intervals", 3.0), ("reopen_after_seconds", 14_400)):
        if name in asked and content[name] is None:
            content[name] = usual
    for name in ("for_seconds", "keep_firing_seconds"):
        if name in asked:
            content[name] = content[name] or 0
    if "quantity" in asked and kind != "silence" and content["quantity"] is None:
        reading.record_error("quantity", language.gettext("Choisissez ce qui est mesuré."))
    if reading.errors:
        raise Problem(422, _summary(reading.errors, language), errors=reading.errors)
    return content


def checked(model: type[Content], content: Mapping[str, Any], language: Language) -> Content:
    """The content of a request to the API; raises 422 with what is wrong in each field."""
    try:
        return forms.checked(model, content)
    except Problem as wrong:
        raise Problem(422, _summary(wrong.errors or (), language), errors=wrong.errors) from None


def plain(problem: Problem, language: Language) -> Problem:
    """What the API says is wrong, with the words of the form instead of its own."""

    def label(found: re.Match[str]) -> str:
        known = LABELS.get(found[1])
        return f"« {found[1] if known is None else language.gettext(known)} »"

    text = _ROUTE_IN_TEXT.sub("", _NAME_IN_TEXT.sub(label, problem.detail)).replace("'", "’")
    return Problem(problem.status, text, errors=problem.errors)


def _summary(errors: Sequence[FieldError], language: Language) -> str:
    names = [one.field.removeprefix("body.").partition(".")[0] for one in errors]
    labels = dict.fromkeys(language.gettext(LABELS.get(name, name)) for name in names)
    return language.gettext("À corriger : %(fields)s.") % {"fields": ", ".join(labels)}


class _Reading:
    """Reads what was typed, and collects what cannot be read."""

    def __init__(self, values: Mapping[str, str], language: Language) -> None:
        self._values = values
        self._language = language
        self.errors: list[FieldError] = []

    def record_error(self, name: str, message: str) -> None:
        self.errors.append(FieldError(field=f"body.{name}", code="typed", message=message))

    def number(self, name: str, of: str = "") -> float | None:
        text = re.sub(r"[\s\u202f\u00a0]", "", self._values.get(name, "")).replace(",", ".")
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            self.record_error(of or name, self._language.gettext("Un nombre, par exemple 7,5."))
            return None

    def count(self, name: str) -> int | None:
        text = self._values.get(name, "").strip()
        if text and not (text.isascii() and text.isdigit()):
            self.record_error(name, self._language.gettext("Un nombre entier."))
            return None
        return int(text) if text else None

    def seconds(self, name: str) -> int | None:
        text = self._values.get(name, "").strip()
        found = parse_duration(text) if text else None
        if text and found is None:
            self.record_error(name, self._language.gettext("Une durée, par exemple 10 min, 2 h ou 1 j."))
        return found

    def ladder(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number in range(RUNGS_MOST):
            row = {name: self._values.get(f"rung{number}_{name}", "").strip() for name in RUNG_FIELDS}
            if not row["severity"]:
                continue
            amount = self.number(f"rung{number}_amount", "ladder")
            limit = self.number(f"rung{number}_limit", "ladder")
            named = {"hours": "within_hours", "median": "times_median"}.get(row["how"], "value")
            rung = {"severity": row["severity"], named: amount, "at_once": row["at_once"] == YES}
            if row["op"]:
                rung["op"] = row["op"]
            if limit is not None:
                rung["limit"] = limit
            if amount is None and not self.errors:
                self.record_error("ladder", self._language.gettext("Chaque degré a une gravité et un nombre."))
            found.append(rung)
        return found
