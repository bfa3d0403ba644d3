"""What reads the frames of a profile: its mapping, what is to be confirmed, and another version beside it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.pages import page_router
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.console.workshop.mapping import ROWS_MOST, rows_of, rules_of, typed_rows
from api.fields import Id
from api.pages import Paging
from api.routes import codecs, device_profiles, devices, profile_decoding, profile_mapping
from api.routes.profile_decoding import DecodingAnswer, NewDecoding, NewShadow, Switch
from api.routes.profile_mapping import Decisions
from core.model.quantities import QUANTITIES
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/atelier/profils"
SHOWN, VERSIONS_MOST = 20, 50
INVALID, CONFLICT = 422, 409
# What changes how all devices of a profile are read: asked once.
ASKED = {"switch", "rollback", "forget"}


@router.get(PAGE + "/{id}")
async def show(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One profile."""
    return await _page(visit, id)


async def _page(visit: PersonsVisit, profile_id: int, problem: Problem | None = None) -> Response:
    caller = visit.caller
    profile: Any = await device_profiles.read_device_profile(profile_id, caller)
    decoding = await profile_decoding.read_decoding(profile_id, caller)
    found = (await devices.list_devices(caller, Paging(1), device_profile_id=profile_id)).items
    versions = await _versions(visit, decoding)
    rules = decoding.mapping
    rows = rows_of(rules) if len(rules) <= ROWS_MOST else []
    rules_text = "" if rows else json.dumps(rules, ensure_ascii=False, indent=1)
    if problem is not None and visit.form.text("act") == "mapping":
        rows, rules_text = typed_rows(visit.form), visit.form.text("rules")
    return visit.form_page(
        "workshop/profile.html",
        problem,
        profile=profile,
        decoding=decoding,
        as_read=version_of(_mapped(decoding)),
        revision=await profile_mapping.read_revision(profile_id, caller),
        shadow=await profile_decoding.read_differences(profile_id, caller, SHOWN),
        versions=versions,
        version=next((one for one in versions if one.id == decoding.codec_version_id), None),
        shadow_version=next((one for one in versions if one.id == decoding.shadow_version_id), None),
        device=found[0] if found else None,
        rows=rows,
        rules_text=rules_text,
        quantities=QUANTITIES,
    )


async def _versions(visit: PersonsVisit, decoding: DecodingAnswer) -> list[Any]:
    """Those that could read it: every one of its codec, and of the others the last one."""
    found: dict[int, Any] = {}
    of_codec: set[int] = set()
    for known in (decoding.codec_version_id, decoding.shadow_version_id):
        if known is not None:
            version: Any = await codecs.read_one_version(known, visit.caller)
            of_codec.add(version.codec_id)
    for codec_id in sorted(of_codec):
        of_this: list[Any] = [*(await codecs.list_versions_of_codec(codec_id, visit.caller, VERSIONS_MOST)).items]
        found |= {one.id: one for one in of_this}
    others: list[Any] = [*(await codecs.list_all(visit.caller, Paging(VERSIONS_MOST))).items]
    for codec in others:
        if codec.id not in of_codec and codec.last_version_id is not None:
            last: Any = await codecs.read_one_version(codec.last_version_id, visit.caller)
            found[last.id] = last
    return list(found.values())


def _mapped(decoding: DecodingAnswer) -> NewDecoding:
    """What somebody saw who changes the mapping; another person may have changed it meanwhile."""
    return NewDecoding.model_construct(codec_version_id=decoding.codec_version_id, mapping=decoding.mapping)


