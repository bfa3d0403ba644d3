"""Alert rules in people's words: what one watches, when it opens an alert, and when that ends."""

import re

from alerting.rules.model import Rule, Rung
from alerting.wording import NO_BREAK, unit_label, unit_of
from api.console.language import Language
from api.console.navigation import marked
from api.console.wording import kind_name
from api.routes.alert_rules import RuleAnswer
from core.model.quantities import QUANTITIES

# Those that a tenant starts with; a rule that somebody has named is called as they did.
RULE_NAMES = {
    "bin_75": marked("Bac plein"),
    "bin_fire": marked("Feu possible dans un conteneur"),
    "bin_tilt": marked("Conteneur renversé"),
    "co2_800": marked("Air à renouveler"),
    "co2_1500": marked("Air vicié"),
    "leak": marked("Fuite d’eau probable"),
    "over_power": marked("Armoire qui consomme trop"),
    "dark": marked("Éclairage éteint la nuit"),
    "day_on": marked("Éclairage allumé le jour"),
    "intrusion": marked("Ouverture hors des heures"),
    "gateway_down": marked("Passerelle muette"),
    "device_silent": marked("Capteur muet"),
    "battery_low": marked("Pile faible"),
    "sensor_flat": marked("Sonde figée"),
    "sensor_loss": marked("Messages perdus"),
    "wrong_clock": marked("Horloge fausse"),
    "under_power": marked("Lampes qui manquent"),
    "lost_phase": marked("Phase perdue"),
    "lost_phase_current": marked("Phase sans courant"),
    "contract_power": marked("Puissance souscrite dépassée"),
    "breaker": marked("Disjoncteur déclenché"),
    "cabinet_door": marked("Porte d’armoire ouverte"),
    "clock_offset": marked("Horloge d’éclairage décalée"),
    "clock_lost": marked("Horloge d’éclairage sans heure"),
    "program_mismatch": marked("Programme d’éclairage non tenu"),
    "relight_failed": marked("Rallumage sans preuve"),
    "export_drop": marked("Dépôt de fichiers en échec"),
}
KINDS = {
    "threshold": marked("Une valeur passe un seuil"),
    "range": marked("Une valeur sort d’une plage"),
    "rate": marked("Une valeur change trop vite"),
    "boolean": marked("Un état est vrai, ou faux"),
    "flat": marked("Une valeur ne bouge plus"),
    "silence": marked("Un capteur ne dit plus rien"),
    "gateway": marked("Une passerelle n’est plus vue"),
    "loss": marked("Des messages se perdent"),
    "gateway_address": marked("Une passerelle parle d’une autre adresse"),
    "codec": marked("Un décodeur est suspendu"),
    "clock": marked("Une horloge donne des instants impossibles"),
    "program_mismatch": marked("Une horloge ne tient pas son programme d’éclairage"),
    "relight_failed": marked("Un éclairage ne se rallume pas"),
    "export_drop": marked("Un fichier déposé n’arrive pas"),
    "partner": marked("Un système partenaire le déclare"),
}
EXAMPLES = {
    "threshold": marked("remplissage à 75 % ou plus"),
    "range": marked("réfrigérateur hors de 2 à 8 °C"),
    "rate": marked("température qui monte de 10 °C par heure"),
    "boolean": marked("porte ouverte"),
    "flat": marked("sonde morte"),
    "silence": marked("pile vide, sonde arrachée"),
    "gateway": marked("coupure de courant"),
    "loss": marked("mauvaise couverture"),
}
SCHEDULES = {
    "always": marked("toujours"),
    "open": marked("aux heures d’ouverture"),
    "closed": marked("hors des heures d’ouverture"),
    "night": marked("de 22 h à 6 h"),
    "lit": marked("quand l’éclairage doit être allumé"),
    "unlit": marked("quand l’éclairage doit être éteint"),
}
SERIES = {
    "night_minimum_flow": marked("Débit minimal de la nuit"),
    "power_ratio": marked("Puissance, en part de l’attendue"),
    "missing_lamps": marked("Puissance qui manque, en lampes"),
    "contract_ratio": marked("Puissance apparente, en part de la souscrite"),
    "phase_voltage": marked("Tension d’une phase, en part de 230 V"),
    "phase_current": marked("Intensité d’une phase, en part de l’ordinaire"),
}
SEVERITIES = {
    "info": marked("information"),
    "warning": marked("attention"),
    "major": marked("majeure"),
    "critical": marked("critique"),
}
COMPARISONS = {
    ">=": marked("%(value)s ou plus"),
    ">": marked("plus de %(value)s"),
    "<=": marked("%(value)s ou moins"),
    "<": marked("moins de %(value)s"),
}
CONDITIONS = {
    "threshold": marked("%(quantity)s à %(comparison)s"),
    "range": marked("%(quantity)s hors de %(value)s à %(upper)s"),
    "rate": marked("%(quantity)s : variation de %(comparison)s"),
    "boolean": marked("%(quantity)s : oui"),
    "boolean_false": marked("%(quantity)s : non"),
    "flat": marked("%(quantity)s qui ne bouge pas de plus de %(value)s"),
    "silence": marked("Aucun message pendant %(count)s fois l’intervalle du capteur"),
    "silence_of_quantity": marked("Plus de %(quantity)s pendant %(count)s fois l’intervalle du capteur"),
    "gateway": marked("Passerelle muette"),
    "loss": marked("Messages perdus en 24 h : %(comparison)s"),
}
UNITS_OF_TIME = ((marked("j"), 86_400), ("h", 3600), ("min", 60), ("s", 1))
DURATION = re.compile(r"(\d+(?:[.,]\d+)?)\s*(s|sec|secondes?|min|minutes?|h|heures?|hours?|j|jours?|d|days?)?")


