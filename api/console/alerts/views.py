"""Alerts: the list with its filters, the work on several at once, and one alert with its history."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args
from urllib.parse import urlencode

from fastapi import Depends, Query, Response

from alerting.rules.model import Severity
from alerting.wording import CAUSES
from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.rules import words
from api.console.said import said
from api.console.silences import views as silences
from api.console.sorting import Sort, paged_order_of
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit, own_address
from api.console.where import Where, read_places
from api.fields import INT4_MOST, INT8_MOST, BigId
from api.pages import Paging
from api.routes import alert_rules, datastreams, gateways
from api.routes import alerts as routes
from api.routes.alerts import UNENDED, AlertAnswer, Workflow
from core.runtime.http.errors import Problem

router = page_router()

PAGE = "/alertes"
COLUMNS = {"gravite": "severity", "lieu": "asset", "depuis": "fired_at"}
SHOWN = 50
AT_ONCE_MOST = 100
CONCERNED_MOST = 50
INVALID, MISSING = 422, 404


@router.get(PAGE)
async def show_list(
    visit: ReadersVisit,
    etat: Annotated[str, Query(max_length=20)] = "",
    gravite: Annotated[str, Query(max_length=20)] = "",
    regle: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
    passerelle: Annotated[str, Query(pattern="^([0-9a-fA-F]{16})?$")] = "",
    suite: Annotated[str | None, Query(max_length=1000)] = None,
    tri: Sort = "",
    *,
    where: Annotated[Where, Depends()],
) -> Response:
    """The list; without a filter those that have not ended."""
    every: list[Workflow] = list(get_args(Workflow))
    named: list[Workflow] = [one for one in every if one == etat]
    states = named or (every if etat == "all" else UNENDED)
    severities: list[Severity] = [one for one in get_args(Severity) if one == gravite]
    order, sort = paged_order_of(visit.request, tri, COLUMNS, "-id")
    page = await routes.list_alerts(
        visit.caller,
        Paging(SHOWN, suite),
        sort=cast(routes.AlertSort, sort),
        state=states,
        severity=severities or None,
        rule_id=regle,
        gateway_eui=passerelle or None,
        tag=where.tag,
        quarter=where.quarter,
        place=where.place(),
    )
    filters = {"etat": etat, "gravite": gravite, "regle": str(regle or ""), "passerelle": passerelle.lower()}
    filters |= where.named()
    asked = filters | {"tri": tri if order.column else ""}
    following = urlencode({name: value for name, value in asked.items() if value} | {"suite": page.next or ""})
    return visit.page(
        "alerts/list.html",
        alerts=page.items,
        following=f"{PAGE}?{following}" if page.next else "",
        filters=filters,
        order=order,
        where=where,
        places=await read_places(visit.caller),
        is_filtered=any(filters.values()),
        rule=None if regle is None else await _rule(visit, regle),
        gateway=await gateways.read_gateway(passerelle, visit.caller) if passerelle else None,
        assignees=await _assignees(visit),
        first=suite is None,
    )


@router.post(PAGE)
async def act_on_several(visit: FieldAgentsVisit) -> Response:
    """One act on each alert that is ticked; how many it was done to, and why not to the others."""
    numbers = (number_of(text, INT8_MOST) for text in visit.form.texts("id"))
    chosen = [number for number in numbers if number is not None][:AT_ONCE_MOST]
    back = own_address(visit.form.text("vers") or PAGE)
    if not chosen:
        return visit.go(back, visit.gettext("Cochez d’abord des alertes."))
    done, refused = 0, Counter[str]()
    for alert_id in chosen:
        try:
            await _act(visit, alert_id)
            done += 1
        except Problem as problem:
            refused[said(visit.language.code, problem.detail)] += 1
    treated = visit.gettext("Alertes traitées :")
    outcome = [f"{treated} {done} / {len(chosen)}"]
    return visit.go(back, " ; ".join([*outcome, *(f"{count} × {why}" for why, count in refused.items())]))


@dataclass(frozen=True, slots=True)
class RuleInWords:
    """The rule of an alert, as people call it."""

    id: int
    title: str
    text: str
    quantity: str | None
    unit: str
    is_own: bool


async def _rule(visit: PersonsVisit, rule_id: int) -> RuleInWords | None:
    """A rule in words; None when it is not visible."""
    try:
        rule = words.rule_of(await alert_rules.read_rule(rule_id, visit.caller))
    except Problem as problem:
        if problem.status != MISSING:
            raise
        return None
    title, text = words.title(rule.name, visit.language), words.describe(rule, visit.language)
    unit, is_own = words.unit(rule), rule.tenant_id == visit.tenant.id
    return RuleInWords(rule.id, title, text, rule.quantity, unit, is_own)


async def _assignees(visit: PersonsVisit) -> list[routes.AssigneeAnswer]:
    """Whom an alert may be given to."""
    return (await routes.list_assignees(visit.caller)).items if visit.caller.has("field") else []


def _assignment(visit: PersonsVisit) -> routes.Assignment:
    """Somebody of the list, or who was typed instead."""
    name = visit.form.text("autre") or visit.form.text("assignee")
    return checked(routes.Assignment, {"assignee": name} if name else {})


async def _concerned(visit: PersonsVisit, alert: Any, rule: RuleInWords | None) -> list[str]:
    """What of the asset the alert is about: one quantity, or each of those that its rule watches there."""
    if alert.datastream_id is not None:
        try:
            stream: Any = await datastreams.read_datastream(alert.datastream_id, visit.caller)
        except Problem as problem:
            if problem.status != MISSING:
                raise
            return []
        return [_named(visit, stream)]
    if alert.asset_id is None or rule is None or rule.quantity is None:
        return []
    streams: list[Any] = [
        *(
            await datastreams.list_datastreams(
                visit.caller, Paging(CONCERNED_MOST), asset_id=alert.asset_id, quantity=rule.quantity
            )
        ).items
    ]
    return [_named(visit, stream) for stream in streams]


def _named(visit: PersonsVisit, stream: Any) -> str:
    where = ", ".join(filter(None, (stream.position, stream.channel)))
    quantity = visit.language.quantity(stream.quantity)
    return f"{quantity} ({where})" if where else quantity


async def _act(visit: PersonsVisit, alert_id: int) -> AlertAnswer:
    """The act that the form names; raises 422 when it names none that there is."""
    form, caller = visit.form, visit.caller
    acts: dict[str, Callable[[], Awaitable[AlertAnswer]]] = {
        "acknowledge": lambda: routes.acknowledge_alert(alert_id, caller),
        "assign": lambda: routes.assign_alert(alert_id, _assignment(visit), caller),
        "comment": lambda: routes.comment_alert(alert_id, form.of(routes.Comment), caller),
        "resolve": lambda: routes.resolve_alert(alert_id, form.of(routes.Resolution), caller),
        "close": lambda: routes.close_alert(alert_id, form.of(routes.Closing), caller),
    }
    act = acts.get(form.text("act"))
    if act is None:
        raise Problem(422, visit.gettext("Choisissez ce qu’il faut faire."))
    return await act()


@router.get(PAGE + "/{id}")
async def show_alert(id: BigId, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One alert, its history and what can be done about it."""
    return await _alert_page(visit, id)


