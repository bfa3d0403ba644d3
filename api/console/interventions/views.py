"""Work orders: the list, one on a telephone with its photos, and a new one from an alert or an asset."""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import Depends, Query, Response

from alerting.rules.work_order_states import ENDED, PRIORITIES
from api.console.forms import checked, instant_of, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import FieldAgentsVisit, PersonsVisit, ReadersVisit
from api.console.where import Where, read_places
from api.fields import INT4_MOST, INT8_MOST, Id
from api.pages import Paging
from api.routes import alerts, asset_photos, assets, teams, work_order_photos
from api.routes import work_orders as routes
from api.routes.work_orders import NewWorkOrder, Priority, State, WorkOrderComment, WorkOrderPatch
from core.runtime.http.errors import FieldError, Problem

router = page_router()

PAGE = "/interventions"
SHOWN = 50
TITLE_MOST = 200
TO_SHOW = (409, 422)
UNENDED: list[State] = [state for state in get_args(State) if state not in ENDED]
STATE_NAMES = {
    "open": marked("ouverte"),
    "assigned": marked("confiée"),
    "in_progress": marked("en cours"),
    "done": marked("faite"),
    "cancelled": marked("annulée"),
}
PRIORITY_NAMES = {
    "low": marked("basse"),
    "normal": marked("normale"),
    "high": marked("haute"),
    "urgent": marked("urgente"),
}
# A state is a shape and a colour as well as a word.
SHAPES = {"low": "info", "normal": "warning", "high": "major", "urgent": "critical"}
ACTION_NAMES = {
    "opened": marked("ouverte"),
    "assigned": marked("confiée"),
    "started": marked("commencée"),
    "changed": marked("modifiée"),
    "commented": marked("commentaire"),
    "done": marked("faite"),
    "cancelled": marked("annulée"),
    "reopened": marked("rouverte"),
}
ORIGIN_NAMES = {
    "person": marked("par quelqu’un"),
    "rule": marked("par une règle"),
    "lighting": marked("par un éclairage qui ne se rallume pas"),
}
NAMES = {
    "states": STATE_NAMES,
    "priorities": PRIORITY_NAMES,
    "shapes": SHAPES,
    "actions": ACTION_NAMES,
    "origins": ORIGIN_NAMES,
}


@router.get(PAGE)
async def show_list(
    visit: ReadersVisit,
    etat: Annotated[str, Query(max_length=20)] = "",
    priorite: Annotated[str, Query(max_length=20)] = "",
    equipe: Annotated[str, Query(max_length=10)] = "",
    a_moi: Annotated[str, Query(max_length=3)] = "",
    retard: Annotated[str, Query(max_length=3)] = "",
    equipement: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
    suite: Annotated[str | None, Query(max_length=30)] = None,
    *,
    where: Annotated[Where, Depends()],
) -> Response:
    """The list; without a filter those that are to be done."""
    named: list[State] = [one for one in get_args(State) if one == etat]
    priorities: list[Priority] = [one for one in get_args(Priority) if one == priorite]
    page = await routes.list_work_orders(
        visit.caller,
        Paging(SHOWN, suite),
        state=named or (None if etat == "all" else UNENDED),
        priority=priorities or None,
        team_id=number_of(equipe),
        assignee=visit.caller.person().row.person_name if a_moi else None,
        asset_id=equipement,
        late=bool(retard),
        tag=where.tag,
        quarter=where.quarter,
        place=where.place(),
    )
    filters = {"etat": etat, "priorite": priorite, "equipe": equipe, "a_moi": a_moi, "retard": retard}
    filters |= {"equipement": str(equipement or "")} | where.named()
    chosen = {name: value for name, value in filters.items() if value}
    return visit.page(
        "interventions/list.html",
        orders=page.items,
        following=f"{PAGE}?{urlencode(chosen | {'suite': page.next})}" if page.next else "",
        filters=filters,
        is_filtered=bool(chosen),
        where=where,
        places=await read_places(visit.caller),
        teams=(await teams.list_teams(visit.caller)).items,
        names=NAMES,
    )


@router.get(PAGE + "/nouvelle")
async def show_form(
    visit: FieldAgentsVisit,
    alerte: Annotated[int | None, Query(ge=1, le=INT8_MOST)] = None,
    equipement: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
) -> Response:
    """A new one, about an alert or an asset, or neither."""
    return await _form(visit, alerte, equipement)


async def _form(
    visit: PersonsVisit, alert_id: int | None, asset_id: int | None, problem: Problem | None = None
) -> Response:
    alert: Any = None if alert_id is None else await alerts.read_alert(alert_id, visit.caller)
    asset: Any = None if asset_id is None else await assets.read_asset(asset_id, visit.caller)
    values: dict[str, Any] = {"priority": "normal"}
    if alert is not None:
        values["title"] = alert.message[:TITLE_MOST]
        values["priority"] = PRIORITIES[("info", "warning", "major", "critical").index(alert.severity)]
        values["team_id"] = str(alert.team_id or "")
    if problem is not None:
        values |= dict(visit.form.carried())
    return visit.form_page(
        "interventions/form.html",
        problem,
        values=values,
        alert=alert,
        asset=asset,
        teams=(await teams.list_teams(visit.caller)).items,
        assignees=(await alerts.list_assignees(visit.caller)).items,
        names=NAMES,
    )


