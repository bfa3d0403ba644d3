"""When nobody is notified: silences, and works on an asset; begun from an alert, or from their own form."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Query, Response

from api import asset_state_store
from api.auth import Caller
from api.console.forms import checked, instant_of, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.rules import words
from api.console.sorting import by_text
from api.console.territory.views import read_choices
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.console.wording import kind_name
from api.fields import INT4_MOST, PRINTABLE, BigId, Id
from api.pages import Paging
from api.routes import alert_rules, alerts, assets
from api.routes import silences as routes
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/silences"
NEW = f"{PAGE}/nouveau"
SHOWN = 100
OFFERED = 20
INVALID = 422
YES = "oui"
MORNING = time(8)
SPANS = {
    "1h": marked("1 h"),
    "8h": marked("8 h"),
    "demain": marked("jusqu’à demain 8 h"),
    "semaine": marked("une semaine"),
}
REASONS = (
    marked("intervention prévue"),
    marked("déjà connu, sans urgence"),
    marked("travaux sur place"),
    marked("capteur à remplacer"),
)
SCOPES = {
    "ici": marked("pour cette règle, sur cet équipement"),
    "equipement": marked("pour tout ce qui concerne cet équipement et ce qui en dépend"),
    "regle": marked("pour cette règle, partout"),
    "travaux": marked("en annonçant des travaux sur cet équipement"),
}


def end_of(span: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When a silence of this length ends; None: there is no such length."""
    match span:
        case "1h":
            return now + timedelta(hours=1)
        case "8h":
            return now + timedelta(hours=8)
        case "demain":
            tomorrow = now.astimezone(zone).date() + timedelta(days=1)
            return datetime.combine(tomorrow, MORNING, zone)
        case "semaine":
            return now + timedelta(days=7)
        case _:
            return None