def rule_of(shown: RuleAnswer) -> Rule:
    """A rule as the engine knows it."""
    fields = shown.model_dump()
    rungs = tuple(Rung(**rung) for rung in fields.pop("ladder"))
    return Rule(**fields, ladder=rungs)


def title(name: str, language: Language) -> str:
    """What people call a rule."""
    known = RULE_NAMES.get(name)
    spoken = name.replace("_", " ")
    return spoken[:1].upper() + spoken[1:] if known is None else language.gettext(known)


def duration(seconds: float, language: Language) -> str:
    """A length of time: 10 min, 2 h, 1,5 j."""
    for unit, length in UNITS_OF_TIME:
        if seconds >= length and (seconds % length == 0 or unit == "s"):
            return f"{language.number(seconds / length)}{NO_BREAK}{language.gettext(unit)}"
    return f"{language.number(seconds)}{NO_BREAK}s"


def parse_duration(text: str) -> int | None:
    """The seconds of a length of time as people write it; a number alone is in minutes. None: it is none."""
    found = DURATION.fullmatch(text.strip().lower().replace("\u202f", "").replace("\u00a0", " "))
    if found is None:
        return None
    unit = "j" if (found[2] or "min").startswith(("j", "d")) else (found[2] or "min")
    length = next(length for name, length in UNITS_OF_TIME if unit.startswith(name))
    return round(float(found[1].replace(",", ".")) * length)


def describe(rule: Rule, language: Language) -> str:
    """The rule in one sentence: what it watches, when, for how long, where."""
    _ = language.gettext
    parts = [_condition(rule, language)]
    if rule.kind == "gateway" or rule.for_seconds:
        parts[0] += " " + _("pendant %(duration)s") % {"duration": duration(rule.for_seconds, language)}
    if rule.of_readings:
        parts.append(
            _("%(count)s mesures sur %(of)s") % {"count": rule.for_readings, "of": rule.of_readings},
        )
    elif rule.for_readings > 1:
        parts.append(_("%(count)s mesures de suite") % {"count": rule.for_readings})
    if rule.schedule != "always":
        parts.append(_(SCHEDULES[rule.schedule]))
    if rule.asset_kinds:
        parts.append(", ".join(_uncapitalised(_(kind_name(kind))) for kind in rule.asset_kinds))
    if rule.tags:
        parts.append(_("étiquette %(tags)s") % {"tags": ", ".join(rule.tags)})
    return ", ".join(parts)


