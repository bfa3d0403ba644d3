"""Keys of applications: what each may, from where and until when; the secret is shown once."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Response

from api.console.forms import checked, midnight_of
from api.console.pages import page_router
from api.console.people.views import ABILITIES
from api.console.proof import done
from api.console.versions import change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, values_of
from api.console.wording import KINDS
from api.routes import tenants as routes
from api.routes.tenants import ApiKeyAnswer
from core.model.rights import OF_KEYS
from core.runtime.http.errors import Problem, not_found

router = page_router()

PAGE = "/cles"
NOT_FOUND = 404
KeyId = Annotated[str, Path(pattern="^[0-9a-f]{1,64}$")]
RIGHTS = {right: words for right, words in ABILITIES.items() if right in OF_KEYS}


def _given(visit: PersonsVisit) -> dict[str, Any]:
    """What the form says of a new key; raises 422 for a day that is none."""
    form = visit.form
    return {
        "name": form.text("name"),
        "expires_at": _end_of_day(visit),
        "addresses": form.text("addresses").split(),
        "requests_per_minute": form.text("requests_per_minute") or None,
        "roles": form.texts("roles"),
        "asset_kinds": form.texts("asset_kinds"),
        "origins": form.text("origins").split(),
    }


def _end_of_day(visit: PersonsVisit) -> datetime | None:
    return midnight_of("expires_at", visit.form.text("expires_at"), visit.language.zone, ends=True)


async def _read(visit: PersonsVisit, key_id: str) -> Any:
    found: list[Any] = (await routes.list_api_keys(visit.caller)).items
    key = next((one for one in found if one.id == key_id), None)
    if key is None:
        raise not_found(f"clé {key_id}")
    return key


def _as_changed(key: Any) -> ApiKeyAnswer:
    """What people change of a key: that it was used is no change."""
    return key.model_copy(update={"last_used_at": None})


async def _list_page(visit: PersonsVisit, problem: Problem | None = None, **content: Any) -> Response:
    found: list[Any] = (await routes.list_api_keys(visit.caller)).items
    own = visit.caller.principal.rights
    return visit.form_page(
        "keys/list.html",
        problem,
        keys=[key for key in found if key.revoked_at is None],
        revoked=[key for key in found if key.revoked_at is not None],
        rights_to_give={right: words for right, words in RIGHTS.items() if right in own},
        right_words=RIGHTS,
        kinds=KINDS,
        chosen_rights=visit.form.texts("roles") if problem else ["read"],
        chosen_kinds=visit.form.texts("asset_kinds") if problem else [],
        values=values_of(visit.form) if problem else {},
        base=visit.dependencies.access.public_url.rstrip("/") or str(visit.request.base_url).rstrip("/"),
        **({"created": None} | content),
    )


@router.get(PAGE)
async def show_list(visit: ManagersVisit) -> Response:
    """The keys that are in use, and those that were."""
    return await _list_page(visit)


@router.post(PAGE)
async def create(visit: ManagersVisit) -> Response:
    """Make a key; its secret is shown this once, with how to use it."""
    try:
        body = checked(routes.NewApiKey, _given(visit))
        created = await done(routes.create_api_key(body, visit.caller))
    except Problem as problem:
        return await _list_page(visit, problem)
    return await _list_page(visit, created=created)


async def _key_page(visit: PersonsVisit, key_id: str, problem: Problem | None = None) -> Response:
    key = await _read(visit, key_id)
    last = None if key.expires_at is None else key.expires_at - timedelta(seconds=1)
    shown = {
        "name": key.name,
        "expires_at": "" if last is None else f"{last.astimezone(visit.language.zone):%Y-%m-%d}",
    }
    return visit.form_page(
        "keys/key.html",
        problem,
        key=key,
        version=version_of(_as_changed(key)),
        right_words=RIGHTS,
        kinds=KINDS,
        values=shown if problem is None or "name" not in visit.form.fields else values_of(visit.form),
    )


@router.get(PAGE + "/{id}")
async def show_key(id: KeyId, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """One key."""
    return await _key_page(visit, id)


@router.post(PAGE + "/{id}")
async def change(id: KeyId, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Change its name or end, unless somebody else did since."""

    async def read() -> ApiKeyAnswer:
        return _as_changed(await _read(visit, id))

    try:
        given = {"name": visit.form.text("name"), "expires_at": _end_of_day(visit)}
        body = checked(routes.ApiKeyPatch, given)
        await change_as_read(
            visit,
            f"/v1/api-keys/{id}",
            read,
            lambda: done(routes.update_api_key(id, body, visit.caller, visit.request)),
            visit.gettext("Quelqu’un a changé cette clé entre-temps : voici ce que vous aviez tapé, relisez-le."),
        )
    except Problem as problem:
        if problem.status == NOT_FOUND:
            raise
        return await _key_page(visit, id, problem)
    return visit.go(f"{PAGE}/{id}", visit.gettext("La clé est changée, partout dans les cinq secondes."))


@router.post(PAGE + "/{id}/revocation")
async def revoke(id: KeyId, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """It opens nothing any more, once that was confirmed."""
    if not visit.form.text("sure"):
        return await _key_page(visit, id, Problem(422, visit.gettext("Cochez la case pour confirmer.")))
    await routes.revoke_api_key(id, visit.caller, visit.request)
    return visit.go(PAGE, visit.gettext("La clé est révoquée : elle n’ouvre plus rien."))