@router.post("/alertes/{id}/silence")
async def silence_alert(id: BigId, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Notify nobody of what this alert is about, for as long as was chosen."""
    form, caller = visit.form, visit.caller
    alert: Any = await alerts.read_alert(id, caller)
    scope = form.text("portee")
    until = end_of(form.text("duree"), datetime.now(UTC), visit.language.zone)
    if scope not in SCOPES or until is None:
        raise Problem(INVALID, visit.gettext("Choisissez pour quoi et pour combien de temps."))
    given: dict[str, Any] = {"reason": form.text("precision") or form.text("motif"), "ends_at": until}
    if scope in {"ici", "regle"}:
        given["rule_id"] = alert.rule_id
    if scope != "regle":
        given["asset_id"] = alert.asset_id
    try:
        await _create(caller, given, is_work=scope == "travaux")
    except Problem as problem:
        if problem.status != INVALID:
            raise
        raise Problem(INVALID, problem.detail.replace("'", "’")) from None
    said = visit.gettext("Plus personne n’est prévenu, jusqu’au %(instant)s.") % {
        "instant": visit.language.exact(until)
    }
    return visit.go(f"/alertes/{id}", said)


async def _create(caller: Caller, given: Mapping[str, Any], *, is_work: bool) -> None:
    """Make a silence or a maintenance window; raises 422 with what is wrong in each field."""
    known = {name: value for name, value in given.items() if value not in (None, "")}
    if is_work:
        await routes.create_window(checked(routes.NewWindow, known), caller)
    else:
        await routes.create_silence(checked(routes.NewSilence, known), caller)


@dataclass(frozen=True, slots=True)
class Line:
    """A silence or works, in words."""

    id: int
    about: list[tuple[str, str]]
    reason: str
    author: str
    starts_at: datetime
    ends_at: datetime
    state: str


@router.get(PAGE)
async def show_list(visit: ReadersVisit, termines: Annotated[str, Query(max_length=3)] = "") -> Response:
    """What is in force or will be; with `termines` also what is over."""
    caller, ended = visit.caller, termines == YES
    silences: list[Any] = [*(await routes.list_silences(caller, ended=ended)).items][:SHOWN]
    windows: list[Any] = [*(await routes.list_windows(caller, ended=ended)).items][:SHOWN]
    rules = {
        rule.id: words.title(rule.name, visit.language) for rule in (await alert_rules.list_rules(caller)).items
    }
    names = await _asset_names(caller, {one.asset_id for one in (*silences, *windows) if one.asset_id})
    return visit.page(
        "silences/list.html",
        silences=[_line(visit, one, rules, names) for one in silences],
        windows=[_line(visit, one, rules, names) for one in windows],
        ended=ended,
    )


async def _asset_names(caller: Caller, ids: set[int]) -> dict[int, str]:
    async with caller.reading() as connection:
        wanted = asset_state_store.Wanted(ids=sorted(ids))
        found = await asset_state_store.list_states(connection, wanted, most=len(ids))
    return {one.id: one.name for one in found}


def _line(visit: PersonsVisit, one: Any, rules: Mapping[int, str], names: Mapping[int, str]) -> Line:
    now = datetime.now(UTC)
    state = "over" if one.ends_at <= now else "coming" if one.starts_at > now else "now"
    about: list[tuple[str, str]] = []
    rule_id = getattr(one, "rule_id", None)
    if rule_id:
        about.append((rules.get(rule_id, str(rule_id)), f"/regles/{rule_id}"))
    if one.asset_id:
        about.append((names.get(one.asset_id, str(one.asset_id)), f"/equipements/{one.asset_id}"))
    for name in ("asset_kind", "tag", "commune"):
        value = getattr(one, name, None)
        if value:
            about.append((visit.gettext(kind_name(value)) if name == "asset_kind" else value, ""))
    return Line(one.id, about, one.reason, one.author, one.starts_at, one.ends_at, state)


@router.get(NEW)
async def show_new(
    visit: ManagersVisit,
    regle: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
    equipement: Annotated[int | None, Query(ge=1, le=INT4_MOST)] = None,
    commune: Annotated[str, Query(max_length=200, pattern=PRINTABLE)] = "",
    travaux: Annotated[str, Query(max_length=3)] = "",
) -> Response:
    """The form, with what the address names."""
    values = {"travaux": YES if travaux == YES else "", "commune": commune, "rule_id": str(regle or "")}
    if equipement is not None:
        values |= {"asset_id": str(equipement), "equipement": await _asset_name(visit.caller, equipement)}
    return await _form(visit, values)


async def _asset_name(caller: Caller, asset_id: int) -> str:
    asset: Any = await assets.read_asset(asset_id, caller)
    return asset.name


async def _form(
    visit: PersonsVisit,
    values: Mapping[str, str],
    problem: Problem | None = None,
    offered: list[Any] | None = None,
) -> Response:
    caller = visit.caller
    known = await read_choices(caller)
    rules = [rule for rule in (await alert_rules.list_rules(caller)).items if rule.tenant_id == visit.tenant.id]
    titles = {str(rule.id): words.title(rule.name, visit.language) for rule in rules}
    return visit.form_page(
        "silences/new.html",
        problem,
        values=values,
        is_work=values.get("travaux") == YES,
        rules=dict(sorted(titles.items(), key=lambda item: by_text(item[1]))),
        kinds={kind: visit.gettext(kind_name(kind)) for kind in known.kinds},
        communes=dict(zip(known.communes, known.communes, strict=True)),
        offered=offered or [],
    )


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Begin a silence, or announce works."""
    values, is_work = values_of(visit.form), visit.form.text("travaux") == YES
    offered: list[Any] = []
    try:
        asset_id, offered = await _chosen_asset(visit)
        given = _given(visit, asset_id, is_work=is_work, is_vague=bool(offered))
        await _create(visit.caller, given, is_work=is_work)
    except Problem as problem:
        if problem.status != INVALID:
            raise
        reworded = Problem(INVALID, problem.detail.replace("'", "’"), errors=problem.errors)
        return await _form(visit, values, reworded, offered)
    return visit.go(PAGE, visit.gettext("C’est noté : plus personne n’est prévenu pendant ce temps."))


def _given(visit: PersonsVisit, asset_id: int | None, *, is_work: bool, is_vague: bool) -> dict[str, Any]:
    """The fields that the form names; raises 422 when they are about nothing."""
    if is_vague:
        raise invalid(
            "equipement", "several", visit.gettext("Plusieurs équipements s’appellent ainsi : choisissez.")
        )
    if is_work and asset_id is None:
        raise invalid("equipement", "missing", visit.gettext("Dites sur quel équipement."))
    given: dict[str, Any] = {"asset_id": asset_id, "reason": visit.form.text("reason")}
    given |= {
        name: instant_of(name, visit.form.text(name), visit.language.zone) for name in ("starts_at", "ends_at")
    }
    if not is_work:
        given |= {name: visit.form.text(name) for name in ("rule_id", "asset_kind", "tag", "commune")}
        if not any(given[name] for name in ("asset_id", "rule_id", "asset_kind", "tag", "commune")):
            message = visit.gettext("Dites pour quoi : une règle, un équipement, un type, une commune…")
            raise Problem(INVALID, message)
    return given


async def _chosen_asset(visit: PersonsVisit) -> tuple[int | None, list[Any]]:
    """The asset that the form names; several when its name is not enough."""
    number, named = number_of(visit.form.text("asset_id")), visit.form.text("equipement")
    if number is not None:
        return number, []
    if not named:
        return None, []
    found: list[Any] = [*(await assets.list_assets(visit.caller, Paging(OFFERED), q=named[:100])).items]
    exact = [one for one in found if one.name.casefold() == named.casefold()]
    chosen = exact or found
    if not chosen:
        raise invalid("equipement", "unknown", visit.gettext("Aucun équipement ne s’appelle ainsi."))
    return (chosen[0].id, []) if len(chosen) == 1 else (None, chosen)


@router.post(PAGE + "/{id}/fin")
async def end_silence(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """End a silence now."""
    await routes.end_silence(id, visit.caller)
    return visit.go(PAGE, visit.gettext("Le silence est fini : ce qui dure encore est annoncé."))


@router.post(PAGE + "/travaux/{id}/fin")
async def end_window(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """End works now."""
    await routes.end_window(id, visit.caller)
    return visit.go(PAGE, visit.gettext("Les travaux sont finis : ce qui dure encore est annoncé."))
