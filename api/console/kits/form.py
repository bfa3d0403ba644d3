"""A template of a kit as a form: one line a device, rules taken from those that there are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from api.console.forms import checked
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.rules import words
from api.console.visits import ManagersVisit, PersonsVisit
from api.console.wording import KINDS
from api.fields import Id
from api.pages import Paging
from api.routes import alert_rules, device_profiles
from api.routes import kits as routes
from api.routes.alert_rules import NewRule
from api.routes.kits import OF_TAGS, KitVersionBody, NewKit, RetiredBody
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/kits"
NEW = f"{PAGE}/nouveau"
TO_SHOW = (409, 422)
PROFILES_MOST = 1000
# What a line says, one after the other.
OF_A_LINE = ("key", "profile", "asset_kind", "asset_name", "device_name")
LEAST_OF_A_LINE = 4
TOO_SHORT = marked("ligne {number} : il faut ligne;profil;type;nom de l’équipement")
NO_PROFILE = marked("ligne {number} : aucun profil ne s’appelle {name}")


@dataclass(frozen=True, slots=True)
class Profiles:
    """Profiles by what a line calls them: their name, or their number where several have it."""

    ids: dict[str, int]
    names: dict[int, str]


async def _read_profiles(visit: PersonsVisit) -> Profiles:
    found: list[Any] = [*(await device_profiles.list_device_profiles(visit.caller, Paging(PROFILES_MOST))).items]
    times = Counter(one.name for one in found)
    names = {one.id: one.name if times[one.name] == 1 and ";" not in one.name else str(one.id) for one in found}
    ids = {str(id_): id_ for id_ in names} | {name: id_ for id_, name in names.items()}
    return Profiles(ids, names)


def _line_of(item: Mapping[str, Any], profiles: Profiles) -> str:
    profile = profiles.names.get(item["device_profile_id"], str(item["device_profile_id"]))
    parts = [item["key"], profile, item["asset_kind"], item["asset_name"], item.get("device_name") or ""]
    return ";".join(parts).rstrip(";")


def _items_of(
    visit: PersonsVisit, profiles: Profiles, former: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What the lines say; attributes, which they do not, are those of the former version's line of this name."""
    attributes: dict[tuple[str, str], dict[str, Any]] = {
        (one["key"], one["asset_kind"]): one.get("attributes") or {} for one in former
    }
    items: list[dict[str, Any]] = []
    for number, line in enumerate(visit.form.text("lines").splitlines(), 1):
        parts = [part.strip() for part in line.replace("\t", ";").split(";")]
        if not any(parts):
            continue
        if len(parts) < LEAST_OF_A_LINE:
            raise invalid("items", "line", visit.gettext(TOO_SHORT).format(number=number))
        said = dict(zip(OF_A_LINE, parts, strict=False))
        profile = said.pop("profile")
        if profile not in profiles.ids:
            raise invalid("items", "profile", visit.gettext(NO_PROFILE).format(number=number, name=profile))
        item: dict[str, Any] = {name: text for name, text in said.items() if text}
        item["device_profile_id"] = profiles.ids[profile]
        item["attributes"] = attributes.get((said["key"], said["asset_kind"]), {})
        items.append(item)
    return items


@dataclass(frozen=True, slots=True)
class RuleToTake:
    """A rule that a kit may have, as the form offers it."""

    name: str
    title: str
    text: str
    content: dict[str, Any]


async def _rules_to_take(visit: PersonsVisit, kit: Any) -> list[RuleToTake]:
    """Those of the former version first, as they are there; then the tenant's own that may watch a site."""
    stored: list[dict[str, Any]] = [] if kit is None else [*kit.rules]
    every: list[Any] = [*(await alert_rules.list_rules(visit.caller)).items]
    own = [one for one in every if one.tenant_id == visit.tenant.id and one.kind in OF_TAGS]
    taken = {content["name"] for content in stored}
    contents = [*stored, *(_content_of(one) for one in own if one.name not in taken and not _is_of_kit(one))]
    return [_offered(visit, content) for content in contents]


def _is_of_kit(rule: Any) -> bool:
    """Whether it was made for one site already."""
    return any(tag.startswith("kit_") for tag in rule.tags or ())


def _content_of(rule: Any) -> dict[str, Any]:
    said = {name: value for name, value in rule.model_dump().items() if value not in (None, [], ())}
    return {name: value for name, value in said.items() if name in NewRule.model_fields}


def _offered(visit: PersonsVisit, content: dict[str, Any]) -> RuleToTake:
    rule = NewRule.model_validate(content).rule(visit.tenant.id)
    return RuleToTake(
        rule.name, words.title(rule.name, visit.language), words.describe(rule, visit.language), content
    )


async def _form(visit: PersonsVisit, kit: Any = None, problem: Problem | None = None) -> Response:
    profiles = await _read_profiles(visit)
    rules = await _rules_to_take(visit, kit)
    values: dict[str, str] = dict(visit.form.carried())
    chosen = visit.form.texts("rules")
    if problem is None and kit is not None:
        lines = "\n".join(_line_of(item, profiles) for item in kit.items)
        values = {"description": kit.description, "lines": lines}
        chosen = [content["name"] for content in kit.rules]
    return visit.form_page(
        "kits/form.html",
        problem,
        kit=kit,
        values=values,
        rules=rules,
        chosen=chosen,
        profiles=sorted(set(profiles.names.values()), key=str.casefold),
        kinds=KINDS,
        here=NEW if kit is None else f"{PAGE}/{kit.id}/version",
    )


async def _given(visit: PersonsVisit, kit: Any = None) -> dict[str, Any]:
    former = () if kit is None else kit.items
    chosen = visit.form.texts("rules")
    offered = await _rules_to_take(visit, kit)
    return {
        "description": visit.form.text("description"),
        "items": _items_of(visit, await _read_profiles(visit), former),
        "rules": [one.content for one in offered if one.name in chosen],
    }


@router.get(NEW)
async def show_new(visit: ManagersVisit) -> Response:
    """The form of another template."""
    return await _form(visit)


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Make it; nothing is put anywhere yet."""
    try:
        given = await _given(visit) | {"name": visit.form.text("name")}
        made: Any = await routes.create_kit(checked(NewKit, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _form(visit, None, problem)
    return visit.go(f"{PAGE}/{made.id}", visit.gettext("Le modèle est créé."))


@router.get(PAGE + "/{id}/version")
async def show_version(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """The form of its next version, filled in with this one."""
    return await _form(visit, await routes.read_kit(id, visit.caller))


@router.post(PAGE + "/{id}/version")
async def publish(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Publish the next version; what was commissioned stays as it is."""
    kit = await routes.read_kit(id, visit.caller)
    try:
        body = checked(KitVersionBody, await _given(visit, kit))
        made: Any = await routes.create_kit_version(id, body, visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _form(visit, kit, problem)
    return visit.go(
        f"{PAGE}/{made.id}", visit.gettext("La version est publiée ; ce qui est en service ne change pas.")
    )


@router.post(PAGE + "/{id}/retrait")
async def retire(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Retire it with all its versions, once that was confirmed; or take it up again."""
    retired = visit.form.text("act") != "restore"
    if retired and not visit.form.text("sure"):
        return visit.go(f"{PAGE}/{id}", visit.gettext("Cochez la case pour confirmer."))
    await routes.retire_kit(id, RetiredBody(retired=retired), visit.caller)
    if retired:
        return visit.go(PAGE, visit.gettext("Le kit est retiré : il ne se met plus en service."))
    return visit.go(f"{PAGE}/{id}", visit.gettext("Le kit est repris."))
