"""Alert rules: the list in words, one rule with its form, and what it would have done in the last thirty days."""

from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

from fastapi import Query, Response

from alerting.alert_store import AlertCount
from alerting.rules.model import SEVERITIES, Rule
from api.auth import Caller
from api.console.language import Language
from api.console.pages import page_router
from api.console.rules import words
from api.console.rules.form import (
    FIELDS,
    LABELS,
    TO_CREATE,
    YES,
    Typed,
    checked,
    content_of,
    plain,
    typed_of,
    typed_of_rule,
)
from api.console.sorting import Keys, Sort, by_text, order_of
from api.console.territory.views import read_choices
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.console.wording import KINDS
from api.fields import Id
from api.routes import alert_rules as routes
from api.routes import alerts, silences, teams
from api.routes.alert_rules import NewRule, RuleAnswer, RulePatch, RuleTrialAnswer
from core.model.quantities import QUANTITIES
from core.model.quantities import Kind as QuantityKind
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/regles"
NEW = f"{PAGE}/nouvelle"
INVALID, CONFLICT = 422, 409
NOTICES_SHOWN = 20
# What the field of a new rule begins with.
USUAL = {
    "fire_op": ">=",
    "clear_op": "<=",
    "severity": "warning",
    "scope": "datastream",
    "schedule": "always",
    "cadence": "now",
    "reopen_after_seconds": "4 h",
    "silence_intervals": "3",
    "fire_value": "",
    "message": "{asset} ({place}) : {value} depuis {since}, à vérifier.",
    "enabled": YES,
}
MESSAGES = {
    "silence": "{asset} ({place}) : le capteur {device} est muet depuis {since} : vérifier sa pile.",
    "gateway": "La passerelle {gateway} est muette depuis {since} : vérifier son alimentation.",
    "boolean": "{asset} ({place}) : depuis {since}, à vérifier.",
}