def _condition(rule: Rule, language: Language) -> str:
    kind = rule.kind
    if kind == "boolean" and not rule.fire_value:
        kind = "boolean_false"
    if kind == "silence" and rule.quantity is not None:
        kind = "silence_of_quantity"
    named = {
        "quantity": _quantity(rule, language),
        "comparison": compared(rule, language),
        "value": shown(rule, rule.fire_value, language),
        "upper": shown(rule, rule.fire_upper, language),
        "count": language.number(rule.silence_intervals, 1),
    }
    return language.gettext(CONDITIONS.get(kind) or KINDS.get(kind, kind)) % named


def _quantity(rule: Rule, language: Language) -> str:
    if rule.series is not None:
        return language.gettext(SERIES.get(rule.series, rule.series))
    return language.quantity(rule.quantity or "")


def unit(rule: Rule) -> str:
    """The unit of what a rule compares."""
    quantity = QUANTITIES.get(rule.quantity or "")
    return unit_label(unit_of(rule.series, rule.kind, "1" if quantity is None else quantity.unit))


def shown(rule: Rule, value: float | None, language: Language) -> str:
    """A value that the rule compares, with its unit."""
    return f"{language.number(value, 3)}{NO_BREAK}{unit(rule)}".strip()


def compared(rule: Rule, language: Language) -> str:
    """When it opens an alert: 75 % or more."""
    return _compared(rule, rule.fire_op, rule.fire_value, language)


def _compared(rule: Rule, comparison: str | None, value: float | None, language: Language) -> str:
    pattern = COMPARISONS.get(comparison or "", "%(value)s")
    return language.gettext(pattern) % {"value": shown(rule, value, language)}


def describe_end(rule: Rule, language: Language) -> str:
    """When an alert ends by itself."""
    _ = language.gettext
    match rule.kind:
        case "threshold" | "rate" | "loss":
            end = _compared(rule, rule.clear_op, rule.clear_value, language)
        case "range":
            low, high = (shown(rule, value, language) for value in (rule.clear_value, rule.clear_upper))
            end = _("de nouveau entre %(low)s et %(high)s") % {"low": low, "high": high}
        case "boolean":
            end = _("l’état contraire")
        case "flat":
            end = _("la valeur bouge de nouveau")
        case "silence":
            end = _("un message")
        case "gateway":
            end = _("la passerelle est de nouveau vue")
        case _:
            return _("quand quelqu’un le dit, ou celui qui l’a déclarée")
    if rule.keep_firing_seconds:
        end += " " + _("pendant %(duration)s") % {"duration": duration(rule.keep_firing_seconds, language)}
    if rule.clear_on_emptying:
        end += _(", ou le conteneur vidé")
    return end


def describe_rung(rule: Rule, rung: Rung, language: Language) -> str:
    """A graver step, and when it is reached."""
    _ = language.gettext
    severity = _(SEVERITIES[rung.severity])
    if rung.value is not None:
        when = _compared(rule, rung.op, rung.value, language)
    elif rung.within_hours is not None:
        limit, hours = shown(rule, rung.limit, language), language.number(rung.within_hours, 1)
        when = _("%(limit)s attendus sous %(hours)s h") % {"limit": limit, "hours": hours}
    else:
        when = _("%(times)s fois la médiane des nuits") % {"times": language.number(rung.times_median, 1)}
    at_once = _(", sans attendre") if rung.at_once else ""
    return f"{severity} : {when}{at_once}"


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
