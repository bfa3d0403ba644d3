"""Validates a rule; what is wrong is said in French."""

from alerting.rules.conditions import overlaps
from alerting.rules.model import (
    DECLARED,
    KINDS,
    MESSAGE_FIELD,
    MESSAGE_FIELDS,
    SCHEDULES,
    SERIES,
    SEVERITIES,
    Rule,
    Rung,
)
from core.model.comparisons import COMPARISONS
from core.model.quantities import QUANTITIES, Kind

RUNGS_MOST = 5
WITHOUT_QUANTITY = ("silence", "gateway", "loss", *DECLARED)
WITHOUT_LIMITS = ("silence", "gateway", *DECLARED)
SERIES_OF = {
    "water_volume": ("night_minimum_flow",),
    "pulse_count": ("night_minimum_flow",),
    "active_power": ("power_ratio", "missing_lamps"),
    "apparent_power": ("contract_ratio",),
    "voltage": ("phase_voltage",),
    "current": ("phase_current",),
}


class InvalidRule(ValueError):
    """No rule can be like this; the message says why, in French."""


def check_rule(rule: Rule) -> Rule:
    """`rule` itself.

    Raises:
        InvalidRule: it contradicts itself, or would never fire.
    """
    for value, words, what, field in (
        (rule.kind, KINDS, "le type", "kind"),
        (rule.severity, SEVERITIES, "la gravité", "severity"),
        (rule.schedule, SCHEDULES, "le moment", "schedule"),
    ):
        if value not in words:
            raise InvalidRule(f"{what} (`{field}`) est {', '.join(words)}, et non {value}")
    if rule.kind not in WITHOUT_QUANTITY:
        _check_quantity(rule)
    _check_scope(rule)
    _check_limits(rule)
    _check_patience(rule)
    _check_ladder(rule)
    _check_message(rule)
    return rule


def _check_quantity(rule: Rule) -> None:
    quantity = QUANTITIES.get(rule.quantity or "")
    if quantity is None:
        raise InvalidRule(
            f"la grandeur {rule.quantity or '(vide)'} n'est pas au catalogue : choisissez dans GET /v1/quantities"
        )
    if rule.kind == "boolean" and quantity.kind is not Kind.BOOLEAN:
        raise InvalidRule(f"{quantity.label_fr} n'est pas un état vrai ou faux : choisissez `threshold`")
    if rule.series is not None:
        if rule.series not in SERIES or rule.series not in SERIES_OF.get(quantity.name, ()):
            raise InvalidRule(f"la série {rule.series} ne se calcule pas à partir de {quantity.label_fr}")
        if rule.kind not in ("threshold", "range"):
            raise InvalidRule("une série calculée se compare à un seuil ou à une plage")


def _check_scope(rule: Rule) -> None:
    """Rejects settings that this kind of rule ignores, so that nobody relies on them."""
    if rule.kind in ("silence", "gateway", "loss"):
        if rule.schedule != "always":
            raise InvalidRule("une règle `silence`, `gateway` ou `loss` veille toujours : retirez `schedule`")
        if rule.series is not None:
            raise InvalidRule("une règle `silence`, `gateway` ou `loss` ne suit pas de série : retirez `series`")
    if rule.kind == "silence" and rule.quantity is not None:
        _check_quantity(rule)
    if rule.kind in ("silence", "gateway") and rule.ladder:
        raise InvalidRule("une règle `silence` ou `gateway` n'a pas de degrés : retirez `ladder`")
    if rule.kind in ("gateway", "loss") and rule.quantity is not None:
        raise InvalidRule("une règle `gateway` ou `loss` ne suit pas de grandeur : retirez `quantity`")
    if rule.kind == "gateway" and (rule.asset_kinds is not None or rule.tags):
        raise InvalidRule("une passerelle n'est pas un actif : retirez `asset_kinds` et `tags`")
    if rule.judges_improbable and (rule.kind not in ("threshold", "range", "boolean") or rule.series is not None):
        raise InvalidRule(
            "une valeur improbable ne se juge qu'une à une : `judges_improbable` demande une règle `threshold`, "
            "`range` ou `boolean` sans série"
        )
    if rule.clear_on_emptying and rule.quantity != "fill_level":
        raise InvalidRule("seul un remplissage se vide : `clear_on_emptying` demande la grandeur `fill_level`")