COLUMNS: Keys = {
    "nom": lambda line: by_text(line.title),
    "gravite": lambda line: SEVERITIES.index(line.severity),
    "equipe": lambda line: by_text(line.team) if line.team else None,
    "alertes": attrgetter("unended"),
    "etat": attrgetter("enabled"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One rule of the list."""

    id: int
    title: str
    name: str
    text: str
    severity: str
    enabled: bool
    is_own: bool
    team: str | None
    unended: int


@router.get(PAGE)
async def show_list(visit: ReadersVisit, tri: Sort = "") -> Response:
    """Every rule in words, those in force first."""
    caller = visit.caller
    counts, named = await _counts(caller), await _teams(caller)
    lines = [_line(visit, words.rule_of(rule), named, counts) for rule in (await routes.list_rules(caller)).items]
    lines.sort(key=lambda line: (not line.is_own, not line.enabled, by_text(line.title)))
    order = order_of(visit.request, tri, COLUMNS)
    return visit.page("rules/list.html", lines=order.applied(lines), order=order)


async def _counts(caller: Caller) -> dict[int, AlertCount]:
    """How many alerts each rule has that has any."""
    found: list[Any] = [*(await alerts.count_alerts(caller)).items]
    return {one.rule_id: one for one in found}


async def _teams(caller: Caller) -> dict[int, str]:
    """The names of teams."""
    found: list[Any] = [*(await teams.list_teams(caller)).items]
    return {one.id: one.name for one in found}


def _line(visit: PersonsVisit, rule: Rule, named: dict[int, str], counts: dict[int, AlertCount]) -> Line:
    return Line(
        rule.id,
        words.title(rule.name, visit.language),
        rule.name,
        words.describe(rule, visit.language),
        rule.severity,
        rule.enabled,
        rule.tenant_id == visit.tenant.id,
        named.get(rule.team_id or 0),
        counts[rule.id].unended if rule.id in counts else 0,
    )


@router.get(NEW)
async def show_new(visit: ManagersVisit, genre: Annotated[str, Query(max_length=20)] = "") -> Response:
    """What a new rule is to watch; then its form, with usual values."""
    if genre not in TO_CREATE:
        said = visit.gettext
        kinds = {kind: (said(words.KINDS[kind]), said(words.EXAMPLES[kind])) for kind in TO_CREATE}
        return visit.page("rules/kinds.html", kinds=kinds)
    usual = USUAL | ({"message": MESSAGES[genre]} if genre in MESSAGES else {})
    usual |= {"for_seconds": "10 min"} if genre == "gateway" else {}
    return await _editor(visit, genre, Typed(usual))


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Try the rule that was typed, or make it."""
    kind, typed = visit.form.text("kind"), typed_of(visit.form)
    if kind not in TO_CREATE:
        return visit.go(NEW, visit.gettext("Choisissez d’abord ce que la règle regarde."))
    try:
        body = checked(NewRule, content_of(kind, typed, visit.language), visit.language)
        if visit.form.text("act") == "try":
            return await _editor(visit, kind, typed, backtest=await routes.try_new_rule(body, visit.caller))
        made = await routes.create_rule(body, visit.caller)
    except Problem as problem:
        return await _editor(visit, kind, typed, problem=_reworded(problem, visit.language))
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("La règle est créée ; elle veille dans cinq secondes."))


def _reworded(problem: Problem, language: Language) -> Problem:
    """What the form says of it; raises again what no other value would mend."""
    if problem.status not in {INVALID, CONFLICT}:
        raise problem
    return plain(problem, language)


@router.get(PAGE + "/{id}")
async def show_rule(
    id: Id,  # noqa: A002 - The path's word.
    visit: ReadersVisit,
    essai: Annotated[str, Query(max_length=3)] = "",
) -> Response:
    """One rule: in words, its open alerts, and its form for who may change it."""
    rule = await routes.read_rule(id, visit.caller)
    typed = typed_of_rule(words.rule_of(rule), visit.language)
    if essai != YES:
        return await _editor(visit, rule.kind, typed, rule)
    try:
        backtest = await routes.try_stored_rule(id, visit.caller)
    except Problem as problem:
        return await _editor(visit, rule.kind, typed, rule, problem=_reworded(problem, visit.language))
    return await _editor(visit, rule.kind, typed, rule, backtest=backtest)


@router.post(PAGE + "/{id}")
async def change(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Try what was typed, save it, or put the rule into force or out of it."""
    rule = await routes.read_rule(id, visit.caller)
    act = visit.form.text("act")
    if act in {"enable", "disable"}:
        await routes.update_rule(id, RulePatch.model_validate({"enabled": act == "enable"}), visit.caller)
        done = {
            "enable": visit.gettext("La règle veille de nouveau, partout dans cinq secondes."),
            "disable": visit.gettext("La règle ne veille plus ; ses alertes ouvertes se terminent."),
        }
        return visit.go(f"{PAGE}/{id}", done[act])
    typed = typed_of(visit.form)
    try:
        content = content_of(rule.kind, typed, visit.language)
        if act == "try":
            tried = checked(NewRule, content, visit.language)
            backtest = await routes.try_new_rule(tried, visit.caller)
            return await _editor(
                visit, rule.kind, typed, rule, backtest=backtest, version=visit.form.text("version")
            )
        body = checked(RulePatch, content, visit.language)
        await change_as_read(
            visit,
            f"/v1/alert-rules/{id}",
            partial(routes.read_rule, id, visit.caller),
            partial(routes.update_rule, id, body, visit.caller),
        )
    except Problem as problem:
        if problem.status == CHANGED:
            return await _conflict(visit, id, typed, problem)
        reworded = _reworded(problem, visit.language)
        return await _editor(visit, rule.kind, typed, rule, problem=reworded, version=visit.form.text("version"))
    return visit.go(f"{PAGE}/{id}", visit.gettext("La règle est enregistrée ; partout dans cinq secondes."))


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that somebody else has changed, or that would be changed now."""

    label: str
    saved: str
    typed: str


async def _conflict(visit: PersonsVisit, rule_id: int, typed: Typed, problem: Problem) -> Response:
    """Both versions: what is saved now, and what was typed."""
    rule = await routes.read_rule(rule_id, visit.caller)
    saved = typed_of_rule(words.rule_of(rule), visit.language)
    both = [(name, saved.values.get(name, ""), typed.values.get(name, "")) for name in LABELS]
    both.append(("asset_kinds", ", ".join(sorted(saved.kinds)), ", ".join(sorted(typed.kinds))))
    both.append(("ladder", _ladder_text(saved), _ladder_text(typed)))
    asked = FIELDS[rule.kind]
    differences = [
        Difference(visit.gettext(LABELS[name]), now, mine)
        for name, now, mine in both
        if name in asked and now.split() != mine.split()
    ]
    return await _editor(visit, rule.kind, typed, rule, problem=problem, differences=differences)


def _ladder_text(typed: Typed) -> str:
    rows = (
        [typed.values.get(f"rung{number}_{name}", "") for name in ("severity", "amount")] for number in range(5)
    )
    return " ; ".join(" ".join(row) for row in rows if row[0])


async def _editor(
    visit: PersonsVisit,
    kind: str,
    typed: Typed,
    rule: RuleAnswer | None = None,
    *,
    problem: Problem | None = None,
    backtest: RuleTrialAnswer | None = None,
    version: str = "",
    differences: list[Difference] | None = None,
) -> Response:
    known = None if rule is None else words.rule_of(rule)
    caller, language = visit.caller, visit.language
    counts = await _counts(caller)
    return visit.form_page(
        "rules/rule.html",
        problem,
        kind=kind,
        kind_names=words.KINDS,
        rule=known,
        words=None if known is None else _said(known, language),
        may_change=caller.has("manage") and (known is None or known.tenant_id == visit.tenant.id),
        version=version or ("" if rule is None else version_of(rule)),
        typed=typed,
        values=typed.values,
        fields=FIELDS[kind],
        labels=LABELS,
        choices=await _choices(visit, kind, typed),
        count=None if known is None else counts.get(known.id),
        differences=differences or [],
        backtest=backtest,
        bars=[] if backtest is None else _bars(backtest),
        notices=[] if backtest is None else backtest.notices[:NOTICES_SHOWN],
    )


def _said(rule: Rule, language: Language) -> dict[str, Any]:
    """The rule in words."""
    return {
        "title": words.title(rule.name, language),
        "kind": words.KINDS.get(rule.kind, rule.kind),
        "text": words.describe(rule, language),
        "end": words.describe_end(rule, language),
        "rungs": [words.describe_rung(rule, rung, language) for rung in rule.ladder],
    }


async def _choices(visit: PersonsVisit, kind: str, typed: Typed) -> dict[str, dict[str, str]]:
    """What the fields offer, by their names: the value and how it is called."""
    caller, language = visit.caller, visit.language
    known = await read_choices(caller)
    calendars: list[Any] = [*(await silences.list_calendars(caller)).items]
    measured = {
        one.name: language.quantity(one.name)
        for one in QUANTITIES.values()
        if kind == "silence" or (one.kind is QuantityKind.BOOLEAN) == (kind == "boolean")
    }
    return {
        "quantity": dict(sorted(measured.items(), key=lambda item: by_text(item[1]))),
        "asset_kinds": dict.fromkeys(sorted({*known.kinds, *typed.kinds} or KINDS), ""),
        "team_id": {str(number): name for number, name in (await _teams(caller)).items()},
        "calendar_id": {str(one.id): one.name for one in calendars},
        "schedule": words.SCHEDULES,
        "series": words.SERIES,
        "severity": words.SEVERITIES,
    }


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of a backtest, and its bar in a drawing of 100 by 40 units."""

    day: Any
    opened: int
    sent: int
    x: float
    y: float
    width: float
    height: float


def _bars(backtest: RuleTrialAnswer) -> list[Bar]:
    days: list[Any] = [*backtest.days]
    most = max((day.opened for day in days), default=0) or 1
    width = 100 / max(len(days), 1)
    return [
        Bar(
            day.day,
            day.opened,
            day.sent,
            round(number * width + width * 0.1, 2),
            round(40 - 40 * day.opened / most, 2),
            round(width * 0.8, 2),
            round(40 * day.opened / most, 2),
        )
        for number, day in enumerate(days)
    ]


@router.get(PAGE + "/{id}/suppression")
async def ask_to_delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """What its removal ends, before it is removed."""
    return await _deletion(visit, id)


async def _deletion(visit: PersonsVisit, rule_id: int, problem: Problem | None = None) -> Response:
    rule = await routes.read_rule(rule_id, visit.caller)
    counts = await _counts(visit.caller)
    return visit.form_page(
        "rules/delete.html",
        problem,
        rule=rule,
        said=_said(words.rule_of(rule), visit.language),
        count=counts.get(rule_id),
        version=version_of(rule),
    )


@router.post(PAGE + "/{id}/suppression")
async def delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Remove it with its alerts."""
    try:
        await change_as_read(
            visit,
            f"/v1/alert-rules/{id}",
            partial(routes.read_rule, id, visit.caller),
            partial(routes.delete_rule, id, visit.caller),
        )
    except Problem as problem:
        if problem.status != CHANGED:
            raise
        return await _deletion(visit, id, problem)
    return visit.go(PAGE, visit.gettext("La règle est supprimée, avec ses alertes."))