@router.post(PAGE + "/{id}")
async def act(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """One act on how this profile is read."""
    named = visit.form.text("act")
    try:
        if named in ASKED and not visit.form.text("confirm"):
            return await _ask(visit, id, named)
        said = await _act(visit, id, named)
    except Problem as problem:
        if problem.status not in {INVALID, CONFLICT, CHANGED}:
            raise
        return await _page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", said)


async def _ask(visit: PersonsVisit, profile_id: int, named: str) -> Response:
    profile = await device_profiles.read_device_profile(profile_id, visit.caller)
    decoding = await profile_decoding.read_decoding(profile_id, visit.caller)
    return visit.page("workshop/confirm.html", profile=profile, decoding=decoding, act=named)


async def _act(visit: PersonsVisit, profile_id: int, named: str) -> str:
    """Do it; returns what was done. Raises 422 for an act that there is not."""
    acts: dict[str, Callable[[PersonsVisit, int], Awaitable[str]]] = {
        "mapping": _map,
        "confirm": _decide,
        "remove": _decide,
        "adopt": _decide,
        "shadow": _shadow,
        "switch": _switch,
        "rollback": _roll_back,
        "forget": _forget,
    }
    if named not in acts:
        raise Problem(INVALID, visit.gettext("Choisissez ce qu’il faut faire."))
    return await acts[named](visit, profile_id)


async def _map(visit: PersonsVisit, profile_id: int) -> str:
    current = await profile_decoding.read_decoding(profile_id, visit.caller)
    rules = rules_of(visit.form)

    async def read() -> NewDecoding:
        return _mapped(await profile_decoding.read_decoding(profile_id, visit.caller))

    async def change() -> None:
        wanted = checked(NewDecoding, {"codec_version_id": current.codec_version_id, "mapping": rules})
        await profile_decoding.set_decoding(profile_id, wanted, visit.caller)

    await change_as_read(
        visit,
        f"/v1/device-profiles/{profile_id}/decoding",
        read,
        change,
        visit.gettext(
            "Quelqu’un a changé cette correspondance entre-temps. Rien n’a été enregistré : ce que vous aviez "
            "saisi est ci-dessous, à comparer puis à enregistrer de nouveau."
        ),
    )
    return visit.gettext("Correspondance enregistrée : elle sert dans cinq secondes.")


async def _decide(visit: PersonsVisit, profile_id: int) -> str:
    form, named = visit.form, visit.form.text("act")
    path = form.text("path")
    decision: dict[str, Any] = {named: [path]}
    if named == "confirm":
        said = {name: form.text(name) for name in ("quantity", "unit") if form.text(name)}
        decision = {"confirm": [{"path": path, **said}]}
    await profile_mapping.decide(profile_id, checked(Decisions, decision), visit.caller)
    return visit.gettext("Décidé : cela vaut pour les trames à venir. Celles d’avant se relisent.")


async def _shadow(visit: PersonsVisit, profile_id: int) -> str:
    typed = visit.form.text("codec_version_id")
    version = number_of(typed)
    if typed and version is None:
        raise invalid("codec_version_id", "unknown", visit.gettext("Choisissez une version de la liste."))
    wanted = checked(NewShadow, {"codec_version_id": version})
    await profile_decoding.set_shadow(profile_id, wanted, visit.caller)
    if version:
        return visit.gettext("À l’essai : les trames à venir sont lues par les deux, et les différences sont ici.")
    return visit.gettext("L’essai est arrêté.")


async def _switch(visit: PersonsVisit, profile_id: int) -> str:
    await profile_decoding.switch(profile_id, Switch(mapping=None, for_all=False), visit.caller)
    return visit.gettext("La version à l’essai sert maintenant.")


async def _roll_back(visit: PersonsVisit, profile_id: int) -> str:
    back = await profile_decoding.roll_back(profile_id, Switch(mapping=None, for_all=False), visit.caller)
    said = visit.gettext("De nouveau lu comme avant ; les trames reçues entre-temps se relisent depuis le")
    return f"{said} {visit.language.exact(back.undone_at)}."


async def _forget(visit: PersonsVisit, profile_id: int) -> str:
    await profile_decoding.remove_decoding(profile_id, visit.caller)
    return visit.gettext("De nouveau lu comme chez les autres.")