@router.post(PAGE + "/nouvelle")
async def create(visit: FieldAgentsVisit) -> Response:
    """Make it, and show it."""
    form = visit.form
    alert_id, asset_id = number_of(form.text("alerte"), INT8_MOST), number_of(form.text("equipement"))
    try:
        given = _given(visit)
        given |= {"alert_ids": [alert_id]} if alert_id else {}
        given |= {"asset_ids": [asset_id]} if asset_id else {}
        made: Any = await routes.create_work_order(checked(NewWorkOrder, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _form(visit, alert_id, asset_id, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("L’intervention est ouverte."))


def _given(visit: PersonsVisit) -> dict[str, Any]:
    """What of the form is filled in."""
    form = visit.form
    name = form.text("autre") or form.text("assignee")
    given: dict[str, Any] = {
        "title": form.text("title"),
        "description": form.text("description"),
        "priority": form.text("priority"),
        "team_id": number_of(form.text("team_id")),
        "assignee": name,
        "due_at": instant_of("due_at", form.text("due_at"), visit.language.zone),
    }
    return {field: value for field, value in given.items() if value}


@router.get(PAGE + "/{id}")
async def show_order(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One work order: what is to be done, what was done, photos, history, and the next one."""
    return await _work_order(visit, id)


async def _work_order(visit: PersonsVisit, order_id: int, problem: Problem | None = None) -> Response:
    caller = visit.caller
    order: Any = await routes.read_work_order(order_id, caller)
    linked_alerts, linked_assets = await _linked(visit, order)
    return visit.form_page(
        "interventions/order.html",
        problem,
        order=order,
        alerts=linked_alerts,
        assets=linked_assets,
        events=(await routes.list_work_order_events(order_id, caller)).items,
        photos=(await work_order_photos.list_work_order_photos(order_id, caller)).items,
        teams=(await teams.list_teams(caller)).items,
        assignees=(await alerts.list_assignees(caller)).items if caller.has("field") else [],
        following=await _next(visit, order_id),
        due="" if order.due_at is None else f"{order.due_at.astimezone(visit.language.zone):%Y-%m-%dT%H:%M}",
        names=NAMES,
    )


async def _linked(visit: PersonsVisit, work_order: Any) -> tuple[list[Any], list[Any]]:
    """Its alerts and assets, as far as they are visible."""
    found: tuple[list[Any], list[Any]] = [], []
    readers: tuple[Callable[[int], Awaitable[Any]], ...] = (
        lambda id_: alerts.read_alert(id_, visit.caller),
        lambda id_: assets.read_asset(id_, visit.caller),
    )
    for shown, read, ids in zip(found, readers, (work_order.alert_ids, work_order.asset_ids), strict=True):
        for id_ in ids[:SHOWN]:
            try:
                shown.append(await read(id_))
            except Problem:
                continue
    return found


async def _next(visit: PersonsVisit, order_id: int) -> Any:
    """What to do after this one: one's own first, then the most urgent, then what is due first."""
    mine = visit.caller.person().row.person_name
    every: list[Any] = [*(await routes.list_work_orders(visit.caller, Paging(100), state=UNENDED)).items]
    others = [one for one in every if one.id != order_id and one.assignee in {None, mine}]
    never = datetime.max.replace(tzinfo=UTC)

    def rank(one: Any) -> tuple[bool, int, datetime, int]:
        return one.assignee != mine, -PRIORITIES.index(one.priority), one.due_at or never, one.id

    return min(others, key=rank, default=None)


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: FieldAgentsVisit) -> Response:  # noqa: A002 - The path's word.
    """One act on it; a photo may come with each."""
    try:
        message = await _act(visit, id)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _work_order(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", message)


async def _act(visit: PersonsVisit, order_id: int) -> str:
    form, caller = visit.form, visit.caller
    removed = form.text("retirer")
    if removed:
        await work_order_photos.delete_work_order_photo(number_of(removed) or 0, caller)
        return visit.gettext("La photo est retirée.")
    wanted = form.text("act")
    added = await _add_photo(visit, order_id)
    if wanted == "photo":
        return visit.gettext("La photo est ajoutée.") if added else visit.gettext("Choisissez d’abord une photo.")
    if wanted == "comment":
        await routes.comment_work_order(order_id, form.of(WorkOrderComment), caller)
        return visit.gettext("C’est noté.")
    patches: Mapping[str, Callable[[], dict[str, Any]]] = {
        "start": lambda: {"state": "in_progress", "assignee": caller.person().row.person_name},
        "assign": lambda: {"assignee": form.text("autre") or form.text("assignee") or None},
        "done": lambda: {"state": "done", "resolution": form.text("resolution")},
        "cancel": lambda: {"state": "cancelled", "resolution": form.text("resolution")},
        "reopen": lambda: {"state": "open"},
        "change": lambda: {"team_id": None, "due_at": None, **_given(visit)},
    }
    patch = patches.get(wanted)
    if patch is None:
        raise Problem(422, visit.gettext("Choisissez ce qu’il faut faire."))
    await routes.update_work_order(order_id, checked(WorkOrderPatch, patch()), caller)
    return visit.gettext("C’est noté.")


async def _add_photo(visit: PersonsVisit, order_id: int) -> bool:
    """Keep the photo that the form brings; False when it brings none."""
    sent = visit.form.file("photo")
    octets = b"" if sent is None else await sent.read(asset_photos.OCTETS_MOST + 1)
    if not octets:
        return False
    given = {"content": b64encode(octets), "remark": visit.form.text("remark")}
    try:
        photo = asset_photos.NewPhoto.model_validate(given)
        await work_order_photos.create_work_order_photo(order_id, photo, visit.caller)
    except Problem as problem:
        errors = [FieldError(field="photo", code="photo", message=problem.detail)]
        raise Problem(problem.status, problem.detail, errors=errors) from None
    return True