async def _alert_page(visit: PersonsVisit, alert_id: int, problem: Problem | None = None) -> Response:
    alert: Any = await routes.read_alert(alert_id, visit.caller)
    rule = await _rule(visit, alert.rule_id)
    explained = await routes.list_alerts(visit.caller, Paging(SHOWN), explained_by=alert_id)
    events = (await routes.list_events(alert_id, visit.caller)).items
    return visit.form_page(
        "alerts/alert.html",
        problem,
        alert=alert,
        events=events,
        rule=rule,
        concerned=await _concerned(visit, alert, rule),
        explained=explained.items,
        assignees=await _assignees(visit),
        is_own=alert.tenant_id == visit.tenant.id,
        spans=silences.SPANS,
        reasons=silences.REASONS,
        scopes=_scopes(alert),
        remarks=_remarks(visit),
    )


def _scopes(alert: Any) -> dict[str, str]:
    """What a silence that begins here may be about; of a gateway the rule alone."""
    return {name: text for name, text in silences.SCOPES.items() if alert.asset_id is not None or name == "regle"}


def _remarks(visit: PersonsVisit) -> dict[str, str]:
    """What a remark of the platform's own means: why it ended, or how grave it became."""
    causes = {code: said(visit.language.code, french) for code, french in CAUSES.items()}
    return causes | {code: visit.gettext(french) for code, french in words.SEVERITIES.items()}


@router.post(PAGE + "/{id}")
async def act_on_one(id: BigId, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """One act on this alert."""
    try:
        await _act(visit, id)
    except Problem as problem:
        if problem.status != INVALID:
            raise
        return await _alert_page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("C’est fait."))