def _check_limits(rule: Rule) -> None:
    if rule.kind in WITHOUT_LIMITS:
        return
    if rule.fire_value is None:
        raise InvalidRule("il manque le seuil de déclenchement, `fire_value`")
    if rule.kind == "boolean" and rule.fire_value not in (0.0, 1.0):
        raise InvalidRule("l'état qui déclenche est 0 ou 1")
    if rule.kind == "flat" and rule.fire_value < 0:
        raise InvalidRule("l'écart en deçà duquel une valeur est figée n'est pas négatif")
    if rule.kind == "range":
        bounds = (rule.fire_value, rule.clear_value, rule.clear_upper, rule.fire_upper)
        known = [bound for bound in bounds if bound is not None]
        if len(known) < len(bounds) or known != sorted(known):
            raise InvalidRule(
                "la plage de retour à la normale doit tenir dans la plage de déclenchement : "
                "fire_value ≤ clear_value ≤ clear_upper ≤ fire_upper"
            )
    if rule.kind in ("threshold", "rate", "loss"):
        if rule.clear_value is None or rule.fire_op not in COMPARISONS or rule.clear_op not in COMPARISONS:
            raise InvalidRule(
                "il manque la comparaison, ou le seuil de retour à la normale : dites `fire_op`, `clear_op` "
                "(l'autre sens) et `clear_value`"
            )
        if (rule.fire_op[0] == rule.clear_op[0]) or overlaps(rule):
            raise InvalidRule(
                "le seuil de retour à la normale est au-delà du seuil de déclenchement : une règle qui déclenche "
                "à `>= 75` finit à `<= 60`, par exemple"
            )


def _check_patience(rule: Rule) -> None:
    if rule.of_readings is not None and rule.of_readings < rule.for_readings:
        raise InvalidRule(
            f"{rule.for_readings} mesures sur {rule.of_readings} n'arrivent jamais : `of_readings` est au moins "
            "`for_readings`"
        )
    if rule.kind == "gateway" and rule.for_seconds < 60:  # noqa: PLR2004
        raise InvalidRule("une passerelle ne peut être dite muette avant une minute : `for_seconds` ≥ 60")


def _check_ladder(rule: Rule) -> None:
    if len(rule.ladder) > RUNGS_MOST:
        raise InvalidRule(f"une échelle a {RUNGS_MOST} degrés au plus")
    below = SEVERITIES.index(rule.severity)
    for rung in rule.ladder:
        if rung.severity not in SEVERITIES or SEVERITIES.index(rung.severity) < below:
            raise InvalidRule("les degrés d'une échelle montent en gravité, à partir de celle de la règle")
        below = SEVERITIES.index(rung.severity)
        _check_rung(rule, rung)


def _check_rung(rule: Rule, rung: Rung) -> None:
    if [rung.value, rung.within_hours, rung.times_median].count(None) != 2:  # noqa: PLR2004
        raise InvalidRule("un degré dit une valeur, un délai ou un multiple de la médiane : un seul des trois")
    if rung.op not in COMPARISONS:
        raise InvalidRule(f"la comparaison est {', '.join(COMPARISONS)}, et non {rung.op}")
    if rung.within_hours is not None and (rule.series is not None or rule.kind != "threshold"):
        raise InvalidRule("une prévision se fait sur les valeurs mesurées d'une règle à seuil")
    if rung.times_median is not None and rule.series != "night_minimum_flow":
        raise InvalidRule("la médiane des nuits n'existe que pour le débit minimal de nuit")


def _check_message(rule: Rule) -> None:
    """People would read a misspelt field as it is written."""
    unknown = [name for name in MESSAGE_FIELD.findall(rule.message) if name not in MESSAGE_FIELDS]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in MESSAGE_FIELDS)
        raise InvalidRule(f"le champ {{{unknown[0]}}} du message n'existe pas : choisissez parmi {known}")
